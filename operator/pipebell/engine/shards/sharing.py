"""Replicas share the organisations by Leases: one for each replica, which it renews, and one for each shard.

A shard is its holder's for as long as the holder's own Lease exists. Whoever finds that another's was not renewed for
`LEASE` seconds deletes it (if it is still as it was read), and then takes the shards that it held; from its deletion on
it cannot be renewed. Every shard is taken by a write that fails if anybody else has written there. A replica stops
sending `VALID` seconds after the start of its last renewal, so before anybody may delete its Lease; if it can renew it
after all, nobody took anything, and it simply goes on.

All times are of a clock that also runs while the machine or the process is suspended; clocks are never compared.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from pipebell.core.errors import ApiError, Conflict, NotFound
from pipebell.core.shards import ALL_SHARDS, FORMAT, SHARDS, Plan, plan, replica_lease, shard_lease, shard_of
from pipebell.engine.timers import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from pipebell.core.ports import Clock
    from pipebell.core.shards import LeaseRecord
    from pipebell.engine.ports import Leases
    from pipebell.engine.shards.follower import ShardFollower

LEASE: Final = 8.0  # seconds without a renewal after which a replica counts as dead
VALID: Final = 6.0  # seconds from the start of a renewal within which a replica may send
RENEW: Final = 1.4  # seconds between renewals
RETRY: Final = 0.3  # seconds until the next try of one that failed
ROUND: Final = 0.7  # seconds between looks at all Leases
DRAINING: Final = 0.2  # the same while shards are being given away
DRAINED: Final = 60.0  # seconds after which a shard is given away although something is still under way for it
LEAVING: Final = 0.02  # seconds between looks at what is still under way at the end
LOOK_OUTDATED: Final = 6.0  # seconds without a look after which nobody can be blamed for what was not seen

log = structlog.get_logger(__name__)


class Sharing:
    """This replica's part of the organisations."""

    def __init__(
        self,
        leases: Leases,
        clock: Clock,
        *,
        name: str,
        scope: Sequence[str],
        number: int = FORMAT,
        boot: Callable[[], float],
    ) -> None:
        self._leases, self._clock, self._boot = leases, clock, boot
        self._followers: list[ShardFollower] = []
        self._name, self._scope, self._format = name, ",".join(sorted(scope)), number
        self._own = replica_lease(name)
        self._held: set[int] = set()
        self._draining: dict[int, float] = {}  # since when
        self._joined, self._alone, self._leaving = False, False, False
        self._epoch = 0  # counts how often this replica has joined or lost everything
        self._begun = False
        self._valid_until = 0.0
        self._seen: dict[str, tuple[str, float]] = {}
        self._looked = 0.0
        self._soon = asyncio.Event()
        self._trouble: str | None = "has not joined the other replicas yet"
        self._failures, self._standby = 0, False

    def subscribe(self, *followers: ShardFollower) -> None:
        """Tell these which shards are this replica's, in this order."""
        self._followers += followers

    @property
    def _busy(self) -> Collection[int]:
        """Shards for which anybody has something under way."""
        return frozenset().union(*(follower.busy for follower in self._followers))

    # ------------------------------------------------------------------ what others ask

    @property
    def held(self) -> Collection[int]:
        """The shards of this replica."""
        return frozenset(self._held)

    @property
    def fresh(self) -> bool:
        """Whether this replica may send at all, by its Lease."""
        return self._alone or self._boot() < self._valid_until

    @property
    def standby(self) -> bool:
        """Whether this replica waits for others, of other namespaces or another format, to leave."""
        return self._standby

    @property
    def trouble(self) -> str | None:
        """Why this replica has not joined; None when it has."""
        return None if self._joined or self._alone else self._trouble

    def owns(self, org_slug: str) -> bool:
        """Whether this organisation is this replica's to serve."""
        return shard_of(org_slug) in self._held

    def may_send(self, org_slug: str) -> bool:
        """Whether this replica may send for this organisation at this very moment."""
        return shard_of(org_slug) in self._held and self.fresh

    # ------------------------------------------------------------------ life

    async def join(self) -> None:
        """Comes back once this replica takes part. Waits for the API as long as it takes."""
        while self.trouble:
            await self._try_look()
            if self.trouble:
                await self._clock.sleep(ROUND)
        await self._try_look()  # a share at once

    async def run(self) -> None:
        """Renew, look, take and give, until cancelled. What takes long must not keep the Lease from being renewed."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew_for_ever())
            tasks.create_task(self._look_for_ever())

    async def _renew_for_ever(self) -> None:
        while True:
            wait = RENEW
            if self._joined:
                try:
                    await self._renew()
                except ApiError as error:
                    self._complain(error)
                    wait = RETRY
            await self._clock.sleep(wait)

    async def _look_for_ever(self) -> None:
        while True:
            await wait_for(self._soon, self._clock, DRAINING if self._draining else ROUND)
            self._soon.clear()
            await self._try_look()

    async def leave(self, patience: float) -> None:
        """Begin nothing more, and wait `patience` seconds for what is under way.

        `run` goes on meanwhile: it keeps what is under way permitted, and frees shards as they end. Call `left` then.
        """
        self._leaving = True
        self._give(set(self._held))
        if self._joined:
            try:
                await self._renew()  # so that the others know, and do not count on this one
            except ApiError as error:
                self._complain(error)
        end = self._boot() + patience
        while self._busy and self._boot() < end:
            await self._clock.sleep(LEAVING)

    async def left(self) -> bool:
        """Nothing is under way any more and `run` has ended: whatever this replica still holds is free at once.

        False when that could not be written: then others wait for the end of its Lease, or a successor goes on.
        """
        self._valid_until = 0.0
        if not self._begun:
            return True
        self._joined = False
        try:
            try:
                await self._delete_own()
            except Conflict:  # a last renewal was still on its way
                await self._delete_own()
        except ApiError as error:
            log.warning("lease_not_deleted", seconds=LEASE, error=str(error))
            return False
        return True

    async def _delete_own(self) -> None:
        mine = next((lease for lease in await self._leases.list() if lease.name == self._own), None)
        if mine is not None:
            await self._leases.delete(mine)

    # ------------------------------------------------------------------ a round

    async def _try_look(self) -> None:
        try:
            await self._look()
        except ApiError as error:
            self._complain(error)
        else:
            self._failures = 0

    def _complain(self, error: ApiError) -> None:
        self._trouble = str(error)
        if self._failures % 20 == 0:
            log.warning("leases_not_kept", error=str(error), may_send=self.fresh, times=self._failures + 1)
        self._failures += 1

    async def _renew(self) -> None:
        began, epoch = self._boot(), self._epoch
        try:
            await self._leases.renew(self._own, leaving=self._leaving)
        except NotFound:
            if epoch == self._epoch:
                self._lose_all("others took over, for this replica had not renewed its lease in time")
            return
        if epoch != self._epoch:
            return  # it was of the Lease before this one
        lapsed = not self.fresh
        self._valid_until = began + VALID
        if lapsed and self.fresh:
            log.warning("lease_renewed_late")
            for follower in self._followers:
                follower.on_lease_renewed()

    async def _look(self) -> None:
        leases = {lease.name: lease for lease in await self._leases.list()}
        if not self._joined:
            if not self._leaving:
                await self._join(leases)
            return
        if self._own not in leases:
            self._lose_all("its lease was deleted")
            return
        epoch = self._epoch
        living = await self._without_dead(leases)
        if epoch == self._epoch:
            await self._act(living, {lease.shard: lease for lease in leases.values() if lease.shard is not None})

    async def _join(self, leases: dict[str, LeaseRecord]) -> None:
        """Only this process can have this name now: a Lease of it is that of a predecessor, which is dead."""
        old, self._begun = leases.get(self._own), True
        began = self._boot()
        try:
            if old is None:
                await self._leases.create(self._own, self._name, self._scope, self._format)
            elif (old.scope, old.format) == (self._scope, self._format) and not old.leaving:
                await self._leases.hand(old, self._name)
            else:
                await self._leases.delete(old)
                return  # and join by the next look
        except NotFound as error:
            if old is None:
                self._be_alone(error)
            return
        if self._alone:
            self._alone = False
            self._drop(set(self._held))
        self._epoch += 1
        self._valid_until, self._joined = began + VALID, True
        log.info("joined", replica=self._name)
        self._soon.set()

    def _be_alone(self, error: NotFound) -> None:
        """Without the namespace there are no Leases, and no pods that could hold one."""
        if not self._alone:
            log.warning("no_namespace_for_leases", error=str(error))
            self._alone = True
            self._acquire(set(ALL_SHARDS))

    async def _without_dead(self, leases: dict[str, LeaseRecord]) -> list[LeaseRecord]:
        """The replicas that live. Those that have not renewed their Lease for too long are declared dead here."""
        now = self._boot()
        if now - self._looked > LOOK_OUTDATED:
            self._seen.clear()
        self._looked = now
        replicas = [lease for lease in leases.values() if lease.shard is None]
        for lease in replicas:
            if self._seen.get(lease.name, ("", 0.0))[0] != lease.version:
                self._seen[lease.name] = (lease.version, now)
        living = []
        for lease in replicas:
            silence = now - self._seen[lease.name][1]
            if lease.name == self._own or silence < LEASE or not await self._declare_dead(lease, silence):
                living.append(lease)
        self._seen = {lease.name: self._seen[lease.name] for lease in replicas}
        return living

    async def _declare_dead(self, lease: LeaseRecord, silence: float) -> bool:
        """False when it has renewed its Lease at the last moment."""
        try:
            await self._leases.delete(lease)
        except NotFound:
            return True
        except Conflict:
            return False
        log.warning("replica_dead", replica=lease.holder, silent_seconds=round(silence, 1))
        return True

    async def _act(self, living: Sequence[LeaseRecord], shards: dict[int, LeaseRecord]) -> None:
        epoch, holders = self._epoch, {shard: lease.holder for shard, lease in shards.items()}
        busy = self._busy
        todo = self._plan(living, holders, busy)
        self._drop({shard for shard in self._held if holders.get(shard) != self._name})  # by somebody's hand
        self._give(self._held.intersection(todo.give))
        # What is ours and we do not know of: a predecessor's of the same name, or we took it and heard no answer. It
        # has to be taken all the same: somebody who thought that this name was dead may be about to take it.
        found = {shard for shard, holder in holders.items() if holder == self._name}
        found.difference_update(self._held, self._draining, todo.give, busy)
        wanted = [*sorted(found), *todo.take]
        won = await asyncio.gather(*(self._take(shard, shards.get(shard)) for shard in wanted))
        if epoch != self._epoch:
            return  # what was won meanwhile is found by the next look
        if not self._leaving:
            self._acquire({shard for shard, ours in zip(wanted, won, strict=True) if ours})
        late = self._boot() - DRAINED
        idle = {shard for shard, since in self._draining.items() if shard not in busy or since < late}
        unwanted = {shard for shard in todo.give if shard not in self._held and shard not in self._draining}
        await asyncio.gather(*(self._free(shard, shards.get(shard)) for shard in {*idle, *unwanted.difference(busy)}))

    def _plan(self, living: Sequence[LeaseRecord], holders: dict[int, str], busy: Collection[int]) -> Plan:
        if self._leaving:
            return Plan((), [shard for shard, holder in holders.items() if holder == self._name])
        todo = plan(self._name, living, holders, busy, self._draining)
        if todo.standby and not self._standby:
            ours = (self._scope, self._format)
            theirs = sorted({(lease.scope or "all", lease.format) for lease in living} - {(ours[0] or "all", ours[1])})
            said = "waiting_for_other_replicas_to_leave"
            log.warning(said, theirs=[f"{scope} (format {number})" for scope, number in theirs])
        self._standby = todo.standby
        return todo

    async def _take(self, shard: int, lease: LeaseRecord | None) -> bool:
        try:
            if lease is None:
                await self._leases.create(shard_lease(shard), self._name, "")
            else:
                await self._leases.hand(lease, self._name)
        except Conflict:
            return False
        return True

    async def _free(self, shard: int, lease: LeaseRecord | None) -> None:
        if lease is not None and lease.holder == self._name:
            try:
                await self._leases.hand(lease, "")
            except Conflict:
                return  # read it again first
        self._draining.pop(shard, None)

    def _acquire(self, shards: set[int]) -> None:
        if shards:
            self._held |= shards
            log.info("shards_acquired", shards=sorted(shards), held=len(self._held), of=SHARDS)
            for follower in self._followers:
                follower.on_shards_acquired(shards)

    def _give(self, shards: set[int]) -> None:
        if shards:
            log.info("shards_released", shards=sorted(shards), held=len(self._held) - len(shards), of=SHARDS)
            self._drop(shards)
            self._draining |= dict.fromkeys(shards, self._boot())
            self._soon.set()

    def _drop(self, shards: set[int]) -> None:
        if shards:
            self._held -= shards
            for follower in self._followers:
                follower.on_shards_released(shards)

    def _lose_all(self, why: str) -> None:
        log.error("all_shards_lost", reason=why, held=len(self._held))
        self._epoch += 1
        self._joined, self._trouble, self._valid_until = False, why, 0.0
        self._draining.clear()
        self._drop(set(self._held))
        self._soon.set()
