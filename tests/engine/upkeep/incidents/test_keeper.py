"""What people and time do to incidents: acknowledged, snoozed, taken back, resolved, reminded; also over a restart."""

from __future__ import annotations

import asyncio

import pytest
from tests.engine.fakes import settle_down

from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.status import rfc3339
from pipebell.core.vocabulary import NoticeKind

SLACK = {"botToken": "xoxb-1", "channel": "#data"}
DUTY = {"routingKey": "0123456789abcdef0123456789abcdef"}
HOUR = 3600.0
ANA, BOB = {"by": "ana"}, {"by": "bob"}


@pytest.fixture
async def house(house):
    house.keep()
    return house


def configure(house, to=("slack",), **incidents):
    trigger = {"event": "pipeline_failure", "providers": list(to), "cooldownSeconds": 0}
    rules = {"enabled": True, "remindAfterSeconds": 14_400, **incidents}
    house.config(slack=SLACK, pagerduty=DUTY, eventTriggers=[trigger], incidents=rules)


async def fail(house, **spec):
    event = house.event(**spec)
    await house.submit(event)
    return event


def the_incident(house):
    (incident,) = house.incidents.store.values()
    return incident


def say(house, **spec):
    incident = the_incident(house)
    return house.incidents.say(incident.namespace, incident.name, **spec)


def notices(house, provider=None):
    """Kinds of the notices that were sent, in order."""
    sent = (provider or house.slack).sent
    return [m.event.spec.notice.kind.value for _, m, _, _ in sent if m.event.spec.notice is not None]


async def restarted(house, how):
    if how == "restarted":
        await house.restart()


BOTH = pytest.mark.parametrize("how", ["goes on", "restarted"])


async def test_reminders_come_after_4_and_12_hours_and_then_once_a_day(house):
    configure(house)
    await fail(house)
    told = []
    for hour in range(1, 101):
        await house.clock.advance(HOUR)
        if len(notices(house)) > len(told):
            told.append(hour)
    assert told == [4, 12, 28, 52, 76, 100]


@BOTH
async def test_an_acknowledgement_stops_reminders_and_a_restart_does_not_let_them_go_on(house, how):
    configure(house)
    await fail(house)
    say(house, acknowledgement=ANA)
    await house.clock.advance(1)
    assert the_incident(house).status.phase == "Acknowledged"
    await restarted(house, how)
    await house.clock.advance(100 * HOUR)
    assert notices(house) == []
    assert (the_incident(house).status.phase, the_incident(house).status.acknowledged_by) == ("Acknowledged", "ana")


@BOTH
async def test_an_acknowledgement_said_while_nobody_listened_counts(house, how):
    configure(house)
    await fail(house)
    await house.close()
    house.incidents.on_change = None
    say(house, acknowledgement=ANA)
    house.start()
    house.keep()
    await house.recover()
    await restarted(house, how)
    await house.clock.advance(20 * HOUR)
    assert notices(house) == []
    assert the_incident(house).status.phase == "Acknowledged"


@BOTH
async def test_taking_it_back_lets_them_go_on_where_they_stopped(house, how):
    configure(house)
    await fail(house)
    await house.clock.advance(5 * HOUR)
    assert notices(house) == ["Reminder"]
    say(house, acknowledgement=ANA)
    await house.clock.advance(HOUR)
    await restarted(house, how)
    say(house, acknowledgement=None)
    await house.clock.advance(1)
    assert the_incident(house).status.phase == "Open"
    await house.clock.advance(5 * HOUR)
    assert notices(house) == ["Reminder"], "the next one is due after 12 hours, not before"
    await house.clock.advance(HOUR + 60)
    assert notices(house) == ["Reminder", "Reminder"]
    assert the_incident(house).status.reminders == 2


@BOTH
@pytest.mark.parametrize("also", [{"acknowledgement": ANA}, {}], ids=["acknowledged too", "alone"])
async def test_a_snooze_ends_and_they_go_on(house, how, also):
    configure(house)
    await fail(house)
    say(house, snoozedUntil=rfc3339(house.clock.now() + 6 * HOUR), **also)
    await house.clock.advance(1)
    await restarted(house, how)
    await house.clock.advance(5.9 * HOUR)
    assert notices(house) == [], "the one after 4 hours was slept through"
    await house.clock.advance(0.2 * HOUR)
    assert notices(house) == ["Reminder"]
    assert the_incident(house).status.phase == "Open"
    await restarted(house, how)
    await house.clock.advance(5 * HOUR)
    assert notices(house) == ["Reminder"], "a snooze that is over is not begun again"


@BOTH
async def test_a_snooze_that_is_over_takes_nothing_from_a_later_acknowledgement(house, how):
    configure(house)
    await fail(house)
    say(house, snoozedUntil=rfc3339(house.clock.now() + HOUR), acknowledgement=ANA)
    await house.clock.advance(2 * HOUR)
    assert the_incident(house).status.phase == "Open"
    say(house, acknowledgement=BOB)
    await house.clock.advance(1)
    await restarted(house, how)
    await house.clock.advance(60)
    assert the_incident(house).status.phase == "Acknowledged"
    await house.clock.advance(100 * HOUR)
    assert notices(house) == []


@BOTH
@pytest.mark.parametrize("also", [{"acknowledgement": ANA}, {}], ids=["acknowledged too", "alone"])
async def test_what_gets_worse_is_snoozed_no_more(house, how, also):
    configure(house)
    await fail(house, severity="warning")
    say(house, snoozedUntil=rfc3339(house.clock.now() + 20 * HOUR), **also)
    await house.clock.advance(60)
    assert the_incident(house).status.phase == "Acknowledged"
    await fail(house, severity="critical")
    await house.clock.advance(1)
    await restarted(house, how)
    await house.clock.advance(5 * HOUR)
    assert the_incident(house).status.phase == "Open"
    assert notices(house) == ["Reminder"]


async def test_a_snooze_alone_gives_no_acknowledgement_anew_that_was_outlived(house):
    configure(house, to=("slack", "pagerduty"))
    await fail(house, severity="warning")
    say(house, acknowledgement=ANA)
    await house.clock.advance(60)
    await fail(house, severity="critical")
    await house.clock.advance(60)
    say(house, snoozedUntil=rfc3339(house.clock.now() + HOUR))
    await house.clock.advance(60)
    status = the_incident(house).status
    assert (status.phase, status.acknowledged_by) == ("Acknowledged", None)
    assert notices(house, house.pagerduty) == ["Acknowledged"]


@BOTH
@pytest.mark.parametrize("how_said", ["acknowledged", "snoozed"])
async def test_what_was_said_while_it_was_pending_counts_when_it_opens(house, how, how_said):
    configure(house, notifyAfterFailures=2)
    await fail(house)
    await house.clock.advance(11)
    until = rfc3339(house.clock.now() + 20 * HOUR)
    say(house, **({"acknowledgement": ANA} if how_said == "acknowledged" else {"snoozedUntil": until}))
    await house.clock.advance(1)
    await restarted(house, how)
    await fail(house)
    await house.clock.advance(19 * HOUR)
    assert the_incident(house).status.phase == "Acknowledged"
    assert (len(house.slack.sent), notices(house)) == (1, [])


async def test_a_snooze_is_made_longer_and_shorter(house):
    configure(house)
    await fail(house)
    say(house, snoozedUntil=rfc3339(house.clock.now() + 2 * HOUR), acknowledgement=ANA)
    await house.clock.advance(HOUR)
    say(house, snoozedUntil=rfc3339(house.clock.now() + 9 * HOUR))
    await house.clock.advance(8 * HOUR)
    assert notices(house) == []
    say(house, snoozedUntil=rfc3339(house.clock.now() - 1))
    await house.clock.advance(1)
    assert notices(house) == ["Reminder"]


@BOTH
async def test_it_gets_worse_and_the_acknowledgement_is_over_until_it_is_given_anew(house, how):
    configure(house, escalation=[{"afterSeconds": 900, "providers": ["pagerduty"]}])
    await fail(house, severity="warning")
    say(house, acknowledgement=ANA)
    await house.clock.advance(60)
    await fail(house, severity="critical")
    assert len(house.slack.sent) == 2, "worse is told again"
    await house.clock.advance(1)
    assert the_incident(house).status.phase == "Open"
    await restarted(house, how)
    await house.clock.advance(900)
    assert notices(house, house.pagerduty) == ["Escalation"]
    say(house, acknowledgement=None)
    say(house, acknowledgement=ANA)
    await house.clock.advance(1)
    assert the_incident(house).status.phase == "Acknowledged"
    await house.clock.advance(20 * HOUR)
    assert notices(house) == []


async def test_an_acknowledgement_given_anew_counts_when_only_its_end_is_seen(house):
    """It is taken away and given again at once, and the operator sees no more than the same words as before."""
    configure(house)
    await fail(house, severity="warning")
    say(house, acknowledgement=ANA)
    await house.clock.advance(60)
    await fail(house, severity="critical")
    await house.clock.advance(1)
    listening, house.incidents.on_change = house.incidents.on_change, None
    say(house, acknowledgement=None)
    house.incidents.on_change = listening
    say(house, acknowledgement=ANA)
    await house.clock.advance(1)
    assert the_incident(house).status.phase == "Acknowledged"
    await house.clock.advance(20 * HOUR)
    assert notices(house) == []


@pytest.mark.parametrize("seconds", [899, 901])
async def test_escalation_at_15_minutes_and_not_when_it_was_acknowledged_before(house, seconds):
    configure(house, escalation=[{"afterSeconds": 900, "providers": ["pagerduty"]}])
    await fail(house)
    await house.clock.advance(seconds)
    say(house, acknowledgement=ANA)
    await house.clock.advance(HOUR)
    assert notices(house, house.pagerduty) == ([] if seconds < 900 else ["Escalation", "Acknowledged"])


async def test_escalation_goes_on_by_steps_and_repeats_until_it_is_acknowledged(house):
    steps = [
        {"afterSeconds": 900, "providers": ["slack"]},
        {"afterSeconds": 1800, "providers": ["pagerduty"], "repeatSeconds": 600},
    ]
    configure(house, escalation=steps, remindAfterSeconds=0)
    await fail(house)
    await house.clock.advance(901)
    assert (notices(house), notices(house, house.pagerduty)) == (["Escalation"], [])
    await house.clock.advance(900)
    assert notices(house, house.pagerduty) == ["Escalation"]
    await house.restart()
    await house.clock.advance(1200)
    assert notices(house, house.pagerduty) == ["Escalation"] * 3
    say(house, acknowledgement=BOB)
    await house.clock.advance(10 * HOUR)
    assert notices(house, house.pagerduty).count("Escalation") == 3


@BOTH
async def test_after_an_outage_everybody_whose_step_has_come_is_told_once(house, how):
    steps = [
        {"afterSeconds": 900, "providers": ["slack"], "repeatSeconds": 600},
        {"afterSeconds": 1800, "providers": ["pagerduty"]},
    ]
    configure(house, to=("email",), escalation=steps, remindAfterSeconds=0)
    await fail(house)
    await house.clock.advance(60)
    await house.close()
    await house.clock.advance(3600)
    await house.restart()
    await restarted(house, how)
    await house.clock.advance(3600)
    assert (notices(house), notices(house, house.pagerduty)) == (["Escalation"], ["Escalation"])


async def test_an_escalation_that_is_configured_anew_goes_on_by_that(house):
    repeated = {"afterSeconds": 900, "providers": ["slack"], "repeatSeconds": 600}
    configure(house, escalation=[repeated], remindAfterSeconds=0)
    await fail(house)
    await house.clock.advance(900 + 9 * 600 + 60)
    assert notices(house) == ["Escalation"] * 10
    configure(
        house,
        escalation=[repeated | {"repeatSeconds": 3600}, {"afterSeconds": 7200, "providers": ["pagerduty"]}],
        remindAfterSeconds=0,
    )
    await house.clock.advance(7200)
    assert notices(house, house.pagerduty) == ["Escalation"]


@BOTH
async def test_somebody_resolves_it_and_nobody_gets_a_message(house, how):
    configure(house, to=("slack", "pagerduty"))
    house.slack.script = [Outcome(OutcomeKind.DELIVERED, handle="C1/1.1")]
    await fail(house)
    if how == "restarted":
        await house.close()
        house.incidents.on_change = None
    say(house, resolution={"by": "ana", "note": "more room"})
    if how == "restarted":
        house.start()
        house.keep()
        await house.recover()
    await house.clock.advance(1)
    status = the_incident(house).status
    assert (status.phase, status.resolved_by) == ("Resolved", "ana")
    assert [a.action.value for _, _, _, a in house.slack.sent] == ["send", "edit"]
    assert [a.action.value for _, _, _, a in house.pagerduty.sent][-1] == "resolve"
    await house.clock.advance(30 * HOUR)
    assert NoticeKind.REMINDER.value not in notices(house)
    await fail(house)
    assert len(house.incidents.store) == 2, "the next failure opens another one"


async def test_an_acknowledgement_before_anybody_was_told_holds_when_it_opens(house):
    configure(house, notifyAfterFailures=2)
    await fail(house)
    await house.clock.advance(11)
    assert the_incident(house).status.phase == "Pending"
    say(house, acknowledgement=ANA)
    await fail(house)
    await house.clock.advance(20 * HOUR)
    assert the_incident(house).status.phase == "Acknowledged"
    assert "Reminder" not in notices(house)


async def test_switched_off_it_ends_silently_and_switched_on_again_it_begins_anew(house):
    configure(house)
    await fail(house)
    configure(house, enabled=False)
    await house.clock.advance(5 * HOUR)
    assert (the_incident(house).status.phase, the_incident(house).status.resolved_by) == ("Resolved", "ConfigChanged")
    assert notices(house) == []
    configure(house)
    await fail(house)
    assert len(house.incidents.store) == 2


TOLD_BY = pytest.mark.parametrize("told_by", ["the watch", "the pass over all events"])


async def killed_before_it_was_stored(house, told_by, happens):
    """What happens makes a notice; the process dies before the notice is sent and before the incident says so."""
    house.incidents.away = True
    house.slack.before = house.pagerduty.before = asyncio.Event()
    await happens()
    made = [event for event in house.events.store.values() if event.spec.notice is not None]
    await house.close()
    house.slack.before = house.pagerduty.before = None
    house.incidents.away = False
    if told_by == "the watch":
        await house.restart()
    else:
        house.start()
        house.keep()
        await house.recover()
    await house.clock.advance(60)
    return made


@TOLD_BY
async def test_a_reminder_is_told_once_when_the_process_dies_right_after_making_it(house, told_by):
    configure(house)
    await fail(house)
    await house.clock.advance(60)
    made = await killed_before_it_was_stored(house, told_by, lambda: house.clock.advance(4 * HOUR))
    assert len(made) == 1
    assert notices(house) == ["Reminder"]
    await house.clock.advance(8 * HOUR)
    assert notices(house) == ["Reminder", "Reminder"]


@TOLD_BY
async def test_an_escalation_is_told_once_when_the_process_dies_right_after_making_it(house, told_by):
    configure(house, escalation=[{"afterSeconds": 900, "providers": ["pagerduty"]}])
    await fail(house)
    await house.clock.advance(60)
    made = await killed_before_it_was_stored(house, told_by, lambda: house.clock.advance(900))
    assert len(made) == 1
    assert notices(house, house.pagerduty) == ["Escalation"]


@TOLD_BY
async def test_an_alert_is_closed_when_the_process_dies_right_after_somebody_resolved_it(house, told_by):
    configure(house, to=("pagerduty",))
    await fail(house)
    await house.clock.advance(60)

    async def resolved():
        house.incidents.away = False
        say(house, resolution={"by": "ana"})
        house.incidents.away = True
        await settle_down()

    made = await killed_before_it_was_stored(house, told_by, resolved)
    assert len(made) == 1
    assert notices(house, house.pagerduty) == ["Resolved"]


@TOLD_BY
async def test_an_alert_is_acknowledged_when_the_process_dies_right_after_somebody_did_so(house, told_by):
    configure(house, to=("pagerduty",))
    await fail(house)
    await house.clock.advance(60)

    async def acknowledged():
        house.incidents.away = False
        say(house, acknowledgement=ANA)
        house.incidents.away = True
        await settle_down()

    made = await killed_before_it_was_stored(house, told_by, acknowledged)
    assert len(made) == 1
    assert notices(house, house.pagerduty) == ["Acknowledged"]


@TOLD_BY
async def test_a_held_opening_is_told_once_when_the_process_dies_right_after_making_it(house, told_by):
    configure(house, notifyAfterSeconds=600)
    await fail(house)
    await house.clock.advance(60)
    made = await killed_before_it_was_stored(house, told_by, lambda: house.clock.advance(600))
    assert len(made) == 1
    assert notices(house) == ["Opening"]
    await fail(house)
    assert len(house.slack.sent) == 1


@TOLD_BY
async def test_an_end_by_itself_closes_the_alert_when_the_process_dies_right_after(house, told_by):
    configure(house, to=("pagerduty",), autoResolveAfterSeconds=7200)
    await fail(house)
    await house.clock.advance(60)
    made = await killed_before_it_was_stored(house, told_by, lambda: house.clock.advance(7200))
    assert len(made) == 1
    assert notices(house, house.pagerduty) == ["Resolved"]


async def test_a_lease_that_is_renewed_late_loses_no_count(house):
    configure(house)
    await fail(house)
    await fail(house)
    house.ownership.fresh = False
    await house.clock.advance(30)  # the count was to be written meanwhile
    assert the_incident(house).status.failures == 1
    house.ownership.fresh = True
    await house.clock.advance(3)
    assert the_incident(house).status.failures == 2


async def test_a_lease_that_is_renewed_late_loses_no_reminder(house):
    configure(house, remindAfterSeconds=4 * HOUR)
    await fail(house)
    await house.clock.advance(4 * HOUR - 1)
    house.ownership.answers = [True, False]  # when it is looked at, and when it is made
    await house.clock.advance(1)
    assert not house.ownership.answers
    await house.clock.advance(5)
    assert the_incident(house).status.reminders == 1
    assert len(notices(house, house.slack)) == 1
