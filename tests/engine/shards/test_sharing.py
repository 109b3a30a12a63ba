"""Replicas on one set of Leases, with a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import pytest
from tests.engine.fakes import FakeClock, settle_down

from pipebell.core.errors import Conflict, NotFound, Unavailable
from pipebell.core.shards import ALL_SHARDS, FORMAT, LeaseRecord, replica_lease, shard_lease, shard_of
from pipebell.engine.shards.follower import ShardFollower
from pipebell.engine.shards.sharing import DRAINED, LEASE, LOOK_OUTDATED, VALID, Sharing

ORG = "acme"


class FakeLeases:
    """The API's Leases of one group; `away` is for those who cannot reach it."""

    def __init__(self, clock):
        self.clock, self.store, self.versions = clock, {}, itertools.count(1)
        self.namespace = True
        self.log = []

    def list(self):
        return list(self.store.values())

    def create(self, name, holder, scope, number=FORMAT):
        if not self.namespace:
            raise NotFound("namespace")
        if name in self.store:
            raise Conflict(name)
        version = str(next(self.versions))
        self.store[name] = LeaseRecord(
            name, holder, version, f"uid-{version}", f"{self.clock.now():020.3f}", scope, number
        )
        return self.store[name]

    def renew(self, name, *, leaving):
        if name not in self.store:
            raise NotFound(name)
        leaving = leaving or self.store[name].leaving
        self.store[name] = replace(self.store[name], version=str(next(self.versions)), leaving=leaving)

    def hand(self, lease, holder):
        self._same(lease)
        self.store[lease.name] = replace(lease, holder=holder, version=str(next(self.versions)))
        self.log.append((self.clock.now(), lease.name, holder))
        return self.store[lease.name]

    def delete(self, lease):
        self._same(lease)
        del self.store[lease.name]
        self.log.append((self.clock.now(), lease.name, None))

    def _same(self, lease):
        if lease.name not in self.store:
            raise NotFound(lease.name)
        if self.store[lease.name].version != lease.version:
            raise Conflict(lease.name)

    def holders(self):
        return {lease.shard: lease.holder for lease in self.store.values() if lease.shard is not None}


class Reach:
    """One replica's way to the Leases: it can be cut, and answers can get lost."""

    def __init__(self, leases):
        self._leases, self.away, self.deaf = leases, False, False

    def __getattr__(self, verb):
        async def ask(*args, **more):
            await asyncio.sleep(0)
            if self.away:
                raise Unavailable("away")
            answer = getattr(self._leases, verb)(*args, **more)
            if self.deaf and verb not in ("list", "renew"):
                self.deaf = False
                raise Unavailable("the answer was lost")
            return answer

        return ask


class Replica(ShardFollower):
    """A replica whose work is to remember what it was told. `paused` is SIGSTOP: its own clock reads on."""

    def __init__(self, name, leases, clock, scope=(), number=FORMAT):
        self.told, self.under_way = [], set()
        self.reach = Reach(leases)
        self.sharing = Sharing(self.reach, clock, name=name, scope=scope, number=number, boot=clock.now)
        self.sharing.subscribe(self)
        self.task = None

    def on_shards_acquired(self, shards):
        self.told.append(("gained", frozenset(shards)))

    def on_shards_released(self, shards):
        self.told.append(("let go", frozenset(shards)))

    def on_lease_renewed(self):
        self.told.append(("resumed", frozenset()))

    @property
    def busy(self):
        return self.under_way

    @property
    def held(self):
        return self.sharing.held

    async def start(self):
        await self.sharing.join()
        self.task = asyncio.create_task(self.sharing.run())

    def stop(self):
        """What SIGSTOP does to the loop, and SIGKILL."""
        if self.task is not None:
            self.task.cancel()

    def go_on(self):
        self.task = asyncio.create_task(self.sharing.run())

    async def leave(self, clock, patience=5.0):
        leaving = asyncio.create_task(self.sharing.leave(patience))
        while not leaving.done():
            await clock.advance(0.05)
        self.stop()
        await self.sharing.left()


@pytest.fixture
async def house():
    class Cluster:
        clock = FakeClock()

        def __init__(self):
            self.leases, self.replicas = FakeLeases(self.clock), []

        async def start(self, name, scope=(), number=FORMAT):
            replica = Replica(name, self.leases, self.clock, scope, number)
            self.replicas.append(replica)
            await replica.start()
            return replica

        async def apart(self, seconds):
            """So much time, while nobody ever holds what another one may send for."""
            for _ in range(round(seconds / 0.1)):
                await self.clock.advance(0.1)
                senders = [r for r in self.replicas if r.sharing.fresh]
                held = [shard for r in senders for shard in r.held]
                assert len(held) == len(set(held)), "two may send for one shard"

    cluster = Cluster()
    yield cluster
    for replica in cluster.replicas:
        replica.stop()


async def test_the_first_one_has_everything_at_once(house):
    a = await house.start("a")
    assert a.held == ALL_SHARDS
    assert a.sharing.may_send(ORG)
    assert a.told == [("gained", ALL_SHARDS)]
    assert set(house.leases.holders().values()) == {"a"}


async def test_newcomers_get_their_share_and_whoever_leaves_gives_it_back_at_once(house):
    a, b = await house.start("a"), await house.start("b")
    await house.apart(3)
    c = await house.start("c")
    await house.apart(3)
    assert [len(r.held) for r in (a, b, c)] == [8, 8, 8]
    await b.leave(house.clock)
    assert not b.held
    await house.apart(2)
    assert len(a.held) + len(c.held) == 24
    assert replica_lease("b") not in house.leases.store


async def test_a_shard_is_given_away_only_when_nothing_is_under_way_for_it(house):
    a = await house.start("a")
    a.under_way = set(ALL_SHARDS)
    b = await house.start("b")
    await house.apart(3)
    assert not b.held
    a.under_way = {23}
    await house.apart(2)
    assert a.held == ALL_SHARDS - b.held - {23}
    assert len(b.held) == 11
    assert not a.sharing.may_send(next(o for o in map(str, range(999)) if shard_of(o) == 23))
    assert house.leases.holders()[23] == "a"
    a.under_way = set()
    await house.apart(2)
    assert 23 in b.held


async def test_a_dead_ones_shards_are_taken_over_within_ten_seconds(house):
    a, b = await house.start("a"), await house.start("b")
    await house.apart(3)
    a.stop()
    died = house.clock.now()
    await house.apart(10)
    assert b.held == ALL_SHARDS
    assert next(at - died for at, name, _ in house.leases.log if name == replica_lease("a")) >= VALID


async def test_one_that_was_paused_past_its_lease_sends_nothing_and_joins_anew(house):
    a, b = await house.start("a"), await house.start("b")
    await house.apart(3)
    a.stop()
    await house.clock.advance(VALID + 0.1)
    assert not a.sharing.may_send(ORG)
    await house.clock.advance(30)
    assert b.held == ALL_SHARDS
    assert not a.sharing.fresh
    held = a.held
    a.go_on()
    await house.apart(0.8)
    assert ("let go", held) in a.told, "as soon as it looks"
    await house.apart(4)
    assert len(a.held) == len(b.held) == 12


async def test_one_that_renews_late_but_before_anybody_else_acted_goes_on(house):
    a = await house.start("a")
    a.reach.away = True
    await house.clock.advance(VALID + 1)
    assert not a.sharing.may_send(ORG)
    assert a.held == ALL_SHARDS
    await house.clock.advance(60)
    a.reach.away = False
    await house.clock.advance(1)
    assert a.sharing.may_send(ORG)
    assert a.told == [("gained", ALL_SHARDS), ("resumed", frozenset())], "nothing has to be found out anew"


async def test_an_api_server_that_was_away_for_all_makes_nobody_dead(house):
    a, b = await house.start("a"), await house.start("b")
    await house.apart(3)
    a.reach.away = b.reach.away = True
    await house.apart(60)
    b.reach.away = False
    await house.apart(1)  # b looks first
    a.reach.away = False
    await house.apart(5)
    assert len(a.held) == len(b.held) == 12
    assert not [name for _, name, holder in house.leases.log if holder is None]
    assert LOOK_OUTDATED < LEASE


async def test_one_that_alone_is_cut_off_is_dead_to_the_others(house):
    a, b = await house.start("a"), await house.start("b")
    await house.apart(3)
    a.reach.away = True
    await house.apart(12)
    assert b.held == ALL_SHARDS
    assert not a.sharing.fresh
    a.reach.away = False
    await house.apart(4)
    assert len(a.held) == len(b.held) == 12


async def test_a_successor_by_the_same_name_goes_on_at_once(house):
    a = await house.start("a")
    a.stop()
    again = await house.start("a")
    assert again.held == ALL_SHARDS
    assert again.told == [("gained", ALL_SHARDS)]


async def test_what_was_taken_without_hearing_so_is_found(house):
    a = await house.start("a")
    a.reach.deaf = True
    house.leases.store.pop(shard_lease(5))
    await house.clock.advance(5)
    assert a.held == ALL_SHARDS


async def test_what_was_lost_while_something_was_under_way_is_not_taken_before_that_has_ended(house):
    a = await house.start("a")
    a.under_way = {7}
    house.leases.store.pop(replica_lease("a"))
    await house.apart(5)
    assert a.held == ALL_SHARDS - {7}
    a.under_way = set()
    await house.apart(2)
    assert a.held == ALL_SHARDS


async def test_a_lease_that_somebody_else_took_by_hand_is_lost(house):
    a = await house.start("a")
    house.leases.hand(house.leases.store[shard_lease(3)], "somebody")
    await house.clock.advance(1)
    assert ("let go", frozenset({3})) in a.told
    await house.clock.advance(2)
    assert a.held == ALL_SHARDS, "that somebody does not live"


async def test_without_a_namespace_one_serves_everybody_and_joins_once_there_is_one(house):
    house.leases.namespace = False
    a = await house.start("a")
    assert a.held == ALL_SHARDS
    assert a.sharing.trouble is None
    await house.clock.advance(100)
    assert a.sharing.may_send(ORG)
    house.leases.namespace = True
    await house.clock.advance(6)
    assert set(house.leases.holders().values()) == {"a"}
    assert a.told == [("gained", ALL_SHARDS), ("let go", ALL_SHARDS), ("gained", ALL_SHARDS)]


async def test_joining_waits_for_an_api_server_that_is_away(house):
    replica = Replica("a", house.leases, house.clock)
    house.replicas.append(replica)
    replica.reach.away = True
    task = asyncio.create_task(replica.start())
    await house.clock.advance(10)
    assert not task.done()
    assert replica.sharing.trouble == "away"
    replica.reach.away = False
    await house.clock.advance(1)
    assert task.done()
    assert replica.sharing.trouble is None


async def test_leaving_waits_for_what_is_under_way_as_long_as_it_has_patience(house):
    a = await house.start("a")
    a.under_way = {1}
    began = house.clock.now()
    await a.leave(house.clock, patience=3.0)
    assert 3.0 <= house.clock.now() - began < 3.5
    await settle_down()
    assert house.leases.holders()[1] == "a", "that its holder is gone makes it free"
    assert house.leases.holders()[2] == ""


async def test_an_upgrade_to_other_namespaces_hands_over_when_the_old_one_leaves(house):
    old = await house.start("z", scope=("x",))
    await house.apart(1)
    new = await house.start("a", scope=("x", "y"))
    await house.apart(5)
    assert old.held == ALL_SHARDS
    assert not new.held
    assert (old.sharing.standby, new.sharing.standby) == (False, True)
    await old.leave(house.clock)
    await house.apart(2)
    assert new.held == ALL_SHARDS
    assert not new.sharing.standby


@pytest.mark.parametrize(("elder", "younger"), [(FORMAT - 1, FORMAT), (FORMAT, FORMAT - 1), (FORMAT, FORMAT + 1)])
async def test_replicas_of_another_format_stand_by_until_the_elder_ones_have_left(house, elder, younger):
    old = await house.start("z", number=elder)
    await house.apart(1)
    new = await house.start("a", number=younger)
    await house.apart(5)
    assert (old.held, new.held) == (ALL_SHARDS, frozenset())
    assert (old.sharing.standby, new.sharing.standby) == (False, True)
    await old.leave(house.clock)
    await house.apart(2)
    assert new.held == ALL_SHARDS
    assert not new.sharing.standby


async def test_a_successor_of_another_format_does_not_go_on_with_its_predecessors_lease(house):
    old = await house.start("a", number=FORMAT - 1)
    old.stop()
    house.replicas.remove(old)
    start = asyncio.create_task(house.start("a", number=FORMAT))
    await house.apart(5)
    assert (await start).held == ALL_SHARDS
    assert house.leases.store[replica_lease("a")].format == FORMAT


async def test_what_one_that_leaves_has_freed_is_served_while_it_still_finishes_the_rest(house):
    a, b = await house.start("a"), await house.start("b")
    await house.apart(3)
    busy = min(a.held)
    a.under_way = {busy}
    leaving = asyncio.create_task(a.sharing.leave(25.0))
    await house.apart(3)
    assert b.held == ALL_SHARDS - {busy}
    assert not leaving.done()
    a.under_way = set()
    await house.apart(1)
    assert leaving.done()
    assert b.held == ALL_SHARDS


async def test_a_shard_is_given_away_in_the_end_whatever_is_under_way(house):
    a = await house.start("a")
    a.under_way = set(ALL_SHARDS)
    b = await house.start("b")
    await house.apart(DRAINED - 5)
    assert not b.held
    await house.apart(10)
    assert len(b.held) == 12


async def test_a_list_that_hangs_does_not_keep_the_lease_from_being_renewed(house):
    a, b = await house.start("a"), await house.start("b")
    await house.apart(3)
    look = a.reach.list

    async def hang(*_):
        await house.clock.sleep(30.0)
        return await look()

    a.reach.list = hang
    await house.apart(25)
    assert a.sharing.fresh
    assert len(b.held) == 12, "it lives"


async def test_a_start_that_is_given_up_leaves_no_replica_that_others_count_on(house):
    replica = Replica("a", house.leases, house.clock)
    house.replicas.append(replica)
    create = replica.reach.create

    async def slow(*args):
        made = await create(*args)
        await house.clock.sleep(10.0)
        return made

    replica.reach.create = slow
    task = asyncio.create_task(replica.sharing.join())
    await house.clock.advance(1)
    assert replica_lease("a") in house.leases.store
    task.cancel()
    assert await replica.sharing.left()
    assert house.leases.store == {}


async def test_a_shard_that_is_found_to_be_ours_is_taken_by_a_write(house):
    a = await house.start("a")
    a.stop()
    version = house.leases.store[shard_lease(0)].version
    await house.start("a")
    assert house.leases.store[shard_lease(0)].version != version


async def test_a_renewal_that_arrives_while_leaving_does_not_keep_the_lease(house):
    a = await house.start("a")
    look = a.reach.list

    async def overtaken(*_):
        leases = await look()
        a.reach.list = look
        house.leases.renew(replica_lease("a"), leaving=True)
        return leases

    a.stop()
    a.reach.list = overtaken
    assert await a.sharing.left()
    assert replica_lease("a") not in house.leases.store


async def test_an_answer_that_comes_after_a_long_pause_permits_nothing(house):
    a = await house.start("a")
    renew = a.reach.renew

    async def late(*args, **more):
        await renew(*args, **more)
        await house.clock.sleep(VALID + 20)

    a.reach.renew = late
    await house.clock.advance(1.5 + VALID + 21)
    assert not a.sharing.may_send(ORG)
    assert ("resumed", frozenset()) not in a.told
