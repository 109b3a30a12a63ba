"""What time it is at the API server."""

from __future__ import annotations

import time
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

TOLERANCE: Final = 60.0  # seconds between this machine's clock and the API server's beyond which neither is believed
_LONGEST_EXCHANGE: Final = 10.0  # seconds; an answer that took longer says little about when it was made
_EVERY: Final = 1.0  # seconds between two looks at an answer's date, which has no fractions anyway


class ApiServerClock:
    """The API server's clock, by the Date header (RFC 9110, 6.6.1) of its answers.

    Objects carry its time (`creationTimestamp`), so ages are right by this clock alone. `now` is this machine's clock,
    in seconds since the epoch; `steady` one that is never set: between two answers the server's time goes on by it, so
    that a jump of this machine's clock shows at once.
    """

    def __init__(self, now: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._now, self._steady = now, steady
        self._offset: float | None = None  # the server's time at 0 of `steady`
        self._agreed: float | None = None  # the time at 0 of `steady` when both clocks agreed last
        self._looked = -_EVERY

    def answered(self, date: str | None, began: float) -> None:
        """An answer that was asked for at `began`, by the steady clock, carries this Date."""
        ended = self._steady()
        if date is None or ended - self._looked < _EVERY or ended - began > _LONGEST_EXCHANGE:
            return
        moment = _seconds(date)
        if moment is None:
            return
        self._looked = ended
        self._offset = moment + 0.5 - (began + ended) / 2  # the header is rounded down to the second
        if self.trusted:
            self._agreed = self._now() - ended

    def time(self) -> float:
        """Seconds since the epoch, whichever clock has been set wrong: they go on from when both agreed last.

        While they never have, by the API server's clock; before its first answer by this machine's.
        """
        base = self._offset if self._agreed is None else self._agreed
        return self._now() if base is None else base + self._steady()

    @property
    def skew(self) -> float | None:
        """Seconds that this machine's clock is ahead of the API server's; None before its first answer."""
        return None if self._offset is None else self._now() - (self._offset + self._steady())

    @property
    def trusted(self) -> bool:
        """Whether both clocks agree well enough to expire or delete anything. True before the first answer."""
        return self.agrees(self._now())

    def agrees(self, now: float) -> bool:
        """The same, where this machine's clock has just been read. Asked for some twenty times an event."""
        offset = self._offset
        return offset is None or -TOLERANCE <= now - offset - self._steady() <= TOLERANCE

    @property
    def trouble(self) -> str | None:
        """What is wrong with the clocks, for people; None when all is well."""
        skew = self.skew
        if skew is None or abs(skew) <= TOLERANCE:
            return None
        side = "ahead of" if skew > 0 else "behind"
        return (
            f"this machine's clock is {abs(skew):.0f} s {side} the API server's: nothing expires and nothing is "
            "deleted until they agree (check NTP on the nodes)"
        )


def _seconds(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (TypeError, ValueError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
