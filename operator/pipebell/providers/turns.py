"""Turns at few connections: namespaces go round, organisations in each, and fewer are open if the server wants that."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from pipebell.core.errors import Fenced

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.core.outcome import Outcome

_LOOK: Final = 1.0  # seconds between looks, while waiting for a turn, at whether this may be sent at all
_LONGEST: Final = 3600.0  # seconds until a further connection is tried again

Waiter = asyncio.Future["Outcome | None"]


class Turns:
    """At most `limit` at a time, of which there are `most` at first.

    After `lower` one more is allowed every `raise_after` seconds (by `now`); a `lower` soon after that doubles them.
    """

    def __init__(self, most: int, raise_after: float, now: Callable[[], float]) -> None:
        self._most, self._raise_after, self._now = most, raise_after, now
        self.limit = most
        self._hold = raise_after
        self._raise_at = 0.0
        self._raised = False
        self._taken = 0
        self._lanes: OrderedDict[str, OrderedDict[str, deque[Waiter]]] = OrderedDict()

    @property
    def lowered(self) -> bool:
        """Whether the server is known to want fewer."""
        self._grow()
        return self.limit < self._most

    async def take(self, lane: tuple[str, str], allowed: Callable[[], bool], *, first: bool = False) -> Outcome | None:
        """Wait for a turn; `first`: before all others. An outcome instead of None: there is no point in waiting.

        `lane` is the namespace and the organisation that take turns.

        Raises Fenced when this may not be sent any more, however long the queue is.
        """
        self._grow()
        if self._taken < self.limit and (first or not self._lanes):
            self._taken += 1
            return None
        turn: Waiter = asyncio.get_running_loop().create_future()
        self._enqueue(lane, turn, first=first)
        try:
            while not (await asyncio.wait({turn}, timeout=_LOOK))[0] and allowed():
                self._pump()  # there may be a further connection by now
        except asyncio.CancelledError:
            if not turn.cancel() and turn.result() is None:
                self.give_back()  # it was our turn at that very moment
            raise
        if turn.done():
            return turn.result()
        turn.cancel()
        raise Fenced("this replica may not send any more")

    def give_back(self) -> None:
        """A turn has ended."""
        self._taken -= 1
        self._pump()

    def dismiss(self, outcome: Outcome) -> None:
        """Whoever waits gets this outcome instead of a turn."""
        lanes, self._lanes = self._lanes, OrderedDict()
        for turn in (turn for orgs in lanes.values() for waiting in orgs.values() for turn in waiting):
            if not turn.done():
                turn.set_result(outcome)

    def lower(self, limit: int) -> None:
        """The server wants no more than this at a time, but one."""
        self._grow()
        if limit >= self.limit:
            return
        soon = self._raised and self._now() < self._raise_at
        self._hold = min(self._hold * 2, _LONGEST) if soon else self._raise_after
        self.limit, self._raised = max(limit, 1), False
        self._raise_at = self._now() + self._hold

    def _grow(self) -> None:
        if self.limit == self._most or self._now() < self._raise_at:
            return
        self.limit, self._raised = self.limit + 1, True
        self._raise_at = self._now() + self._hold

    def _enqueue(self, lane: tuple[str, str], turn: Waiter, *, first: bool) -> None:
        namespace, org = lane
        orgs = self._lanes.setdefault(namespace, OrderedDict())
        waiting = orgs.setdefault(org, deque())
        if first:
            waiting.appendleft(turn)
            orgs.move_to_end(org, last=False)
            self._lanes.move_to_end(namespace, last=False)
        else:
            waiting.append(turn)

    def _pump(self) -> None:
        self._grow()
        while self._lanes and self._taken < self.limit:
            namespace, orgs = self._lanes.popitem(last=False)
            org, waiting = orgs.popitem(last=False)
            turn = waiting.popleft()
            if waiting:
                orgs[org] = waiting
            if orgs:
                self._lanes[namespace] = orgs
            if not turn.done():
                self._taken += 1
                turn.set_result(None)
