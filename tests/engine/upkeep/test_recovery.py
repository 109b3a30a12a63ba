"""What a start and a takeover find out: cooldowns that run, and events to go on with."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.engine.fakes import settle_down

from pipebell.core.event import EventPage
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.shards import ALL_SHARDS
from pipebell.core.vocabulary import Phase, Reason
from pipebell.engine.events.state import EventState
from pipebell.engine.upkeep.recovery import Recovery

RETRY = Outcome(OutcomeKind.RETRY, "Timeout", "no answer")
BROKEN = Outcome(OutcomeKind.PERMANENT, "Http404", "no_service")
PAUSE = Outcome(OutcomeKind.PAUSE, "Http429", "slow down", retry_after=60)
SLACK = {"webhookUrl": "https://hooks.slack.com/services/T/B/x"}


async def test_a_restored_sender_that_is_skipped_gives_the_cooldown_back(house):
    house.config()
    house.email.script = [RETRY]
    first = house.event()
    await house.submit(first)
    house.config(enabled=False)
    await house.restart()
    await house.clock.advance(10)
    assert (house.status(first).phase, house.status(first).reason) == (Phase.FAILED, Reason.CONFIG_CHANGED)
    house.config()
    second = house.event()
    await house.submit(second)
    assert house.status(second).phase is Phase.DELIVERED


async def test_a_sender_that_ended_while_the_pass_went_on_holds_no_cooldown(house):
    house.config()
    house.email.script = [RETRY]
    first = house.event()
    await house.submit(first)
    house.email.script = [BROKEN]
    house.engine.room.close()
    house.start()  # the pass lists the event while it is still retried …
    listed = house.events.store["team", first.name]
    house.events.scan = _pages([listed])
    house.engine.submit(listed)
    await house.clock.advance(10)  # … and it ends before the pass does
    assert house.status(first).phase is Phase.FAILED
    await house.recover()
    second = house.event()
    await house.submit(second)
    assert house.status(second).phase is Phase.DELIVERED


def _pages(*pages):
    async def scan(phases_excluded=(), **_):
        for page in pages:
            yield EventPage(None, "1", page)

    return scan


AT_ONCE = [{"event": "pipeline_failure", "providers": ["email"], "cooldownSeconds": 0}]


async def test_what_the_pass_has_read_is_not_read_again_when_its_turn_comes(house):
    """The watch tells of it too, and earlier: until the pass, its last owner may have finished it."""
    house.config(eventTriggers=AT_ONCE)
    events = [house.event() for _ in range(100)]
    recovery = Recovery(house.ports, house.ledger, house.engine, lambda _: None)
    recovery.on_shards_acquired(ALL_SHARDS)
    house.email.gate = asyncio.Event()
    for event in events:
        recovery.add(event)
    await settle_down()
    begun = len(house.events.reads)
    assert 0 < begun < 100, "those that had a slot before the pass were read; the rest waits behind them"
    task = asyncio.create_task(recovery.run())
    await settle_down()
    house.email.gate.set()
    await settle_down()
    task.cancel()
    assert len(house.events.reads) == begun
    assert sorted(house.email.names) == sorted(event.name for event in events)
    assert all(house.status(event).phase is Phase.DELIVERED for event in events)


async def test_what_the_pass_read_before_the_watch_told_of_it_is_read_again(house):
    house.config(eventTriggers=AT_ONCE)
    house.email.gate = asyncio.Event()
    await house.submit(*(house.event() for _ in range(16)))
    before = house.event()
    after = house.events.add(replace(before, generation=2))
    house.engine.submit(after, stale=True)
    house.engine.admit(EventState.of(before))
    house.email.gate.set()
    await settle_down()
    assert house.events.reads == [after.name]
    assert house.status(after).observed_generation == 2


async def test_after_a_restart_a_retry_still_tells_how_many_were_held_back(house):
    house.config()
    first, *held = [house.event() for _ in range(3)]
    await house.submit(first, *held)
    await house.clock.advance(300)
    house.email.script = [RETRY]
    later = house.event()
    await house.submit(later)
    await house.restart()
    await house.clock.advance(5)
    assert house.email.names[-1] == later.name
    assert house.email.sent[-1][1].suppressed == 2
    assert house.status(later).suppressed_count == 2


async def test_after_a_restart_the_rate_limited_sender_is_still_the_sender(house):
    house.config(slack=SLACK, eventTriggers=[{"event": "pipeline_failure", "providers": ["slack"]}])
    house.slack.script = [PAUSE]
    first, second = house.event("z"), house.event("a")
    await house.submit(first, second)
    await house.clock.advance(3)
    house.events.store = dict(sorted(house.events.store.items()))  # lists are in the order of names
    await house.restart()
    await house.clock.advance(50)
    assert house.slack.names == ["z"], "the endpoint is still to be left alone"
    await house.clock.advance(10)
    assert house.slack.names == ["z", "z"]
    assert house.status(second).suppressed_by == "z"
