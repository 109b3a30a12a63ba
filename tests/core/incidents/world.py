"""A little world in which histories happen: real rules, real decisions, and a clock moved by hand."""

from __future__ import annotations

from tests.engine.fakes import EMAIL, START

from pipebell.core.event import Event
from pipebell.core.incidents import reducer
from pipebell.core.incidents.book import Book
from pipebell.core.incidents.state import Acknowledgement, Notification
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import NotificationSpec, PipelineEventSpec
from pipebell.core.placeholders import Environment
from pipebell.core.policy.decide import decide
from pipebell.core.policy.decision import Deliver, Skip, Suppress, Wait
from pipebell.core.policy.situation import CooldownFacts, IncidentFacts, Progress, Resolved, Situation
from pipebell.core.policy.triggers import match_trigger
from pipebell.core.status import ConfigReference, EventStatus, rfc3339
from pipebell.core.vocabulary import IncidentAction, NoticeKind

SLACK = {"webhookUrl": "https://hooks.slack.com/services/T/B/x"}
DUTY = {"routingKey": "0123456789abcdef0123456789abcdef"}
REFERENCE = ConfigReference(kind="NotificationConfig", namespace="team", name="config", generation=3)
FAILURES = ["pipeline_failure", "data_quality_failure", "system_error", "rate_limit_exceeded", "pipeline_missing"]
TYPES = {
    "F": "pipeline_failure",
    "S": "pipeline_success",
    "Q": "data_quality_failure",
    "E": "system_error",
    "R": "rate_limit_exceeded",
    "B": "pipeline_started",
    "M": "pipeline_missing",
}


class World:
    """Takes steps such as `60 F p=load sev=critical`, and logs what is sent: `60 Opened slack`."""

    def __init__(self, incidents, *, to=("slack",), success=False, cooldown=0):
        self.book = Book()
        self.log, self.number, self.now = [], 0, 0.0
        self.lost, self.slow = set(), {}
        self.configure(incidents, to=to, success=success, cooldown=cooldown)

    def configure(self, incidents, *, to=("slack",), success=False, cooldown=0):
        self.cooldown = cooldown
        triggers = [{"event": name, "providers": list(to), "cooldownSeconds": cooldown} for name in FAILURES]
        if success:
            triggers.append({"event": "pipeline_success", "providers": list(success), "cooldownSeconds": 0})
        spec = {"email": EMAIL, "slack": SLACK, "pagerduty": DUTY, "eventTriggers": triggers}
        if incidents is not None:
            spec["incidents"] = {"enabled": True, **incidents}
        self.layers = Layers(Layer(NotificationSpec.model_validate(spec), Environment({})), None)
        self.rules = self.layers.incidents

    # ------------------------------------------------------------------ steps

    def step(self, text):
        at, what, *rest = text.split()
        options = dict(part.partition("=")[::2] for part in rest)
        self.advance(float(at))
        if what in TYPES:
            self.event(TYPES[what], options)
        else:
            getattr(self, f"on_{what}")(options)

    def advance(self, until):
        """Let time pass, with all that it brings."""
        while self.rules is not None:
            looks = [(reducer.next_look(e.incident, self.rules), i) for i, e in enumerate(self.book)]
            due = min((look for look in looks if look[0] is not None and look[0] <= START + until), default=None)
            if due is None:
                break
            self.now = max(self.now, due[0] - START)
            self._tick(list(self.book)[due[1]])
        self.now = until

    def _tick(self, entry):
        before = entry.incident
        opening = self.book.past(before.key).opening
        not_before = None if opening is None else opening + self.cooldown
        entry.incident, notices = reducer.tick(before, self.rules, START + self.now, not_before)
        if not entry.incident.open:
            self.book.ended(entry)
            self.note("ends", by=entry.incident.resolved_by)
        for notice in notices:
            self._notice(entry, notice)

    def _notice(self, entry, notice):
        names = tuple(entry.incident.notified)
        if notice.kind is NoticeKind.OPENING:
            spec = PipelineEventSpec(org_slug=entry.incident.key.org, event=entry.incident.event)
            names = reducer.to_notify(entry.incident, match_trigger(self.layers, spec).destinations)
        if notice.kind is NoticeKind.ESCALATION:
            names = reducer.escalation_at(self.rules, entry.incident.opened, notice.due)
        if notice.kind is NoticeKind.RESOLVED:
            names = tuple(name for name in names if name == "pagerduty")
            if not names:  # then there is nothing to tell, and the engine makes no notice
                return
        self.note(notice.kind.value, names)
        if notice.kind is NoticeKind.OPENING:
            self.book.sending(entry, names, "notice", "notice")
            self._outcome(entry, names, "notice", entry.incident.severity, IncidentAction.OPENED)

    def on_tick(self, options):
        """Nothing but time."""

    def on_restart(self, options):
        """The incidents as they are, the rest forgotten."""

    def on_lose(self, options):
        self.lost = set(filter(None, options.get("at", "").split(",")))

    def on_slow(self, options):
        """From now on, what is sent there goes on being tried."""
        self.slow = dict.fromkeys(filter(None, options.get("at", "").split(",")))

    def on_arrive(self, options):
        """What was still being tried arrives, or (lost) never will."""
        for entry in list(self.book._named.values()):
            for name, uid in list(entry.incident.under_way.items()):
                if "lost" in options:
                    open_now = [n for n, u in entry.incident.under_way.items() if u == uid and n != name]
                    self.book.settled(entry, open_now, uid)
                    if not open_now:
                        self.book.finished(entry, uid)
                else:
                    self._tell(entry, name, uid, entry.incident.severity, IncidentAction.OPENED)
        self.slow = {}

    def on_ack(self, options):
        for entry in self.book:
            given = Acknowledgement(options.get("by", "ann"))
            until = START + self.now + float(options["for"]) if "for" in options else None
            entry.incident = reducer.acknowledge(entry.incident, given, until, START + self.now)

    def on_unack(self, options):
        for entry in self.book:
            entry.incident = reducer.acknowledge(entry.incident, None, None, START + self.now)

    def on_snooze(self, options):
        for entry in self.book:
            until = START + self.now + float(options["for"])
            given = entry.incident.acknowledgement
            entry.incident = reducer.acknowledge(entry.incident, given, until, START + self.now)

    def on_resolve(self, options):
        for entry in self.book:
            self.book.end(entry, "ann", START + self.now)

    def on_delete(self, options):
        for entry in self.book:
            self.book.remove(entry)

    def on_config(self, options):
        kept = {"groupBy": options["groupBy"].split(",")} if "groupBy" in options else {}
        self.configure(None if "off" in options else kept, to=options.get("to", "slack").split(","))

    # ------------------------------------------------------------------ events

    def event(self, kind, options):
        self.number += 1
        spec = {"orgSlug": options.get("org", "acme"), "event": kind, "pipelineId": options.get("p", "p")}
        if "occ" in options:
            spec["occurredAt"] = rfc3339(START + float(options["occ"]))
        if "att" in options:
            spec["attempt"], spec["maxAttempts"] = map(int, options["att"].split("/"))
        for short, name in (("run", "pipelineLoggingId"), ("sev", "severity"), ("owner", "owner")):
            if short in options:
                spec[name] = options[short]
        if "key" in options:
            spec["incidentKey"] = options["key"]
        if "env" in options:
            spec["labels"] = {"env": options["env"]}
        if "test" in options:
            spec["test"] = True
        if "replay" in options:
            spec["replayOf"] = {"name": "another"}
        created = START + float(options.get("made", self.now))
        event = Event(
            namespace=options.get("ns", "team"),
            name=f"e{self.number}",
            uid=f"uid-{self.number}",
            resource_version=options.get("version", str(self.number)),
            generation=1,
            created=created,
            spec=PipelineEventSpec.model_validate(spec),
            status=EventStatus(),
        )
        self.decide(event)
        if "again" in options:  # the watch tells of it twice, and it was counted before
            self.decide(event, counted=next(iter(self.book._named))[1])

    def decide(self, event, counted=""):
        facts = None
        if self.rules is not None and not event.exempt:
            known = self.book.look(event, self.rules, counted)
            facts = IncidentFacts(
                rules=self.rules,
                key=known.key,
                incident=known.entry.incident if known.entry else None,
                counted=known.counted,
                past=known.past,
                recoverable=known.recoverable,
                sender=known.sender,
                sender_name=known.sender_name,
            )
        situation = Situation(
            event,
            START + self.now,
            86_400.0,
            Resolved(self.layers, REFERENCE, None),
            CooldownFacts(),
            Progress(),
            incident=facts,
        )
        decision = decide(situation)
        match decision:
            case Deliver():
                self._deliver(event, decision, counted)
            case Suppress():
                applied = self._apply(event, decision.match.mark if decision.match else None, counted)
                if (
                    applied is not None
                    and applied.entry is not None
                    and decision.match.mark.due is not None
                    and not decision.match.mark.retry
                ):
                    self.book.hold(applied.entry, decision.match.mark.due)
                self.note(decision.reason.value)
            case Skip():
                self._apply(event, decision.mark, counted)
                self.note(decision.reason.value)
            case Wait():
                self.note(f"waits:{decision.stage.value}")

    def _apply(self, event, mark, counted):
        if mark is None or counted:
            return None
        return self.book.apply(event, mark, self.rules, START + self.now)

    def _deliver(self, event, decision, counted):
        mark = decision.match.mark
        applied = self._apply(event, mark, counted)
        names = [name for name in decision.match.destinations if name not in decision.match.held]
        entry = applied.entry if applied else None
        word = mark.action.value if mark is not None and entry is not None else "Sent"
        self.note(word, names)
        if decision.match.held:
            self.note("held", decision.match.held)
        if entry is not None and mark.success is None:
            self.book.sending(entry, names, event.uid, event.name)
            self._outcome(entry, names, event.uid, decision.match.severity, mark.action)

    def _outcome(self, entry, names, uid, severity, action):
        for name in names:
            if name not in self.lost and name not in self.slow:
                self._tell(entry, name, uid, severity, action)
        still = [name for name in names if name in self.slow]
        self.book.settled(entry, still, uid)
        if not still:
            self.book.finished(entry, uid)

    def _tell(self, entry, name, uid, severity, action):
        notification = Notification(name, name, action=action, at=START + self.now)
        self.book.delivered(entry, uid, notification, severity, self.rules)

    # ------------------------------------------------------------------ what came of it

    def note(self, word, names=(), by=""):
        line = f"{self.now:g} {word}"
        self.log.append(" ".join(filter(None, (line, ",".join(names), by and f"by={by}"))))

    def states(self):
        """`key Phase/failures` for each incident, in the order of their beginning."""
        found = []
        for entry in self.book._named.values():
            key = entry.incident.key
            value = key.value.replace("pipelineId=", "")
            where = "" if key.namespace == "team" else f"{key.namespace}/"
            kind = "" if key.kind == "Run" else f"{key.kind}:"
            found.append(f"{where}{kind}{value} {entry.incident.phase.value}/{entry.incident.failures}")
        return found


def play(steps, incidents=None, **config):
    """The log and the states after a history."""
    world = World({} if incidents is None else incidents, **config)
    for step in steps.split(";"):
        world.step(step.strip())
    return world
