"""One call under way: whoever makes it waits for it here, and the threads that carry it end it here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from pipebell.sdk.delivery import SendResult, State
from pipebell.sdk.latch import Latch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipebell.sdk.record import Draft, Record

_READING: Final = 0.4  # the part of a call's timeout that reading its arguments may take
_SENDING: Final = 0.8  # the part after which it goes to disk


class Call:
    """One call under way. It is ready once its arguments are read, and ends once: sent, rejected, on disk, or lost.

    `timeout` is in seconds, from now.
    """

    def __init__(self, draft: Draft, timeout: float) -> None:
        self.draft, self.timeout = draft, timeout
        began = time.monotonic()
        self.ready_by, self.deadline = began + timeout * _READING, began + timeout * _SENDING
        self.over = began + timeout
        self.result = SendResult(State.PENDING, "not finished within the timeout")
        self.sent = False  # also when it ended on disk before
        self.path: Path | None = None  # where it is on disk
        self._record: Record | None = None
        self._ready, self._end = Latch(), Latch()

    @property
    def record(self) -> Record:
        """The event; what could not be read in time is named by its type."""
        self.hurry()
        assert self._record is not None  # noqa: S101  (whoever claims it sets it)
        return self._record

    @property
    def ready(self) -> bool:
        """Whether its arguments are read."""
        return self._ready.is_open

    @property
    def ended(self) -> bool:
        """Whether the outcome is known."""
        return self._end.is_open

    def read(self) -> bool:
        """Read the arguments, however long that takes; false when nobody waited for it."""
        record = self.draft.read()
        return self._have(record)

    def hurry(self) -> bool:
        """Do without what is not read yet; false when all was."""
        if self._ready.is_open:
            return False
        if self._have(self.draft.skim()):
            return True
        self._ready.wait(1.0)  # somebody else is setting it at this moment
        return False

    def _have(self, record: Record) -> bool:
        if not self._ready.claim():
            return False
        self._record = record
        self._ready.open()
        return True

    def end(self, result: SendResult) -> bool:
        """The outcome; false when there was one already."""
        if not self._end.claim():
            return False
        self.result = result
        self._end.open()
        return True

    def wait(self, until: float) -> bool:
        """Block until it ended, or until the monotonic clock says `until`."""
        return self._end.wait(until - time.monotonic())

    def then(self, callback: Callable[[], object]) -> None:
        """Have `callback` called, in some thread, when it ended; at once when it did already."""
        self._end.then(callback)
