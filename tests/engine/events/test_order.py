"""Failures and successes are decided in the order of their creation, whatever delays one of them."""

from __future__ import annotations

import asyncio

import pytest
from tests.engine.events.test_incidents import configure
from tests.engine.fakes import START, settle_down

from pipebell.core.event import Event, PipelineEventSpec
from pipebell.core.shards import shard_of
from pipebell.core.status import EventStatus
from pipebell.engine.events.order import Undecided, order_key


@pytest.fixture
async def house(house):
    house.keep()
    return house


@pytest.fixture
def woken():
    return []


@pytest.fixture
def undecided(woken):
    return Undecided(woken.append)


def event(uid, created=START, version="1", org="acme", **spec):
    made = PipelineEventSpec.model_validate({"orgSlug": org, "event": "pipeline_failure", **spec})
    return Event("team", uid, uid, version, 1, created, made, EventStatus())


async def test_an_event_that_is_held_up_is_not_overtaken(house):
    """The first one has to be read again, which takes its time; those that came after it are live."""
    configure(house)
    gate = asyncio.Event()
    recorder = house.engine._reconciler.recorder
    reread = recorder.reread

    async def slow(state):
        await gate.wait()
        return await reread(state)

    recorder.reread = slow
    failure, success, again = house.event(), house.event(event="pipeline_success"), house.event()
    house.engine.submit(failure, stale=True)
    await settle_down()
    recorder.reread = reread
    await house.submit(again)  # a list does not tell them in order
    await house.submit(success)
    await house.clock.advance(5)
    assert not house.slack.sent
    gate.set()
    await house.clock.advance(5)
    records = [house.status(each).incident for each in (failure, success, again)]
    assert [record.action.value for record in records] == ["Opened", "Recovered", "Opened"]
    assert records[0].name == records[1].name != records[2].name


async def test_what_was_expected_before_a_shard_was_lost_is_not_waited_for_when_it_comes_back(house):
    configure(house)
    house.engine.books.incidents.expect(house.event())  # which another replica finishes meanwhile
    house.keeper.on_shards_acquired(range(24))
    await house.recover()
    await house.submit(house.event())
    assert len(house.slack.sent) == 1


def test_the_first_one_is_whoever_was_created_first(undecided, woken):
    one, two, three = event("c"), event("b", START + 1), event("a", START + 2)
    for each in (three, one, two):
        undecided.expect(each)
    assert [undecided.overtakes(each) for each in (one, two, three)] == [False, True, True]
    undecided.decided("team", "acme", "c")
    assert woken == [order_key("team", "acme")]
    assert [undecided.overtakes(each) for each in (two, three)] == [False, True]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ({"version": "7"}, {"version": "10"}),
        ({"version": "9", "occurredAt": "2026-11-25T12:00:00.1Z"}, {"occurredAt": "2026-11-25T12:00:00.2Z"}),
    ],
)
def test_in_one_second_it_is_when_they_occurred_or_were_stored(undecided, earlier, later):
    undecided.expect(event("later", **later))
    undecided.expect(event("earlier", **earlier))
    assert undecided.overtakes(event("later", **later))
    assert not undecided.overtakes(event("earlier", **earlier))


def test_whoever_waits_for_nobody_is_nobodys_to_wake(undecided, woken):
    undecided.expect(event("a"))
    assert not undecided.overtakes(event("a"))
    undecided.decided("team", "acme", "a")
    undecided.decided("team", "acme", "a")
    assert not woken


def test_an_event_keeps_its_place_whatever_is_written_on_it(undecided):
    undecided.expect(event("a", version="1"))
    undecided.expect(event("b", version="2"))
    assert not undecided.overtakes(event("a", version="3"))


def test_others_and_those_who_hold_back_nobody_are_not_waited_for(undecided):
    undecided.expect(event("a", org="other"))
    undecided.expect(event("b", test=True))
    undecided.expect(event("c", event="pipeline_started"))
    assert not undecided.overtakes(event("z", START + 9))


def test_what_is_another_replicas_is_forgotten(undecided):
    undecided.expect(event("a"))
    undecided.release({shard_of("acme")})
    assert not undecided.overtakes(event("z", START + 9))
