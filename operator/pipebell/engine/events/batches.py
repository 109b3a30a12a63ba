"""What waits for which digest: members recorded on their events, and digests that are open, being made, or finished.

It lives in memory and is rebuilt from the events themselves: each member's status names its digest, and a digest that
is made is an event of that name. A member counts once its status says so; while such a write is under way, its digest
is not made.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import IntEnum, auto
from typing import TYPE_CHECKING, Final

from pipebell.core.digest import MAX_ITEMS, Tally, member_of
from pipebell.core.policy.batches import BatchFacts, OpenDigest, max_items_of
from pipebell.core.policy.names import first_name
from pipebell.core.shards import shard_of
from pipebell.core.status import epoch
from pipebell.core.vocabulary import NoticeKind, Reason
from pipebell.engine.events.observer import Observer
from pipebell.engine.shards.follower import ShardFollower

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from typing import Any

    from pipebell.core.digest import Member
    from pipebell.core.event import Event
    from pipebell.core.policy.batches import Waiting
    from pipebell.core.policy.settle import EventSummary
    from pipebell.core.status import BatchRecord
    from pipebell.engine.events.ledger import CooldownLedger
    from pipebell.engine.events.state import EventState


class Stage(IntEnum):
    """How far a digest has come."""

    OPEN = auto()  # takes members until it is due
    MAKING = auto()  # its content is fixed, and its event is being created
    MADE = auto()  # its event is there
    FINISHED = auto()  # its event has come to its end


@dataclass(slots=True)
class Batch:
    """One digest. `due` and `fires` are seconds since the epoch; `fires` is the earlier one if a clock was wrong.

    `org` is its first member's. `vouched`: what the operator itself wrote calls for it.
    """

    namespace: str
    name: str
    destination: str
    org: str
    due: float
    fires: float
    stage: Stage = Stage.OPEN
    tally: Tally = field(default_factory=lambda: Tally(MAX_ITEMS))
    members: set[str] = field(default_factory=set)
    """Uids of those that are counted, while it is open."""
    entering: set[str] = field(default_factory=set)
    """Uids of those whose status is being written."""
    vouched: bool = False
    retry_at: float = 0.0
    """Not tried to be made again before."""
    refusal: str = ""
    finished_at: float = 0.0

    def content(self) -> dict[str, Any]:
        """What its event tells."""
        return self.tally.content(max_items=self.tally.most)

    def close(self, stage: Stage) -> None:
        """It takes nothing more, and needs nothing of its members any more once it is made."""
        self.stage = max(self.stage, stage)
        if self.stage >= Stage.MADE:
            self.tally, self.members = _NONE, set()


_NONE: Final = Tally(0)
_EARLY: Final = 60.0  # seconds that clocks may differ by: what was created longer before its moment is not our making
_KEPT: Final = 86_400.0  # seconds for which a clock may be set back, and no digest be opened again
_LONGEST_LIFE: Final = 8 * 86_400.0  # seconds after which a digest's event has come to its end, or was deleted
_UNKNOWN: Final = BatchFacts(known=False)


@dataclass(slots=True)
class _Entering:
    member: Member
    waiting: tuple[Waiting, ...]


class Batches(ShardFollower, Observer):
    """Knows the digests of this replica's shards."""

    def __init__(self, ledger: CooldownLedger) -> None:
        self._ledger = ledger
        self._all: dict[tuple[str, str], Batch] = {}
        self._open: dict[tuple[str, str], dict[str, Batch]] = {}
        self._entering: dict[str, _Entering] = {}
        self.opened = asyncio.Event()
        """Set whenever there is one more; whoever waits for it clears it."""

    def __len__(self) -> int:
        """Digests that wait to be made."""
        return sum(len(found) for found in self._open.values())

    @property
    def members(self) -> int:
        """Events that wait for a digest, once for each destination."""
        return sum(batch.tally.total for batch in self.open())

    @property
    def refused(self) -> int:
        """Digests that the API refuses to have made."""
        return sum(bool(batch.refusal) for batch in self.open())

    def open(self) -> Iterator[Batch]:
        """Digests that are not made yet."""
        for found in self._open.values():
            yield from found.values()

    def get(self, namespace: str, name: str) -> Batch | None:
        """The digest of this name."""
        return self._all.get((namespace, name))

    # ------------------------------------------------------------------ deciding

    def look(self, namespace: str, org: str) -> BatchFacts:
        """What is known for an event of this organisation."""
        if not self._ledger.opened(org):
            return _UNKNOWN
        found: dict[str, list[OpenDigest]] = {}
        for batch in self._open.get((namespace, org), {}).values():
            found.setdefault(batch.destination, []).append(OpenDigest(batch.name, batch.due, batch.fires))
        return BatchFacts(True, found, _Closed(self._all, namespace))

    # ------------------------------------------------------------------ members

    def enter(self, state: EventState, waiting: Sequence[Waiting]) -> None:
        """These were decided, and are about to be recorded: `recorded` or `abandon` follows."""
        assert state.event is not None  # noqa: S101  (it was decided a moment ago; tells mypy)
        severity = state.severity or state.event.severity
        if not waiting:
            return
        self._entering[state.uid] = _Entering(member_of(state.event, severity), tuple(waiting))
        for item in waiting:
            batch = self._batch(state.namespace, state.org, item.digest, item.destination, item.due, item.due)
            batch.entering.add(state.uid)

    def recorded(self, state: EventState) -> None:
        """Its status says so now: it counts."""
        entering = self._entering.pop(state.uid, None)
        if entering is None:
            return
        for item in entering.waiting:
            batch = self._all.get((state.namespace, item.digest))
            if batch is not None:
                batch.entering.discard(state.uid)
                batch.vouched = True
                _count(batch, state.uid, entering.member)

    def abandon(self, state: EventState) -> None:
        """What is not recorded by now is decided anew: nothing of it counts."""
        entering = self._entering.pop(state.uid, None)
        if entering is None:
            return
        state.batch = tuple(item for item in state.batch if item not in entering.waiting)
        for item in entering.waiting:
            batch = self._all.get((state.namespace, item.digest))
            if batch is not None:
                batch.entering.discard(state.uid)
                if not batch.entering and not batch.members and batch.stage is Stage.OPEN:
                    self._remove(batch)

    def closed(self, batch: Batch, stage: Stage) -> None:
        """A digest has come so far."""
        batch.close(stage)
        key = (batch.namespace, batch.org)
        found = self._open.get(key)
        if batch.stage >= Stage.MADE and found is not None:
            found.pop(batch.name, None)
            if not found:
                del self._open[key]

    def on_finished(self, state: EventState, summary: EventSummary, now: float) -> None:
        """See `Observer`."""
        if not self._all or (state.event is not None and not _tells(state.event)):
            return  # what has only its name is somebody else's
        batch = self._all.get((state.namespace, first_name(state.name)))
        if batch is not None and batch.stage is not Stage.OPEN and summary.reason is not Reason.NOT_DUE:
            self.closed(batch, Stage.FINISHED)
            batch.finished_at = now

    # ------------------------------------------------------------------ the past

    def fold(self, event: Event, now: float) -> None:
        """Take in what an event of the past says, in any order, each as often as it is met."""
        for record in event.status.batch or ():
            self._fold_member(event, record, now)
        notice = event.spec.notice
        if notice is None or not _tells(event) or event.status.reason is Reason.NOT_DUE:
            return
        due = notice.due.timestamp() if notice.due is not None else event.created
        if event.created < due - _EARLY:
            return
        name = first_name(event.name)
        batch = self._batch(event.namespace, event.spec.org_slug, name, notice.destination or "", due, due)
        batch.vouched = batch.vouched or bool(event.status.deliveries)
        self.closed(batch, Stage.FINISHED if event.status.finished else Stage.MADE)

    def _fold_member(self, event: Event, record: BatchRecord, now: float) -> None:
        try:
            due = epoch(record.due)
            decided = _decided(event)
        except ValueError:  # not written by us
            return
        fires = min(due, now + max(0.0, due - decided))
        batch = self._batch(event.namespace, event.spec.org_slug, record.digest, record.destination, due, fires)
        batch.vouched = True
        severity = event.status.severity or event.severity
        _count(batch, event.uid, member_of(event, severity))

    def _batch(self, namespace: str, org: str, name: str, destination: str, due: float, fires: float) -> Batch:
        batch = self._all.get((namespace, name))
        if batch is None:
            batch = Batch(namespace, name, destination, org, due, fires, tally=Tally(max_items_of(name)))
            self._all[namespace, name] = batch
            self._open.setdefault((namespace, org), {})[name] = batch
            self.opened.set()
        return batch

    def _remove(self, batch: Batch) -> None:
        self.closed(batch, Stage.FINISHED)
        self._all.pop((batch.namespace, batch.name), None)

    # ------------------------------------------------------------------ shards

    def on_shards_acquired(self, shards: Collection[int]) -> None:
        """See `ShardFollower`. What is remembered of them may be old; the pass over all events brings it anew."""
        self._forget(shards)

    def on_shards_released(self, shards: Collection[int]) -> None:
        """See `ShardFollower`."""
        self._forget(shards)

    def _forget(self, shards: Collection[int]) -> None:
        for batch in [batch for batch in self._all.values() if shard_of(batch.org) in shards]:
            self._remove(batch)

    # ------------------------------------------------------------------ keeping and forgetting

    def needs(self, event: Event) -> bool:
        """Whether a finished event is a member of a digest that has not come to its end."""
        found = (self._all.get((event.namespace, record.digest)) for record in event.status.batch or ())
        return any(batch is not None and batch.stage < Stage.FINISHED for batch in found)

    def forget(self, now: float) -> None:
        """Forget digests that came to their end long ago: nobody will ask for them any more."""
        for batch in list(self._all.values()):
            kept = _KEPT if batch.stage is Stage.FINISHED else _LONGEST_LIFE
            if batch.stage >= Stage.MADE and max(batch.fires, batch.finished_at) < now - kept:
                self._remove(batch)


@dataclass(frozen=True, slots=True)
class _Closed:
    """Names of digests that take nothing more."""

    known: dict[tuple[str, str], Batch]
    namespace: str

    def __contains__(self, name: object) -> bool:
        batch = self.known.get((self.namespace, name)) if isinstance(name, str) else None
        return batch is not None and batch.stage is not Stage.OPEN


def _tells(event: Event) -> bool:
    """Whether an event says that it is a digest."""
    return event.spec.notice is not None and event.spec.notice.kind is NoticeKind.DIGEST


def _count(batch: Batch, uid: str, member: Member) -> None:
    if batch.stage < Stage.MADE and uid not in batch.members:
        batch.members.add(uid)
        batch.tally.add(member)


def _decided(event: Event) -> float:
    """About when it was decided that this event waits, by the clock of whoever decided."""
    status = event.status
    if status.completion_time:
        return epoch(status.completion_time)
    conditions = status.conditions or []
    return epoch(conditions[0].last_transition_time) if conditions else event.created
