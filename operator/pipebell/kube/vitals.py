"""What the answers of the API server say about it and about us: whether it knows us, and what time it is there."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from pipebell.kube.clock import ApiServerClock

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSED: Final = 15.0  # seconds of nothing but 401 after which it is no rotation of the token any more
RETURNING: Final = 30.0  # seconds after a broken connection in which the API server may not know all rights yet


class Vitals:
    """Hears of each answer. `steady` is a clock that is never set, in seconds; `now` this machine's."""

    def __init__(self, now: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self.clock = ApiServerClock(now, steady)
        self._steady = steady
        self._refused_since: float | None = None
        self._broken_at: float | None = None

    def begin(self) -> float:
        """The moment that a request begins, for `answered`."""
        return self._steady()

    def answered(self, status: int, date: str | None, began: float) -> None:
        """A request that began then was answered by this HTTP status, and with this Date header."""
        if status == HTTPStatus.UNAUTHORIZED:
            if self._refused_since is None:
                self._refused_since = self._steady()
        elif status < HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.TOO_MANY_REQUESTS:
            self._refused_since = None
        self.clock.answered(date, began)

    def broken(self) -> None:
        """A connection broke, or could not be made."""
        self._broken_at = self._steady()

    @property
    def returning(self) -> bool:
        """Whether the API server may have just started: until it has read all roles, it forbids what is allowed."""
        return self._broken_at is not None and self._steady() - self._broken_at < RETURNING

    @property
    def trouble(self) -> str | None:
        """Why the API server does not take our requests, or why its time is not known; None when all is well."""
        if self._refused_since is not None and (lasted := self._steady() - self._refused_since) >= REFUSED:
            return (
                f"the API server has not accepted the operator's credential for {lasted:.0f} s (401): "
                "check the ServiceAccount and its token"
            )
        return self.clock.trouble
