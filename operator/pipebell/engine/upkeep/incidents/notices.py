"""Notices of incidents: how they are called, what they say, and whether one that claims to be due is so."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.errors import NotReady, Unavailable
from pipebell.core.event import Event, PipelineEventSpec
from pipebell.core.incidents.record import TYPES, fingerprint, success_that_ended
from pipebell.core.incidents.reducer import STABLE, escalation_at, lasted, next_step, take_over, to_notify
from pipebell.core.incidents.resource import IncidentPhase
from pipebell.core.models import KINDS
from pipebell.core.outcome import Action, Thread
from pipebell.core.policy.decision import Skip
from pipebell.core.policy.facts import Claim
from pipebell.core.policy.names import first_name
from pipebell.core.policy.override import find_override
from pipebell.core.policy.triggers import match_trigger
from pipebell.core.status import EventStatus, rfc3339
from pipebell.core.vocabulary import NoticeKind, Reason, Severity, StageName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipebell.core.incidents.book import Entry
    from pipebell.core.incidents.reducer import Notice
    from pipebell.core.incidents.rules import IncidentRules
    from pipebell.core.incidents.state import Incident, Notification
    from pipebell.core.layers import Layers
    from pipebell.core.policy.situation import Resolved
    from pipebell.engine.events.incidents import Incidents

NOTICE_KINDS: Final = (
    NoticeKind.OPENING,
    NoticeKind.REMINDER,
    NoticeKind.ESCALATION,
    NoticeKind.ACKNOWLEDGED,
    NoticeKind.RESOLVED,
)

FIRST_MESSAGES: Final = 2  # the step of a RESOLVED beside a success that is sent itself: it changes messages alone


def name_of(incident: str, kind: NoticeKind, step: int) -> str:
    """The name of the one event that sends this notice of an incident."""
    return f"{incident}-{kind.value.lower()}-{step}"


def spec_of(incident: Incident, notice: Notice, now: float) -> dict[str, Any]:
    """The event that tells it, in the API's spelling."""
    spec: dict[str, Any] = {
        "orgSlug": incident.key.org,
        "event": (incident.event or TYPES[incident.key.kind]).value,
        "pipelineId": incident.pipeline or None,
        "owner": incident.owner or None,
        "labels": dict(incident.labels) or None,
        "errorMessage": _said(incident, notice, now),
        "notice": {
            "kind": notice.kind.value,
            "incident": incident.name,
            "step": notice.step,
            "due": rfc3339(notice.due),
        },
    }
    if _is_stable(incident) and notice.kind is NoticeKind.REMINDER:
        return {name: value for name, value in spec.items() if value is not None} | {"event": "pipeline_success"}
    if notice.kind is NoticeKind.RESOLVED and success_that_ended(incident) is not None:
        spec["notice"]["content"] = {"recovered": True}
    if incident.severity is not None:
        spec["severity"] = incident.severity.value
    return {name: value for name, value in spec.items() if value is not None}


def as_event(incident: Incident, now: float) -> Event:
    """The last failure as far as the incident tells of it: where an opening goes, and what silences go by."""
    spec = PipelineEventSpec(
        org_slug=incident.key.org,
        event=incident.event or TYPES[incident.key.kind],
        severity=incident.severity,
        pipeline_id=incident.pipeline or None,
        owner=incident.owner or None,
        labels=dict(incident.labels) or None,
    )
    return Event(incident.key.namespace, incident.last_event, "", "", 1, now, spec, EventStatus())


def _said(incident: Incident, notice: Notice, now: float) -> str:
    """`Failing for 4 h, 17 times.` and what the errors were; who has acknowledged it, or what ended it."""
    if notice.kind is NoticeKind.RESOLVED and success_that_ended(incident) is not None:
        return f"Recovered after {_times(incident, incident.resolved or now)}."
    if notice.kind is NoticeKind.RESOLVED:
        return f"Ended by {incident.resolved_by} after {_times(incident, now)}."
    if _is_stable(incident):
        return _over(incident, now)
    lines = [f"Failing for {_times(incident, now)}."]
    if notice.kind is NoticeKind.ACKNOWLEDGED and incident.acknowledgement is not None:
        given = incident.acknowledgement
        lines.insert(0, f"Acknowledged by {given.by}{f': {given.note}' if given.note else ''}.")
    if incident.first_error:
        lines.append(f"First error: {incident.first_error}")
    if incident.last_error and incident.last_error != incident.first_error:
        lines.append(f"Last error: {incident.last_error}")
    return "\n".join(lines)


def _is_stable(incident: Incident) -> bool:
    """Whether it had flapped, and ended by succeeding for long."""
    return incident.resolved_by == STABLE and not incident.by_hand


def _times(incident: Incident, now: float) -> str:
    began = incident.first_failure if incident.first_failure is not None else now
    number = incident.failures
    return f"{lasted(now - began)}, {number} time{'' if number == 1 else 's'}"


class IncidentJudge:
    """Says what is due of an incident, by its own memory of it."""

    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents

    async def judge(self, event: Event, resolved: Resolved) -> Claim:
        """See `Judge`."""
        notice, rules = event.spec.notice, resolved.layers.incidents
        if notice is None or notice.incident is None or notice.step is None or rules is None:
            return _not_due("incidents are off, or it names none")
        if not self._incidents.known(event.spec.org_slug):
            raise Unavailable("what was told before is being read")
        entry = self._incidents.book.named(event.namespace, notice.incident)
        if entry is None or entry.incident.key.org != event.spec.org_slug:
            return _not_due(f"there is no incident {notice.incident}")
        if entry.incident.open and not entry.extra.looked:  # whoever made it may have died before the incident said so
            raise Unavailable("what has become of its incident meanwhile is being looked at")
        incident = entry.incident
        if first_name(event.name) != name_of(incident.name, notice.kind, notice.step):
            return _not_due("no such message of this incident is due")
        if notice.kind is NoticeKind.OPENING:
            return self._opening(event, incident, resolved.layers)
        if notice.kind is NoticeKind.REMINDER:
            claim = self._reminder(incident, expected=notice.step == incident.reminders)
            return replace(claim, together=self._together(event, resolved.layers)) if claim.due else claim
        return self._other(entry, resolved, notice.kind, notice.step)

    def _other(self, entry: Entry, resolved: Resolved, kind: NoticeKind, step: int) -> Claim:
        incident, rules = entry.incident, resolved.layers.incidents
        if kind is NoticeKind.ESCALATION and rules is not None:
            return self._escalation(entry, rules, step)
        if kind is NoticeKind.ACKNOWLEDGED:
            if incident.phase is not IncidentPhase.ACKNOWLEDGED:
                return _superseded("it is not acknowledged now")
            return _of_alerts(incident, Action.ACKNOWLEDGE, resolved.layers)
        if incident.open:
            return _not_due("it is not resolved")
        return _of_alerts(incident, Action.RESOLVE, resolved.layers, beside=step == FIRST_MESSAGES)

    def _opening(self, event: Event, incident: Incident, layers: Layers) -> Claim:
        if not incident.open:
            return _superseded("it is resolved")
        failure = as_event(incident, event.created).spec
        match = match_trigger(layers, failure, find_override(layers, failure))
        if isinstance(match, Skip):
            return _not_due(match.message)
        names = to_notify(incident, match.destinations, event.uid)
        if not names:
            return _superseded("everybody was told of it")
        return replace(_due(incident, names), together=self._together(event, layers))

    def _together(self, event: Event, layers: Layers) -> int:
        """Of many notices that are due at once, seconds for which this one waits for the others; 0 for not."""
        rules, notice = layers.incidents, event.spec.notice
        entry = self._incidents.book.named(event.namespace, notice.incident or "") if notice is not None else None
        if rules is None or entry is None or notice is None:
            return 0
        at_once = first_name(event.name) in entry.extra.together
        if notice.kind is NoticeKind.OPENING and not at_once:
            key = entry.incident.key
            at_once = self._incidents.book.storms(key.namespace, key.org, rules, self._incidents.now())
        return rules.storm_within if at_once else 0

    def _reminder(self, incident: Incident, *, expected: bool) -> Claim:
        if _is_stable(incident):  # which is what it says
            return (
                replace(_due(incident, tuple(incident.notified)), severity=Severity.INFO)
                if expected
                else _not_due("no such message is due")
            )
        if not incident.open or incident.muted(self._incidents.now()):
            return _superseded("it was acknowledged or resolved")
        names = tuple(name for name, item in incident.notified.items() if not item.by_digest)
        if not names:
            return _superseded("all were told by digests, which are not reminded of")
        return _due(incident, names) if expected else _not_due("no such reminder is due")

    def _escalation(self, entry: Entry, rules: IncidentRules, step: int) -> Claim:
        incident = entry.incident
        if not incident.open or incident.muted(self._incidents.now()):
            return _superseded("it was acknowledged or resolved")
        if incident.opened is None or not 1 <= step <= incident.step or not rules.escalation:
            return _not_due("no such step is due")
        last, at = entry.extra.escalated
        if step != last:  # before a restart: as these settings have it
            at = incident.opened + rules.escalation[0].after
            for _ in range(step - 1):
                at = following if (following := next_step(rules, incident.opened, at)) is not None else at
        return _due(incident, escalation_at(rules, incident.opened, at))


def _due(incident: Incident, names: Sequence[str]) -> Claim:
    return Claim(
        due=True,
        stage=StageName.INCIDENT,
        destinations=tuple(names),
        severity=incident.severity,
        title=f"Incident {incident.name}",
        note=_beside(incident),
    )


def _beside(incident: Incident) -> str:
    """What is said beside a message about it while it fails: since when it does so, and what to do."""
    if not incident.open or incident.first_failure is None:
        return ""
    since = datetime.fromtimestamp(incident.first_failure, UTC)
    return f"Failing since {since:%Y-%m-%d %H:%M} UTC. {take_over(incident.name, incident.key.namespace)}"


def way_to_change(notification: Notification, action: Action) -> Action | None:
    """How a destination's message can be changed without a new one; None where it cannot."""
    kind = KINDS.get(notification.provider)
    if kind is None:
        return None
    if kind.capabilities.can(action):
        return action
    return Action.EDIT if kind.capabilities.edits and notification.handle is not None else None


def _in_reach(incident: Incident, item: Notification, way: Action, layers: Layers) -> bool:
    """Whether a destination is what it was: of the same kind, and for a message to be edited, of the same endpoint."""
    found = layers.destination(item.destination)
    if found is None or found.kind.name != item.provider:
        return False
    if way is not Action.EDIT or not item.endpoint:
        return True
    try:
        target = layers.target(item.destination)
    except NotReady:  # it waits until it is ready
        return True
    return fingerprint(incident.uid, target.endpoint) == item.endpoint


def _of_alerts(incident: Incident, action: Action, layers: Layers, *, beside: bool = False) -> Claim:
    """On-call alerts are changed, and messages that can be edited; nobody gets a new message.

    `beside`: the same is sent in a message of its own. Then alerts are left to that.
    """
    alert = incident.key.value
    threads = {}
    for name, item in incident.notified.items():
        way = way_to_change(item, action)
        if way is None or (beside and way is not Action.EDIT) or not _in_reach(incident, item, way, layers):
            continue
        if action is not Action.RESOLVE or layers.sends_recovery(name):
            threads[name] = Thread(way, item.handle, alert, anew=False)
    if not threads:
        return _superseded("nobody was told whose alerts can be changed")
    return replace(_due(incident, tuple(threads)), threads=threads, note="")


def _over(incident: Incident, now: float) -> str:
    return f"Recovered: it failed {_times(incident, now)}, again and again, and has been stable since."


def _not_due(message: str) -> Claim:
    return Claim(due=False, stage=StageName.INCIDENT, message=message)


def _superseded(message: str) -> Claim:
    return Claim(due=False, stage=StageName.INCIDENT, message=message, reason=Reason.SUPERSEDED)
