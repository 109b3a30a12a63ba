"""What is beyond the bounds stays in the API, delays nobody, and comes in as soon as there is room: none is lost."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import tracemalloc

import pytest
from tests.engine.fakes import EMAIL, House, settle_down

from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.shards import shard_of
from pipebell.core.vocabulary import Phase, Reason
from pipebell.engine.events.bounds import Bounds
from pipebell.engine.upkeep.backlog import PATIENCE, Backlog

UNCOOLED = [{"event": "pipeline_failure", "cooldownSeconds": 0}]
LATER = Outcome(OutcomeKind.RETRY, "Smtp451", "later")


@pytest.fixture
async def tight():
    """A house in which 16 events of one namespace, 8 of one organisation, are kept track of, and its backlog."""
    house = House(bounds=Bounds(tracked=64, per_namespace=16))
    house.no_root()
    async with running(house):
        yield house


@contextlib.asynccontextmanager
async def running(house):
    task = asyncio.create_task(Backlog(house.ports, house.ledger, house.engine).run())
    yield
    task.cancel()
    await house.engine.close(0)


def phases(house, events):
    return [house.status(event).phase for event in events]


async def drain(house, events, seconds=600):
    for _ in range(seconds):
        await house.clock.advance(1.0)
        if all(house.status(event).finished for event in events):
            return
    raise AssertionError(phases(house, events))


async def test_all_of_a_flood_are_delivered_once(tight):
    tight.config(eventTriggers=UNCOOLED)
    events = [tight.event() for _ in range(300)]
    for event in events:
        tight.engine.submit(event)
    assert tight.engine.unfinished == 8
    assert list(tight.engine.bounds.behind) == ["team"]
    await drain(tight, events)
    assert sorted(tight.email.names) == sorted(event.name for event in events)
    assert tight.engine.unfinished == 0
    assert list(tight.engine.bounds.behind) == []


async def test_what_waits_for_ever_keeps_neither_another_organisation_nor_another_namespace_waiting(tight):
    tight.config("broken", name="broken", email={"toEmails": ["a@b.c"]})
    tight.config("acme", eventTriggers=UNCOOLED)
    tight.config("acme", "other", eventTriggers=UNCOOLED)
    stuck = [tight.event(org="broken") for _ in range(100)]
    await tight.submit(*stuck)
    assert tight.engine.unfinished == 8
    mine, theirs = tight.event(org="acme"), tight.event(namespace="other")
    await tight.submit(mine, theirs)
    assert phases(tight, [mine, theirs]) == [Phase.DELIVERED] * 2
    more = [tight.event(org="acme") for _ in range(50)]
    await tight.submit(*more)
    await drain(tight, more, 200)
    lists = len(tight.events.lists)
    await tight.clock.advance(PATIENCE * 10)
    assert len(tight.events.lists) - lists <= 10, "there is no room for those that wait, so they are not listed"


async def test_a_configuration_that_is_repaired_gets_all_of_them_out(tight):
    tight.config("acme", email={"toEmails": ["a@b.c"]}, eventTriggers=UNCOOLED)
    events = [tight.event() for _ in range(100)]
    await tight.submit(*events)
    assert tight.status(events[0]).reason is Reason.CONFIG_NOT_READY
    assert tight.status(events[-1]).phase is None, "it is left alone"
    tight.config("acme", email=EMAIL, eventTriggers=UNCOOLED)
    tight.engine.wake_org("acme")
    await drain(tight, events)
    assert sorted(tight.email.names) == sorted(event.name for event in events)


async def test_a_few_that_were_left_come_in_after_a_minute_though_the_namespace_stays_nearly_full(tight):
    tight.config(
        "acme",
        eventTriggers=UNCOOLED,
        retryConfig={"maxAttempts": 5, "initialDelaySeconds": 36_000, "maxDelaySeconds": 36_000},
    )
    tight.email.script = [LATER] * 7
    slow = [tight.event() for _ in range(7)]
    await tight.submit(*slow)
    tight.email.gate = asyncio.Event()
    under_way, left = tight.event(), tight.event()
    await tight.submit(under_way, left)
    tight.email.gate.set()
    await settle_down()
    assert tight.status(under_way).phase is Phase.DELIVERED
    assert tight.status(left).phase is None
    await tight.clock.advance(PATIENCE + 2)
    assert tight.status(left).phase is Phase.DELIVERED


async def test_what_was_tried_before_a_restart_goes_on_whatever_waits_with_it(tight):
    tight.config("acme", eventTriggers=UNCOOLED, retryConfig={"initialDelaySeconds": 30, "maxDelaySeconds": 30})
    tight.email.script = [LATER] * 8
    tried = [tight.event(f"z-{number}") for number in range(8)]
    await tight.submit(*tried)
    new = [tight.event(f"a-{number:02}") for number in range(40)]
    tight.events.store = dict(sorted(tight.events.store.items()))  # as the API lists them
    await tight.restart()
    async with running(tight):
        assert all(tight.engine.knows(event.uid) for event in tried)
        await drain(tight, [*tried, *new])
    counts = {name: tight.email.names.count(name) for name in tight.email.names}
    assert {counts[event.name] for event in tried} == {2}
    assert {counts[event.name] for event in new} == {1}


async def test_an_api_that_is_away_is_asked_again(tight):
    tight.config(eventTriggers=UNCOOLED)
    events = [tight.event() for _ in range(40)]
    for event in events:
        tight.engine.submit(event)
    await settle_down()
    tight.events.away = True
    await tight.clock.advance(5)
    assert list(tight.engine.bounds.behind) == ["team"]
    tight.events.away = False
    await drain(tight, events)
    assert len(tight.email.names) == 40


async def test_what_another_replica_owns_is_not_taken_in(tight):
    tight.config(eventTriggers=UNCOOLED)
    events = [tight.event() for _ in range(40)]
    for event in events:
        tight.engine.submit(event)
    await settle_down()
    tight.ownership.lost.add("acme")
    sent = len(tight.email.names)
    await tight.clock.advance(120)
    assert len(tight.email.names) == sent
    assert list(tight.engine.bounds.behind) == []


async def test_nothing_is_listed_while_the_pass_over_all_events_goes_on(tight):
    tight.config(eventTriggers=UNCOOLED)
    events = [tight.event() for _ in range(40)]
    for event in events:
        tight.engine.submit(event)
    tight.ledger.begin_fold([shard_of("acme")])
    await tight.clock.advance(30)
    assert tight.events.lists == []
    tight.engine.start_cooldowns([shard_of("acme")])
    await drain(tight, events)


async def test_the_rest_of_a_cooldowns_waiters_are_suppressed_by_the_same_notification(tight):
    tight.config(retryConfig={"initialDelaySeconds": 5, "maxDelaySeconds": 5})
    tight.email.script = [LATER]
    events = [tight.event() for _ in range(100)]
    await tight.submit(*events)
    await drain(tight, events)
    assert phases(tight, events).count(Phase.DELIVERED) == 1
    assert {tight.status(event).suppressed_by for event in events[1:]} == {events[0].name}


async def test_a_flood_of_waiting_events_takes_a_bounded_part_of_memory():
    """The bounds as they are: of one organisation's waiting events, 5,000 are kept track of."""
    house = House()
    house.no_root()
    house.config("acme", email={"toEmails": ["a@b.c"]})
    events = [house.event() for _ in range(6_000)]
    gc.collect()
    tracemalloc.start()
    try:
        for event in events[:5_000]:
            house.engine.submit(event)
        tracked, _ = tracemalloc.get_traced_memory()
        for event in events[5_000:]:
            house.engine.submit(event)
        gc.collect()
        all_, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert house.engine.unfinished == 5_000
    assert tracked / 5_000 < 2_000
    assert all_ - tracked < 100 * 1_000, "what is beyond the bound takes next to nothing"
    await house.engine.close(0)


async def test_a_waiting_event_keeps_nothing_that_reading_it_again_brings_back():
    house = House()
    house.no_root()
    house.config("acme", email={"toEmails": ["a@b.c"]})
    events = [house.event() for _ in range(300)]
    await house.submit(*events)
    await settle_down()
    states = [house.engine._roster.get(event.uid) for event in events]
    assert all(state.status.phase is None and state.event is None and not state.deliveries for state in states)
    house.config("acme", email=EMAIL, eventTriggers=UNCOOLED)
    house.engine.wake_org("acme")
    await settle_down(3_000)
    assert phases(house, events) == [Phase.DELIVERED] * 300
    await house.engine.close(0)
