"""Values read by key and kept for a while, with one reading at a time for each key."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from pipebell.core.ports import Clock

_K = TypeVar("_K", bound="Hashable")
_V = TypeVar("_V")

TTL: Final = 60.0  # seconds
ABSENT_TTL: Final = 5.0  # seconds; what is missing today is often applied a moment later
MOST: Final = 48 << 20  # bytes
MOST_OF_OWNER: Final = 16 << 20


class _Kept(NamedTuple, Generic[_V]):
    """A value, and from when to when it counts: a clock that is set back must not keep it for longer."""

    since: float
    until: float
    value: _V
    size: int


class _Shelf(Generic[_K, _V]):
    """One owner's values, each with when it was read, when it is too old, and its size; the oldest first."""

    __slots__ = ("kept", "size")

    def __init__(self) -> None:
        self.kept: dict[_K, _Kept[_V]] = {}
        self.size = 0

    def put(self, key: _K, kept: _Kept[_V]) -> None:
        self.drop(key)
        self.kept[key] = kept
        self.size += kept.size

    def drop(self, key: _K) -> None:
        gone = self.kept.pop(key, None)
        if gone is not None:
            self.size -= gone.size


class Cache(Generic[_K, _V]):
    """`read(key)` is remembered for `ttl` seconds of `clock`, None for `absent_ttl`; failures are not remembered.

    With `size` (bytes of a value) and `owner` (whose a key is), no more is remembered than `most` bytes in all and
    `most_of_owner` of one: beyond that, whoever has most loses its oldest, and reads it again.
    """

    def __init__(
        self,
        read: Callable[[_K], Awaitable[_V]],
        clock: Clock,
        *,
        ttl: float = TTL,
        absent_ttl: float = ABSENT_TTL,
        size: Callable[[_V], int] = lambda _: 0,
        owner: Callable[[_K], str] = lambda _: "",
        most: int = MOST,
        most_of_owner: int = MOST_OF_OWNER,
    ) -> None:
        self._read = read
        self._clock = clock
        self._ttl = ttl
        self._absent_ttl = absent_ttl
        self._size, self._owner, self._most, self._most_of_owner = size, owner, most, most_of_owner
        self._shelves: dict[str, _Shelf[_K, _V]] = {}
        self._flights: dict[_K, asyncio.Task[_V]] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    async def get(self, key: _K, *, fresh: bool = False) -> _V:
        """The value. `fresh` means: as read after this call. Callers at the same time share one reading."""
        if not fresh:
            shelf = self._shelves.get(self._owner(key))
            kept = shelf.kept.get(key) if shelf is not None else None
            if kept is not None and kept.since <= self._clock.now() < kept.until:
                return kept.value
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
        until = now + (self._absent_ttl if value is None else self._ttl)
        self._keep(key, _Kept(now, until, value, self._size(value)))
        self._sweep_later()
        return value

    def _keep(self, key: _K, kept: _Kept[_V]) -> None:
        shelf = self._shelves.setdefault(self._owner(key), _Shelf())
        shelf.put(key, kept)
        while shelf.size > self._most_of_owner:
            shelf.drop(next(iter(shelf.kept)))
        while sum(each.size for each in self._shelves.values()) > self._most:
            fullest = max(self._shelves.values(), key=lambda each: each.size)
            fullest.drop(next(iter(fullest.kept)))

    def _sweep_later(self) -> None:
        """Values of Secrets must not stay in memory for ever, even if nobody asks for anything any more."""
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(self._ttl, self._sweep)

    def _sweep(self) -> None:
        """Let go of what does not count any more."""
        self._sweeping = None
        now = self._clock.now()
        for owner, shelf in list(self._shelves.items()):
            for key in [key for key, kept in shelf.kept.items() if not kept.since <= now < kept.until]:
                shelf.drop(key)
            if not shelf.kept:
                del self._shelves[owner]
        if self._shelves:
            self._sweep_later()


def _seen(task: asyncio.Task[_V]) -> None:
    """Mark the failure as known: when every caller gave up, nobody else does, and asyncio would complain."""
    if not task.cancelled():
        task.exception()
