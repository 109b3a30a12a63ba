"""Many incidents that are told of at once: in one digest for each destination, but each to whoever is on call."""

from __future__ import annotations

import pytest
from tests.engine.upkeep.incidents.test_keeper import DUTY, fail, notices, restarted

from pipebell.core.vocabulary import Reason

HOUR = 3600.0
BOTH = pytest.mark.parametrize("how", ["goes on", "restarted"])


@pytest.fixture
async def house(house):
    house.keep()
    return house


def configure(house, **incidents):
    trigger = {"event": "pipeline_failure", "providers": ["email", "pagerduty"], "cooldownSeconds": 0}
    rules = {"enabled": True, "remindAfterSeconds": 0, **incidents}
    house.config(pagerduty=DUTY, eventTriggers=[trigger], incidents=rules)


def silenced(house):
    """Everything, for an hour and over restarts; whoever empties the list ends it."""
    silences, start = house.silence(HOUR), house.start

    def started():
        start()
        house.engine.books.holds.silences = lambda _namespace, _now: silences

    house.start = started
    return silences


def made(house, kind):
    """Where each notice of this kind waits for a digest."""
    found = [event for event in house.events.store.values() if event.spec.notice and event.spec.notice.kind == kind]
    return [[item.destination for item in house.status(event).batch or ()] for event in found]


@BOTH
@pytest.mark.parametrize(("number", "together"), [(5, False), (6, True)])
async def test_what_a_silence_held_back_is_told_in_one_digest_where_it_is_much(house, how, number, together):
    configure(house)
    silences = silenced(house)
    for each in range(number):
        await fail(house, pipelineId=f"p{each}")
    await house.clock.advance(20)
    await restarted(house, how)
    await house.clock.advance(HOUR - 30)
    assert [house.email.sent, house.pagerduty.sent] == [[], []]
    silences.clear()
    await house.clock.advance(60)
    assert len(house.pagerduty.sent) == number, "whoever is on call is told of each"
    assert len(house.email.sent) == (0 if together else number)
    assert made(house, "Opening") == [["email"] if together else []] * number
    await house.clock.advance(30)
    assert {item.status.phase for item in house.incidents.store.values()} == {"Open"}
    assert {len(item.status.notifications) for item in house.incidents.store.values()} == {2}
    ends = [await fail(house, event="pipeline_success", pipelineId=f"p{each}") for each in range(number)]
    assert {len(house.status(end).batch or ()) for end in ends} == {int(together)}


@BOTH
async def test_so_is_what_was_told_before_and_still_fails_even_where_nothing_else_reminds(house, how):
    configure(house)
    for each in range(7):
        await fail(house, pipelineId=f"p{each}")
    await house.clock.advance(60)
    silences = silenced(house)
    await fail(house, pipelineId="p0", namespace="other")
    for each in range(7):
        await fail(house, pipelineId=f"p{each}")
    await house.clock.advance(20)
    await restarted(house, how)
    await fail(house, event="pipeline_success", pipelineId="p6")
    silences.clear()
    house.keeper.on_silence_change()
    await house.clock.advance(60)
    assert made(house, "Reminder") == [["email"]] * 6
    assert notices(house, house.pagerduty).count("Reminder") == 6
    await house.clock.advance(10 * HOUR)
    assert len(made(house, "Reminder")) == 6, "and that is all"


async def test_openings_that_had_to_fail_for_a_while_are_a_storm_like_others(house):
    configure(house, notifyAfterSeconds=600, storm={"openings": 3, "withinSeconds": 60})
    for each in range(8):
        await fail(house, pipelineId=f"p{each}")
    await house.clock.advance(630)
    assert len(house.pagerduty.sent) == 8
    assert len(house.email.sent) == 3
    assert sorted(made(house, "Opening")) == [[]] * 3 + [["email"]] * 5
    again = await fail(house, pipelineId="p7")
    assert house.status(again).reason is Reason.REPEATED
