"""Whoever has much to run waits behind nobody but oneself."""

from __future__ import annotations

import asyncio

from pipebell.templates.turns import Turns


async def idle():
    for _ in range(20):
        await asyncio.sleep(0)


class Counter:
    """One thing at a time; each goes on when it is let."""

    def __init__(self):
        self.turns, self.done, self.gate = Turns(), [], asyncio.Semaphore(0)

    async def run(self, namespace):
        async with self.turns.take(namespace):
            await self.gate.acquire()
            self.done.append(namespace)

    def start(self, *namespaces):
        return [asyncio.create_task(self.run(namespace)) for namespace in namespaces]


async def test_namespaces_go_round():
    counter = Counter()
    tasks = counter.start(*["hostile"] * 100)
    await idle()
    tasks += counter.start("quiet", "other", "quiet")
    await idle()
    for _ in range(6):
        counter.gate.release()
    await idle()
    assert counter.done == ["hostile", "hostile", "quiet", "other", "hostile", "quiet"]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_who_gives_up_passes_the_turn_on():
    counter = Counter()
    first, second, third, last = counter.start("a", "a", "b", "c")
    await idle()
    third.cancel()
    await idle()
    first.cancel()
    second.cancel()
    await idle()
    counter.gate.release()
    await asyncio.wait_for(last, 60)
    assert counter.done == ["c"]
    (again,) = counter.start("a")
    counter.gate.release()
    await asyncio.wait_for(again, 60)


async def test_one_who_gives_up_in_the_moment_of_its_turn_passes_it_on():
    counter = Counter()
    first, second, last = counter.start("a", "b", "c")
    await idle()
    counter.gate.release()
    await first
    second.cancel()
    counter.gate.release()
    await asyncio.wait_for(last, 60)
    assert counter.done == ["a", "c"]
