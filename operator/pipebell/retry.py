"""Asking the API again: for reads and for writes that may be repeated without harm."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_delay, stop_never
from tenacity.wait import wait_exponential, wait_random

from pipebell.core.errors import ApiError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")

FIRST_WAIT: Final = 0.1  # seconds; doubled each time
LONGEST_WAIT: Final = 5.0
LONGEST_RETRY_AFTER: Final = 60.0  # what we let the server ask of us

_doubling = wait_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT)


def backoff(state: RetryCallState) -> float:
    """0.1 s doubling to 5 s, up to half as much again at random; longer when the server named a longer time."""
    wait = _doubling(state)
    wait += wait_random(0, wait / 2)(state)
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, Unavailable) else None
    return max(wait, min(asked or 0.0, LONGEST_RETRY_AFTER))


async def retry_until_available(
    call: Callable[[], Awaitable[_T]],
    *,
    what: str = "",
    limit: float | None = None,
    also: tuple[type[ApiError], ...] = (),
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> _T:
    """Call until it does not raise Unavailable (or one of `also`). Raises whatever else `call` raises, at once.

    `limit` is seconds: once they are over, Unavailable is raised too; None waits until cancelled. `what` names the
    call in the log.
    """
    again: tuple[type[ApiError], ...] = (Unavailable, *also)
    try:
        return await call()  # nearly always all there is to do: without tenacity's 27 µs
    except again as error:
        failures = [error]

    async def attempt() -> _T:
        if failures:
            raise failures.pop()
        return await call()

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        # A single hiccup is nobody's business; an API server that stays away is.
        log = _log.warning if state.attempt_number % 5 == 0 else _log.debug
        log("api_unavailable", what=what, error=str(error), attempts=state.attempt_number, wait=state.upcoming_sleep)

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(again),
        wait=backoff,
        stop=stop_never if limit is None else stop_after_delay(limit),
        before_sleep=tell,
        sleep=sleep,
        reraise=True,
    )
    return await retrying(attempt)
