"""One call under way: whoever makes it waits for it here, and the threads that carry it end it here."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from pipebell.sdk.delivery import State, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.sdk.record import Record

_MARGIN: Final = 0.2  # the part of a call's timeout that is reserved for the disk


class Call:
    """One call under way. It ends once: sent, rejected, on disk, or lost."""

    def __init__(self, record: Record, timeout: float) -> None:
        self.record = record
        self.timeout = timeout
        self.deadline = time.monotonic() + timeout * (1 - _MARGIN)
        self.verdict = Verdict(State.PENDING, "not finished within the timeout")
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._then: list[Callable[[], object]] = []

    @property
    def ended(self) -> bool:
        """Whether the outcome is known."""
        return self._ended.is_set()

    def end(self, verdict: Verdict) -> bool:
        """The outcome; false when there was one already."""
        with self._lock:
            if self._ended.is_set():
                return False
            self.verdict = verdict
            self._ended.set()
        for callback in self._then:
            callback()
        return True

    def wait(self, seconds: float) -> bool:
        """Block until it ended, so many seconds at most."""
        return self._ended.wait(max(seconds, 0))

    def then(self, callback: Callable[[], object]) -> None:
        """Have `callback` called, in some thread, when it ended; at once when it did already."""
        with self._lock:
            if not self._ended.is_set():
                self._then.append(callback)
                return
        callback()
