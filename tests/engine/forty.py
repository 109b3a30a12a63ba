"""Forty events played under one configuration: what became of each, and what followed. The clock is moved by hand."""

from __future__ import annotations

import asyncio
import copy
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from tests.engine.fakes import FakeProvider
from tests.engine.nights import Night

from pipebell.core.digest import parse
from pipebell.core.outcome import Action, Outcome, OutcomeKind
from pipebell.core.status import epoch

if TYPE_CHECKING:
    from pipebell.core.event import Event
    from pipebell.core.message import Message
    from pipebell.core.outcome import Attempt

DATA = Path(__file__).parent / "events" / "forty_events.yaml"


def load() -> dict[str, Any]:
    """Events, configurations and what is expected."""
    data: dict[str, Any] = yaml.safe_load(DATA.read_text(encoding="utf-8"))
    return data


def name_of(number: int) -> str:
    """An event's name by its place, from 0."""
    return f"e{number + 1:02}"


def spec_of(data: dict[str, Any], configuration: str) -> dict[str, Any]:
    """The NotificationConfig's spec."""
    spec: dict[str, Any] = copy.deepcopy(data["seed"])
    chosen = data["configurations"][configuration]
    spec |= copy.deepcopy(chosen.get("spec", {}))
    for trigger in spec["eventTriggers"]:
        if trigger["event"] in chosen.get("digest", {}):
            trigger["digest"] = chosen["digest"][trigger["event"]]
    return spec


class Refusing(FakeProvider):
    """Refuses some events for good."""

    refused: frozenset[str] = frozenset()

    async def send(self, notification: Message, target: Any, attempt: Attempt) -> Outcome:
        if notification.event.name in self.refused:
            return Outcome(OutcomeKind.PERMANENT, "Http404", "no_service")
        return await super().send(notification, target, attempt)


class Evening(Night):
    """With everything that runs in the background."""

    def start(self) -> None:
        """See `House`."""
        self.slack = Refusing(self.clock)
        super().start()

    def run(self) -> None:
        """See `Night`."""
        super().run()
        self.keep()
        self.tasks.append(asyncio.ensure_future(self.digests.run()))

    async def close(self) -> None:
        """See `House`."""
        await super().close()
        for task in (*self.tasks, *([self.keeping] if self.keeping is not None else [])):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def play(data: dict[str, Any], configuration: str) -> dict[str, Any]:
    """What became of each event, and of each notice in the order of their moments, as lines."""
    evening = Evening()
    try:
        await evening.clock.advance(_epoch(data["start"]) - evening.clock.now())
        evening.no_root()
        evening.config(**spec_of(data, configuration))
        evening.slack.refused = frozenset(data["refusedBySlack"])
        for number, silence in enumerate(data["configurations"][configuration].get("silences", ())):
            evening.silence(f"silence-{number}", **silence)
        evening.run()
        await _events(evening, data)
        await evening.clock.advance(_epoch(data["end"]) - evening.clock.now())
        return _outcome(evening, len(data["events"]))
    finally:
        await evening.close()


async def _events(evening: Evening, data: dict[str, Any]) -> None:
    for number, given in enumerate(data["events"]):
        fields = dict(given)
        moment, age = _moment(data["start"], fields.pop("at")), fields.pop("hoursOld", 0) * 3600
        await evening.clock.advance(moment - evening.clock.now())
        event = evening.event(name_of(number), **fields)
        if age:
            event = evening.events.add(replace(event, created=event.created - age))
        await evening.submit(event)


def _outcome(evening: Evening, count: int) -> dict[str, Any]:
    sent = _sent(evening)
    events = [evening.events.store["team", name_of(number)] for number in range(count)]
    notices = [event for event in evening.events.store.values() if event.spec.notice is not None]
    lines = {event.name: _cell(event, sent[event.name]) for event in events}
    return {**lines, "notices": sorted(_notice(event, sent[event.name]) for event in notices)}


def _sent(evening: Evening) -> dict[str, list[str]]:
    """By event: `time destination destination` for each second in which something was sent."""
    seconds: dict[tuple[str, int], list[str]] = defaultdict(list)
    for kind in ("email", "slack", "pagerduty"):
        for at, message, _, attempt in getattr(evening, kind).sent:
            word = "" if attempt.action is Action.SEND else f":{attempt.action.value}"
            seconds[message.event.name, int(at)].append(f"{kind}{word}")
    found: dict[str, list[str]] = defaultdict(list)
    for (name, at), destinations in sorted(seconds.items()):
        found[name].append(f"{_clock(at)} {', '.join(destinations)}")
    return found


def _cell(event: Event, sent: list[str]) -> str:
    """`phase/reason (stage); what was sent; what is told later; what it did to its incident`."""
    status = event.status
    assert status.decision is not None
    reason = f"/{status.reason.value}" if status.reason else ""
    parts = [f"{status.phase.value}{reason} ({status.decision.stage.value})", *sent]
    parts += [f"{each.destination} in the digest of {_clock(epoch(each.due))}" for each in status.batch or ()]
    if status.catch_up is not None:
        parts.append(f"in the catch-up of {_clock(epoch(status.catch_up.due))}")
    if status.incident is not None:
        record = status.incident
        did = f"{record.action.value}, {record.failures}" if record.action is not None else "waits for the next attempt"
        parts.append(f"incident {did}")
    return "; ".join(parts)


def _notice(event: Event, sent: list[str]) -> str:
    """`moment kind of what: cell`."""
    notice = event.spec.notice
    assert notice is not None
    content = parse(notice.content)
    said = [line.name for group in content.groups for line in group.lines] if content is not None else []
    about = f"for {notice.destination} " if notice.destination else ""
    of = " ".join(sorted(said)) if said else f"{event.spec.pipeline_id}"
    moment = datetime.fromtimestamp(event.created, UTC).strftime("%d. %H:%M:%S").removesuffix(":00")
    return f"{moment} {notice.kind.value} {about}of {of}: {_cell(event, sent)}"


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S").removesuffix(":00")


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _moment(start: str, at: str) -> float:
    begin = datetime.fromisoformat(start)
    hour, minute = map(int, at.split(":"))
    moment = begin.replace(hour=hour, minute=minute)
    return (moment if moment >= begin else moment + timedelta(days=1)).timestamp()


# ---------------------------------------------------------------------- the page

_TITLES = {
    "seed": "1. What a file-based configuration says",
    "overrides": "2. Rules for some pipelines",
    "digests": "3. Digests",
    "quiet": "4. Quiet hours, and a silence",
    "incidents": "5. Incidents, with reminders and escalation",
    "all": "6. All of it, with failover and four notifications an hour",
}
_HEAD = """# Forty events under six configurations

The same forty events of a Monday evening and the night after it (times are UTC), and what becomes of each: where it
goes, when, and which stage decided. The tables are the data of a test that plays the events through the operator's own
engine. Slack refuses {refused} for good. What the words mean: [what the status says](status.md),
[configuration](configuration.md), [digests](digests.md), [silences](silences.md), [incidents](incidents.md).

A cell says phase and reason, in brackets the stage that decided; when and where it was sent; what waits, and until
when; what the event did to its incident, and how many failures that has counted by then.
"""


def page(data: dict[str, Any]) -> str:
    """docs/forty-events.md."""
    parts = [_HEAD.format(refused=", ".join(data["refusedBySlack"]))]
    for configuration, title in _TITLES.items():
        expected, first = dict(data["expected"][configuration]), configuration == "seed"
        notices = expected.pop("notices")
        parts.append(f"## {title}\n\n```text\n{_settings(data, configuration)}```\n")
        parts.append("".join(f"- {reason}\n" for reason in data["why"][configuration]))
        if not first:
            parts.append(f"What is not in the table ({40 - len(expected)} of 40) is as in the first one.\n")
        parts.append(_table(data, expected))
        if notices:
            parts.append("What the operator tells by itself:\n")
            parts.append("| When | What | What became of it |\n|---|---|---|\n" + "".join(map(_row, notices)))
    return "\n".join(parts)


def _settings(data: dict[str, Any], configuration: str) -> str:
    chosen = data["configurations"][configuration]
    shown = spec_of(data, configuration) if configuration == "seed" else dict(chosen.get("spec", {}))
    if "digest" in chosen:
        shown["added to eventTriggers"] = [{"event": event, "digest": it} for event, it in chosen["digest"].items()]
    if "silences" in chosen:
        shown["a Silence's spec"] = chosen["silences"][0]
    return "".join(f"{key}:{_flow(value)}\n" for key, value in shown.items())


def _flow(value: Any) -> str:
    """YAML, each item of a list in a line."""
    if isinstance(value, list):
        return "".join(f"\n  -{_flow(item)}" for item in value)
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return " " + text.strip().removesuffix("\n...")


def _table(data: dict[str, Any], expected: dict[str, str]) -> str:
    rows = ["| | At | Event | What becomes of it |\n|---|---|---|---|\n"]
    for number, given in enumerate(data["events"]):
        name = name_of(number)
        if name in expected:
            rows.append(f"| {name} | {given['at']} | {_said(given)} | {expected[name]} |\n")
    return "".join(rows)


def _said(given: dict[str, Any]) -> str:
    marks = [f"owner {given['owner']}"] if "owner" in given else []
    marks += [f"{key}: {value}" for key, value in given.get("labels", {}).items()]
    marks += [given["severity"]] if "severity" in given else []
    marks += [f"attempt {given['attempt']} of {given['maxAttempts']}"] if "attempt" in given else []
    marks += ["a test"] if "test" in given else []
    marks += [f"replay of {given['replayOf']['name']}"] if "replayOf" in given else []
    marks += [f"{given['hoursOld']} h old"] if "hoursOld" in given else []
    marks += [f"occurred {given['occurredAt'][11:16]}"] if "occurredAt" in given else []
    return f"{given['event']} of {given['pipelineId']}" + (f" ({', '.join(marks)})" if marks else "")


def _row(notice: str) -> str:
    moment, cell = notice.split(": ", 1)
    day, time, what = moment.split(" ", 2)
    return f"| {day} {time} | {what} | {cell} |\n"


if __name__ == "__main__":
    (Path(__file__).parents[2] / "docs" / "forty-events.md").write_text(page(load()), encoding="utf-8")
