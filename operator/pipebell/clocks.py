"""The real clocks."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.kube.clock import ApiServerClock


_BOOTTIME: Final = getattr(time, "CLOCK_BOOTTIME", None)  # Linux has it


class SystemClock:
    """This machine's clock; while it differs from the API server's by more than a minute, the time goes on steadily.

    A clock that is set wrong for a minute must not leave times behind that are wrong for days.
    """

    sleep = staticmethod(asyncio.sleep)

    def __init__(self, server: ApiServerClock | None = None, wall: Callable[[], float] = time.time) -> None:
        self._server, self._wall = server, wall

    def now(self) -> float:
        """Seconds since the epoch."""
        if self._server is None or self._server.trusted:
            return self._wall()
        return self._server.time()

    @property
    def trusted(self) -> bool:
        """Whether both clocks agree, so that anything may expire or be deleted."""
        return self._server is None or self._server.trusted


def boottime() -> float:
    """Seconds of a clock that runs on while the machine sleeps or the process is stopped."""
    return time.clock_gettime(_BOOTTIME) if _BOOTTIME is not None else time.monotonic()
