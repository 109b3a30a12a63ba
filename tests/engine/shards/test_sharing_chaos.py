"""Replicas that start anew, are paused and meet slow answers at random: never may two send for one shard."""

from __future__ import annotations

import asyncio
import random

import pytest
from tests.engine.fakes import FakeClock
from tests.engine.shards.test_sharing import FakeLeases, Replica

from pipebell.core.errors import PipebellError
from pipebell.core.shards import ALL_SHARDS

SECONDS, STEP = 60.0, 0.04
ODDS = STEP / 4  # something happens every four seconds


class SlowReach:
    """Requests and answers take their time, and wait while their replica is paused."""

    def __init__(self, leases, clock, chance, latency):
        self._leases, self._clock, self._chance, self._latency = leases, clock, chance, latency
        self.paused = False

    def __getattr__(self, verb):
        async def ask(*args, **more):
            await self._half()
            answer = error = None
            try:
                answer = getattr(self._leases, verb)(*args, **more)
            except PipebellError as refused:
                error = refused
            await self._half()
            if error is not None:
                raise error
            return answer

        return ask

    async def _half(self):
        await self._clock.sleep(self._chance.uniform(*self._latency) / 2)
        while self.paused:
            await self._clock.sleep(STEP)


class Crowd:
    """Three replicas by name, each running, paused or down."""

    def __init__(self, seed, latency):
        self.chance, self.latency = random.Random(seed), latency
        self.clock = FakeClock()
        self.leases = FakeLeases(self.clock)
        self.living, self.tasks = {}, []

    def start(self, name):
        replica = Replica(name, self.leases, self.clock)
        replica.reach = SlowReach(self.leases, self.clock, self.chance, self.latency)
        replica.sharing._leases = replica.reach
        replica.booting = asyncio.create_task(replica.start())
        self.tasks.append(replica.booting)
        self.living[name] = replica

    def happen(self, what):
        if self.chance.random() > ODDS or not self.living:
            return
        name = self.chance.choice(sorted(self.living))
        replica = self.living[name]
        if what == "restart":
            self.end(self.living.pop(name))
            self.later(self.chance.choice((0.1, 1.0, 7.5, 8.0, 8.5, 9.0)), lambda: self.start(name))
        else:
            replica.reach.paused = True
            seconds = self.chance.choice((2.0, 5.0, 7.5, 8.0, 8.5, 9.0, 12.0))
            self.later(seconds, lambda: setattr(replica.reach, "paused", False))

    def later(self, seconds, what):
        async def wait():
            await self.clock.sleep(seconds)
            what()

        self.tasks.append(asyncio.create_task(wait()))

    def end(self, replica):
        replica.booting.cancel()
        if replica.task:
            replica.task.cancel()

    def senders(self):
        """For each shard, whoever may send for it now. One that is paused sends nothing before it asks again."""
        may = [r for r in self.living.values() if r.sharing.fresh and not r.reach.paused]
        return [(shard, replica) for replica in may for shard in replica.held]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("latency", [(0.005, 0.03), (0.05, 0.4)], ids=["quick", "slow"])
@pytest.mark.parametrize("what", ["restart", "pause"])
async def test_two_never_may_send_for_one_shard(what, latency, seed):
    crowd = Crowd(seed, latency)
    for name in "abc":
        crowd.start(name)
    for _ in range(round(SECONDS / STEP)):
        await crowd.clock.advance(STEP)
        shards = [shard for shard, _ in crowd.senders()]
        assert len(shards) == len(set(shards)), f"at {crowd.clock.now():.2f}"
        crowd.happen(what)
    for replica in crowd.living.values():
        replica.reach.paused = False
    for _ in range(round(25.0 / STEP)):
        await crowd.clock.advance(STEP)
    assert {shard for shard, _ in crowd.senders()} == ALL_SHARDS, "and in the end all are served"
    for replica in crowd.living.values():
        crowd.end(replica)
    for task in crowd.tasks:
        task.cancel()
