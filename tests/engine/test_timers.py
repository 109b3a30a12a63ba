"""Timers and deadlines, on a clock that tests move."""

from __future__ import annotations

import asyncio

from tests.engine.fakes import FakeClock, settle_down

from pipebell.engine.timers import Deadlines, Timers


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


async def test_a_deadline_set_again_replaces_the_one_before():
    clock, fired = FakeClock(), []
    deadlines = Deadlines(clock, fired.append)
    now = clock.now()
    deadlines.set("a", now + 10)
    deadlines.set("b", now + 20)
    deadlines.set("a", now + 30)
    deadlines.set("c", now + 5)
    deadlines.set("c", None)
    await clock.advance(29.9)
    assert fired == ["b"]
    await clock.advance(0.1)
    assert fired == ["b", "a"]
    assert len(deadlines) == 0
    deadlines.close()


async def test_deadlines_that_are_replaced_again_and_again_do_not_pile_up():
    clock, fired = FakeClock(), []
    deadlines = Deadlines(clock, fired.append)
    for number in range(10_000):
        deadlines.set(f"event-{number % 10}", clock.now() + 10_000 - number)
    assert len(deadlines) == 10
    assert len(deadlines._heap) < 100
    await clock.advance(10_000)
    assert sorted(fired) == sorted(f"event-{number}" for number in range(10))
    deadlines.close()
