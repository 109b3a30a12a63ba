"""Endpoints that asked to be left alone: one probe goes first afterwards, then a paced release."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from pipebell.engine.timers import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from pipebell.engine.ports import Clock

FIRST_INTERVAL: Final = 1.0  # seconds between the first two releases after the probe
FASTER: Final = 0.7  # each further release comes after this part of the previous interval
LAST_INTERVAL: Final = 0.005
PROBE_PATIENCE: Final = 90.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Pause:
    until: float
    waiting: OrderedDict[str, None] = field(default_factory=OrderedDict)
    passes: set[str] = field(default_factory=set)
    probed: asyncio.Event = field(default_factory=asyncio.Event)
    renewed: bool = False


class EndpointPauses:
    """Says who may go to a paused endpoint, and wakes those who wait, by uid."""

    def __init__(self, clock: Clock, wake: Callable[[str], None]) -> None:
        self._clock, self._wake = clock, wake
        self._pauses: dict[Hashable, _Pause] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._pauses)

    def admit(self, endpoint: Hashable, uid: str) -> float | None:
        """None: go. A time (seconds since the epoch): wait, you will be woken; not before that time."""
        pause = self._pauses.get(endpoint)
        if pause is None:
            return None
        if uid in pause.passes:
            pause.passes.discard(uid)
            return None
        pause.waiting[uid] = None
        return max(pause.until, self._clock.now())

    def pause(self, endpoint: Hashable, uid: str, until: float) -> None:
        """The endpoint asked for a pause; `uid` is the event that was refused, and the first to go again."""
        if self._closed:
            return
        pause = self._pauses.get(endpoint)
        if pause is None:
            pause = self._pauses[endpoint] = _Pause(until)
            task = asyncio.create_task(self._recover(endpoint, pause))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            pause.until = max(pause.until, until)
            pause.renewed = True
            pause.probed.set()
        pause.waiting[uid] = None
        pause.waiting.move_to_end(uid, last=False)

    def answered(self, endpoint: Hashable) -> None:
        """The endpoint answered an attempt, with anything but a request for a pause."""
        pause = self._pauses.get(endpoint)
        if pause is not None:
            pause.probed.set()

    def forfeited(self, endpoint: Hashable) -> None:
        """An attempt that was to go there was not made: if it was the probe, the next one in the row is."""
        pause = self._pauses.get(endpoint)
        if pause is not None:
            pause.renewed = True
            pause.probed.set()

    def forget(self, uid: str) -> None:
        """This event does not wait any more."""
        for endpoint, pause in self._pauses.items():
            pause.waiting.pop(uid, None)
            if uid in pause.passes:
                pause.passes.discard(uid)
                self.forfeited(endpoint)

    async def _recover(self, endpoint: Hashable, pause: _Pause) -> None:
        interval = 0.0
        while pause.waiting:
            pause.renewed = False
            if (rest := pause.until - self._clock.now()) > 0:
                await self._clock.sleep(rest)
                continue
            pause.probed.clear()
            uid, _ = pause.waiting.popitem(last=False)
            pause.passes.add(uid)
            self._wake(uid)
            if not interval:  # the probe: its answer decides
                await self._answer(pause)
                interval = 0.0 if pause.renewed else FIRST_INTERVAL
                continue
            await self._clock.sleep(interval)
            interval = 0.0 if pause.renewed else max(interval * FASTER, LAST_INTERVAL)
        del self._pauses[endpoint]

    async def _answer(self, pause: _Pause) -> None:
        await wait_for(pause.probed, self._clock, PROBE_PATIENCE)

    def close(self) -> None:
        """Stop waking anybody."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        self._pauses.clear()
