"""What a takeover finds: decided and not recorded, stored late, in one second, of one key. Nothing stale is stored."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.engine.fakes import settle_down
from tests.engine.upkeep.incidents.test_keeper import configure, fail, the_incident

from pipebell.core.errors import Unavailable
from pipebell.core.outcome import Action, Outcome, OutcomeKind
from pipebell.core.shards import shard_of
from pipebell.core.status import EventStatus, IncidentRecord
from pipebell.core.vocabulary import IncidentAction, Reason
from pipebell.engine.events.state import EventState

FIRST = Outcome(OutcomeKind.DELIVERED, handle="C1/1.0")


@pytest.fixture
async def house(house):
    house.keep()
    return house


async def succeed(house, **spec):
    event = house.event(event="pipeline_success", **spec)
    await house.submit(event)
    return event


def counts(house):
    """Phase and failures of each incident, in the order of their openings."""
    events = list(house.events.store)
    items = sorted(house.incidents.store.values(), key=lambda item: events.index((item.namespace, item.spec.opened_by)))
    return [(str(item.status.phase), item.status.failures) for item in items]


async def away_for_status(*_):
    raise Unavailable("away")


async def test_the_watch_is_sooner_than_the_answer_to_what_created_it(house):
    """Then its uid is known all the same, which the fingerprints of its endpoints are made with."""
    configure(house)
    create = house.incidents.create

    async def unanswered(namespace, name, spec):
        house.incidents.create = create
        house.incidents.on_change(await create(namespace, name, spec))
        raise Unavailable("no answer")

    house.incidents.create, house.slack.script = unanswered, [FIRST]
    await fail(house)
    await house.clock.advance(60)
    await house.restart()
    await succeed(house)
    await house.clock.advance(5)
    replies = [attempt for _, _, _, attempt in house.slack.sent if attempt.action is Action.REPLY]
    assert [attempt.handle for attempt in replies] == ["C1/1.0"]


async def test_a_success_whose_record_was_lost_does_not_end_what_failed_after_it(house):
    configure(house)
    await fail(house)
    await house.clock.advance(60)
    house.slack.gate = asyncio.Event()  # nobody answers: neither of the two is recorded
    await succeed(house)
    await house.clock.advance(2)
    await fail(house)
    await house.clock.advance(2)
    house.slack.gate, house.slack.sent = None, []
    await house.restart()
    await house.clock.advance(60)
    assert counts(house) == [("Resolved", 1), ("Open", 1)]


async def test_what_was_under_way_when_its_shard_was_lost_is_not_stored_when_the_shard_is_ours_again(house):
    configure(house)
    await fail(house)
    await house.clock.advance(60)
    incident, shard = the_incident(house), {shard_of("acme")}
    stale = house.keeper._book.named(incident.namespace, incident.name)
    for follower in (house.keeper, house.engine):
        follower.on_shards_released(shard)
    stale.confirmed = 2  # an event of it has just been recorded
    house.engine.books.incidents.on_change(stale, False)
    await house.incidents.patch_status(incident, {"failures": 7, "lastEvent": "of-another-replica"})
    await house.recover(shard)
    await house.clock.advance(60)
    status = the_incident(house).status
    assert (status.failures, status.last_event) == (7, "of-another-replica")


@pytest.mark.parametrize("apart", [0, 1], ids=["in the same second", "a second later"])
async def test_the_failure_that_reached_the_threshold_was_on_its_way_when_the_success_was_recorded(house, apart):
    configure(house, notifyAfterFailures=3)
    for _ in range(2):
        await fail(house)
        await house.clock.advance(10)
    house.slack.gate = asyncio.Event()
    third = await fail(house)
    await house.clock.advance(apart)
    end = await succeed(house)
    await house.clock.advance(10)
    house.slack.gate, house.slack.sent = None, []
    await house.restart()
    await house.clock.advance(60)
    assert house.slack.names[:2] == [third.name, end.name]
    assert counts(house) == [("Resolved", 3)]
    assert (house.status(third).incident.action, house.status(third).incident.failures) == (IncidentAction.OPENED, 3)


async def test_a_failure_that_waited_for_the_sender_and_was_not_recorded_counts_in_what_has_ended(house):
    configure(house)
    house.slack.gate = asyncio.Event()
    await fail(house)
    await house.clock.advance(1)
    waits = await fail(house)
    await house.clock.advance(1)
    end = await succeed(house)
    await settle_down()
    house.slack.gate = None
    await house.restart()
    await house.clock.advance(60)
    assert counts(house) == [("Resolved", 2)]
    assert house.status(waits).incident.failures == 2
    assert house.status(waits).reason in (Reason.REPEATED, Reason.SUPERSEDED)
    assert house.status(end).incident.action is IncidentAction.RECOVERED


async def test_of_several_of_one_key_each_has_its_own_failures_and_its_own_end(house):
    """A process has created the Incidents of a backlog and died before it had recorded anything else."""
    configure(house)
    house.slack.gate, house.events.away = asyncio.Event(), True
    written, house.incidents.patch_status = house.incidents.patch_status, away_for_status
    events = []
    for number in range(2):
        for act in (fail, succeed):
            events.append(await act(house, pipelineId="p", errorMessage=f"error {number}"))
            await house.clock.advance(1.5)
    assert len(house.incidents.store) == 2
    house.slack.gate, house.events.away, house.incidents.patch_status, house.slack.sent = None, False, written, []
    await house.restart()
    await house.clock.advance(60)
    assert counts(house) == [("Resolved", 1), ("Resolved", 1)]
    assert [item.status.first_error for item in house.incidents.store.values()] == ["error 0", "error 1"]
    names = [name for name in house.slack.names if name in {event.name for event in events}]
    assert names == [event.name for event in events]


async def test_the_first_cause_stays_the_first_one_when_the_opening_is_decided_anew(house):
    configure(house)
    house.slack.gate = asyncio.Event()
    first = await fail(house, errorMessage="the cause")
    await fail(house, errorMessage="what followed")
    await house.clock.advance(5)  # the second one says that it waits; the first one says nothing
    house.slack.gate = None
    await house.restart()
    await house.clock.advance(60)
    status = the_incident(house).status
    assert (status.first_error, status.last_error, status.failures) == ("the cause", "what followed", 2)
    assert house.status(first).incident.action is IncidentAction.OPENED


async def test_a_recovery_that_is_to_be_tried_again_and_waits_for_another_message_goes_on_by_its_own_time(house):
    configure(house)
    await fail(house)
    house.slack.script = [Outcome(OutcomeKind.RETRY, "Timeout", "no answer")]
    end = await succeed(house)
    incident, book = the_incident(house), house.engine.books.incidents.book
    entry = book.named(incident.namespace, incident.name)
    book.sending(entry, ("slack",), "uid-another", "another")
    house.engine.wake(end.uid)
    await settle_down()
    assert [item.reason for item in house.status(end).deliveries] == [Reason.WAITING_FOR_SENDER]
    book.finished(entry, "uid-another")
    await house.clock.advance(300)
    assert house.status(end).phase == "Delivered"


async def test_a_takeover_writes_nothing_that_stands_there_already(house):
    configure(house, to=("slack", "pagerduty"))
    await fail(house)
    await fail(house)
    await fail(house, pipelineId="q")
    await succeed(house, pipelineId="q")
    await house.clock.advance(60)
    stored = {name: item.status for name, item in house.incidents.store.items()}
    house.incidents.writes.clear()
    await house.restart()
    await house.clock.advance(300)
    assert house.incidents.writes == []
    assert {name: item.status for name, item in house.incidents.store.items()} == stored


async def test_an_opening_that_a_takeover_finds_and_that_is_not_due_any_more_keeps_no_recovery_waiting(house):
    configure(house)
    await fail(house)
    incident, incidents = the_incident(house), house.engine.books.incidents
    entry = incidents.book.named(incident.namespace, incident.name)
    record = IncidentRecord(name=incident.name, action=IncidentAction.OPENED, failures=1)
    notice = replace(house.event(), status=EventStatus(incident=record))
    incidents.book.sending(entry, ("slack",), notice.uid, notice.name)
    incidents.ended(EventState.of(notice))
    assert entry.incident.under_way == {}
