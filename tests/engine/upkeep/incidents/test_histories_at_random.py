"""Random histories under random settings, with restarts at any moment, against a model that knows FEATURES.md alone.

The model (`Key`) is one incident's story told plainly: no code of the product is in it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from tests.engine.fakes import START

from pipebell.core.status import rfc3339

SEEDS = range(12)
STEPS = 70
PIPELINES = ("a", "b")
RANK = {"warning": 1, "error": 2, "critical": 3}
SLACK = {"botToken": "xoxb-1", "channel": "#data"}
DUTY = {"routingKey": "0123456789abcdef0123456789abcdef"}
LATE = 20.0  # seconds that a message may wait for its turn at an endpoint


@dataclass
class Rules:
    failures: int
    seconds: float
    cooldown: float
    remind: float
    retry: float
    auto: float
    steps: list[tuple[float, str, float]]

    @classmethod
    def drawn(cls, draw):
        steps = draw.choice(
            [[], [(900.0, "pagerduty", 0.0)], [(900.0, "slack", 600.0), (2400.0, "pagerduty", 1800.0)]],
        )
        return cls(
            draw.choice((1, 1, 2, 3)),
            draw.choice((0.0, 0.0, 420.0)),
            draw.choice((0.0, 0.0, 1300.0)),
            draw.choice((0.0, 3700.0)),
            draw.choice((500.0, 2600.0)),
            draw.choice((0.0, 0.0, 9000.0)),
            steps,
        )

    def document(self):
        return {
            "enabled": True,
            "notifyAfterFailures": self.failures,
            "notifyAfterSeconds": int(self.seconds),
            "remindAfterSeconds": int(self.remind),
            "retryExpectedSeconds": int(self.retry),
            "autoResolveAfterSeconds": int(self.auto),
            "flapping": {"changes": 0},
            "storm": {"openings": 0},
            "escalation": [
                {"afterSeconds": int(after), "providers": [where], **({"repeatSeconds": int(again)} if again else {})}
                for after, where, again in self.steps
            ],
        }


@dataclass
class Key:
    """One pipeline: what is told of it, and when."""

    rules: Rules
    told_log: list = field(default_factory=list)
    ends: list = field(default_factory=list)  # failures and phase of each incident
    success: float | None = None  # when the last one occurred
    opening: float | None = None
    recorded: float | None = None  # the same of those that ended an incident
    on: bool = False

    def begin(self, now):
        self.on, self.failures, self.first, self.last = True, 0, now, now
        self.occurred, self.told, self.severity, self.worst = None, set(), 0, 0
        self.opened, self.due, self.retries = None, None, {}
        self.by, self.snooze = None, None
        self.reminders, self.reminder, self.moments = 0, None, []

    def tell(self, now, what, where):
        self.told_log.append((now, what, tuple(sorted(where))))
        self.told |= set(where)

    # -------------------------------------------------------------- events

    def fails(self, now, severity, run, occurred, *, last):  # noqa: PLR0911  (one for each thing that can happen)
        if self.success is not None and occurred is not None and occurred < self.success:
            return "Superseded"
        if not self.on:
            self.begin(now)
        self.last, self.worst = now, max(self.worst, severity)
        if occurred is not None:
            self.occurred = max(occurred, self.occurred or occurred)
        if not last:
            self.retries[run] = now + self.rules.retry
            return "RetryExpected"
        self.retries.pop(run, None)
        self.failures, self.due = self.failures + 1, None
        if not self.told:
            held = self.held(now)
            if held:
                return held
            self.open(now, severity, "failure", ("slack",))
            return "Delivered"
        if severity > self.severity:
            self.tell(now, "failure", ("slack",))
            self.severity, self.by, self.snooze = severity, None, None
            return "Delivered"
        if "slack" not in self.told:
            self.tell(now, "failure", ("slack",))
            return "Delivered"
        return "Repeated"

    def held(self, now):
        """Why nobody is told yet; `due` is when somebody is, if nothing else happens."""
        rules = self.rules
        if self.failures < rules.failures:
            return "BelowThreshold"
        if now < self.first + rules.seconds:
            self.due = self.first + rules.seconds
            return "BelowThreshold"
        if self.opening is not None and now < self.opening + rules.cooldown:
            self.due = self.opening + rules.cooldown
            return "Cooldown"
        return ""

    def open(self, now, severity, what, where):
        self.opened, self.opening, self.due = now, now, None
        self.severity = severity
        self.tell(now, what, where)
        self.reminder = now + self.rules.remind if self.rules.remind else None
        self.moments = [(now + after, number, again) for number, (after, _, again) in enumerate(self.rules.steps)]

    def succeeds(self, now, occurred):
        before = self.success
        at = occurred if occurred is not None else now
        self.success = at if before is None else max(before, at)
        if not self.on or (occurred is not None and self.occurred is not None and occurred < self.occurred):
            return "NoTrigger"
        told = self.told
        if told:
            self.tell(now, "success", told)
        self.recorded = at if self.recorded is None else max(at, self.recorded)
        self.over()
        return "Delivered" if told else "NoTrigger"

    def over(self):
        self.ends.append((self.failures, "Resolved"))
        self.on = False

    # -------------------------------------------------------------- time

    def muted(self, now):
        return now < self.snooze if self.snooze is not None else self.by is not None

    def next(self):
        if not self.on:
            return None
        times = [*self.retries.values()]
        if self.rules.auto:
            times.append(self.last + self.rules.auto)
        if self.opened is None:
            times.append(self.due)
        elif self.snooze is not None:
            times.append(self.snooze)
        elif self.by is None:
            times += [self.reminder, *(at for at, _, _ in self.moments[:1])]
        return min((time for time in times if time is not None), default=None)

    def ticks(self, now):
        if self.rules.auto and now >= self.last + self.rules.auto:
            if "pagerduty" in self.told:
                self.told_log.append((now, "Resolved", ("pagerduty",)))
            self.over()
            return
        late = [run for run, at in self.retries.items() if at <= now]
        for run in late:
            del self.retries[run]
        self.failures += len(late)
        if self.opened is None:
            if (self.due is not None and now >= self.due) or (late and self.due is None):
                self.due = None
                if not self.held(now):
                    self.open(now, self.worst, "Opening", ("slack",))
            return
        if self.snooze is not None and now >= self.snooze:
            self.snooze = self.by = None
        if self.muted(now):
            return
        if self.reminder is not None and now >= self.reminder:
            self.tell(now, "Reminder", self.told)
            self.reminders += 1
            following = self.rules.remind * 2**self.reminders
            self.reminder = self.reminder + following if self.reminder + following > now else now + following
        self.escalates(now)

    def escalates(self, now):
        """Each step whose time has come is told once; a step goes on repeating until the next one begins."""
        steps = self.rules.steps
        while self.moments and self.moments[0][0] <= now:
            at, number, again = self.moments.pop(0)
            later = self.moments[0][0] if self.moments else None
            if again:
                while at + again <= now and (later is None or at + again < later):
                    at += again
                if later is None or at + again < later:
                    self.moments.insert(0, (at + again, number, again))
            self.tell(now, "Escalation", (steps[number][1],))
            self.severity = self.worst


class World:
    def __init__(self, house, draw):
        self.house, self.draw = house, draw
        self.rules = Rules.drawn(draw)
        self.keys = {name: Key(self.rules) for name in PIPELINES}
        self.problems = []
        self.runs = dict.fromkeys(PIPELINES, 0)
        trigger = {"event": "pipeline_failure", "providers": ["slack"], "cooldownSeconds": int(self.rules.cooldown)}
        house.config(slack=SLACK, pagerduty=DUTY, eventTriggers=[trigger], incidents=self.rules.document())

    @property
    def now(self):
        return self.house.clock.now() - START

    async def advance(self, seconds):
        end = self.now + seconds
        while True:
            found = [(at, name) for name, key in self.keys.items() if (at := key.next()) is not None and at <= end]
            if not found:
                break
            at, name = min(found)
            at = max(at, self.now)
            await self.house.clock.advance(at - self.now)
            self.keys[name].ticks(self.now)
        await self.house.clock.advance(end - self.now)

    async def step(self):
        draw = self.draw
        await self.advance(draw.choice((3.0, 40.0, 400.0, 1500.0, 5000.0)) * draw.uniform(0.7, 1.3))
        await draw.choices((self.fail, self.succeed, self.say, self.restart), weights=(8, 3, 3, 3))[0](
            draw.choice(PIPELINES)
        )

    def occurred(self):
        return self.now - self.draw.choice((0.0, 1.0, 30.0, 900.0)) if self.draw.random() < 0.4 else None

    async def fail(self, name):
        draw, severity, occurred = self.draw, self.draw.choice(tuple(RANK)), self.occurred()
        number = draw.choice((None, 1, 2, 3))
        if number in (None, 1):
            self.runs[name] += 1
        run = f"r{self.runs[name]}"
        spec = {"pipelineId": name, "severity": severity, "pipelineLoggingId": run}
        if number is not None:
            spec |= {"attempt": number, "maxAttempts": 3}
        if occurred is not None:
            spec["occurredAt"] = rfc3339(START + occurred)
        wanted = self.keys[name].fails(self.now, RANK[severity], run, occurred, last=number in (None, 3))
        await self.submit(spec, wanted)

    async def succeed(self, name):
        occurred = self.occurred()
        spec = {"event": "pipeline_success", "pipelineId": name}
        if occurred is not None:
            spec["occurredAt"] = rfc3339(START + occurred)
        await self.submit(spec, self.keys[name].succeeds(self.now, occurred))

    async def submit(self, spec, wanted):
        event = self.house.event(**spec)
        await self.house.submit(event)
        await self.advance(LATE)
        status = self.house.status(event)
        found = status.reason.value if status.phase in ("Suppressed", "Skipped") else status.phase
        if found != wanted:
            self.problems.append(f"{event.created - START:.1f} {event.name} {spec}: {found}, not {wanted}")

    async def restart(self, _name):
        await self.advance(self.draw.choice((0.0, 15.0)))
        await self.house.restart()
        for key in self.keys.values():  # what ended nothing is on no incident
            key.success = key.recorded

    async def say(self, name):
        key = self.keys[name]
        found = [i for i in self.house.incidents.store.values() if i.spec.pipeline_id == name]
        (incident,) = [i for i in found if i.status.phase != "Resolved"] or [None]
        if incident is None or not key.on:
            return
        what = self.draw.choice(("ack", "ack", "unack", "snooze", "resolve", "delete"))
        if what == "delete":
            self.house.incidents.remove("team", incident.name)
            key.on, key.opening = False, None
            return
        spec = {}
        newly = what == "ack" and key.by is None
        if what == "ack":
            spec, key.by = {"acknowledgement": {"by": f"ann-{self.now}"}, "snoozedUntil": None}, "ann"
            key.snooze = None
        elif what == "unack":
            spec, key.by, key.snooze = {"acknowledgement": None, "snoozedUntil": None}, None, None
        elif what == "snooze":
            key.snooze = self.now + 4000.0
            spec = {"snoozedUntil": rfc3339(START + key.snooze)}
        else:
            spec = {"resolution": {"by": "ann"}}
            if "pagerduty" in key.told:
                key.told_log.append((self.now, "Resolved", ("pagerduty",)))
            key.over()
        told_by_hand = newly and "pagerduty" in key.told
        self.house.incidents.say("team", incident.name, **spec)
        await self.house.clock.advance(0)
        if told_by_hand:
            key.told_log.append((self.now, "Acknowledged", ("pagerduty",)))
        await self.advance(1.0)


def sent(house, name):
    """Time, what and where of each message about a pipeline."""
    found = []
    for where, provider in (("slack", house.slack), ("pagerduty", house.pagerduty)):
        for at, message, _, _ in provider.sent:
            spec = message.event.spec
            if spec.pipeline_id == name:
                what = spec.notice.kind.value if spec.notice else spec.event.value.removeprefix("pipeline_")
                found.append((at - START, what, where))
    return sorted(found)


def differ(found, wanted):
    """What is missing, and what is too much; a message may be late by a few seconds."""
    wanted, extra = list(wanted), []
    for at, what, where in found:
        match = next((each for each in wanted if each[1:] == (what, where) and -0.01 <= at - each[0] <= LATE), None)
        if match is None:
            extra.append(f"{at:.1f} {what} {where} is too much")
        else:
            wanted.remove(match)
    return extra + [f"{at:.1f} {what} {where} is missing" for at, what, where in wanted]


@pytest.mark.parametrize("seed", SEEDS)
async def test_what_is_told_is_what_the_rules_say(house, seed):
    house.keep()
    world = World(house, random.Random(seed))
    for _ in range(STEPS):
        await world.step()
    await world.advance(100)
    problems = world.problems
    for name, key in world.keys.items():
        wanted = [(at, what, where) for at, what, places in key.told_log for where in places]
        problems += [f"{name}: {line}" for line in differ(sent(house, name), wanted)]
    assert not problems, "\n".join([str(world.rules), *sorted(problems)[:12]])
