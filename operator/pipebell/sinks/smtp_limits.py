"""How a mail server throttles: rates, connections, recipients, errors and greylisting, as providers' servers do it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Stage = Literal["connect", "login", "mail", "rcpt", "data"]


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` within any `seconds`; more are answered with `status` at this stage.

    `counts_refused`: those refused count as well, as Postfix's anvil does it; a client that goes on asking never gets
    through.
    """

    count: int
    seconds: float = 1.0
    status: str = "454 Throttling failure: Maximum sending rate exceeded."
    at: Stage = "data"
    counts_refused: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server puts up with; None for no limit.

    rate: as SES has it by default.
    connections: how many at a time; `connections_status` at the stage `connections_at` for those opened beyond them.
    recipients: in one transaction; 452 4.5.3 for those beyond.
    errors: refused commands on one connection, then 421 (Postfix's smtpd_hard_error_limit).
    greylist: seconds from the first time that a recipient is named until it is taken.
    """

    rate: Rate | None = None
    connections: int | None = None
    connections_status: str = "432 4.3.2 Concurrent connections limit exceeded."
    connections_at: Stage = "connect"
    recipients: int | None = None
    errors: int | None = None
    greylist: float | None = None


UNLIMITED: Final = Limits()
TOO_MANY_RECIPIENTS: Final = "452 4.5.3 Too many recipients"
TOO_MANY_ERRORS: Final = "421 4.7.0 Error: too many errors"
GREYLISTED: Final = "450 4.2.0 Recipient address rejected: Greylisted"


class Throttle:
    """The state of these limits. `now` is seconds of any clock that runs steadily."""

    def __init__(self, limits: Limits, now: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._now = now
        self._times: deque[float] = deque()
        self._first_named: dict[str, float] = {}

    def too_fast(self, stage: Stage) -> str | None:
        """The refusal if this message at this stage is beyond the rate; else it counts."""
        rate = self.limits.rate
        if rate is None or rate.at != stage:
            return None
        now = self._now()
        while self._times and self._times[0] <= now - rate.seconds:
            self._times.popleft()
        refused = len(self._times) >= rate.count
        if not refused or rate.counts_refused:
            self._times.append(now)
        return rate.status if refused else None

    def crowded(self, stage: Stage, before: int) -> str | None:
        """The refusal of a connection while `before` older ones are open."""
        limits = self.limits
        if limits.connections is None or stage != limits.connections_at or before < limits.connections:
            return None
        return limits.connections_status

    def greylisted(self, recipient: str) -> str | None:
        """The refusal of a recipient that was not named long enough ago."""
        if self.limits.greylist is None:
            return None
        now = self._now()
        first = self._first_named.setdefault(recipient.lower(), now)
        return GREYLISTED if now - first < self.limits.greylist else None
