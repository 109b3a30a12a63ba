"""Something that happens once, and whoever waits for it.

Without locks that a thread could be interrupted in: a signal's handler may notify while the main thread is anywhere in
here, and so may a forked child. What looks unguarded is one operation of the interpreter each.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Latch:
    """Opens once, and stays open."""

    def __init__(self) -> None:
        self._turns = deque([True])
        self._closed = threading.Lock()
        self._closed.acquire()
        self._open = False
        self._callbacks: deque[Callable[[], object]] = deque()

    @property
    def is_open(self) -> bool:
        """Whether it happened."""
        return self._open

    def claim(self) -> bool:
        """True for the one who may bring it about; whoever gets it has to call `open`."""
        try:
            return self._turns.popleft()
        except IndexError:
            return False

    def open(self) -> None:
        """It happened: let everybody go on."""
        self._open = True
        self._closed.release()
        self._call()

    def wait(self, seconds: float) -> bool:
        """Block until it happened, at most `seconds`."""
        if self._open:
            return True
        if self._closed.acquire(timeout=min(max(seconds, 0.0), threading.TIMEOUT_MAX)):
            self._closed.release()
        return self._open

    def then(self, callback: Callable[[], object]) -> None:
        """Have `callback` called, in some thread, when it happened; at once when it did already."""
        self._callbacks.append(callback)
        if self._open:
            self._call()

    def _call(self) -> None:
        while True:
            try:
                callback = self._callbacks.popleft()
            except IndexError:
                return
            callback()
