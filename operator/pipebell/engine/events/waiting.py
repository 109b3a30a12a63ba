"""The waiting room: which events wait for what, and when they are woken at the latest.

Events that wait hold no slot. Whoever changes what they wait for wakes them by its key; they decide anew then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.engine.events.keys import Config, Key
from pipebell.engine.timers import Deadlines

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.core.ports import Clock
    from pipebell.engine.events.state import EventState


class WaitingRoom:
    """Who waits, by key, in the order in which they came. `wake` gets the uids of those who need not wait any more.

    One who was woken keeps its place until it has decided what it waits for now.
    """

    def __init__(self, clock: Clock, wake: Callable[[str], None]) -> None:
        self._wake = wake
        self._by_key: dict[Key, dict[str, None]] = {}
        self._deadlines = Deadlines(clock, wake)

    @property
    def deadlines(self) -> int:
        """Events that are woken at a certain time."""
        return len(self._deadlines)

    def join(self, state: EventState, key: Key) -> None:
        """Wait for this too."""
        if key not in state.waits:
            state.waits = (*state.waits, key)
            self._by_key.setdefault(key, {})[state.uid] = None

    def wait(self, state: EventState, *keys: Key, until: float | None = None) -> None:
        """Wait for these keys and nothing else; `until` (seconds since the epoch) at the latest."""
        for key in state.waits:
            if key not in keys:
                self._remove(state.uid, key)
        for key in keys:
            if key not in state.waits:
                self._by_key.setdefault(key, {})[state.uid] = None
        state.waits = keys
        self._deadlines.set(state.uid, until)

    def leave(self, state: EventState) -> None:
        """Wait for nothing."""
        for key in state.waits:
            self._remove(state.uid, key)
        state.waits = ()
        self._deadlines.set(state.uid, None)

    def wake(self, key: Key) -> None:
        """Wake everybody who waits for this, in order."""
        for uid in list(self._by_key.get(key, ())):
            self._wake(uid)

    def wake_configs(self, org: str | None) -> None:
        """Wake everybody who waits for a configuration of this organisation in any namespace, or (None) for any."""
        for key in [key for key in self._by_key if isinstance(key, Config) and org in (None, key.org)]:
            self.wake(key)

    def first(self, key: Key) -> str | None:
        """Who has waited longest for this."""
        return next(iter(self._by_key.get(key, ())), None)

    def close(self) -> None:
        """Wake nobody any more at a certain time."""
        self._deadlines.close()

    def _remove(self, uid: str, key: Key) -> None:
        waiting = self._by_key.get(key)
        if waiting is not None:
            waiting.pop(uid, None)
            if not waiting:
                del self._by_key[key]
