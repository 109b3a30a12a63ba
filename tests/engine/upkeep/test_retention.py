"""Finished events go when their time has come, and none that a cooldown still needs."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.engine.fakes import START

from pipebell.core.errors import Rejected, Unavailable
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.status import rfc3339

RETRY = Outcome(OutcomeKind.RETRY, "Timeout", "no answer")
PAUSE = Outcome(OutcomeKind.PAUSE, "Http429", "slow down", retry_after=60)


async def test_finished_events_go_when_their_time_has_come_unless_a_cooldown_needs_them(house):
    house.config()
    task = asyncio.create_task(house.sweeper().run())
    sent, held = house.event(), house.event()
    own = house.event(ttlSecondsAfterFinished=10, event="system_error", test=True)
    unwanted = house.event(event="pipeline_started")
    await house.submit(sent, held, own, unwanted)
    await house.clock.advance(30)
    assert set(house.events.store) == {("team", e.name) for e in (sent, held, unwanted)}
    await house.clock.advance(100)
    assert set(house.events.store) == {("team", e.name) for e in (sent, held)}
    await house.clock.advance(300)
    assert len(house.events.store) == 2, "the suppression has not been told yet"
    later = house.event()
    await house.submit(later)
    assert house.email.sent[-1][1].suppressed == 1
    await house.clock.advance(100)
    assert set(house.events.store) == {("team", later.name)}
    task.cancel()


async def test_failures_are_kept_longer_and_unfinished_events_for_ever(house):
    house.config(email={"toEmails": ["a@x.example"]})
    waiting = house.event()
    await house.submit(waiting)
    task = asyncio.create_task(house.sweeper(ttl_delivered=0).run())
    house.events.force_status("team", waiting.name, {"phase": "Failed", "completionTime": rfc3339(START)})
    other = house.event()
    await house.recover()
    await house.clock.advance(500)
    assert len(house.events.store) == 2
    await house.clock.advance(700)
    assert set(house.events.store) == {("team", other.name)}
    task.cancel()


async def test_thousands_that_fell_due_are_deleted_within_seconds(house):
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}])
    events = [house.event(test=True) for _ in range(1000)]
    for event in events:
        house.events.force_status("team", event.name, {"phase": "Delivered", "completionTime": rfc3339(START)})
    task = asyncio.create_task(house.sweeper(ttl_delivered=1).run())
    await house.recover()
    await house.clock.advance(10)
    assert house.events.store == {}
    task.cancel()


async def test_a_look_at_all_events_is_rare(house):
    """Ten in an event's life, for each reads everything that there is; and the pass at the start is the first."""
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}])
    looks = []
    real = house.events.scan

    def scan(**how):
        looks.append(house.clock.now() - START)
        return real(**how)

    retention = house.sweeper(ttl_delivered=3600)
    await house.recover()
    house.events.scan = scan
    task = asyncio.create_task(retention.run())
    for _ in range(240):
        await house.submit(house.event())
        await house.clock.advance(60)
    assert looks[0] == 3600, "none at the start"
    assert len(looks) <= 3 * 10, "in the three hours in which something falls due every minute"
    assert 60 <= len(house.events.store) <= 60 * 1.1 + 2
    task.cancel()


async def test_a_look_that_fails_is_made_again_soon(house):
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}])
    task = asyncio.create_task(house.sweeper(cooldown=0).run())
    await house.submit(*(house.event() for _ in range(3)))
    real, house.events.delete = house.events.delete, refuse
    await house.clock.advance(80)
    assert len(house.events.store) == 3
    house.events.delete = real
    await house.clock.advance(10)
    assert house.events.store == {}
    task.cancel()


async def refuse(*_):
    raise Unavailable("429 too many requests")


async def test_one_event_that_may_not_be_deleted_keeps_none_of_the_others(house):
    house.config()
    events = [house.event(test=True) for _ in range(3)]
    task = asyncio.create_task(house.sweeper().run())
    await house.submit(*events)
    real = house.events.delete

    async def delete(namespace, name, uid):
        if name == events[0].name:
            raise Rejected("403 by a webhook")
        await real(namespace, name, uid)

    house.events.delete = delete
    await house.clock.advance(120)
    assert set(house.events.store) == {("team", events[0].name)}
    task.cancel()


async def test_a_long_cooldown_is_never_deleted_while_it_runs(house):
    month = 2_592_000
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": month}])
    sent = house.event()
    await house.submit(sent)
    await house.clock.leap(month - 10_000)
    task = asyncio.create_task(house.sweeper(cooldown=month).run())
    await house.recover()
    await house.clock.advance(20)
    assert ("team", sent.name) in house.events.store
    task.cancel()


async def test_a_status_that_nobody_understands_stops_neither_the_pass_nor_the_sweeper(house):
    house.config()
    sent, odd = house.event(), house.event(test=True)
    await house.submit(sent)
    known = house.events.store["team", sent.name].status
    broken = [item.model_copy(update={"delivered_time": "yesterday"}) for item in known.deliveries]
    strange = known.model_copy(update={"deliveries": broken, "completion_time": "yesterday"})
    house.events.store["team", odd.name] = replace(house.event("odd"), status=strange)
    await house.restart()
    held = house.event()
    await house.submit(held)
    assert house.status(held).suppressed_by == sent.name
    task = asyncio.create_task(house.sweeper().run())
    await house.recover()
    await house.clock.advance(120)
    assert not task.done()
    task.cancel()


async def test_nothing_is_swept_by_a_clock_that_is_not_trusted(house):
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}])
    task = asyncio.create_task(house.sweeper(cooldown=0, ttl_delivered=3600).run())
    await house.submit(*(house.event() for _ in range(3)))
    house.clock.trusted = False
    await house.clock.leap(8 * 86_400)
    assert len(house.events.store) == 3
    house.clock.trusted = True
    await house.clock.advance(30)
    assert house.events.store == {}
    task.cancel()


@pytest.mark.parametrize(("ended", "after"), [(8 * 86_400.0, 86_400 + 3600), (1e11, 86_400 + 3600), (-1e9, 3600)])
async def test_an_end_that_a_wrong_clock_wrote_keeps_nothing_for_ever_and_takes_nothing_early(house, ended, after):
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}])
    event = house.event()
    await house.submit(event)
    stored = house.events.store["team", event.name]
    status = stored.status.model_copy(update={"completion_time": rfc3339(house.clock.now() + ended)})
    house.events.store["team", event.name] = replace(stored, status=status)
    task = asyncio.create_task(house.sweeper(cooldown=0, ttl_delivered=3600).run())
    await house.clock.leap(after - 120)
    assert len(house.events.store) == 1
    await house.clock.advance(2 * 3600)
    assert house.events.store == {}
    task.cancel()
