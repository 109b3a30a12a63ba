"""The engine's parts by themselves: timers, pauses, ledger, book."""

from __future__ import annotations

import asyncio

import pytest
from tests.engine.fakes import FakeClock, config_object, settle_down

from pipebell.core.policy.cooldown import Sent
from pipebell.core.vocabulary import EventType
from pipebell.engine.configs.store import ConfigBook
from pipebell.engine.events.endpoints import EndpointPauses
from pipebell.engine.events.ledger import CooldownKey, CooldownLedger, Go, Held, Wait
from pipebell.engine.timers import Timers

KEY = CooldownKey("NotificationConfig", "team", "config", "acme", EventType.PIPELINE_FAILURE)


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
