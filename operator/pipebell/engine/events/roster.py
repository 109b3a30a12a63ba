"""Who is on the way, who waits for what, and who has arrived: the engine's memory of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipebell.core.shards import shard_of
from pipebell.core.versions import as_number
from pipebell.engine.events.bounds import Bounds
from pipebell.engine.events.state import Life

if TYPE_CHECKING:
    from collections.abc import Collection

    from pipebell.engine.events.state import EventState

REMEMBERED: Final = 50_000  # finished events whose late echoes must not start them again


class Roster:
    """EventStates by uid. A finished uid is remembered until the watch has said its last word about it."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self._active: dict[str, EventState] = {}
        self._finished: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._active)

    def __contains__(self, uid: str) -> bool:
        return uid in self._active or uid in self._finished

    def get(self, uid: str) -> EventState | None:
        """The state that is under way."""
        return self._active.get(uid)

    def active(self, namespace: str | None) -> list[str]:
        """Uids of the states that are under way, in one namespace or (None) in all."""
        return [uid for uid, state in self._active.items() if namespace in (None, state.namespace)]

    def add(self, state: EventState) -> None:
        """A state begins, by waiting for its turn."""
        self._active[state.uid] = state
        self.bounds.add(state.namespace, state.org)
        self.charge(state)

    def remove(self, state: EventState, *, forget_oldest: bool) -> None:
        """A state is over. `forget_oldest` bounds the memory of finished ones."""
        self.discard(state)
        self._finished[state.uid] = None
        if forget_oldest and len(self._finished) > REMEMBERED:
            del self._finished[next(iter(self._finished))]

    def discard(self, state: EventState) -> None:
        """An event is somebody else's to go on with: nothing of it is remembered."""
        self.release(state)
        if self._active.pop(state.uid, None) is not None:
            self.bounds.remove(state.namespace, state.org)

    def of_shards(self, shards: Collection[int]) -> list[EventState]:
        """EventStates under way of these shards' organisations."""
        return [state for state in self._active.values() if shard_of(state.org) in shards]

    def last_word(self, uid: str) -> None:
        """The watch will not speak of this event again."""
        self._finished.pop(uid, None)

    def charge(self, state: EventState) -> None:
        """It waits for its turn or to be woken; without the event itself, when those that wait hold too much.

        Those that wait to be woken leave half of the room to those that queue. What is read again anyway is not kept.
        """
        if state.payload_bytes:
            return
        if state.event is not None:
            share = 1.0 if state.life is Life.QUEUED else 0.5
            if self.bounds.hold(state.namespace, state.event.size, share=share):
                state.payload_bytes = state.event.size
                return
            state.event = None
        state.shrink()

    def refresh(self, read: EventState) -> None:
        """An event was read while it waits for its turn, when it was to be read again: once is enough.

        A start lists all that is unfinished twice, by the watch and by the pass: thousands of requests less.
        """
        state = self._active.get(read.uid)
        if state is None or read.event is None or state.event is not None or state.life is not Life.QUEUED:
            return
        if not state.unrecorded and as_number(read.resource_version) >= as_number(state.resource_version):
            state.renew(read.event)
            self.charge(state)

    def release(self, state: EventState) -> None:
        """It is being worked on, as only a few are at once."""
        if state.payload_bytes:
            self.bounds.release(state.namespace, state.payload_bytes)
            state.payload_bytes = 0

    def created_between(self, after: float, until: float) -> list[str]:
        """Uids of those created before the one time and not before the other (seconds since the epoch)."""
        return [uid for uid, state in self._active.items() if after <= state.created < until]
