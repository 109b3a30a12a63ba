"""One event on its way: what is known of it in memory, and how that is written on the resource."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipebell.core.status import Condition, Delivery, EventStatus, epoch, rfc3339
from pipebell.core.vocabulary import DEFAULT_SEVERITIES, Phase, Reason
from pipebell.engine.events.ledger import key_for

if TYPE_CHECKING:
    from pipebell.core.event import Event
    from pipebell.core.policy.settle import Verdicts
    from pipebell.core.status import ConfigReference
    from pipebell.core.vocabulary import Severity
    from pipebell.engine.events.ledger import CooldownKey


@dataclass(slots=True)
class Journey:
    """The state of one unfinished event. `event` may be dropped while it waits; it is read again then."""

    namespace: str
    name: str
    uid: str
    org: str
    created: float
    resource_version: str
    generation: int
    event: Event | None
    status: EventStatus
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    severity: Severity | None = None
    """The event's or its type's, until a trigger says another."""
    config: ConfigReference | None = None
    key: CooldownKey | None = None
    suppressed: int = 0
    waits_since: float | None = None
    queued: bool = False
    running: bool = False
    parked: bool = False
    held: int = 0
    """Bytes that this event counts for among those that wait."""
    again: bool = False
    gone: bool = False
    expired: bool = False
    restored: bool = False
    stale: bool = False
    """The event was parked long enough to be read again before anything is sent."""
    fenced: bool = False
    """An attempt was not made, because this replica was not permitted to send at that moment."""
    unrecorded: bool = False
    """Something was attempted, and what came of it is not on the resource yet."""
    lost: bool = False
    """The organisation is another replica's now: what is under way ends, and nothing follows."""

    @classmethod
    def of(cls, event: Event) -> Journey:
        """Start from an event as it was read, finished parts included."""
        status = event.status
        journey = cls(
            namespace=event.namespace,
            name=event.name,
            uid=event.uid,
            org=event.spec.org_slug,
            created=event.created,
            resource_version=event.resource_version,
            generation=event.generation,
            event=event,
            status=status,
            deliveries={item.destination: item for item in status.deliveries or []},
            suppressed=status.suppressed_count or 0,
            severity=event.spec.severity or DEFAULT_SEVERITIES[event.spec.event],
            restored=bool(status.deliveries),
        )
        if journey.tried and status.config_ref and not event.spec.test and event.spec.replay_of is None:
            journey.key = key_for(status.config_ref, event)  # the cooldown that it holds since before our restart
        return journey

    @property
    def full_name(self) -> str:
        """Namespace and name, as people write them."""
        return f"{self.namespace}/{self.name}"

    @property
    def attempted(self) -> bool:
        """Whether any destination was tried before."""
        return any(item.attempts or item.delivered_time for item in self.deliveries.values())

    @property
    def told(self) -> bool:
        """Whether some destination has it."""
        return any(item.delivered_time for item in self.deliveries.values())

    @property
    def tried(self) -> bool:
        """Whether anything was ever sent for it, a refusal that counted as no attempt included."""
        return any(item.last_attempt_time for item in self.deliveries.values())

    def open(self) -> list[Delivery]:
        """Deliveries that are not final."""
        return [item for item in self.deliveries.values() if not item.phase.final]

    def adopt(self, status: EventStatus) -> None:
        """Merge what somebody else wrote meanwhile: a success is a success, and no attempt is uncounted."""
        self.status = status
        for theirs in status.deliveries or []:
            ours = self.deliveries.get(theirs.destination)
            if ours is None or (
                ours.phase is not Phase.DELIVERED
                and (theirs.phase is Phase.DELIVERED or theirs.attempts > ours.attempts)
            ):
                self.deliveries[theirs.destination] = theirs


def drop(journey: Journey, delivery: Delivery, reason: Reason, why: str) -> None:
    """End an open delivery without another attempt; where somebody was told already, it counts as delivered."""
    update: dict[str, Any] = {"phase": Phase.FAILED, "reason": reason, "message": why, "next_attempt_time": None}
    if delivery.delivered_time:
        update |= {"phase": Phase.DELIVERED, "reason": None}
    journey.deliveries[delivery.destination] = delivery.model_copy(update=update)


def next_attempt(delivery: Delivery) -> float:
    """When a delivery may be tried (seconds since the epoch); 0 when at once."""
    return epoch(delivery.next_attempt_time) if delivery.next_attempt_time else 0.0


def status_patch(
    journey: Journey, verdicts: Verdicts, now: float, extra: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The status to write, as a merge-patch: whole where it is new, nulls only for what must go."""
    stamp = rfc3339(now)
    status: dict[str, Any] = {
        "phase": verdicts.phase.value,
        "reason": verdicts.reason.value if verdicts.reason else None,
        "message": verdicts.message or None,
        "observedGeneration": journey.generation,
        "conditions": _conditions(journey.status, verdicts, stamp, journey.generation),
        **(extra or {}),
    }
    if journey.severity is not None:
        status["severity"] = journey.severity.value
    if journey.config is not None:
        status["configRef"] = journey.config.model_dump(by_alias=True, exclude_none=True, mode="json")
    if journey.deliveries:
        status["deliveries"] = [
            item.model_dump(by_alias=True, exclude_none=True, mode="json") for item in journey.deliveries.values()
        ]
    if not journey.deliveries:
        status["deliveries"] = None
    speaks = journey.told or (journey.tried and not verdicts.phase.final)
    status["suppressedCount"] = journey.suppressed if journey.suppressed and speaks else None
    if verdicts.phase.final:
        status["completionTime"] = stamp
    written = journey.status.model_fields_set if journey.status.phase else frozenset()
    return {key: value for key, value in status.items() if value is not None or (written and _snake(key) in written)}


def _snake(key: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)


def _conditions(old: EventStatus, verdicts: Verdicts, stamp: str, generation: int) -> list[dict[str, Any]]:
    """`Accepted`: a configuration and a trigger were found. `Delivered`: every destination has it."""
    word = (verdicts.reason or verdicts.phase).value
    unresolved = verdicts.phase is Phase.PENDING and verdicts.reason is Reason.CONFIG_NOT_READY
    accepted = "False" if verdicts.phase is Phase.SKIPPED else "Unknown" if unresolved else "True"
    delivered = "True" if verdicts.phase is Phase.DELIVERED else "False" if verdicts.phase.final else "Unknown"
    before = {item.type: item for item in old.conditions or []}
    result = []
    for kind, state, reason in (
        ("Accepted", accepted, "Accepted" if accepted == "True" else word),
        ("Delivered", delivered, word),
    ):
        known = before.get(kind)
        since = known.last_transition_time if known is not None and known.status == state else stamp
        message = "" if state == "True" else verdicts.message
        condition = Condition(
            type=kind,
            status=state,
            reason=reason,
            message=message,
            last_transition_time=since,
            observed_generation=generation,
        )
        result.append(condition.model_dump(by_alias=True, mode="json"))
    return result
