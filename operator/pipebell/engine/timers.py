"""Things to do later, on the injected clock: one heap, one task."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.engine.ports import Clock


async def wait_for(event: asyncio.Event, clock: Clock, seconds: float) -> None:
    """Wait for the event, so many seconds of the injected clock at most."""
    ways = {asyncio.ensure_future(clock.sleep(seconds)), asyncio.ensure_future(event.wait())}
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:  # a cancelled `wait` leaves both running, and the operator would wait for them when it is to end
        for way in ways:
            way.cancel()


class Timers:
    """Calls back at given times (seconds since the epoch), never early; a callback must not raise."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._sooner = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call back at `when`, or as soon as possible when that is past."""
        if self._closed:
            return
        heapq.heappush(self._heap, (when, next(self._order), call))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        elif self._heap[0][0] == when:
            self._sooner.set()

    async def _run(self) -> None:
        while True:
            while self._heap and self._heap[0][0] <= self._clock.now():
                heapq.heappop(self._heap)[2]()
            self._sooner.clear()
            if not self._heap:
                await self._sooner.wait()
                continue
            # Woken at least once a minute: a wall clock that was set forward must not delay a retry.
            await wait_for(self._sooner, self._clock, min(self._heap[0][0] - self._clock.now(), 60.0))

    def close(self) -> None:
        """Forget everything, and take nothing more."""
        self._closed = True
        self._heap.clear()
        if self._task is not None:
            self._task.cancel()
            self._task = None
