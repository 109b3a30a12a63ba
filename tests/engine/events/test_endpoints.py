"""Endpoints that asked for a pause: who goes first afterwards, and when the others follow."""

from __future__ import annotations

from tests.engine.fakes import FakeClock, settle_down

from pipebell.engine.events.endpoints import EndpointPauses


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
