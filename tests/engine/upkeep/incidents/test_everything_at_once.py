"""Random histories with everything switched on, over restarts: what has to hold whatever happens."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from tests.engine.fakes import settle_down

from pipebell.core.outcome import Action, Outcome, OutcomeKind
from pipebell.core.status import rfc3339

SEEDS = range(8)
STEPS = 60
PIPELINES = [f"p{number}" for number in range(7)]
SLACK = {"botToken": "xoxb-1", "channel": "#data"}
DUTY = {"routingKey": "0123456789abcdef0123456789abcdef"}
RETRY = Outcome(OutcomeKind.RETRY, "Timeout", "no answer")
BROKEN = Outcome(OutcomeKind.PERMANENT, "Http404", "no_service")


class World:
    def __init__(self, house, draw):
        self.house, self.draw, self.silences, self.handle = house, draw, [], 0
        start = house.start

        def started():
            start()
            house.engine.books.holds.silences = lambda _namespace, _now: self.silences

        house.start = started
        house.engine.books.holds.silences = lambda _namespace, _now: self.silences
        self.configure()

    def configure(self, **more):
        draw = self.draw
        where = draw.choice((["slack", "pagerduty"], ["email", "pagerduty"], ["slack", "email", "pagerduty"]))
        trigger = {"event": "pipeline_failure", "providers": where, "cooldownSeconds": draw.choice((0, 600))}
        if draw.random() < 0.3:
            trigger["digest"] = {"everySeconds": 600}
        rules = {
            "enabled": True,
            "notifyAfterFailures": draw.choice((1, 1, 2)),
            "notifyAfterSeconds": draw.choice((0, 300)),
            "remindAfterSeconds": draw.choice((0, 3600)),
            "flapping": {"changes": draw.choice((0, 3)), "withinSeconds": 1800},
            "storm": {"openings": draw.choice((0, 3))},
            "escalation": [{"afterSeconds": 900, "providers": ["pagerduty"]}],
            **more,
        }
        config = self.house.config(
            slack=SLACK,
            pagerduty=DUTY | ({"failover": ["slack"]} if draw.random() < 0.3 else {}),
            eventTriggers=[trigger, {**trigger, "event": "data_quality_failure"}],
            incidents=rules,
            retryConfig={"maxAttempts": 100},
        )
        self.house.keeper.on_config_change(None, config)

    async def advance(self, seconds):
        await self.house.clock.advance(seconds)

    async def step(self):
        draw = self.draw
        await self.advance(draw.choice((1.0, 30.0, 300.0, 2000.0)) * draw.uniform(0.7, 1.3))
        does = (self.fail, self.succeed, self.say, self.restart, self.silence, self.disturb, self.change)
        await draw.choices(does, weights=(12, 6, 4, 4, 2, 3, 1))[0]()

    async def fail(self):
        draw = self.draw
        for name in draw.sample(PIPELINES, draw.choice((1, 1, 2, 7))):
            number = draw.choice((None, None, 1, 3))
            spec = {"severity": draw.choice(("warning", "error", "critical")), "pipelineLoggingId": f"r{draw.random()}"}
            if number is not None:
                spec |= {"attempt": number, "maxAttempts": 3}
            if draw.random() < 0.2:
                spec["occurredAt"] = rfc3339(self.house.clock.now() - 60)
            kind = draw.choice(("pipeline_failure", "pipeline_failure", "data_quality_failure"))
            await self.house.submit(self.house.event(event=kind, pipelineId=name, **spec))

    async def succeed(self, names=None):
        draw = self.draw
        for name in names or draw.sample(PIPELINES, draw.choice((1, 1, 7))):
            run = f"s{draw.random()}"
            await self.house.submit(self.house.event(event="pipeline_success", pipelineId=name, pipelineLoggingId=run))

    async def say(self):
        found = [item for item in self.house.incidents.store.values() if item.status.phase not in (None, "Resolved")]
        if found:
            said = {
                "acknowledgement": {"by": f"ann{self.draw.random()}"},
                "resolution": {"by": "ben"},
                "snoozedUntil": rfc3339(self.house.clock.now() + 3000),
            }
            what = self.draw.choice((*said, "acknowledgement", "taken back"))
            incident = self.draw.choice(found)
            if incident.spec.resolution is None:
                words = {what: said[what]} if what in said else {"acknowledgement": None}
                self.house.incidents.say("team", incident.name, **words)
                await settle_down()

    async def restart(self):
        await self.advance(self.draw.choice((0.0, 0.2, 20.0)))
        await self.house.restart()

    async def silence(self):
        if self.silences:
            self.silences.clear()
        else:
            self.silences[:] = self.house.silence(self.draw.choice((400.0, 4000.0)))
            self.house.engine.books.holds.silences = lambda _namespace, _now: self.silences
        self.house.keeper.on_silence_change()

    async def disturb(self):
        draw, house = self.draw, self.house
        provider = draw.choice((house.slack, house.email, house.pagerduty))
        answers = (RETRY,) if provider is house.pagerduty else (RETRY, BROKEN)  # what it refuses for good stays open
        provider.script = [draw.choice(answers) for _ in range(draw.choice((1, 3)))]
        if draw.random() < 0.5:
            house.incidents.away = True
            await self.advance(draw.choice((0.5, 20.0)))
            house.incidents.away = False

    async def change(self):
        self.configure()


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_is_left_open_and_nobody_hears_of_an_end_who_heard_of_no_beginning(house, seed, capsys):
    house.keep()
    world = World(house, random.Random(seed))
    for _ in range(STEPS):
        await world.step()
    world.silences.clear()
    house.keeper.on_silence_change()
    for provider in (house.slack, house.email, house.pagerduty):
        provider.script = []
    world.configure(enabled=True, flapping={"changes": 0}, notifyAfterSeconds=0)
    await world.advance(8000)
    await world.succeed(PIPELINES)
    await world.advance(8000)
    await house.restart()
    await world.advance(100)
    phases = {item.name: item.status.phase for item in house.incidents.store.values()}
    assert set(phases.values()) <= {"Resolved"}, phases
    assert not [event.name for event in house.events.store.values() if not event.status.finished and not waits(event)]
    alerts = defaultdict(list)
    for _, message, _, attempt in house.pagerduty.sent:
        spec = message.event.spec
        ends = attempt.action is Action.RESOLVE or spec.event == "pipeline_success"
        alerts[attempt.alert].append("end" if ends else "ack" if attempt.action is Action.ACKNOWLEDGE else "begin")
    assert {alert: told for alert, told in alerts.items() if told[-1] != "end"} == {}
    for provider in (house.slack, house.email, house.pagerduty):
        failing = set()  # pipelines of which it has heard before
        for _, message, _, _ in provider.sent:
            spec = message.event.spec
            if spec.event == "pipeline_success":
                assert spec.pipeline_id in failing, message.event.name
            failing.add(spec.pipeline_id)
    printed = capsys.readouterr().out
    assert "internal_error" not in printed
    assert "Traceback" not in printed


def waits(event):
    """For a digest that nobody makes here."""
    return bool(event.status.batch)
