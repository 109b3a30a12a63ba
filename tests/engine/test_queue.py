"""The fair queue: who is started when, and that nobody's flood is another's wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise

import pytest
from tests.engine.fakes import settle_down

from pipebell.engine.queue import FairQueue


class Desk:
    """Work that ends when it is told to; counts who is being worked for."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.running: Counter[str] = Counter()

    async def work(self, item: str) -> None:
        self.started.append(item)
        owner = item.partition("/")[0]
        self.running[owner] += 1
        await self.gates.setdefault(item, asyncio.Event()).wait()
        self.running[owner] -= 1

    async def finish(self, *items: str) -> None:
        for item in items:
            self.gates[item].set()
        await settle_down()


@pytest.fixture
def desk():
    return Desk()


async def test_nobody_gets_more_slots_than_are_free_after_that(desk):
    queue = FairQueue(desk.work, slots=4)
    for number in range(100):
        queue.put("flood", "org", f"f{number}")
    queue.put("other", "org", "o0")
    await settle_down()
    assert desk.started == ["f0", "f1", "o0"]
    await desk.finish("f0", "o0")
    assert desk.started == ["f0", "f1", "o0", "f2"]
    assert (queue.running, queue.depth) == (2, 97)
    assert await queue.close(0) == 2


async def test_the_bounds_are_per_namespace_and_per_organisation_in_it(desk):
    queue = FairQueue(desk.work, slots=1000, per_namespace=10, per_org=4)
    for number in range(100):
        queue.put("one", "a", f"a/{number}")
    await settle_down()
    assert len(desk.started) == 4
    for number in range(100):
        queue.put("one", "b", f"b/{number}")
        queue.put("two", "a", f"two/{number}")
    await settle_down()
    assert desk.running == {"a": 4, "b": 3, "two": 4}, (
        "the slug of another namespace's organisation takes none of its slots"
    )
    await queue.close(0)


async def test_namespaces_that_hang_leave_slots_to_whoever_comes(desk):
    queue = FairQueue(desk.work, slots=64, per_namespace=64, per_org=64)
    for number in range(100):
        for hog in range(5):
            queue.put(f"hog-{hog}", "org", f"hog-{hog}/{number}")
    await settle_down()
    assert queue.running < 64
    for number in range(20):
        queue.put(f"victim-{number}", "org", f"victim-{number}/0")
        await desk.finish(f"victim-{number}/0") if f"victim-{number}/0" in desk.gates else await settle_down()
        assert desk.started[-1] == f"victim-{number}/0", "at once"
        await desk.finish(f"victim-{number}/0")
    hogs = [desk.running[f"hog-{number}"] for number in range(5)]
    assert max(hogs) - min(hogs) <= 1
    await queue.close(0)


async def test_organisations_of_a_namespace_that_hang_leave_slots_to_the_others_there(desk):
    queue = FairQueue(desk.work, slots=2048, per_namespace=256, per_org=16)
    for number in range(20):
        for org in range(128):
            queue.put("ns", f"slow-{org}", f"slow-{org}/{number}")
    await settle_down()
    assert max(desk.running.values()) == 2
    queue.put("ns", "quick", "quick/0")
    await settle_down()
    assert desk.started[-1] == "quick/0"
    queue.put("elsewhere", "quick", "elsewhere/0")
    await settle_down()
    assert desk.started[-1] == "elsewhere/0"
    await queue.close(0)


async def test_a_flood_of_invented_organisations_is_one_namespaces_flood(desk):
    """5,000 slugs in one namespace, and one event in another: it is the next one that is started."""
    queue = FairQueue(desk.work, slots=8, per_namespace=8, per_org=4)
    for number in range(5_000):
        queue.put("evil", f"invented-{number}", f"evil/{number}")
    for number in range(10):
        queue.put("busy", "org", f"busy/{number}")
    await settle_down()
    for _ in range(3):
        await desk.finish(
            *[item for item in list(desk.gates) if item in desk.started and not desk.gates[item].is_set()]
        )
    before = len(desk.started)
    queue.put("team", "acme", "team/0")
    await settle_down()
    if "team/0" not in desk.started:
        running = next(item for item in desk.started if not desk.gates[item].is_set())
        await desk.finish(running)
    assert "team/0" in desk.started[: before + 2]
    await queue.close(0)


async def test_namespaces_take_turns_whatever_their_number_of_organisations(desk):
    queue = FairQueue(desk.work, slots=1)
    queue.put("z", "z", "first")
    for number in range(50):
        queue.put("many", f"org-{number}", f"many/{number}")
    for number in range(5):
        queue.put("few", "org", f"few/{number}")
    for _ in range(10):
        await settle_down()
        await desk.finish(desk.started[-1])
    assert [item.split("/")[0] for item in desk.started[1:]] == ["many", "few"] * 5
    await queue.close(0)


async def test_organisations_of_a_namespace_take_turns(desk):
    queue = FairQueue(desk.work, slots=1)
    queue.put("z", "z", "first")
    for number in range(50):
        queue.put("ns", "flood", f"flood/{number}")
    for number in range(3):
        queue.put("ns", "calm", f"calm/{number}")
    for _ in range(6):
        await settle_down()
        await desk.finish(desk.started[-1])
    assert [item.split("/")[0] for item in desk.started[1:]] == ["flood", "calm"] * 3
    await queue.close(0)


@pytest.mark.parametrize("again", [True, False])
async def test_what_comes_again_and_what_comes_first_take_turns(desk, again):
    queue = FairQueue(desk.work, slots=1)
    queue.put("ns", "org", "now")
    for number in range(50):
        queue.put("ns", "org", f"many/{number}", again=again)
    for number in range(3):
        queue.put("ns", "org", f"few/{number}", again=not again)
    for _ in range(7):
        await settle_down()
        await desk.finish(desk.started[-1])
    kinds = [item.split("/")[0] for item in desk.started[1:7]]
    assert sorted(kinds) == ["few"] * 3 + ["many"] * 3
    assert all(one != two for one, two in pairwise(kinds))
    await queue.close(0)


async def test_everything_is_worked_on_once_whatever_the_order(desk):
    """No item is lost between the bounds: a queue that is fed while it works comes to its end."""
    done: list[str] = []

    async def work(item):
        await asyncio.sleep(0)
        done.append(item)
        if item.count("+") < 3:
            namespace, org, _ = item.split("/")
            queue.put(namespace, org, item + "+", again=True)

    queue = FairQueue(work, slots=7, per_namespace=3, per_org=2)
    items = [f"n{number % 5}/o{number % 11}/{number}" for number in range(500)]
    for item in items:
        queue.put(*item.split("/")[:2], item)
    await settle_down()
    assert Counter(done) == Counter(item + "+" * extra for item in items for extra in range(4))
    assert (queue.running, queue.depth, queue._tenants, list(queue._turns)) == (0, 0, {}, [])


async def test_a_queue_that_is_closed_lets_finish_what_runs(desk):
    queue = FairQueue(desk.work)
    queue.put("ns", "org", "a")
    await settle_down()
    closing = asyncio.create_task(queue.close(10))
    await settle_down()
    queue.put("ns", "org", "late")
    await settle_down()
    await desk.finish("a")
    assert await closing == 0
    assert desk.started == ["a"]


async def test_a_queue_in_which_nothing_moves_says_for_how_long(monkeypatch):
    now = 50.0
    monkeypatch.setattr("pipebell.engine.queue.time.monotonic", lambda: now)
    freed = asyncio.Event()

    async def work(item):
        await freed.wait()

    queue = FairQueue(work, slots=1)
    queue.put("ns", "acme", 1)
    now += 1000.0
    assert queue.stuck == 0, "nothing waits"
    queue.put("ns", "acme", 2)
    assert queue.stuck == 0
    now += 10.0
    assert queue.stuck == 10.0
    freed.set()
    await settle_down()
    assert queue.stuck == 0
