"""Whose turn it is: of the events of one cooldown, one is sent and the others wait for its outcome."""

from __future__ import annotations

import asyncio

from tests.engine.fakes import EMAIL, settle_down

from pipebell.core.outcome import Outcome, Verdict
from pipebell.core.vocabulary import Phase, Reason

RETRY = Outcome(Verdict.RETRY, "Timeout", "no answer")
BROKEN = Outcome(Verdict.PERMANENT, "Http404", "no_service")


async def test_the_turn_is_handed_on_in_the_order_of_coming(house):
    house.config()
    house.email.script = [BROKEN, BROKEN, BROKEN]
    house.email.gate = asyncio.Event()
    events = [house.event() for _ in range(5)]
    await house.submit(*events)
    house.email.gate.set()
    await settle_down(400)
    assert house.email.names == [event.name for event in events[:4]]
    assert [house.status(event).phase for event in events] == [*[Phase.FAILED] * 3, Phase.DELIVERED, Phase.SUPPRESSED]


async def test_the_order_holds_when_those_who_wait_were_woken_for_something_else(house):
    house.config()
    house.email.script = [RETRY, BROKEN]
    events = [house.event() for _ in range(4)]
    await house.submit(*events)
    await house.clock.advance(2)  # their status says that they wait
    house.engine.wake(events[1].uid)
    await house.clock.advance(3)
    assert house.email.names == [events[0].name, events[0].name, events[1].name]


async def test_one_whose_destinations_are_not_ready_gives_its_turn_back(house):
    house.config(email={"toEmails": ["a@acme.example"]})
    events = [house.event() for _ in range(3)]
    await house.submit(*events)
    assert {house.status(event).reason for event in events} == {Reason.CONFIG_NOT_READY}
    assert house.ledger.senders() == []
    house.config(email=EMAIL)
    house.engine.wake_org("acme")
    await settle_down(200)
    assert [house.status(event).phase for event in events] == [Phase.DELIVERED, Phase.SUPPRESSED, Phase.SUPPRESSED]


async def test_a_suppression_that_was_fenced_counts_once(house):
    house.config()
    first, second = house.event(), house.event()
    await house.submit(first)
    house.ownership.answers = [True, False, False]  # may decide, but may not write
    await house.submit(second)
    assert house.status(second).phase is None
    house.engine.on_lease_renewed()
    await settle_down()
    assert house.status(second).phase is Phase.SUPPRESSED
    entry = house.ledger._find(next(house.ledger._all()))
    assert entry.suppressed == 1
