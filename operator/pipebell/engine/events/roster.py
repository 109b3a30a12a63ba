"""Who is on the way, who waits for what, and who has arrived: the engine's memory of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipebell.core.shards import shard_of
from pipebell.engine.events.state import Life

if TYPE_CHECKING:
    from collections.abc import Collection

    from pipebell.engine.events.state import EventState


HELD: Final = 64 << 20  # bytes of waiting events; beyond these, they stay in memory as identities only
REMEMBERED: Final = 50_000  # finished events whose late echoes must not start them again


class Roster:
    """EventStates by uid. A finished uid is remembered until the watch has said its last word about it."""

    def __init__(self) -> None:
        self._active: dict[str, EventState] = {}
        self._finished: dict[str, None] = {}
        self._held = 0

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
        self.rest(state)

    def remove(self, state: EventState, *, forget_oldest: bool) -> None:
        """A state is over. `forget_oldest` bounds the memory of finished ones."""
        self.discard(state)
        self._finished[state.uid] = None
        if forget_oldest and len(self._finished) > REMEMBERED:
            del self._finished[next(iter(self._finished))]

    def discard(self, state: EventState) -> None:
        """An event is somebody else's to go on with: nothing of it is remembered."""
        self.work(state)
        self._active.pop(state.uid, None)

    def of_shards(self, shards: Collection[int]) -> list[EventState]:
        """EventStates under way of these shards' organisations."""
        return [state for state in self._active.values() if shard_of(state.org) in shards]

    def last_word(self, uid: str) -> None:
        """The watch will not speak of this event again."""
        self._finished.pop(uid, None)

    def rest(self, state: EventState) -> None:
        """It waits for its turn or to be woken; without the event itself, when those that wait hold too much.

        Those that wait to be woken leave half of the room to those that queue.
        """
        if state.payload_bytes or state.event is None:
            return
        if self._held + state.event.size > (HELD if state.life is Life.QUEUED else HELD // 2):
            state.event = None
            return
        state.payload_bytes = state.event.size
        self._held += state.payload_bytes

    def work(self, state: EventState) -> None:
        """It is being worked on, as only a few are at once."""
        self._held -= state.payload_bytes
        state.payload_bytes = 0

    def created_between(self, after: float, until: float) -> list[str]:
        """Uids of those created after the one and not after the other (seconds since the epoch)."""
        return [uid for uid, state in self._active.items() if after < state.created <= until]
