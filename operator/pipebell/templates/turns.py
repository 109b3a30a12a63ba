"""Turns at the one process that runs templates: namespaces go round, so that nobody waits for all that another has."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Turns:
    """One at a time."""

    def __init__(self) -> None:
        self._taken = False
        self._lanes: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def take(self, namespace: str) -> AsyncIterator[None]:
        """Wait for this namespace's turn, and have it meanwhile."""
        if self._taken:
            await self._wait(namespace)
        self._taken = True
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, namespace: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lanes.setdefault(namespace, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was our turn at that very moment
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._lanes:
            namespace, waiting = self._lanes.popitem(last=False)
            turn = waiting.popleft()
            if waiting:
                self._lanes[namespace] = waiting
            if not turn.done():
                turn.set_result(None)
                return
        self._taken = False
