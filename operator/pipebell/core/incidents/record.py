"""An incident as its resource says it, and back."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipebell.core.incidents.keys import IncidentKey
from pipebell.core.incidents.order import Order
from pipebell.core.incidents.reducer import opens_at, outlived
from pipebell.core.incidents.resource import IncidentClass, IncidentNotification, IncidentPhase, IncidentSpec
from pipebell.core.incidents.resource import IncidentStatus as Status
from pipebell.core.incidents.state import Acknowledgement, Incident, Notification, Success
from pipebell.core.status import Condition, clip, epoch, rfc3339
from pipebell.core.vocabulary import EventType, IncidentAction

if TYPE_CHECKING:
    from pipebell.core.incidents.resource import Incident as Resource

TYPES = {
    IncidentClass.RUN: EventType.PIPELINE_FAILURE,
    IncidentClass.DATA_QUALITY: EventType.DATA_QUALITY_FAILURE,
    IncidentClass.SYSTEM: EventType.SYSTEM_ERROR,
}
"""The type of a class' events, where none of them is at hand."""
MAX_NOTIFICATIONS = 32
FLAPPING, WELL = "Flapping", "Succeeding"
NOT_EVENTS = frozenset({"autoResolve", "ConfigChanged"})
"""What ends an incident beside events and people."""


def fingerprint(uid: str, endpoint: object) -> str:
    """An endpoint's identity that shows nothing of it: a hash, keyed by the incident's uid."""
    return hmac.new(uid.encode(), repr(endpoint).encode(errors="surrogatepass"), hashlib.sha256).hexdigest()[:12]


def spec_of(incident: Incident) -> IncidentSpec:
    """What its resource is made with."""
    return IncidentSpec(
        org_slug=incident.key.org,
        key=incident.key.value,
        incident_class=incident.key.kind,
        pipeline_id=incident.pipeline or None,
        opened_by=incident.opened_by,
    )


def status_of(incident: Incident, failures: int, generation: int) -> dict[str, Any]:
    """Its whole status as a merge-patch: null for what is not so. `failures` are those that are counted for good."""
    lasted = None
    if incident.resolved is not None and incident.first_failure is not None:
        lasted = max(0, round(incident.resolved - incident.first_failure))
    status = Status(
        phase=incident.phase,
        severity=incident.notified_severity or incident.severity,
        failures=failures,
        first_failure_time=_time(incident.first_failure),
        opened_time=_time(incident.opened),
        last_failure_time=_time(incident.last_failure),
        first_error=clip(incident.first_error) or None,
        last_error=clip(incident.last_error) or None,
        last_event=incident.last_event or None,
        acknowledged_time=_time(incident.acknowledged),
        acknowledged_by=incident.acknowledgement.by if incident.acknowledgement else None,
        next_opening_time=_time(None if incident.notified else opens_at(incident)),
        reminders=incident.reminders,
        next_reminder_time=_time(incident.next_reminder),
        escalation_step=incident.step,
        next_escalation_time=_time(incident.next_escalation),
        changes=[rfc3339(time) for time in incident.changes] or None,
        notifications=[_notification(item) for item in list(incident.notified.values())[:MAX_NOTIFICATIONS]] or None,
        failed_over=sorted(incident.stood_in_for)[:MAX_NOTIFICATIONS] or None,
        resolved_time=_time(incident.resolved),
        resolved_by=incident.resolved_by or None,
        duration_seconds=lasted,
        conditions=_conditions(incident, generation),
        observed_generation=generation,
    )
    return _document(status)


def written_on(item: Resource) -> dict[str, Any]:
    """The status that its resource has, in the form of `status_of`; empty where nobody has written one."""
    return _document(item.status) if item.status.phase is not None else {}


def _document(status: Status) -> dict[str, Any]:
    known = status.model_dump(by_alias=True, exclude_none=True, mode="json")
    return {info.alias or name: known.get(info.alias or name) for name, info in Status.model_fields.items()}


def _conditions(incident: Incident, generation: int) -> list[Condition] | None:
    """Whether it flaps, and how it stood last."""
    if not incident.flapping:
        return None
    well, since = incident.well, rfc3339(max(incident.changes, default=0.0))
    return [
        Condition(
            type=FLAPPING,
            status="True",
            reason=WELL if well else "Failing",
            message="it fails and recovers so often that one message is sent, and one when it is stable",
            last_transition_time=since,
            observed_generation=generation,
        )
    ]


def _notification(item: Notification) -> IncidentNotification:
    return IncidentNotification(
        destination=item.destination,
        provider=item.provider or None,
        endpoint=item.endpoint or None,
        handle=item.handle,
        last_action=item.action.value,
        last_time=_time(item.at),
    )


def _time(seconds: float | None) -> str | None:
    return rfc3339(seconds) if seconds is not None else None


def incident_of(item: Resource) -> Incident:
    """What its resource says; what that cannot say is as if it were not so."""
    spec, status = item.spec, item.status
    notified = {
        known.destination: Notification(
            known.destination,
            known.provider or "",
            known.endpoint or "",
            known.handle,
            _action(known.last_action),
            _seconds(known.last_time) or 0.0,
        )
        for known in status.notifications or ()
    }
    due = _seconds(status.next_opening_time)
    phase = status.phase or IncidentPhase.PENDING
    if phase is IncidentPhase.PENDING and status.opened_time is not None:  # somebody was notified of it all the same
        phase = IncidentPhase.OPEN
    incident = Incident(
        key=IncidentKey(item.namespace, spec.org_slug, spec.incident_class, spec.key),
        name=item.name,
        uid=item.uid,
        opened_by=spec.opened_by,
        pipeline=spec.pipeline_id or "",
        event=TYPES[spec.incident_class],
        phase=phase,
        severity=status.severity,
        notified_severity=status.severity if notified else None,
        failures=status.failures,
        first_failure=_seconds(status.first_failure_time) or item.created,
        last_failure=_seconds(status.last_failure_time) or item.created,
        first_error=status.first_error or "",
        last_error=status.last_error or "",
        last_event=status.last_event or "",
        opened=_seconds(status.opened_time),
        notified=notified,
        stood_in_for=frozenset(status.failed_over or ()),
        due=due if status.failures else None,
        retries={"": due} if due is not None and not status.failures else {},
        reminders=status.reminders,
        next_reminder=_seconds(status.next_reminder_time),
        step=status.escalation_step,
        next_escalation=_seconds(status.next_escalation_time),
        resolved=_seconds(status.resolved_time),
        resolved_by=status.resolved_by or "",
        changes=tuple(time for text in status.changes or () if (time := _seconds(text)) is not None),
    )
    flapping = next((each for each in status.conditions or () if each.type == FLAPPING), None)
    if flapping is not None and flapping.status == "True":
        incident = replace(incident, flapping=True, well=flapping.reason == WELL)
    if spec.resolution is not None and spec.resolution.by == incident.resolved_by:
        incident = replace(incident, by_hand=True)
    return _with_words(incident, item)


def _with_words(incident: Incident, item: Resource) -> Incident:
    """With what people said in its spec, as far as that counts: one that was told of as worse has outlived it."""
    spec, status, phase = item.spec, item.status, incident.phase
    if phase is IncidentPhase.ACKNOWLEDGED and spec.acknowledgement is None and spec.snoozed_until is None:
        return replace(incident, phase=IncidentPhase.OPEN)
    if phase not in {IncidentPhase.ACKNOWLEDGED, IncidentPhase.PENDING}:
        return incident
    if spec.acknowledgement is not None and (phase is IncidentPhase.ACKNOWLEDGED or status.acknowledged_by is not None):
        given = Acknowledgement(spec.acknowledgement.by, spec.acknowledgement.note or "")
        incident = replace(incident, acknowledgement=given, acknowledged=_seconds(status.acknowledged_time))
    snoozed = spec.snoozed_until.timestamp() if spec.snoozed_until is not None else None
    return replace(incident, snoozed_until=None if outlived(snoozed, incident.acknowledged) else snoozed)


def success_that_ended(incident: Incident) -> Success | None:
    """The success by which it ended, as far as that is known of a resolved one."""
    if (
        incident.resolved is None
        or incident.by_hand
        or incident.resolved_by in NOT_EVENTS
        or " " in incident.resolved_by
    ):
        return None
    return Success(Order(incident.resolved))


def _action(word: str | None) -> IncidentAction:
    return IncidentAction(word) if word in set(IncidentAction) else IncidentAction.OPENED


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return epoch(text)
    except ValueError:  # not written by us
        return None
