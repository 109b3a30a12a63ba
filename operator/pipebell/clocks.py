"""The real clocks."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """The real time."""

    now = staticmethod(time.time)
    sleep = staticmethod(asyncio.sleep)


def boottime() -> float:
    """Seconds of a clock that runs on while the machine sleeps or the process is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
