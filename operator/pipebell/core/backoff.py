"""When a failed delivery is tried again, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_ELAPSED_SECONDS: Final = 3600  # where nothing else bounds the attempts
LEAST_DELAY: Final = 1.0  # seconds between two attempts, where their number is not bounded


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Attempt 1 at once, 2 after the initial delay, then doubling, capped. All times in seconds.

    `max_attempts` None: as many as fit into `max_elapsed_seconds` from the beginning of the first (None: 3600). Where
    `max_attempts` is set, as in the seed, time bounds the attempts only if it is set too.
    """

    max_attempts: int | None = None
    initial_delay_seconds: int = 5
    max_delay_seconds: int = 300
    exponential_backoff: bool = True
    max_elapsed_seconds: int | None = None

    def delay_after(self, attempts: int, elapsed: float) -> float | None:
        """Seconds to wait after this many failed attempts (from 1 on), `elapsed` seconds after the first one began.

        None when there is no further attempt.
        """
        if self.max_attempts is not None and attempts >= self.max_attempts:
            return None
        doublings = min(attempts - 1, 32) if self.exponential_backoff else 0
        delay = float(min(self.initial_delay_seconds * 2**doublings, self.max_delay_seconds))
        longest = self.max_elapsed_seconds
        if self.max_attempts is None:
            delay = max(delay, LEAST_DELAY)
            longest = MAX_ELAPSED_SECONDS if longest is None else longest
        return delay if longest is None or elapsed + delay <= longest else None
