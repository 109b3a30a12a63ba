"""The real clocks."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.kube.clock import ApiServerClock


class SystemClock:
    """This machine's clock; while it differs from the API server's by more than a minute, the time goes on steadily.

    A clock that is set wrong for a minute must not leave times behind that are wrong for days.
    """

    sleep = staticmethod(asyncio.sleep)

    def __init__(self, server: ApiServerClock | None = None, wall: Callable[[], float] = time.time) -> None:
        self._server, self._wall = server, wall

    def now(self) -> float:
        """Seconds since the epoch."""
        wall = self._wall()
        return wall if self._server is None or self._server.agrees(wall) else self._server.time()

    @property
    def trusted(self) -> bool:
        """Whether both clocks agree, so that anything may expire or be deleted."""
        return self._server is None or self._server.trusted


# A clock that runs on while the machine sleeps or the process is stopped, in seconds. Asked for some twenty times an
# event, so no function of ours stands before it.
boottime: Final[Callable[[], float]] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)
