"""When a failed delivery is tried again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The seed's schedule: attempt 1 at once, 2 after the initial delay, then doubling, capped. Delays in seconds."""

    max_attempts: int = 3
    initial_delay_seconds: int = 5
    max_delay_seconds: int = 300
    exponential_backoff: bool = True

    def delay_after(self, attempts: int) -> float | None:
        """Seconds to wait after the so-manieth failed attempt (from 1 on); None when there is no further attempt."""
        if attempts >= self.max_attempts:
            return None
        doublings = min(attempts - 1, 32) if self.exponential_backoff else 0
        return float(min(self.initial_delay_seconds * 2**doublings, self.max_delay_seconds))
