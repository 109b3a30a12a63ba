"""The fair queue: namespaces take turns, and the organisations in each, so that no flood holds up another's event."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Item = TypeVar("Item")

SLOTS: Final = 2048  # items worked on at once
PER_NAMESPACE: Final = 256  # of one namespace; each takes about 100 kB while its destination is slow
PER_ORG: Final = 16  # of one organisation in one namespace


class _Lane(Generic[Item]):
    """One organisation's items in one namespace: those that come for the first time, and those that come again.

    The two take turns: retries that are always due must not keep first attempts from being made, nor the other way.
    """

    __slots__ = ("_again", "_again_next", "_first", "running")

    def __init__(self) -> None:
        self._first: deque[Item] = deque()
        self._again: deque[Item] = deque()
        self._again_next = True
        self.running = 0

    def __len__(self) -> int:
        return len(self._first) + len(self._again)

    def push(self, item: Item, *, again: bool) -> None:
        (self._again if again else self._first).append(item)

    def pop(self) -> Item:
        again = bool(self._again) and (self._again_next or not self._first)
        self._again_next = not again
        return (self._again if again else self._first).popleft()


class _Tenant(Generic[Item]):
    """One namespace's lanes by organisation; `turns` has those in which something waits."""

    __slots__ = ("lanes", "running", "turns")

    def __init__(self) -> None:
        self.lanes: dict[str, _Lane[Item]] = {}
        self.turns: deque[str] = deque()
        self.running = 0


class FairQueue(Generic[Item]):
    """Runs `work(item)` for queued items: at most `slots` at once, of one namespace and one organisation in it fewer.

    Besides these bounds nobody gets more slots than are free after that: one whose destinations hang takes half of
    what there is, two take two thirds together, and something is always left for whoever comes next. (Choudhury and
    Hahne's dynamic thresholds, 1998, on two levels.)
    """

    def __init__(
        self,
        work: Callable[[Item], Awaitable[None]],
        *,
        slots: int = SLOTS,
        per_namespace: int = PER_NAMESPACE,
        per_org: int = PER_ORG,
    ) -> None:
        self._work = work
        self._slots, self._per_namespace, self._per_org = slots, per_namespace, per_org
        self._tenants: dict[str, _Tenant[Item]] = {}
        self._turns: deque[str] = deque()  # namespaces in which something waits
        self._waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._moved = time.monotonic()

    @property
    def stuck(self) -> float:
        """Seconds in which items waited and none began or ended; no attempt takes minutes."""
        return time.monotonic() - self._moved if self._waiting else 0.0

    @property
    def depth(self) -> int:
        """Items that wait for a slot."""
        return self._waiting

    @property
    def running(self) -> int:
        """Items that are being worked on."""
        return len(self._tasks)

    def put(self, namespace: str, org: str, item: Item, *, again: bool = False) -> None:
        """Queue an item of an organisation in a namespace. `again`: it was worked on before."""
        if self._closed:
            return
        tenant = self._tenants.get(namespace)
        if tenant is None:
            tenant = self._tenants[namespace] = _Tenant()
        lane = tenant.lanes.get(org)
        if lane is None:
            lane = tenant.lanes[org] = _Lane()
        # Whoever could begin has begun: if nothing of this lane waits, only the bounds can be in its way.
        if not len(lane) and self._admits(tenant) and self._admits_lane(tenant, lane):
            self._start(namespace, org, tenant, lane, item)
            return
        if not self._waiting:
            self._moved = time.monotonic()
        self._waiting += 1
        if not len(lane):
            if not tenant.turns:
                self._turns.append(namespace)
            tenant.turns.append(org)
        lane.push(item, again=again)

    def _admits(self, tenant: _Tenant[Item]) -> bool:
        free = self._slots - len(self._tasks)
        return free > 0 and tenant.running < max(1, min(self._per_namespace, free))

    def _admits_lane(self, tenant: _Tenant[Item], lane: _Lane[Item]) -> bool:
        return lane.running < max(1, min(self._per_org, self._per_namespace - tenant.running))

    def _pump(self) -> None:
        """Start what may start, in turns."""
        passed = 0
        while passed < len(self._turns) and len(self._tasks) < self._slots:
            namespace = self._turns[0]
            tenant = self._tenants[namespace]
            org = self._next_org(tenant) if self._admits(tenant) else None
            self._turns.rotate(-1)
            if org is None:
                passed += 1
                continue
            passed = 0
            lane = tenant.lanes[org]
            item = lane.pop()
            self._waiting -= 1
            if len(lane):
                tenant.turns.append(org)
            elif not tenant.turns:
                self._turns.pop()  # rotated there a moment ago
            self._start(namespace, org, tenant, lane, item)

    def _next_org(self, tenant: _Tenant[Item]) -> str | None:
        """Take the organisation whose turn it is out of the turns; None when all of them have what they may have."""
        for _ in range(len(tenant.turns)):
            org = tenant.turns.popleft()
            if self._admits_lane(tenant, tenant.lanes[org]):
                return org
            tenant.turns.append(org)
        return None

    def _start(self, namespace: str, org: str, tenant: _Tenant[Item], lane: _Lane[Item], item: Item) -> None:
        lane.running += 1
        tenant.running += 1
        self._moved = time.monotonic()
        self._tasks.add(asyncio.create_task(self._run(namespace, org, tenant, lane, item)))

    async def _run(self, namespace: str, org: str, tenant: _Tenant[Item], lane: _Lane[Item], item: Item) -> None:
        task = asyncio.current_task()
        try:
            await self._work(item)
        finally:
            if task is not None:
                self._tasks.discard(task)
            lane.running -= 1
            tenant.running -= 1
            self._moved = time.monotonic()
            if not len(lane) and not lane.running:
                tenant.lanes.pop(org, None)
                if not tenant.lanes:
                    self._tenants.pop(namespace, None)
            if not self._closed:
                self._pump()

    async def close(self, patience: float) -> int:
        """Start nothing more; let what runs finish for `patience` seconds; cancel the rest and return its number."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=patience)
        left = set(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return len(left)
