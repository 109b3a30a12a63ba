"""What became of an event gets onto its resource: whole, or in short, or it is kept in memory and not sent again."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from tests.engine.fakes import settle_down

from pipebell.core.errors import Rejected, TooLarge
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.vocabulary import Phase, Reason
from pipebell.engine.events.reconcile import LARGEST
from pipebell.engine.events.settler import FIRST_PARKED, LONGEST_PARKED

BROKEN = Outcome(OutcomeKind.PERMANENT, "Http404", "no_service")
RETRY = Outcome(OutcomeKind.RETRY, "Timeout", "no answer")
NO_COOLDOWN = [{"event": "pipeline_failure", "cooldownSeconds": 0}]
REFUSALS = [Rejected("422 denied by a policy"), TooLarge("500 etcdserver: request is too large")]


def refuse(house, error, names=("refused",), *, short_ones_too=True):
    """The API refuses the status of these events for good."""
    real = house.events.patch_status

    async def patch_status(namespace, name, uid, version, status):
        if name.startswith(tuple(names)) and (short_ones_too or len(status) > 2):
            raise error
        return await real(namespace, name, uid, version, status)

    house.events.patch_status = patch_status
    return lambda: setattr(house.events, "patch_status", real)


@pytest.mark.parametrize("error", REFUSALS)
async def test_a_status_that_is_refused_falls_back_to_phase_and_reason(house, error):
    house.config()
    refuse(house, error, short_ones_too=False)
    event = house.event("refused")
    await house.submit(event)
    assert house.events.writes == [("refused", {"phase": "Delivered", "reason": None})]
    assert house.engine.unfinished == house.engine.unrecordable == 0
    assert house.observer.ended == [("refused", "Delivered", "")]


@pytest.mark.parametrize("error", REFUSALS)
async def test_what_cannot_be_recorded_holds_no_slot_and_is_never_sent_again(house, error):
    house.config(eventTriggers=NO_COOLDOWN)
    allow = refuse(house, error)
    events = [house.event(f"refused-{number}") for number in range(20)]
    other = house.event()
    await house.submit(*events, other)
    await settle_down()
    assert house.status(other).phase is Phase.DELIVERED
    assert (house.engine.queue.running, house.engine.queue.depth, house.engine.unanswered) == (0, 0, 0)
    assert house.engine.unrecordable == 20
    house.config(eventTriggers=NO_COOLDOWN, retryConfig={"maxAttempts": 2})
    await house.clock.advance(3600)
    assert len(house.email.sent) == 21
    allow()
    await house.clock.advance(LONGEST_PARKED)
    assert {house.status(event).phase for event in events} == {Phase.DELIVERED}
    assert (len(house.email.sent), house.engine.unrecordable, house.engine.unfinished) == (21, 0, 0)


async def test_it_is_tried_again_more_and_more_slowly(house):
    house.config()
    tries = []
    refuse(house, REFUSALS[0])
    refusing = house.events.patch_status

    async def patch_status(namespace, name, uid, version, status):
        if len(status) > 2:
            tries.append(house.clock.now())
        return await refusing(namespace, name, uid, version, status)

    house.events.patch_status = patch_status
    await house.submit(house.event("refused"))
    await house.clock.advance(7200)
    waits = [round(after - before) for before, after in itertools.pairwise(tries)]
    assert waits[:6] == [FIRST_PARKED, 60, 120, 240, 480, LONGEST_PARKED]
    assert set(waits[6:]) == {LONGEST_PARKED}


async def test_an_event_of_which_nobody_is_told_is_kept_as_well(house):
    refuse(house, REFUSALS[1])
    events = [house.event(f"refused-{number}", namespace="evil") for number in range(16)]
    await house.submit(*events)
    await settle_down()
    house.config(eventTriggers=NO_COOLDOWN)
    real = house.event("real")
    await house.submit(real)
    assert house.status(real).phase is Phase.DELIVERED
    assert (house.engine.queue.running, house.engine.unrecordable) == (0, 16)
    for event in events:
        house.engine.forget(event.uid)
    assert (house.engine.unrecordable, house.engine.unfinished) == (0, 0)


async def test_a_failed_one_that_cannot_be_recorded_hands_the_turn_on(house):
    house.config()
    house.email.script = [Outcome(OutcomeKind.PERMANENT, "Http404", "no_service")]
    house.email.gate = asyncio.Event()
    refuse(house, REFUSALS[0])
    first, second = house.event("refused"), house.event()
    await house.submit(first, second)
    house.email.gate.set()
    await settle_down()
    assert house.status(second).phase is Phase.DELIVERED


async def test_a_retry_that_cannot_be_recorded_waits_until_it_can(house):
    house.config()
    house.email.script = [RETRY]
    allow = refuse(house, REFUSALS[0])
    event = house.event("refused")
    await house.submit(event)
    await house.clock.advance(300)
    assert len(house.email.sent) == 1
    allow()
    await house.clock.advance(LONGEST_PARKED)
    assert house.status(event).phase is Phase.DELIVERED
    assert len(house.email.sent) == 2


@pytest.mark.parametrize(("stored", "phase"), [(LARGEST, Phase.DELIVERED), (LARGEST + 1, Phase.FAILED)])
async def test_an_event_without_room_for_its_status_is_refused_before_anything_is_sent(house, stored, phase):
    house.config()
    event = house.event(stored_bytes=stored)
    await house.submit(event)
    assert house.status(event).phase is phase
    assert len(house.email.sent) == (phase is Phase.DELIVERED)
    if phase is Phase.FAILED:
        assert house.status(event).reason is Reason.TOO_LARGE
        assert f"{stored:,} bytes" in house.status(event).message
        assert house.notices.posted == [("PipelineEvent", f"team/{event.name}", "TooLarge")]
        following = house.event()
        await house.submit(following)
        assert house.status(following).phase is Phase.DELIVERED, "it mutes nobody"


async def test_somebody_who_writes_all_the_time_does_not_keep_us_busy(house):
    house.config()
    event = house.event()
    moments = []

    def meddle(name):
        if len(moments) < 10:
            moments.append(house.clock.now())
            house.events.force_status("team", name, {"message": f"write {len(moments)}"})

    house.events.before_patch = meddle
    await house.submit(event)
    assert len(moments) == 2, "the first conflict is settled at once"
    await house.clock.advance(60)
    assert house.status(event).phase is Phase.DELIVERED
    assert len(house.email.sent) == 1
    assert moments[-1] - moments[0] > 5


async def test_a_write_whose_answer_was_lost_counts_as_written(house):
    house.config()
    house.email.script = [BROKEN]
    event = house.event()
    real = house.events.patch_status

    async def lost(namespace, name, uid, version, status):
        house.events.patch_status = real
        await real(namespace, name, uid, version, status)
        return await real(namespace, name, uid, version, status)  # the client's second try: a conflict

    house.events.patch_status = lost
    await house.submit(event)
    assert house.observer.ended == [(event.name, "Failed", "PermanentError")]
    assert house.notices.posted


async def test_a_partial_success_that_cannot_be_recorded_is_not_kept_once_the_whole_is(house):
    house.config(
        slack={"webhookUrl": "https://hooks.slack.com/services/T/B/x"},
        eventTriggers=[{"event": "pipeline_failure", "providers": ["email", "slack"]}],
    )
    house.slack.gate = asyncio.Event()
    allow = refuse(house, REFUSALS[0])
    event = house.event("refused")
    await house.submit(event)
    await house.clock.advance(4)
    assert house.engine.unrecordable == 1
    allow()
    house.slack.gate.set()
    await settle_down()
    assert house.status(event).phase is Phase.DELIVERED
    assert (house.engine.unrecordable, house.engine.unfinished) == (0, 0)
