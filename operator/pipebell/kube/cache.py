"""Values read by key and kept for a while, with one reading at a time for each key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from pipebell.core.ports import Clock

_K = TypeVar("_K", bound="Hashable")
_V = TypeVar("_V")

TTL: Final = 60.0  # seconds
ABSENT_TTL: Final = 5.0  # seconds; what is missing today is often applied a moment later


class Cache(Generic[_K, _V]):
    """`read(key)` is remembered for `ttl` seconds of `clock`, None for `absent_ttl`; failures are not remembered."""

    def __init__(
        self,
        read: Callable[[_K], Awaitable[_V]],
        clock: Clock,
        *,
        ttl: float = TTL,
        absent_ttl: float = ABSENT_TTL,
    ) -> None:
        self._read = read
        self._clock = clock
        self._ttl = ttl
        self._absent_ttl = absent_ttl
        self._kept: dict[_K, tuple[float, _V]] = {}
        self._flights: dict[_K, asyncio.Task[_V]] = {}
        self._swept = clock.now()

    async def get(self, key: _K, *, fresh: bool = False) -> _V:
        """The value. `fresh` means: as read after this call. Callers at the same time share one reading."""
        if not fresh:
            kept = self._kept.get(key)
            if kept is not None and self._clock.now() < kept[0]:
                return kept[1]
        elif (running := self._flights.get(key)) is not None:
            await asyncio.wait([running])  # it may have read before this call; the next reading has not
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(self._load(key))
            flight.add_done_callback(_seen)
        return await asyncio.shield(flight)  # a caller that gives up takes nothing away from the others

    async def _load(self, key: _K) -> _V:
        try:
            value = await self._read(key)
        finally:
            del self._flights[key]
        now = self._clock.now()
        self._kept[key] = (now + (self._absent_ttl if value is None else self._ttl), value)
        self._sweep(now)
        return value

    def _sweep(self, now: float) -> None:
        """Let go of what is too old; otherwise values of Secrets would stay in memory for ever."""
        if now - self._swept >= self._ttl:
            self._swept = now
            self._kept = {key: kept for key, kept in self._kept.items() if now < kept[0]}


def _seen(task: asyncio.Task[_V]) -> None:
    """Mark the failure as known: when every caller gave up, nobody else does, and asyncio would complain."""
    if not task.cancelled():
        task.exception()
