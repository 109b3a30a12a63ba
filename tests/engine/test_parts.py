"""The engine's parts by themselves: queue, timers, pauses, ledger, book."""

from __future__ import annotations

import asyncio

import pytest
from tests.engine.fakes import FakeClock, config_object, settle_down

from pipebell.core.policy.cooldown import Sent
from pipebell.core.vocabulary import EventType
from pipebell.engine.configs.store import ConfigBook
from pipebell.engine.events.endpoints import EndpointPauses
from pipebell.engine.events.ledger import CooldownKey, CooldownLedger, Go, Held, Wait
from pipebell.engine.events.queue import FairQueue
from pipebell.engine.timers import Timers

KEY = CooldownKey("NotificationConfig", "team", "config", "acme", EventType.PIPELINE_FAILURE)


class Desk:
    """Work that ends when it is told to."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}

    async def work(self, item: str) -> None:
        self.started.append(item)
        await self.gates.setdefault(item, asyncio.Event()).wait()

    async def finish(self, *items: str) -> None:
        for item in items:
            self.gates[item].set()
        await settle_down(5)


async def test_lanes_take_turns_and_have_a_limit_of_their_own():
    desk = Desk()
    queue = FairQueue(desk.work, slots=4, slots_per_lane=2)
    for number in range(100):
        queue.put("flood", f"f{number}")
    queue.put("other", "o0")
    await settle_down(5)
    assert desk.started == ["f0", "f1", "o0"]
    await desk.finish("f0", "o0")
    assert desk.started == ["f0", "f1", "o0", "f2"]
    assert (queue.running, queue.depth) == (2, 97)
    assert await queue.close(0) == 2


async def test_urgent_items_of_a_lane_go_first():
    desk = Desk()
    queue = FairQueue(desk.work, slots=1)
    for item in ("a", "b"):
        queue.put("lane", item)
    queue.put("lane", "urgent", urgent=True)
    await settle_down(5)
    await desk.finish("a")
    assert desk.started == ["a", "urgent"]
    await queue.close(0)


async def test_a_queue_that_is_closed_lets_finish_what_runs():
    desk = Desk()
    queue = FairQueue(desk.work)
    queue.put("lane", "a")
    await settle_down(5)
    closing = asyncio.create_task(queue.close(10))
    await settle_down(5)
    queue.put("lane", "late")
    await settle_down(5)
    await desk.finish("a")
    assert await closing == 0
    assert desk.started == ["a"]


async def test_a_queue_knows_when_it_is_drained():
    desk = Desk()
    queue = FairQueue(desk.work, slots=1)
    queue.put("x", "a")
    queue.put("y", "b")
    drained = asyncio.create_task(queue.drained())
    await settle_down(5)
    await desk.finish("a")
    assert not drained.done()
    await desk.finish("b")
    await asyncio.wait_for(drained, 1)


async def test_timers_fire_in_order_and_never_early():
    clock, fired = FakeClock(), []
    timers = Timers(clock)
    for delay in (30, 10, 20):
        timers.at(clock.now() + delay, lambda delay=delay: fired.append(delay))
    await settle_down()
    timers.at(clock.now() + 5, lambda: fired.append(5))
    await clock.advance(9.999)
    assert fired == [5]
    await clock.advance(20.001)
    assert fired == [5, 10, 20, 30]
    timers.at(0, lambda: fired.append(0))
    await settle_down()
    assert fired[-1] == 0
    timers.close()


async def test_closed_timers_leave_no_task_that_the_end_would_wait_for():
    before = asyncio.all_tasks()
    timers = Timers(FakeClock())
    timers.at(timers._clock.now() + 30, lambda: None)
    await settle_down()
    assert len(asyncio.all_tasks() - before) == 3
    timers.close()
    await settle_down()
    assert asyncio.all_tasks() - before == set()


class Gate:
    """Endpoint pauses with somebody who tries whenever woken."""

    def __init__(self) -> None:
        self.clock, self.woken = FakeClock(), []
        self.pauses = EndpointPauses(self.clock, self.woken.append)


async def test_nobody_waits_for_an_endpoint_that_asked_for_nothing():
    assert Gate().pauses.admit("e", "a") is None


async def test_after_a_pause_one_probe_goes_and_the_rest_when_it_succeeded():
    gate = Gate()
    gate.pauses.pause("e", "first", gate.clock.now() + 60)
    for uid in ("b", "c", "d"):
        assert gate.pauses.admit("e", uid) == gate.clock.now() + 60
    await gate.clock.advance(59)
    assert gate.woken == []
    await gate.clock.advance(1)
    assert gate.woken == ["first"]
    assert gate.pauses.admit("e", "first") is None
    await gate.clock.advance(10)
    assert gate.woken == ["first"], "the probe has not answered yet"
    gate.pauses.answered("e")
    await settle_down()
    await gate.clock.advance(30)
    assert gate.woken == ["first", "b", "c", "d"]
    assert gate.pauses.admit("e", "b") is None
    assert len(gate.pauses) == 0
    gate.pauses.close()


async def test_a_probe_that_is_refused_pauses_everybody_again():
    gate = Gate()
    gate.pauses.pause("e", "a", gate.clock.now() + 10)
    gate.pauses.admit("e", "b")
    await gate.clock.advance(10)
    assert gate.pauses.admit("e", "a") is None
    gate.pauses.pause("e", "a", gate.clock.now() + 20)
    await gate.clock.advance(19)
    assert gate.woken == ["a"]
    await gate.clock.advance(1)
    assert gate.woken == ["a", "a"]
    gate.pauses.close()


async def test_a_probe_that_vanishes_does_not_hold_up_the_others():
    gate = Gate()
    gate.pauses.pause("e", "a", gate.clock.now() + 10)
    gate.pauses.admit("e", "b")
    await gate.clock.advance(10)
    gate.pauses.forget("a")
    await gate.clock.advance(2)
    assert gate.woken == ["a", "b"]
    gate.pauses.close()


def test_the_ledger_hands_the_turn_on_in_order():
    ledger = CooldownLedger()
    assert ledger.enter(KEY, "a", 300, 0) == Go(0)
    assert ledger.enter(KEY, "b", 300, 0) == Wait("a")
    assert ledger.enter(KEY, "c", 300, 0) == Wait("a")
    assert ledger.enter(KEY, "a", 300, 0) == Go(0)
    assert ledger.released(KEY, "a") == "b"
    assert ledger.enter(KEY, "c", 300, 0) == Wait("b")
    assert ledger.released(KEY, "c") is None
    assert ledger.succeeded(KEY, "b", Sent(5, "team", "b")) == []
    assert ledger.enter(KEY, "d", 300, 6) == Held(305, Sent(5, "team", "b"))
    assert ledger.held_back(KEY) == 1


def test_a_success_wakes_everybody_who_waits():
    ledger = CooldownLedger()
    for uid in "abc":
        ledger.enter(KEY, uid, 300, 0)
    assert ledger.succeeded(KEY, "a", Sent(0, "team", "a")) == ["b", "c"]
    assert ledger.released(KEY, "a") is None


@pytest.mark.parametrize("uid", ["stranger", "b"])
def test_only_the_sender_can_give_up_the_turn(uid):
    ledger = CooldownLedger()
    ledger.enter(KEY, "a", 300, 0)
    ledger.enter(KEY, "b", 300, 0)
    assert ledger.released(KEY, uid) is None
    assert ledger.enter(KEY, "z", 300, 0) == Wait("a")


def test_the_book_never_goes_back_and_forgets_only_what_it_should():
    book = ConfigBook()
    old, new = config_object("acme", "team", "c", "5", {}), config_object("acme", "team", "c", "7", {})
    assert book.put(new) is None
    assert book.put(old) is old
    assert book.get(("team", "c")) is new
    assert book.knows(("team", "c"), "6")
    assert not book.knows(("team", "c"), "8")
    assert book.remove(("team", "c"), "another-uid") is None
    assert book.of_org("acme") == (new,)
    assert book.remove(("team", "c"), new.uid) is new
    assert book.of_org("acme") == ()


def test_a_configuration_may_change_its_organisation():
    book = ConfigBook()
    book.put(config_object("acme", "team", "c", "5", {}))
    moved = config_object("beta", "team", "c", "6", {})
    book.put(moved)
    assert (book.of_org("acme"), book.of_org("beta")) == ((), (moved,))


async def test_a_queue_in_which_nothing_moves_says_for_how_long(monkeypatch):
    now = 50.0
    monkeypatch.setattr("pipebell.engine.events.queue.time.monotonic", lambda: now)
    freed = asyncio.Event()

    async def work(item):
        await freed.wait()

    queue = FairQueue(work, slots=1)
    queue.put("acme", 1)
    now += 1000.0
    assert queue.stuck == 0, "nothing waits"
    queue.put("acme", 2)
    assert queue.stuck == 0
    now += 10.0
    assert queue.stuck == 10.0
    freed.set()
    await queue.drained()
    assert queue.stuck == 0
