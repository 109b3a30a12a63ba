"""Things to do later, on the injected clock: one heap and one task for each kind of them."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.core.ports import Clock

_SLACK: Final = 64  # entries that were replaced and may stay in a heap, beyond as many as count


async def wait_for(event: asyncio.Event, clock: Clock, seconds: float) -> None:
    """Wait for the event, `seconds` of the injected clock at most."""
    ways = {asyncio.ensure_future(clock.sleep(seconds)), asyncio.ensure_future(event.wait())}
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:  # a cancelled `wait` leaves both running, and the operator would wait for them when it is to end
        for way in ways:
            way.cancel()


class _Alarm:
    """Calls `_fire` when the first time of a heap has come.

    It looks at least once a minute: a wall clock that was set forward must not delay a retry.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sooner = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def _first(self) -> float | None:
        raise NotImplementedError

    def _fire(self) -> None:
        raise NotImplementedError

    def _arm(self, when: float) -> None:
        """A time was added."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        elif self._first() == when:
            self._sooner.set()

    async def _run(self) -> None:
        while True:
            while (first := self._first()) is not None and first <= self._clock.now():
                self._fire()
            self._sooner.clear()
            if first is None:
                await self._sooner.wait()
            else:
                await wait_for(self._sooner, self._clock, min(first - self._clock.now(), 60.0))

    def close(self) -> None:
        """Call nobody back any more."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            self._task = None


class Timers(_Alarm):
    """Calls back at given times (seconds since the epoch), never early; a callback must not raise."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call back at `when`, or as soon as possible when that is past."""
        if not self._closed:
            heapq.heappush(self._heap, (when, next(self._order), call))
            self._arm(when)

    def _first(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def _fire(self) -> None:
        heapq.heappop(self._heap)[2]()


class Deadlines(_Alarm):
    """One time for each name, at which `call` gets the name; setting it again replaces it. `call` must not raise."""

    def __init__(self, clock: Clock, call: Callable[[str], None]) -> None:
        super().__init__(clock)
        self._call = call
        self._when: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._when)

    def set(self, name: str, when: float | None) -> None:
        """Call back for `name` at `when` (seconds since the epoch) and at no other time; never when that is None."""
        if self._closed or when == self._when.get(name):
            return
        if when is None:
            del self._when[name]
            return
        self._when[name] = when
        if len(self._heap) > 2 * len(self._when) + _SLACK:
            self._heap = [(at, who) for who, at in self._when.items()]
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, (when, name))
        self._arm(when)

    def _first(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def _fire(self) -> None:
        when, name = heapq.heappop(self._heap)
        if self._when.get(name) == when:  # else it was replaced
            del self._when[name]
            self._call(name)
