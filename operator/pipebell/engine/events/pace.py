"""How fast an endpoint is asked: as its vendor says; one that is busy, by what it accepted, and slowly faster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pipebell.core.destinations.base import Rate

FIRST_RATE: Final = 1.0  # messages a second after a pause of which nothing else is known
FASTER: Final = 0.7  # each further interval is this part of the previous one, up to the ceiling
BELOW: Final = 0.85  # the part of the rate found out that is kept to
SLOWEST: Final = 1 / 60
TOP: Final = 200.0  # a second: no pace at all
HOLD: Final = 60.0  # seconds without a refusal until the ceiling is raised,
RAISE_EVERY: Final = 30.0  # and then every so often
RAISE_BY: Final = 1.25
_BURST: Final = 2  # accepted in a second: from here on that says something about the endpoint


@dataclass(slots=True)
class Flow:
    """How many messages an endpoint took of late: windows of a second, each begun by a message."""

    began: float = float("-inf")
    taken: int = 0
    before: int = 0

    def count(self, now: float) -> None:
        """One more was taken."""
        if now - self.began >= 1.0:
            self.before = self.taken if now - self.began < 2.0 else 0  # noqa: PLR2004  (the window right before this)
            self.began, self.taken = now, 0
        self.taken += 1

    def rate(self, now: float) -> float:
        """Messages a second, by the last second or two."""
        age = now - self.began
        if age >= 2.0:  # noqa: PLR2004  (the same)
            return 0.0
        return float(self.taken if age >= 1.0 else max(self.taken, self.before))

    def recent(self, now: float) -> bool:
        """Whether it is of any use still."""
        return now - self.began < HOLD


@dataclass(slots=True)
class Limit:
    """A rate that is kept from the beginning: some messages at once, then a number a second.

    `full_until` is when as many messages may go at once as at the beginning (seconds since the epoch).
    """

    rate: Rate
    full_until: float = 0.0

    def next_at(self, now: float) -> float:
        """From when on one more may go (seconds since the epoch). A clock that was set back keeps nobody waiting."""
        each = 1 / self.rate.per_second
        longest = now + self.rate.burst * each
        self.full_until = min(self.full_until, longest)
        return self.full_until - (self.rate.burst - 1) * each

    def take(self, now: float) -> None:
        """One goes now."""
        self.full_until = max(self.full_until, now) + 1 / self.rate.per_second


class Pace:
    """When the next message may go (`next_at`, seconds since the epoch). Starts slowly after each pause."""

    def __init__(self, rate: float = FIRST_RATE) -> None:
        self.next_at = 0.0
        self._rate = rate
        self._ceiling: float | None = None
        self._raise_at = 0.0

    def first_refusal(self, accepted: float, now: float) -> None:
        """The endpoint refused for the first time, having accepted this many a second before."""
        if accepted >= _BURST:
            self._bound(accepted, now)

    def refused(self, accepted: float, now: float) -> None:
        """It refused again, having accepted some at this pace."""
        self._bound(min(accepted, self._rate) if accepted else self._rate, now)

    def start(self, now: float) -> None:
        """It accepted the first one after a pause."""
        ceiling = self._ceiling
        self._rate = FIRST_RATE if ceiling is None else min(max(FIRST_RATE, ceiling / 2), ceiling)
        self.next_at = now + 1 / self._rate

    def step(self, now: float) -> None:
        """One message goes now."""
        self._raise(now)
        self.next_at = now + 1 / self._rate
        self._rate = min(self._rate / FASTER, TOP if self._ceiling is None else self._ceiling)

    def recovered(self, now: float) -> bool:
        """Whether the endpoint takes as much as comes."""
        self._raise(now)
        return self._ceiling is None and (self._rate >= TOP or now - self.next_at > HOLD)

    def _bound(self, rate: float, now: float) -> None:
        self._ceiling = max(rate * BELOW, SLOWEST)
        self._raise_at = now + HOLD

    def _raise(self, now: float) -> None:
        while self._ceiling is not None and now >= self._raise_at:
            self._ceiling *= RAISE_BY
            self._raise_at += RAISE_EVERY
            if self._ceiling >= TOP:
                self._ceiling = None
