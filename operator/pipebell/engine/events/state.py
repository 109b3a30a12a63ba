"""One event on its way: what is known of it in memory, and how that is written on the resource."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.policy.batches import Waiting
from pipebell.core.policy.settle import given_up
from pipebell.core.status import Delivery, EventStatus, epoch, rfc3339
from pipebell.core.vocabulary import Phase, Reason
from pipebell.engine.events.ledger import key_for

if TYPE_CHECKING:
    from pipebell.core.event import Event
    from pipebell.core.policy.settle import EventSummary
    from pipebell.core.status import CatchUpRecord, ConfigReference
    from pipebell.core.vocabulary import Severity, StageName
    from pipebell.engine.events.keys import Key
    from pipebell.engine.events.ledger import CooldownKey
    from pipebell.engine.events.part import Part

_ATTEMPTS, _TRIED, _DELIVERED = (attrgetter(name) for name in ("attempts", "last_attempt_time", "delivered_time"))


class Life(Enum):
    """Where an event stands in this process. Each is in exactly one of these."""

    QUEUED = auto()  # waits for a slot
    RUNNING = auto()  # has a slot
    AGAIN = auto()  # has a slot, and what it goes by has changed meanwhile: once more at once
    WAITING = auto()  # has no slot, and is woken
    GONE = auto()  # queued or running, but deleted or finished elsewhere: ends as soon as it comes to rest
    LOST = auto()  # queued or running, but another replica's by now: forgotten as soon as it comes to rest


@dataclass(slots=True)
class Parked:
    """An outcome that the API refuses for good. `wait` is seconds until it is tried again."""

    summary: EventSummary
    extra: dict[str, Any] | None
    wait: float


@dataclass(slots=True)
class EventState:
    """The state of one unfinished event. `event` is None while it need not be in memory: it is read again then."""

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
    part: Part | None = None
    """Its part in an incident, where incidents are on."""
    stage: StageName | None = None
    """Which stage decided last, and (`matched`) what it went by."""
    matched: str = ""
    catch_up: CatchUpRecord | None = None
    """The catch-up that reports it, where a silence or quiet hours hold it back."""
    batch: tuple[Waiting, ...] = ()
    """What of it waits for digests."""
    life: Life = Life.WAITING
    waits: tuple[Key, ...] = ()
    waits_since: float | None = None
    payload_bytes: int = 0
    """What this event counts for among those that wait."""
    parked: Parked | None = None
    """What became of it, where the API refuses to have that recorded: nothing more is sent."""
    restored: bool = False
    """It had deliveries when it was read first: their endpoints may have asked for a pause."""
    unrecorded: bool = False
    """Something was attempted, and what came of it is not on the resource yet."""

    @classmethod
    def of(cls, event: Event) -> EventState:
        """Start from an event as it was read, finished parts included."""
        status = event.status
        state = cls(
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
            severity=event.severity,
            restored=bool(status.deliveries),
            batch=_batch(status),
        )
        if state.tried and status.config_ref and status.incident is None and not event.exempt:
            state.key = key_for(status.config_ref, event)  # the cooldown that it holds since before our restart
        return state

    @property
    def attempted(self) -> bool:
        """Whether an attempt was counted for any destination."""
        return any(map(_ATTEMPTS, self.deliveries.values())) or self.delivered

    @property
    def delivered(self) -> bool:
        """Whether some destination has it."""
        return any(map(_DELIVERED, self.deliveries.values()))

    @property
    def tried(self) -> bool:
        """Whether anything was ever sent for it, a refusal that counted as no attempt included."""
        return any(map(_TRIED, self.deliveries.values()))

    def open(self) -> list[Delivery]:
        """Deliveries that are not final."""
        return [item for item in self.deliveries.values() if not item.phase.final]

    def shrink(self) -> None:
        """Keep only what reading the resource again does not bring back: what waits may be many.

        What is not on the resource yet stays, and so does everything while the event itself is in memory.
        """
        if self.event is None and not self.unrecorded:
            self.status, self.deliveries, self.config = _UNREAD, {}, None

    def renew(self, event: Event) -> None:
        """It was read again: work on it as it is now."""
        self.event, self.resource_version, self.generation = event, event.resource_version, event.generation
        self.adopt(event.status)

    def adopt(self, status: EventStatus) -> None:
        """Merge what somebody else wrote meanwhile: a success is a success, and no attempt is uncounted."""
        self.status = status
        if status.batch:
            self.batch = _batch(status)
        for theirs in status.deliveries or []:
            ours = self.deliveries.get(theirs.destination)
            if ours is None or (
                ours.phase not in (Phase.DELIVERED, Phase.PARTIALLY_DELIVERED)
                and (theirs.phase is Phase.DELIVERED or theirs.attempts > ours.attempts)
            ):
                self.deliveries[theirs.destination] = theirs


LONGEST_DELAY: Final = 86_400.0  # seconds; retryConfig's fields take no more
_UNREAD: Final = EventStatus()


def drop(state: EventState, delivery: Delivery, reason: Reason, why: str) -> None:
    """End an open delivery without another attempt."""
    state.deliveries[delivery.destination] = given_up(delivery, reason, why)


def next_attempt(delivery: Delivery, now: float) -> float:
    """When a delivery may be tried (seconds since the epoch); 0 when at once.

    A time beyond any delay that a configuration may ask for was written by a clock that was wrong: it is no reason to
    wait.
    """
    at = epoch(delivery.next_attempt_time) if delivery.next_attempt_time else 0.0
    return at if at <= now + LONGEST_DELAY else 0.0


def _batch(status: EventStatus) -> tuple[Waiting, ...]:
    """What is recorded as waiting for digests."""
    found = []
    for item in status.batch or ():
        try:
            found.append(Waiting(item.destination, item.digest, epoch(item.due)))
        except ValueError:  # not written by us
            continue
    return tuple(found)


def status_patch(
    state: EventState, summary: EventSummary, now: float, extra: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The status to write, as a merge-patch: whole where it is new, nulls only for what must go."""
    stamp = rfc3339(now)
    status: dict[str, Any] = {
        "phase": summary.phase.value,
        "reason": summary.reason.value if summary.reason else None,
        "message": summary.message or None,
        "observedGeneration": state.generation,
        "conditions": _conditions(state.status, summary, stamp, state.generation),
        **(extra or {}),
    }
    if state.severity is not None:
        status["severity"] = state.severity.value
    if state.config is not None:
        status["configRef"] = state.config.model_dump(by_alias=True, exclude_none=True, mode="json")
    if state.deliveries:
        status["deliveries"] = [
            item.model_dump(by_alias=True, exclude_none=True, mode="json") for item in state.deliveries.values()
        ]
    else:
        status["deliveries"] = None
    if state.part is not None and (record := state.part.record) is not None:
        status["incident"] = record.model_dump(by_alias=True, mode="json")
    if state.stage is not None:
        status["decision"] = _decision(state)
    if state.batch:
        status["batch"] = [
            {"destination": item.destination, "digest": item.digest, "due": rfc3339(item.due)} for item in state.batch
        ]
    speaks = state.delivered or (state.tried and not summary.phase.final)
    status["suppressedCount"] = state.suppressed if state.suppressed and speaks else None
    if summary.phase.final:
        status["completionTime"] = stamp
    written = state.status.model_fields_set if state.status.phase else frozenset()
    return {key: value for key, value in status.items() if value is not None or (written and _snake(key) in written)}


def _decision(state: EventState) -> dict[str, str | None]:
    record: dict[str, str | None] = {"stage": state.stage.value if state.stage else None}
    before = state.status.decision
    if state.matched or (before is not None and before.matched):  # a merge-patch keeps what it does not name
        record["matched"] = state.matched or None
    return record


def _snake(key: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)


def _conditions(old: EventStatus, summary: EventSummary, stamp: str, generation: int) -> list[dict[str, Any]]:
    """`Accepted`: a configuration and a trigger were found. `Delivered`: every destination has it."""
    word = (summary.reason or summary.phase).value
    unresolved = summary.phase is Phase.PENDING and summary.reason is Reason.CONFIG_NOT_READY
    accepted = "False" if summary.phase is Phase.SKIPPED else "Unknown" if unresolved else "True"
    delivered = "True" if summary.phase is Phase.DELIVERED else "False" if summary.phase.final else "Unknown"
    before = {item.type: item for item in old.conditions or []}
    result = []
    for kind, state, reason in (
        ("Accepted", accepted, "Accepted" if accepted == "True" else word),
        ("Delivered", delivered, word),
    ):
        known = before.get(kind)
        since = known.last_transition_time if known is not None and known.status == state else stamp
        message = "" if state == "True" else summary.message
        condition = {"type": kind, "status": state, "reason": reason, "message": message}
        result.append(condition | {"lastTransitionTime": since, "observedGeneration": generation})
    return result
