"""Runs that try again: each one's last attempt that never comes is a failure, over restarts too."""

from __future__ import annotations

import pytest
from tests.engine.upkeep.incidents.test_keeper import configure, fail, notices, restarted, the_incident

HOUR = 3600.0
BOTH = pytest.mark.parametrize("how", ["goes on", "restarted"])


@pytest.fixture
async def house(house):
    house.keep()
    return house


async def attempt(house, run, number=1):
    return await fail(house, pipelineLoggingId=run, attempt=number, maxAttempts=3)


@BOTH
async def test_runs_that_die_at_their_first_attempt_are_told_however_soon_the_next_begins(house, how):
    configure(house)
    for run in range(4):
        await attempt(house, f"r{run}")
        await restarted(house, how)
        await house.clock.advance(HOUR / 2)
    assert notices(house) == ["Opening"]
    await house.clock.advance(HOUR)
    await restarted(house, how)
    await house.clock.advance(30)
    status = the_incident(house).status
    assert (status.phase, status.failures) == ("Open", 4)


@BOTH
async def test_an_attempt_that_is_the_last_counts_beside_what_was_counted_before(house, how):
    configure(house, notifyAfterFailures=2)
    await fail(house, pipelineLoggingId="r1")
    await house.clock.advance(20)
    await attempt(house, "r2")
    await house.clock.advance(20)
    await restarted(house, how)
    await house.clock.advance(HOUR)
    assert notices(house) == ["Opening"]
    assert the_incident(house).status.failures == 2


@BOTH
async def test_what_was_counted_as_missed_is_not_counted_again(house, how):
    configure(house, notifyAfterFailures=3)
    await attempt(house, "r1")
    await house.clock.advance(HOUR + 20)
    for _ in range(2):
        await restarted(house, how)
        await house.clock.advance(20)
    assert the_incident(house).status.failures == 1
    await attempt(house, "r1", 2)  # it comes after all
    await house.clock.advance(20)
    await restarted(house, how)
    await house.clock.advance(HOUR)
    assert (the_incident(house).status.failures, notices(house)) == (2, [])


@BOTH
async def test_an_attempt_that_followed_ends_the_wait_for_it(house, how):
    configure(house, notifyAfterFailures=2)
    for number in (1, 2, 3):
        await attempt(house, "r", number)
    await house.clock.advance(20)
    await restarted(house, how)
    await house.clock.advance(2 * HOUR)
    assert (the_incident(house).status.failures, the_incident(house).status.phase) == (1, "Pending")


async def test_an_attempt_is_kept_as_long_as_its_incident_goes_by_it(house):
    configure(house)
    event = await attempt(house, "r")
    await house.clock.advance(20)
    assert not house.keeper.covers(house.events.store["team", event.name])
    await house.clock.advance(HOUR)
    assert house.keeper.covers(house.events.store["team", event.name])


@BOTH
async def test_an_opening_that_has_to_fail_for_a_while_obeys_the_cooldown(house, how):
    trigger = {"event": "pipeline_failure", "providers": ["slack"], "cooldownSeconds": HOUR}
    rules = {"enabled": True, "remindAfterSeconds": 0, "notifyAfterSeconds": 60}
    house.config(slack={"botToken": "xoxb-1", "channel": "#data"}, eventTriggers=[trigger], incidents=rules)
    await fail(house)
    await house.clock.advance(70)
    await fail(house, event="pipeline_success")
    await fail(house)
    await house.clock.advance(20)
    await restarted(house, how)
    await house.clock.advance(HOUR - 120)
    assert notices(house) == ["Opening"]
    await house.clock.advance(120)
    assert notices(house) == ["Opening", "Opening"]
