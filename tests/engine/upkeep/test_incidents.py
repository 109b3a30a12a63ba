"""What time and people bring to incidents: reminders, escalation, acknowledgement, ends, and what is over for good."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.engine.events.test_incidents import configure, fail, succeed, the_incident, told
from tests.engine.fakes import START, settle_down

from pipebell.core.errors import Rejected
from pipebell.core.outcome import Action, Outcome, OutcomeKind
from pipebell.core.status import rfc3339
from pipebell.core.vocabulary import Reason
from pipebell.engine.upkeep.incidents.sweeper import IncidentSweeper

HOUR = 3600
STEPS = [{"afterSeconds": 900, "providers": ["email"]}, {"afterSeconds": 1800, "providers": ["pagerduty"]}]


@pytest.fixture
async def house(house):
    house.keep()
    return house


def notices(house, kind):
    return [event for event in house.events.store.values() if event.spec.notice and event.spec.notice.kind == kind]


def say(house, **spec):
    return house.incidents.say("team", the_incident(house).name, **spec)


async def test_reminders_after_4_and_12_hours_in_the_thread(house):
    configure(house, remindAfterSeconds=4 * HOUR)
    house.slack.script = [Outcome(OutcomeKind.DELIVERED, handle="C1/1.1")]
    await fail(house, errorMessage="disk full")
    await house.clock.advance(4 * HOUR - 1)
    assert len(house.slack.sent) == 1
    await house.clock.advance(2)
    await fail(house, errorMessage="timeout")
    _, message, _, attempt = house.slack.sent[1]
    assert (attempt.action, attempt.handle) == (Action.REPLY, "C1/1.1")
    name = the_incident(house).name
    assert house.slack.sent[0][1].note == f"Take it over: pipebell ack {name} -n team"
    assert message.note == f"Failing since 2025-06-15 15:06 UTC. Take it over: pipebell ack {name} -n team"
    assert message.event.spec.error_message == "Failing for 4 h, 1 time.\nFirst error: disk full"
    await house.clock.advance(8 * HOUR)
    assert house.slack.sent[2][1].event.spec.error_message == (
        "Failing for 12 h, 2 times.\nFirst error: disk full\nLast error: timeout"
    )
    assert the_incident(house).status.reminders == 2


async def test_a_reminder_is_made_once_over_restarts_at_any_moment(house):
    configure(house, remindAfterSeconds=4 * HOUR)
    await fail(house)
    await house.clock.advance(4 * HOUR - 1)
    await house.close()  # down over the moment
    await house.clock.advance(60)
    await house.restart()
    assert len(notices(house, "Reminder")) == 1
    house.incidents.away = True  # made, and the incident could not say so
    await house.restart()
    house.incidents.away = False
    await house.restart()
    await house.clock.advance(30)
    assert len(notices(house, "Reminder")) == 1
    assert len(house.slack.sent) == 2


async def test_what_happened_while_nobody_looked_lasted_as_long_as_it_did_and_flaps_no_more_than_it_did(house):
    configure(house, flapping={"changes": 2, "withinSeconds": 600})
    made = []
    for number in range(6):
        made.append(house.event(event="pipeline_success" if number % 2 else "pipeline_failure"))
        await house.clock.advance(2520)
    await house.submit(*made)
    await house.clock.advance(30)
    assert {item.status.duration_seconds for item in house.incidents.store.values()} == {2520}
    notes = [message.note for _, message, _, _ in house.slack.sent if message.event.spec.event == "pipeline_success"]
    assert notes == ["Recovered after 42 min and 1 failure."] * 3


async def test_none_once_acknowledged_and_again_when_that_is_taken_back(house):
    configure(house, remindAfterSeconds=4 * HOUR)
    await fail(house)
    say(house, acknowledgement={"by": "ann", "note": "on it"})
    await settle_down()
    status = the_incident(house).status
    assert (status.phase, status.acknowledged_by) == ("Acknowledged", "ann")
    await house.clock.advance(5 * HOUR)
    assert len(house.slack.sent) == 1
    await house.restart()
    await house.clock.advance(HOUR)
    assert len(house.slack.sent) == 1
    say(house, acknowledgement=None)
    await house.clock.advance(1)
    assert the_incident(house).status.phase == "Open"
    assert len(house.slack.sent) == 2


async def test_two_acknowledge_at_once_and_the_last_one_counts(house):
    configure(house)
    await fail(house)
    say(house, acknowledgement={"by": "ann"})
    say(house, acknowledgement={"by": "ben"})
    await house.clock.advance(30)
    assert the_incident(house).status.acknowledged_by == "ben"
    assert the_incident(house).status.phase == "Acknowledged"


async def test_on_call_is_told_of_an_acknowledgement_and_nobody_else(house):
    configure(house, to=("slack", "pagerduty"))
    await fail(house)
    say(house, acknowledgement={"by": "ann"})
    await settle_down()
    assert [attempt.action for _, _, _, attempt in house.pagerduty.sent] == [Action.SEND, Action.ACKNOWLEDGE]
    assert len(house.slack.sent) == 1
    assert house.pagerduty.sent[1][3].alert == house.pagerduty.sent[0][3].alert


async def test_what_gets_worse_needs_a_new_acknowledgement_even_after_a_restart(house):
    configure(house, remindAfterSeconds=4 * HOUR)
    await fail(house)
    say(house, acknowledgement={"by": "ann"})
    await settle_down()
    await fail(house, severity="critical")
    assert the_incident(house).status.phase == "Open"
    await house.restart()
    await house.clock.advance(30)
    assert the_incident(house).status.phase == "Open"
    await house.clock.advance(4 * HOUR)
    assert len(notices(house, "Reminder")) == 1


async def test_snoozed_until_then_even_over_a_restart(house):
    configure(house, remindAfterSeconds=HOUR)
    await fail(house)
    say(house, snoozedUntil=rfc3339(START + 6 * HOUR))
    await house.clock.advance(3 * HOUR)
    await house.restart()
    await house.clock.advance(2 * HOUR)
    assert len(house.slack.sent) == 1
    await house.clock.advance(2 * HOUR)
    assert len(house.slack.sent) == 2


async def test_escalated_at_15_and_30_minutes_and_those_hear_of_the_end(house):
    configure(house, escalation=STEPS)
    await fail(house)
    await house.clock.advance(899)
    assert not house.email.sent
    await house.clock.advance(2)
    assert house.email.names == [notices(house, "Escalation")[0].name]
    await house.restart()
    await house.clock.advance(900)
    assert len(house.pagerduty.sent) == 1
    assert the_incident(house).status.escalation_step == 2
    end = await succeed(house)
    assert [provider.names[-1] for provider in (house.slack, house.email, house.pagerduty)] == [end.name] * 3


async def test_not_when_acknowledged_a_second_before(house):
    configure(house, escalation=STEPS)
    await fail(house)
    await house.clock.advance(899)
    say(house, acknowledgement={"by": "ann"})
    await house.clock.advance(HOUR)
    assert not house.email.sent
    assert not notices(house, "Escalation")


async def test_an_acknowledgement_while_the_reminder_is_on_its_way_stops_it(house):
    configure(house, remindAfterSeconds=HOUR)
    await fail(house)
    house.slack.script = [Outcome(OutcomeKind.RETRY, "Timeout", "no answer")]
    await house.clock.advance(HOUR + 1)
    (reminder,) = notices(house, "Reminder")
    say(house, acknowledgement={"by": "ann"})
    await house.clock.advance(60)
    assert len(house.slack.sent) == 2
    assert house.status(reminder).finished


async def test_resolved_by_hand_closes_alerts_and_sends_nothing(house):
    configure(house, to=("slack", "pagerduty"))
    await fail(house)
    say(house, resolution={"by": "ann", "note": "fixed"})
    await settle_down()
    status = the_incident(house).status
    assert (status.phase, status.resolved_by) == ("Resolved", "ann")
    assert [attempt.action for _, _, _, attempt in house.pagerduty.sent] == [Action.SEND, Action.RESOLVE]
    assert len(house.slack.sent) == 1
    await fail(house)
    assert len(house.slack.sent) == 2


async def test_data_quality_ends_by_itself_a_day_after_its_last_failure(house):
    configure(house, to=("pagerduty",))
    house.config(
        pagerduty={"routingKey": "0123456789abcdef0123456789abcdef"},
        incidents={"enabled": True, "remindAfterSeconds": 0},
        eventTriggers=[{"event": "data_quality_failure", "providers": ["pagerduty"], "cooldownSeconds": 0}],
    )
    await fail(house, event="data_quality_failure")
    await house.clock.advance(86_401)
    assert the_incident(house).status.resolved_by == "autoResolve"
    assert house.pagerduty.sent[-1][3].action is Action.RESOLVE


@pytest.mark.parametrize("change", ["off", "groupBy", "deleted"])
async def test_what_the_configuration_cannot_reach_any_more_ends_silently(house, change):
    config = configure(house, remindAfterSeconds=HOUR)
    await fail(house)
    if change == "deleted":
        house.configs.store.clear()
        house.book.remove(config.key)
    else:
        configure(house, **({"enabled": False} if change == "off" else {"groupBy": ["owner"]}))
    await house.clock.advance(HOUR + 60)
    status = the_incident(house).status
    assert (status.phase, status.resolved_by) == ("Resolved", "ConfigChanged")
    assert len(house.slack.sent) == 1


async def test_a_notice_that_nobody_made_is_not_due(house):
    configure(house)
    await fail(house)
    name = the_incident(house).name
    for kind, step in (("Reminder", 1), ("Escalation", 1), ("Opening", 1), ("Resolved", 1), ("Acknowledged", 1)):
        forged = await fail(
            house, name=f"{name}-{kind.lower()}-{step}", notice={"kind": kind, "incident": name, "step": step}
        )
        assert house.status(forged).reason in (Reason.NOT_DUE, Reason.SUPERSEDED)
    elsewhere = await fail(house, name="x", notice={"kind": "Reminder", "incident": "inc-nothing", "step": 0})
    assert house.status(elsewhere).reason is Reason.NOT_DUE
    assert len(house.slack.sent) == 1


async def test_a_refused_notice_is_not_asked_for_all_the_time(house):
    configure(house, remindAfterSeconds=HOUR)
    await fail(house)
    house.events.refusal = Rejected("exceeded quota")
    await house.clock.advance(HOUR + 60)
    assert not notices(house, "Reminder")
    house.events.refusal = None
    await house.clock.advance(2 * HOUR)
    assert len(house.slack.sent) == 2


async def test_resolved_ones_go_after_their_time_and_the_oldest_beyond_a_thousand(house):
    configure(house)
    await fail(house)
    await succeed(house)
    sweeping = asyncio.create_task(IncidentSweeper(house.ports, ttl=2_592_000.0).run())
    await house.clock.leap(2_592_000 - 2 * HOUR)
    assert house.incidents.store
    await house.clock.advance(4 * HOUR)
    assert not house.incidents.store
    sweeping.cancel()
    assert told(house.slack)


async def test_the_sweeper_keeps_events_that_the_incident_does_not_cover_yet(house):
    configure(house)
    await fail(house)
    two = await fail(house)
    assert not house.keeper.covers(house.events.store["team", two.name])
    await house.clock.advance(11)
    assert house.keeper.covers(house.events.store["team", two.name])


async def test_an_outage_of_days_loses_no_opening_that_was_held_and_leaves_no_alert_open(house):
    configure(house, to=("pagerduty",), notifyAfterSeconds=600, autoResolveAfterSeconds=100 * HOUR)
    await fail(house)
    await house.clock.advance(30)
    await house.close()
    await house.clock.advance(40 * HOUR)
    await house.restart()
    await house.clock.advance(10)
    assert len(house.pagerduty.sent) == 1
    await house.close()
    await house.clock.advance(100 * HOUR)
    await house.restart()
    await house.clock.advance(10)
    assert house.pagerduty.sent[-1][3].action is Action.RESOLVE
    assert the_incident(house).status.resolved_by == "autoResolve"


async def test_what_a_silence_held_back_and_still_fails_is_told_at_its_end(house):
    configure(house, remindAfterSeconds=4 * HOUR)
    silences = house.silence(HOUR)
    one = await fail(house)
    assert house.status(one).reason is Reason.SILENCED
    assert house.status(one).incident.action.value == "Counted"
    await house.clock.advance(HOUR - 1)
    assert (the_incident(house).status.phase, len(house.slack.sent)) == ("Pending", 0)
    silences.clear()
    await house.clock.advance(2)
    assert house.slack.sent[0][1].event.spec.notice.kind == "Opening"
    assert the_incident(house).status.phase == "Open"


async def test_a_silence_moves_reminders_to_its_end_and_closes_no_alert_late(house):
    configure(house, to=("slack", "pagerduty"), remindAfterSeconds=HOUR)
    await fail(house)
    silences = house.silence(2 * HOUR)
    await house.clock.advance(HOUR + 60)
    assert len(house.slack.sent) == 1
    silences[:] = house.silence(3 * HOUR)
    end = await succeed(house)
    assert house.status(end).reason is Reason.SILENCED
    assert [attempt.action for _, _, _, attempt in house.pagerduty.sent] == [Action.SEND, Action.RESOLVE]
    assert len(house.slack.sent) == 1


async def test_what_a_silence_held_back_is_told_when_the_silence_is_deleted(house):
    configure(house)
    silences = house.silence(2 * HOUR)
    await fail(house)
    await house.clock.advance(60)
    assert not house.slack.sent
    silences.clear()
    house.keeper.on_silence_change()
    await house.clock.advance(5)
    assert [message.event.spec.notice.kind for _, message, _, _ in house.slack.sent] == ["Opening"]


async def test_a_reminder_that_a_silence_held_back_is_told_when_the_silence_is_deleted(house):
    configure(house, remindAfterSeconds=HOUR)
    await fail(house)
    silences = house.silence(5 * HOUR)
    await house.clock.advance(2 * HOUR)
    house.keeper.on_silence_change()  # of another one
    await house.clock.advance(60)
    assert len(house.slack.sent) == 1
    silences.clear()
    house.keeper.on_silence_change()
    await house.clock.advance(5)
    assert [message.event.spec.notice.kind for _, message, _, _ in house.slack.sent[1:]] == ["Reminder"]


@pytest.mark.parametrize("how", ["goes on", "restarted"])
@pytest.mark.parametrize(("team", "reminded"), [("data", False), ("web", True)])
async def test_a_silence_by_labels_moves_reminders_of_what_fails_with_these(house, how, team, reminded):
    configure(house, remindAfterSeconds=HOUR)
    await fail(house, labels={"team": "data"})
    if how == "restarted":
        await house.restart()
    (silence,) = house.silence(5 * HOUR)
    spec = silence.spec.model_copy(update={"labels": {"team": team}})
    house.engine.books.holds.silences = lambda _namespace, _now: [replace(silence, spec=spec)]
    await house.clock.advance(HOUR + 60)
    assert len(house.slack.sent) == 1 + reminded


async def test_a_namespace_has_a_thousand_and_one_for_the_rest(house, monkeypatch):
    monkeypatch.setattr("pipebell.core.incidents.book.UNRESOLVED_KEPT", 2)
    configure(house)
    for name in ("a", "b", "c", "d"):
        await fail(house, pipelineId=name)
    await fail(house, namespace="other", pipelineId="c")
    keys = sorted(item.spec.key for item in house.incidents.store.values())
    assert keys == ["*", "pipelineId=a", "pipelineId=b"]
    await succeed(house, pipelineId="a")
    await fail(house, pipelineId="e")
    assert len(house.incidents.store) == 4


async def test_flapping_is_told_once_and_how_it_ends_even_over_restarts(house):
    configure(house, flapping={"changes": 3, "withinSeconds": 600})
    await fail(house)
    await succeed(house)
    await fail(house)
    flapping = await succeed(house)
    await house.clock.advance(5)  # as fast as Slack takes messages
    assert house.status(flapping).incident.action.value == "Counted"
    assert house.slack.sent[-1][1].note.startswith("Flapping")
    for _ in range(3):
        await house.restart()
        last = await fail(house)
        assert house.status(last).reason is Reason.FLAPPING
        last = await succeed(house)
        assert house.status(last).reason is Reason.FLAPPING
    assert len(house.slack.sent) == 4
    await house.clock.advance(601)
    _, message, _, _ = house.slack.sent[-1]
    assert message.event.spec.event == "pipeline_success"
    assert message.event.spec.error_message.startswith("Recovered: it failed")
    assert len(house.slack.sent) == 5
    assert {item.status.phase for item in house.incidents.store.values()} == {"Resolved"}


async def test_a_failure_that_could_not_be_recorded_at_once_is_counted_on_the_incident(house):
    configure(house)
    await fail(house)
    calls = house.events.patch_status

    async def refuse(*_given):
        raise Rejected("denied by a policy")

    house.events.patch_status = refuse
    await fail(house)
    house.events.patch_status = calls
    await house.clock.advance(120)
    await fail(house)
    await house.clock.advance(30)
    assert the_incident(house).status.failures == 3


async def test_a_message_that_somebody_else_has_made_before_does_not_stand_in_the_way(house):
    configure(house, remindAfterSeconds=4 * HOUR)
    await fail(house)
    name = f"{the_incident(house).name}-reminder-1"
    forged = house.event(name, notice={"kind": "Reminder", "incident": the_incident(house).name, "step": 1})
    await house.submit(forged)
    assert house.status(forged).reason is Reason.NOT_DUE
    await house.clock.advance(4 * HOUR + 5)
    assert [message.event.name for _, message, _, _ in house.slack.sent][1:] == [name]
    assert house.events.store["team", name].uid != forged.uid
    await house.restart()
    await house.clock.advance(60)
    assert len(house.slack.sent) == 2


async def test_somebodys_event_of_a_messages_name_takes_nothing_from_it(house):
    configure(house, remindAfterSeconds=4 * HOUR)
    await fail(house)
    name = f"{the_incident(house).name}-reminder-1"
    await house.submit(house.event(name, event="pipeline_started"))
    await house.clock.advance(4 * HOUR + 5)
    assert [message.event.name for _, message, _, _ in house.slack.sent][1:] == [f"{name}.2"]
    await house.restart()
    await house.clock.advance(60)
    await house.submit(
        house.event(f"{name}.3", notice={"kind": "Reminder", "incident": the_incident(house).name, "step": 1})
    )
    assert len(house.slack.sent) == 2


async def test_a_message_claimed_while_nobody_was_to_be_told_is_made_when_it_is_due(house):
    configure(house, remindAfterSeconds=4 * HOUR)
    await fail(house)
    name = f"{the_incident(house).name}-reminder-1"
    say(house, acknowledgement={"by": "ann"})
    forged = house.event(name, notice={"kind": "Reminder", "incident": the_incident(house).name, "step": 1})
    await house.submit(forged)
    assert house.status(forged).reason is Reason.SUPERSEDED
    say(house, acknowledgement=None)
    await house.clock.advance(4 * HOUR + 5)
    assert [message.event.name for _, message, _, _ in house.slack.sent][1:] == [name]


# ---------------------------------------------------------------------- clocks that were wrong


YEAR = 365 * 24 * HOUR


async def written_by_a_wrong_clock(house, **status):
    """Restart with these times, a year ahead, on the incident."""
    await house.clock.advance(30)
    incident = the_incident(house)
    await house.close()
    ahead = {name: rfc3339(house.clock.now() + YEAR) for name, given in status.items() if given is True}
    kept = incident.status.model_dump(by_alias=True, exclude_none=True, mode="json") | status | ahead
    parsed = type(incident.status).model_validate(kept)
    house.incidents.store[incident.namespace, incident.name] = replace(incident, status=parsed)
    await house.restart()
    await house.clock.advance(1)


@pytest.mark.parametrize("field", ["nextReminderTime", "openedTime", "firstFailureTime", "lastFailureTime"])
async def test_a_reminder_comes_after_its_own_interval_whatever_a_wrong_clock_wrote(house, field):
    configure(house, remindAfterSeconds=4 * HOUR)
    await fail(house)
    await written_by_a_wrong_clock(house, **{field: True})
    await house.clock.advance(4 * HOUR + 5)
    assert len(notices(house, "Reminder")) == 1
    said = house.slack.sent[1][1].event.spec.error_message
    assert said.startswith(("Failing for 4 h, 1 time", "Failing for 3 h 59 min, 1 time"))  # from the restart on


async def test_the_escalation_goes_on_whatever_a_wrong_clock_wrote(house):
    configure(house, to=("slack",), remindAfterSeconds=0, escalation=STEPS)
    await fail(house)
    await written_by_a_wrong_clock(house, nextEscalationTime=True, openedTime=True)
    await house.clock.advance(1800 + 5)
    assert notices(house, "Escalation")


async def test_what_is_pending_is_told_whatever_a_wrong_clock_wrote(house):
    configure(house, notifyAfterSeconds=600)
    await fail(house)
    assert not house.slack.sent
    await written_by_a_wrong_clock(house, nextOpeningTime=True, firstFailureTime=True)
    await house.clock.advance(605)
    assert len(house.slack.sent) == 1


async def test_an_incident_ends_by_itself_whatever_a_wrong_clock_wrote(house):
    configure(house, autoResolveAfterSeconds=HOUR)
    await fail(house)
    await written_by_a_wrong_clock(house, lastFailureTime=True)
    await house.clock.advance(HOUR + 5)
    assert the_incident(house).status.phase == "Resolved"


async def test_flapping_ends_whatever_a_wrong_clock_wrote(house):
    configure(house, remindAfterSeconds=0)
    await fail(house)
    ahead = [rfc3339(house.clock.now() + YEAR)]
    flaps = {"type": "Flapping", "status": "True", "reason": "Failing", "message": "", "lastTransitionTime": ahead[0]}
    await written_by_a_wrong_clock(house, changes=ahead, conditions=[flaps])
    await house.clock.advance(HOUR + 5)
    assert not the_incident(house).status.conditions


async def test_failures_are_told_after_an_end_in_the_future(house):
    configure(house)
    await fail(house)
    await succeed(house)
    await written_by_a_wrong_clock(house, resolvedTime=True, openedTime=True)
    await house.clock.advance(HOUR)
    event = await fail(house)
    assert house.status(event).phase == "Delivered"


# ---------------------------------------------------------------------- what people call themselves


async def test_whoever_ends_an_incident_by_hand_is_no_success(house):
    house.slack.script = [Outcome(OutcomeKind.DELIVERED, handle="C1/1.1")]
    configure(house, to=("slack", "pagerduty"))
    await fail(house)
    await house.clock.advance(60)
    say(house, resolution={"by": "ann"})
    await house.clock.advance(1)
    texts = {event.spec.error_message for event in notices(house, "Resolved")}
    assert texts == {"Ended by ann after 1 min, 1 time."}


@pytest.mark.parametrize("restart", [False, True])
async def test_an_event_that_is_called_as_somebody_is_ends_nothing_again(house, restart):
    configure(house)
    await fail(house)
    say(house, resolution={"by": "ann"})
    await house.clock.advance(1)
    if restart:
        await house.restart()
    event = house.event("ann", event="pipeline_success")
    await house.submit(event)
    await house.clock.advance(1)
    assert house.status(event).phase == "Skipped"
    assert len(house.slack.sent) == 1


async def test_a_failure_from_before_an_end_by_hand_counts_after_a_restart_too(house):
    configure(house)
    await fail(house)
    say(house, resolution={"by": "ann"})
    await house.clock.advance(1)
    await house.restart()
    late = await fail(house, occurredAt=rfc3339(house.clock.now() - 10))  # nobody has seen the pipeline succeed
    assert house.status(late).phase == "Delivered"
