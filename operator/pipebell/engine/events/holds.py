"""What silences and quiet hours hold back: which events wait for a catch-up, and which one has reported.

It is in memory, and is rebuilt from the events themselves at start and after a takeover.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pipebell.core.remembered import Remembered
from pipebell.core.shards import shard_of
from pipebell.core.silences.catch_up import Group, content_of, group_of
from pipebell.core.silences.quiet import LONGEST
from pipebell.core.status import CatchUpRecord, epoch, rfc3339
from pipebell.core.vocabulary import CatchUpMode, NoticeKind, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from pipebell.core.event import Event
    from pipebell.core.silences.hold import Hold
    from pipebell.core.silences.resource import Silence

REMEMBERED: Final = 20_000  # reported dues, so that none is reported twice
STEP: Final = 0.001  # seconds: as finely as times are written


@dataclass(slots=True)
class Pending:
    """What of one group is not reported yet: each time at which some of it is due, and when that is looked at next."""

    dues: dict[float, float] = field(default_factory=dict)
    modes: set[CatchUpMode] = field(default_factory=set)


def _no_silences(_namespace: str, _now: float) -> Sequence[Silence] | None:
    return ()


class Holds:
    """Which events are held back, in groups.

    `silences` says which silences may concern a namespace's events at this time (seconds since the epoch); None where
    nothing can be held back, for the served definitions could not say so.
    """

    def __init__(self) -> None:
        self.silences: Callable[[str, float], Sequence[Silence] | None] = _no_silences
        self.pending: dict[Group, Pending] = {}
        self._reported: Remembered[tuple[Group, float], str] = Remembered(REMEMBERED)
        self._open: dict[str, set[tuple[Group, float]]] = {}
        """Of catch-ups that are not finished: what they report, by their uid or (not met yet) their name."""
        self._under_way: Counter[Group] = Counter()
        self._followers: list[Callable[[], None]] = []

    def subscribe(self, follower: Callable[[], None]) -> None:
        """Call this when something more is held back. It must neither wait nor raise."""
        self._followers.append(follower)

    # ------------------------------------------------------------------ events

    def begin(self, namespace: str, org: str, hold: Hold) -> CatchUpRecord:
        """An event is about to be recorded as held back; `end` must follow. What its status says of that.

        What was reported already is not reported again: the same silence, made anew, begins something new.
        """
        return self.again(namespace, org, hold.record())

    def again(self, namespace: str, org: str, record: CatchUpRecord) -> CatchUpRecord:
        """The same for what could not be recorded before: what was due meanwhile was reported without it."""
        group, due = Group(namespace, org, record.by), round(epoch(record.due), 3)
        while self.reported_in(group, due) is not None:
            due = round(due + STEP, 3)
        self._under_way[group] += 1
        return record.model_copy(update={"due": rfc3339(due)})

    def recorded(self, namespace: str, org: str, record: CatchUpRecord) -> None:
        """Its status says that it is held back."""
        self._add(Group(namespace, org, record.by), epoch(record.due), record.mode, None)

    def end(self, namespace: str, org: str, record: CatchUpRecord) -> None:
        """Nobody tries to record it any more."""
        group = Group(namespace, org, record.by)
        self._under_way[group] -= 1
        if not self._under_way[group]:
            del self._under_way[group]

    def busy(self, group: Group) -> bool:
        """Whether events are being recorded that belong to it."""
        return group in self._under_way

    def fold(self, event: Event, now: float) -> None:
        """An event of the past, as a pass over all of them meets it."""
        found = group_of(event)
        if found is not None and event.status.catch_up is not None:
            self._add(*found, event.status.catch_up.mode, now)
            return
        notice = event.spec.notice
        if notice is not None and notice.kind is NoticeKind.CATCH_UP and event.status.finished:
            self.reported_by(event)

    def _add(self, group: Group, due: float, mode: CatchUpMode, now: float | None) -> None:
        due = round(due, 3)
        if self.reported_in(group, due) is not None:
            return
        pending = self.pending.get(group)
        if pending is None:
            pending = self.pending[group] = Pending()
        pending.modes.add(mode)
        if due not in pending.dues:
            # A time farther away than any quiet hours last was written by a clock that was wrong.
            pending.dues[due] = due if now is None else min(due, now + LONGEST.total_seconds())
            for follower in self._followers:
                follower()

    # ------------------------------------------------------------------ catch-ups

    def reported_by(self, event: Event) -> bool:
        """Note what this catch-up reports. False for an event that is none."""
        said = content_of(event.spec.notice.content if event.spec.notice is not None else None)
        if said is None or event.status.reason is Reason.NOT_DUE:
            return False
        self.reported(
            Group(event.namespace, event.spec.org_slug, said.by), said.dues, event.name, finished=event.status.finished
        )
        return True

    def reported(self, group: Group, dues: Iterable[float], name: str, *, finished: bool) -> None:
        """The catch-up `name` reports these dues of a group; "" where there was nothing to report."""
        for due in dues:
            self._reported.put(group.namespace, (group, round(due, 3)), name)
            pending = self.pending.get(group)
            if pending is not None:
                pending.dues.pop(round(due, 3), None)
                if not pending.dues:
                    del self.pending[group]
            if finished:
                self._open.get(name, set()).discard((group, round(due, 3)))
            else:
                self._open.setdefault(name, set()).add((group, round(due, 3)))
        if not self._open.get(name, True):
            del self._open[name]

    def finished(self, namespace: str, name: str) -> None:
        """A catch-up has come to its end: nothing of what it reported is needed any more."""
        for entry in [entry for entry in self._open.get(name, ()) if entry[0].namespace == namespace]:
            self._open[name].discard(entry)
        if not self._open.get(name, True):
            del self._open[name]

    def reported_in(self, group: Group, due: float) -> str | None:
        """The name of the catch-up that reports this; None while none does."""
        return self._reported.get(group.namespace, (group, round(due, 3)))

    def needs(self, event: Event) -> bool:
        """Whether a held event is not reported yet, or its catch-up is not finished."""
        found = group_of(event)
        if found is None:
            return False
        group, due = found[0], round(found[1], 3)
        pending = self.pending.get(group)
        if pending is not None and due in pending.dues:
            return True
        name = self.reported_in(group, due)
        return name is not None and (group, due) in self._open.get(name, ())

    def reported_with(self, event: Event) -> tuple[tuple[Group, float], ...]:
        """The group and due that a held event is reported with; nothing for any other."""
        found = group_of(event)
        return ((found[0], round(found[1], 3)),) if found is not None else ()

    def members(self, event: Event) -> frozenset[tuple[Group, float]]:
        """The groups and dues that a catch-up reports; nothing for any other event."""
        notice = event.spec.notice
        said = content_of(notice.content) if notice is not None and notice.kind is NoticeKind.CATCH_UP else None
        if said is None:
            return frozenset()
        group = Group(event.namespace, event.spec.org_slug, said.by)
        return frozenset((group, round(due, 3)) for due in said.dues)

    def groups(self) -> Iterator[tuple[Group, Pending]]:
        """Groups that are not reported yet."""
        return iter(list(self.pending.items()))

    # ------------------------------------------------------------------ sharing

    def release(self, shards: Collection[int]) -> None:
        """These organisations are another replica's now, or are about to be read anew."""
        for group in [group for group in self.pending if shard_of(group.org) in shards]:
            del self.pending[group]
        for namespace, entry in self._reported:
            if shard_of(entry[0].org) in shards:
                name = self._reported.pop(namespace, entry)
                self._open.get(name or "", set()).discard(entry)
