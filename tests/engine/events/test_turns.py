"""Whose turn it is: of the events of one cooldown, one is sent and the others wait for its outcome."""

from __future__ import annotations

import asyncio

from tests.engine.fakes import EMAIL, settle_down

from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.policy.sent import Sent
from pipebell.core.vocabulary import Phase, Reason

SLACK = {"webhookUrl": "https://hooks.slack.com/services/T/B/x"}
BOTH = [{"event": "pipeline_failure", "providers": ["email", "slack"]}]
PAUSE = Outcome(OutcomeKind.PAUSE, "Http429", "slow down", retry_after=60)
RETRY = Outcome(OutcomeKind.RETRY, "Timeout", "no answer")
BROKEN = Outcome(OutcomeKind.PERMANENT, "Http404", "no_service")


async def test_the_turn_is_handed_on_in_the_order_of_coming(house):
    house.config()
    house.email.script = [BROKEN, BROKEN, BROKEN]
    house.email.gate = asyncio.Event()
    events = [house.event() for _ in range(5)]
    await house.submit(*events)
    house.email.gate.set()
    await settle_down()
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
    await settle_down()
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


async def test_the_second_destinations_success_neither_moves_the_window_nor_forgets_the_count(house):
    house.config(slack=SLACK, eventTriggers=BOTH, retryConfig={"initialDelaySeconds": 100})
    house.slack.script = [RETRY]
    first, held = house.event(), house.event()
    await house.submit(first, held)
    assert house.status(held).phase is Phase.SUPPRESSED
    await house.clock.advance(100)
    assert house.status(first).phase is Phase.DELIVERED
    await house.clock.advance(200)  # 300 s after the first success
    later = house.event()
    await house.submit(later)
    assert house.status(later).phase is Phase.DELIVERED
    assert house.status(later).suppressed_count == 1


async def test_a_failed_event_speaks_for_nobody(house):
    house.config()
    first, held = house.event(), house.event()
    await house.submit(first, held)
    await house.clock.advance(300)
    house.email.script = [RETRY, BROKEN]
    later = house.event()
    await house.submit(later)
    await house.clock.advance(5)
    assert house.status(later).phase is Phase.FAILED
    assert house.status(later).suppressed_count is None
    last = house.event()
    await house.submit(last)
    assert house.status(last).suppressed_count == 1


async def test_a_suppressed_event_keeps_no_open_delivery(house):
    house.config(slack=SLACK, eventTriggers=[{"event": "pipeline_failure", "providers": ["slack"]}])
    house.slack.script = [PAUSE]
    first, second = house.event(), house.event()
    await house.submit(first)
    house.ledger.succeeded(_key(house, first), second.uid, Sent(house.clock.now(), "team", second.name))
    house.ledger._find(_key(house, first)).sender = None
    house.engine.wake(first.uid)
    await settle_down()
    assert house.status(first).phase is Phase.SUPPRESSED
    assert house.status(first).deliveries is None


def _key(house, event):
    return next(key for key in house.ledger._all() if key.org == event.spec.org_slug)


async def test_a_paused_sender_keeps_turn_and_deliveries_while_its_configuration_is_not_ready(
    house,
):
    both = {"slack": SLACK, "eventTriggers": [{"event": "pipeline_failure", "providers": ["slack"]}]}
    house.config(**both)
    house.slack.script = [PAUSE]
    first = house.event()
    await house.submit(first)
    house.root.update({"config.json": "{"}, "3")
    house.config(slack=SLACK)  # leans on root, which is invalid
    house.engine.wake(first.uid)
    await settle_down()
    status = house.status(first)
    assert (status.phase, status.reason) == (Phase.PENDING, Reason.CONFIG_NOT_READY)
    assert [item.destination for item in status.deliveries] == ["slack"]
    assert [uid for _, uid in house.ledger.senders()] == [first.uid]


async def test_what_no_trigger_wants_takes_part_in_no_cooldown(house):
    house.config()
    seen = []
    house.observer.on_finished = lambda state, summary, now: seen.append(state.key)
    await house.submit(house.event(event="pipeline_started"))
    assert seen == [None]
