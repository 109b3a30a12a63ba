"""The fair queue: organisations take turns, so that one's flood does not hold up another's single event."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Item = TypeVar("Item")


class _Lane(Generic[Item]):
    """One organisation's items: urgent ones (retries, a sender's next step) go before those that may wait."""

    __slots__ = ("normal", "running", "urgent")

    def __init__(self) -> None:
        self.urgent: deque[Item] = deque()
        self.normal: deque[Item] = deque()
        self.running = 0

    def __len__(self) -> int:
        return len(self.urgent) + len(self.normal)

    def pop(self) -> Item:
        return (self.urgent or self.normal).popleft()


class FairQueue(Generic[Item]):
    """Runs `work(item)` for queued items: at most `slots` at once, `slots_per_lane` of one lane; lanes take turns."""

    def __init__(self, work: Callable[[Item], Awaitable[None]], *, slots: int = 2048, slots_per_lane: int = 16) -> None:
        self._work = work
        self._slots, self._slots_per_lane = slots, slots_per_lane
        self._lanes: dict[str, _Lane[Item]] = {}
        self._turns: deque[str] = deque()
        self._waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._moved = time.monotonic()

    @property
    def stuck(self) -> float:
        """Seconds in which items waited and none began or ended; no attempt takes minutes."""
        return time.monotonic() - self._moved if self._waiting else 0.0

    @property
    def depth(self) -> int:
        """Items that wait for a slot."""
        return self._waiting

    @property
    def running(self) -> int:
        """Items that are being worked on."""
        return len(self._tasks)

    def put(self, lane: str, item: Item, *, urgent: bool = False) -> None:
        """Queue an item in a lane."""
        if self._closed:
            return
        queue = self._lanes.get(lane)
        if queue is None:
            queue = self._lanes[lane] = _Lane()
        if not len(queue) and queue.running < self._slots_per_lane:
            self._turns.append(lane)
        (queue.urgent if urgent else queue.normal).append(item)
        if not self._waiting:
            self._moved = time.monotonic()
        self._waiting += 1
        self._idle.clear()
        self._pump()

    def _pump(self) -> None:
        """Start what may start. A lane stands in `_turns` exactly while it has items and a free slot of its own."""
        while self._turns and len(self._tasks) < self._slots:
            name = self._turns.popleft()
            lane = self._lanes[name]
            item = lane.pop()
            self._waiting -= 1
            lane.running += 1
            self._moved = time.monotonic()
            if len(lane) and lane.running < self._slots_per_lane:
                self._turns.append(name)
            task = asyncio.create_task(self._run(name, lane, item))
            self._tasks.add(task)

    async def _run(self, name: str, lane: _Lane[Item], item: Item) -> None:
        try:
            await self._work(item)
        finally:
            task = asyncio.current_task()
            if task is not None:
                self._tasks.discard(task)
            lane.running -= 1
            self._moved = time.monotonic()
            if len(lane) and lane.running == self._slots_per_lane - 1:
                self._turns.append(name)
            elif not len(lane) and not lane.running:
                self._lanes.pop(name, None)
            if not self._closed:
                self._pump()
            if not self._tasks and not self._waiting:
                self._idle.set()

    async def drained(self) -> None:
        """Wait until nothing waits and nothing runs."""
        await self._idle.wait()

    async def close(self, patience: float) -> int:
        """Start nothing more; let what runs finish for so many seconds, then cancel. Returns how many were cut off."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=patience)
        left = set(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return len(left)
