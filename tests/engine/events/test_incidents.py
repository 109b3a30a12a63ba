"""Incidents through the real engine: opened, counted, recovered, across restarts, and what that costs."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.engine.fakes import settle_down

from pipebell.core.errors import Rejected
from pipebell.core.incidents.resource import IncidentPhase
from pipebell.core.outcome import Action, Outcome, OutcomeKind
from pipebell.core.render.facts import facts
from pipebell.core.shards import ALL_SHARDS
from pipebell.core.vocabulary import Phase, Reason
from pipebell.engine.events.state import EventState

SLACK = {"botToken": "xoxb-1", "channel": "#data"}
DUTY = {"routingKey": "0123456789abcdef0123456789abcdef"}
ON = {"enabled": True, "remindAfterSeconds": 0}
BROKEN = Outcome(OutcomeKind.PERMANENT, "Http404", "no_service")
RETRY = Outcome(OutcomeKind.RETRY, "Timeout", "no answer")


def configure(house, to=("slack",), cooldown=0, **incidents):
    trigger = {"event": "pipeline_failure", "providers": list(to), "cooldownSeconds": cooldown}
    return house.config(slack=SLACK, pagerduty=DUTY, eventTriggers=[trigger], incidents={**ON, **incidents})


def told(provider):
    """`name action` of each message."""
    return [f"{message.event.name} {attempt.action.value}" for _, message, _, attempt in provider.sent]


def the_incident(house):
    (incident,) = house.incidents.store.values()
    return incident


@pytest.fixture
async def house(house):
    house.keep()
    return house


async def fail(house, **spec):
    event = house.event(**spec)
    await house.submit(event)
    return event


async def succeed(house, **spec):
    return await fail(house, event="pipeline_success", **spec)


async def test_three_failures_are_one_message_and_the_end_goes_into_its_thread(house):
    configure(house)
    house.slack.script = [Outcome(OutcomeKind.DELIVERED, handle="C1/1.1")]
    one, two, three = [await fail(house, errorMessage=f"error {n}") for n in range(3)]
    assert told(house.slack) == [f"{one.name} send"]
    assert [house.status(event).phase for event in (one, two, three)] == ["Delivered", "Suppressed", "Suppressed"]
    assert house.status(two).reason is Reason.REPEATED
    assert house.status(two).decision.stage == "repeated"
    name = the_incident(house).name
    records = [house.status(event).incident for event in (one, two, three)]
    assert [(r.name, r.action.value, r.failures) for r in records] == [
        (name, "Opened", 1),
        (name, "Counted", 2),
        (name, "Counted", 3),
    ]
    await house.clock.advance(2520)
    end = await succeed(house)
    assert told(house.slack)[1:2] == [f"{end.name} reply"]
    assert house.slack.sent[1][3].handle == "C1/1.1"
    assert house.slack.sent[1][1].note == "Recovered after 42 min and 3 failures."
    assert house.status(end).incident.action.value == "Recovered"
    status = the_incident(house).status
    assert (status.phase, status.failures, status.first_error, status.last_error) == (
        "Resolved",
        3,
        "error 0",
        "error 2",
    )
    assert (status.resolved_by, status.duration_seconds) == (end.name, 2520)
    assert [item.destination for item in status.notifications] == ["slack"]


async def test_the_first_message_is_changed_to_say_that_it_is_over(house):
    configure(house)
    house.slack.script = [Outcome(OutcomeKind.DELIVERED, handle="C1/1.1")]
    await fail(house)
    await succeed(house)
    assert [attempt.action for _, _, _, attempt in house.slack.sent] == [Action.SEND, Action.REPLY, Action.EDIT]
    assert house.slack.sent[2][3].handle == "C1/1.1"
    assert not house.slack.sent[2][3].anew, "where it is gone, the reply has become a message of its own"
    assert facts(house.slack.sent[2][1]).title == "Recovered"
    assert "Recovered after" in house.slack.sent[2][1].event.spec.error_message


async def test_what_is_over_before_its_first_message_has_arrived_is_changed_all_the_same(house):
    configure(house)
    house.slack.script = [RETRY, Outcome(OutcomeKind.DELIVERED, handle="C1/1.1")]
    one = await fail(house)
    end = await succeed(house)
    assert told(house.slack) == [f"{one.name} send"]
    await house.clock.advance(30)
    assert [attempt.action for _, _, _, attempt in house.slack.sent] == [*[Action.SEND] * 2, Action.REPLY, Action.EDIT]
    assert house.status(end).phase is Phase.DELIVERED
    assert the_incident(house).status.phase == "Resolved"


@pytest.mark.parametrize("written", [False, True])
async def test_a_crash_before_the_first_message_says_that_it_is_over_is_made_good(house, written):
    configure(house)
    house.slack.script = [Outcome(OutcomeKind.DELIVERED, handle="C1/1.1")]
    await fail(house)
    open_one = the_incident(house)
    await succeed(house)
    (notice,) = [key for key, event in house.events.store.items() if event.spec.notice]
    del house.events.store[notice]  # nor was it ever made
    if not written:
        house.incidents.store["team", open_one.name] = open_one
    before = len(house.slack.sent)
    for _ in range(2):  # and made once
        await house.restart()
        await house.clock.advance(5)
    assert [attempt.action for _, _, _, attempt in house.slack.sent[before:]] == [Action.EDIT]
    assert the_incident(house).status.phase == "Resolved"


async def test_an_opening_that_is_decided_twice_is_an_opening(house):
    configure(house)
    house.incidents.away = True
    one = await fail(house)
    house.incidents.away = False
    await house.clock.advance(40)
    assert house.status(one).incident.action.value == "Opened"


async def test_pagerduty_gets_one_alert_and_its_end(house):
    configure(house, to=("pagerduty",))
    await fail(house)
    await fail(house)
    await succeed(house)
    assert [(m.event.spec.event.value, a.alert) for _, m, _, a in house.pagerduty.sent] == [
        ("pipeline_failure", "pipelineId=p"),
        ("pipeline_success", "pipelineId=p"),
    ]


async def test_an_opening_costs_three_writes_and_a_counted_failure_one(house):
    configure(house)
    await fail(house)
    assert len(house.incidents.created) + len(house.incidents.writes) + len(house.events.writes) == 3
    assert the_incident(house).status.phase == "Open"
    for _ in range(20):
        await fail(house)
    assert len(house.events.writes) == 21
    assert len(house.incidents.writes) == 1
    await house.clock.advance(11)
    assert len(house.incidents.writes) == 2
    assert the_incident(house).status.failures == 21


async def test_what_is_off_takes_todays_path(house):
    house.config()
    await fail(house)
    await succeed(house)
    assert not house.incidents.created
    assert len(house.events.writes) == 2
    one = house.event()
    assert house.engine.books.incidents.look(EventState.of(one), one, _Off()) is None


class _Off:
    class layers:  # noqa: N801
        incidents = None


async def test_nobody_hears_of_the_end_who_was_not_told(house):
    configure(house, to=("slack", "email"))
    house.email.script = [BROKEN]
    await fail(house)
    end = await succeed(house)
    assert house.email.names == ["event-1"]
    assert [d.destination for d in house.status(end).deliveries] == ["slack"]


async def test_while_the_first_is_being_sent_others_wait_and_a_failure_everywhere_tells_the_next(house):
    configure(house)
    house.slack.script = [RETRY, BROKEN]
    one = await fail(house)
    two = await fail(house)
    assert told(house.slack) == [f"{one.name} send"]
    await house.clock.advance(3)
    assert house.status(two).reason is Reason.WAITING_FOR_SENDER
    assert house.status(two).incident.failures == 2
    await house.clock.advance(10)
    assert told(house.slack) == [f"{one.name} send", f"{one.name} send", f"{two.name} send"]
    assert house.status(two).incident.action.value == "Opened"
    assert the_incident(house).status.phase == "Open"


async def test_the_end_waits_for_the_opening_where_that_is_still_tried(house):
    configure(house, to=("slack", "email"))
    house.email.script = [RETRY]
    await fail(house)
    end = await succeed(house)
    assert told(house.slack)[-1] == f"{end.name} send"
    waiting = {d.destination: d.reason for d in house.status(end).deliveries}
    assert waiting == {"slack": None, "email": "WaitingForSender"}
    await house.clock.advance(10)
    assert house.email.names == ["event-1", "event-1", end.name]
    assert house.status(end).phase is Phase.DELIVERED


async def test_where_the_opening_fails_for_good_the_end_is_not_told(house):
    configure(house, to=("slack", "email"))
    house.email.script = [RETRY, BROKEN]
    await fail(house)
    end = await succeed(house)
    await house.clock.advance(10)
    assert house.email.names == ["event-1", "event-1"]
    assert house.status(end).phase is Phase.DELIVERED
    assert [d.destination for d in house.status(end).deliveries] == ["slack"]


async def test_a_restart_forgets_neither_who_was_told_nor_the_count(house):
    configure(house)
    house.slack.script = [Outcome(OutcomeKind.DELIVERED, handle="C1/1.1")]
    await fail(house)
    await fail(house)
    await house.restart()
    three = await fail(house)
    assert house.status(three).incident.failures == 3
    end = await succeed(house)
    assert told(house.slack)[1] == f"{end.name} reply"
    assert the_incident(house).status.failures == 3


async def test_a_crash_before_the_incident_says_who_was_told_is_repaired_from_the_events(house):
    configure(house)
    house.incidents.away = False
    await house.close()  # nobody stores anything from now on
    house.start()
    house.ledger.finish_fold()
    one = await fail(house)
    two = await fail(house)
    assert the_incident(house).status.phase is None
    await house.restart()
    status = the_incident(house).status
    await house.clock.advance(11)
    status = the_incident(house).status
    assert (status.phase, status.failures) == ("Open", 2)
    assert status.opened_time == house.status(one).deliveries[0].delivered_time
    assert status.last_event == two.name
    await fail(house)
    assert len(house.slack.sent) == 1


async def test_a_crash_between_the_success_and_its_record_loses_no_end(house):
    configure(house)
    await fail(house)
    house.slack.before = asyncio.Event()
    end = await succeed(house)
    assert the_incident(house).status.phase == "Resolved"
    assert house.status(end).phase is None
    await house.close()  # killed before it was sent
    house.slack.before = None
    await house.restart()
    assert f"{end.name} send" in told(house.slack)
    assert house.status(end).incident.action.value == "Recovered"


async def test_an_opening_whose_end_is_recorded_before_it_goes_first_and_opens_nothing_again(house):
    configure(house)
    house.slack.before = asyncio.Event()
    one = await fail(house)
    end = await succeed(house)
    await house.clock.advance(5)  # it waits for the opening's outcome, and says so
    assert house.status(end).incident.action.value == "Recovered"
    assert house.status(one).incident is None
    await house.close()  # another replica's from now on
    house.slack.before, house.slack.sent = None, []
    await house.restart()
    await house.clock.advance(40)
    assert told(house.slack) == [f"{one.name} send", f"{end.name} send"]
    status = the_incident(house).status
    assert (status.phase, status.failures, status.resolved_by) == ("Resolved", 1, end.name)
    assert (house.status(one).incident.action.value, house.status(end).phase) == ("Opened", "Delivered")
    await fail(house)
    assert sum(item.status.phase == "Open" for item in house.incidents.store.values()) == 1


async def test_an_opening_that_was_not_recorded_and_whose_end_is_over_is_superseded(house):
    configure(house)
    house.slack.before = asyncio.Event()
    one = await fail(house)
    end = await succeed(house)
    await house.clock.advance(5)
    await house.close()
    house.slack.before, house.slack.sent = None, []
    kept = house.events.store[one.namespace, one.name]
    del house.events.store[one.namespace, one.name]
    await house.restart()
    await house.clock.advance(40)
    assert house.status(end).phase.final
    house.events.store[one.namespace, one.name] = kept  # its status was never written
    await house.restart()
    await house.clock.advance(40)
    assert house.status(one).reason == "Superseded"
    assert the_incident(house).status.phase == "Resolved"
    assert told(house.slack) == []


async def test_what_fails_after_a_success_that_was_decided_late_is_told_whoever_decides_it(house):
    configure(house)
    await fail(house)
    end = house.event(event="pipeline_success")
    await house.clock.advance(20)  # the API was away; by now it has failed again
    late = replace(house.event(), created=house.clock.now() - 10)
    await house.submit(end)
    assert the_incident(house).status.phase == "Resolved"
    house.events.store[late.namespace, late.name] = late
    await house.restart()  # another replica's before that was decided
    await house.clock.advance(40)
    assert (house.status(late).phase, house.status(late).incident.action.value) == ("Delivered", "Opened")
    old = replace(house.event(), created=end.created - 5)
    await house.submit(old)
    assert house.status(old).reason == "Superseded"


async def test_what_another_replica_recorded_last_is_known_to_its_incident(house):
    """It had lost its shards to this one while it was sending; what came of that it recorded all the same."""
    configure(house)
    house.slack.script = [RETRY]
    one = await fail(house)
    await house.restart()
    house.engine.on_shards_acquired(ALL_SHARDS)
    document = house.status(one).model_dump(by_alias=True, exclude_none=True, mode="json")
    done = {"phase": "Delivered", "deliveredTime": "2025-06-15T15:06:45.000Z", "handle": "C1/1.1", "attempts": 2}
    document |= {"phase": "Delivered", "completionTime": done["deliveredTime"], "reason": None}
    document["deliveries"] = [{**document["deliveries"][0], **done, "nextAttemptTime": None, "reason": None}]
    house.events.force_status("team", one.name, document)
    house.engine.forget(one.uid)  # by the watch, which follows what is not finished
    await settle_down()
    before = len(house.slack.sent)
    two = await fail(house)
    assert house.status(two).reason is Reason.REPEATED
    await succeed(house)
    (_, _, _, attempt), *_ = house.slack.sent[before:]
    assert (attempt.action, attempt.handle) == (Action.REPLY, "C1/1.1")
    await house.clock.advance(20)
    status = the_incident(house).status
    assert (status.phase, status.failures) == ("Resolved", 2)


async def test_an_incident_that_somebody_was_told_of_is_open_whatever_its_phase_says(house):
    configure(house, remindAfterSeconds=3600)
    await fail(house)
    found = the_incident(house)
    pending = found.status.model_copy(update={"phase": IncidentPhase.PENDING, "next_reminder_time": None})
    house.incidents.store["team", found.name] = replace(found, status=pending)
    await house.restart()
    await house.clock.advance(15)
    assert the_incident(house).status.phase == "Open"
    await house.clock.advance(3600)
    assert len(house.slack.sent) == 2, "and it is reminded of"


async def test_an_event_that_is_deleted_while_it_waits_is_forgotten(house):
    configure(house)
    house.slack.script = [RETRY]
    one = await fail(house)
    house.engine.on_shards_acquired(ALL_SHARDS)
    del house.events.store[one.namespace, one.name]
    house.engine.forget(one.uid)
    await settle_down()
    assert house.engine.unfinished == 0
    await house.clock.advance(60)
    assert len(house.slack.sent) == 1


async def test_a_deleted_incident_is_never_made_again(house):
    configure(house)
    await fail(house)
    name = the_incident(house).name
    house.incidents.remove("team", name)
    await fail(house)
    assert len(house.slack.sent) == 2
    assert the_incident(house).name != name


@pytest.mark.parametrize("restart", [False, True])
async def test_a_deleted_incident_holds_nothing_back(house, restart):
    configure(house, cooldown=300)
    await fail(house)
    house.incidents.remove("team", the_incident(house).name)
    if restart:
        await house.restart()
    again = await fail(house)
    assert house.status(again).phase is Phase.DELIVERED
    assert the_incident(house).status.phase == "Open"


async def test_an_incident_that_may_not_be_created_mutes_nobody(house):
    configure(house)
    house.incidents.refusal = Rejected("exceeded quota")
    one, two = await fail(house), await fail(house)
    await succeed(house)
    assert len(house.slack.sent) == 2  # the opening and the end
    assert house.status(one).incident is None
    assert house.status(two).reason is Reason.REPEATED


async def test_the_api_is_away_while_it_opens(house):
    configure(house)
    house.incidents.away = True
    one = await fail(house)
    assert not house.slack.sent
    house.incidents.away = False
    await house.clock.advance(40)
    assert house.slack.names == [one.name]
    assert the_incident(house).status.phase == "Open"


async def test_below_the_threshold_nobody_is_told_and_it_is_pending(house):
    configure(house, notifyAfterFailures=2)
    one = await fail(house)
    assert house.status(one).reason is Reason.BELOW_THRESHOLD
    await house.clock.advance(11)
    assert the_incident(house).status.phase == "Pending"
    await fail(house)
    assert len(house.slack.sent) == 1


async def test_the_retry_that_never_comes_is_told_by_a_notice_even_after_a_restart(house):
    configure(house)
    one = await fail(house, attempt=1, maxAttempts=3, pipelineLoggingId="r", errorMessage="boom")
    assert house.status(one).reason is Reason.RETRY_EXPECTED
    assert the_incident(house).status.next_opening_time is not None
    await house.restart()
    await house.clock.advance(3700)
    ((_, message, _, _),) = house.slack.sent
    assert message.event.spec.notice.kind.value == "Opening"
    assert "boom" in message.event.spec.error_message
    assert (the_incident(house).status.phase, the_incident(house).status.failures) == ("Open", 1)
    await settle_down()


async def test_an_opening_within_the_cooldown_is_told_at_its_end(house):
    configure(house, cooldown=300)
    await fail(house)
    await succeed(house)
    again = await fail(house)
    assert house.status(again).reason is Reason.COOLDOWN
    assert len(house.slack.sent) == 2
    await house.clock.advance(301)
    assert house.slack.sent[-1][1].event.spec.notice.kind.value == "Opening"
    assert {item.status.phase.value for item in house.incidents.store.values()} == {"Resolved", "Open"}


async def test_an_opening_from_before_a_restart_holds_the_next_one_back(house):
    configure(house, cooldown=300)
    await fail(house)
    await house.clock.advance(30)
    await house.restart()
    await succeed(house)
    again = await fail(house)
    assert house.status(again).reason is Reason.COOLDOWN
    await house.clock.advance(300)
    assert house.slack.sent[-1][1].event.spec.notice.kind.value == "Opening"


async def test_a_shard_that_is_lost_is_forgotten_and_found_again(house):
    configure(house)
    await fail(house)
    house.keeper.on_shards_released(range(24))
    assert not len(house.engine.books.incidents.book)
    await house.recover()
    await fail(house)
    assert len(house.slack.sent) == 1


# ---------------------------------------------------------------------- failover


async def test_whoever_stood_in_for_the_pager_hears_of_the_end(house):
    configure(house, to=("pagerduty",))
    spec = {"pagerduty": DUTY | {"failover": ["slack"]}, "slack": SLACK}
    trigger = {"event": "pipeline_failure", "providers": ["pagerduty"], "cooldownSeconds": 0}
    house.config(**spec, eventTriggers=[trigger], incidents=ON)
    house.pagerduty.script = [BROKEN]
    house.slack.script = [Outcome(OutcomeKind.DELIVERED, handle="C1/1.1")]
    opening = await fail(house)
    assert house.status(opening).reason is Reason.FAILED_OVER
    assert the_incident(house).status.phase == "Open", "it counts as told"
    assert [item.destination for item in the_incident(house).status.notifications] == ["slack"]
    end = await succeed(house)
    assert told(house.slack)[:2] == [f"{opening.name} send", f"{end.name} reply"]


@pytest.mark.parametrize("restart", [False, True])
async def test_whom_another_stood_in_for_counts_as_told_and_nobody_hears_of_each_failure(house, restart):
    trigger = {"event": "pipeline_failure", "providers": ["pagerduty"], "cooldownSeconds": 0}
    house.config(
        pagerduty=DUTY | {"failover": ["slack"]},
        slack=SLACK,
        eventTriggers=[trigger, {**trigger, "event": "pipeline_late", "providers": ["email"]}],
        incidents=ON,
    )
    house.pagerduty.script = [BROKEN] * 4
    await fail(house)
    await house.clock.advance(11)
    if restart:
        await house.restart()
    second, third = await fail(house), await fail(house)
    assert [house.status(event).reason for event in (second, third)] == [Reason.REPEATED] * 2
    assert len(house.slack.sent) == 1
    new, worse = await fail(house, event="pipeline_late"), await fail(house, severity="critical")
    assert [message.event.name for _, message, _, _ in house.email.sent] == [new.name], "it was not told before"
    assert house.status(worse).reason is Reason.FAILED_OVER
    assert len(house.slack.sent) == 2


async def test_whom_another_stood_in_for_is_known_when_the_event_that_says_so_is_gone(house):
    trigger = {"event": "pipeline_failure", "providers": ["pagerduty"], "cooldownSeconds": 0}
    house.config(pagerduty=DUTY | {"failover": ["slack"]}, slack=SLACK, eventTriggers=[trigger], incidents=ON)
    house.pagerduty.script = [BROKEN] * 2
    one = await fail(house)
    await house.clock.advance(11)
    assert house.keeper.covers(house.events.store["team", one.name])
    del house.events.store["team", one.name]
    await house.restart()
    second = await fail(house)
    assert house.status(second).reason is Reason.REPEATED
    assert (len(house.slack.sent), len(house.pagerduty.sent)) == (1, 1)


@pytest.mark.parametrize("wanted", [True, False])
async def test_who_is_not_to_hear_of_the_end_does_not(house, wanted):
    trigger = {"event": "pipeline_failure", "providers": ["slack", "pagerduty"], "cooldownSeconds": 0}
    house.config(slack=SLACK | {"sendRecovery": wanted}, pagerduty=DUTY, eventTriggers=[trigger], incidents=ON)
    house.slack.script = [Outcome(OutcomeKind.DELIVERED, handle="C1/1.1")]
    await fail(house)
    await succeed(house)
    assert [attempt.action for _, _, _, attempt in house.slack.sent][1:] == (
        [Action.REPLY, Action.EDIT] if wanted else []
    )
    said = [message.event.spec.event.value for _, message, _, _ in house.pagerduty.sent]
    assert said == ["pipeline_failure", "pipeline_success"], "the alert is closed once"


async def test_opening_and_end_are_lines_of_digests_and_there_are_no_reminders(house):
    trigger = {"event": "pipeline_failure", "providers": ["slack"], "digest": {"everySeconds": 600}}
    house.config(slack=SLACK, eventTriggers=[trigger], incidents={"enabled": True, "remindAfterSeconds": 3600})
    one, two = await fail(house), await fail(house)
    assert [house.status(event).reason for event in (one, two)] == [Reason.BATCHED, Reason.REPEATED]
    await house.clock.advance(11)
    assert the_incident(house).status.phase == "Open"
    await house.clock.advance(7200)
    end = await succeed(house)
    assert house.status(end).reason is Reason.BATCHED
    assert house.status(end).incident.action.value == "Recovered"
    assert the_incident(house).status.phase == "Resolved"
    assert not house.slack.sent


async def test_a_storm_is_a_few_messages_and_one_digest_and_so_is_its_end(house):
    spec = {"openings": 3, "withinSeconds": 60}
    trigger = {"event": "pipeline_failure", "providers": ["email", "pagerduty"], "cooldownSeconds": 0}
    house.config(pagerduty=DUTY, eventTriggers=[trigger], incidents={**ON, "storm": spec})
    failed = [await fail(house, pipelineId=f"p{number}") for number in range(8)]
    assert len(house.email.sent) == 3
    await house.clock.advance(30)
    assert len(house.pagerduty.sent) == 8, "whoever is on call is told of each"
    assert {item.destination for item in house.status(failed[7]).batch} == {"email"}
    again = await fail(house, pipelineId="p7")
    assert house.status(again).reason is Reason.REPEATED
    ends = [await succeed(house, pipelineId=f"p{number}") for number in range(8)]
    await house.clock.advance(30)
    assert len(house.email.sent) == 6
    assert {item.destination for item in house.status(ends[7]).batch} == {"email"}
    assert {item.status.phase for item in house.incidents.store.values()} == {"Resolved"}


async def test_after_a_storm_incidents_are_told_one_by_one_again(house):
    trigger = {"event": "pipeline_failure", "providers": ["email"], "cooldownSeconds": 0}
    house.config(eventTriggers=[trigger], incidents={**ON, "storm": {"openings": 1, "withinSeconds": 60}})
    await fail(house, pipelineId="a")
    held = await fail(house, pipelineId="b")
    assert (house.status(held).reason, house.status(held).decision.stage) == (Reason.BATCHED, "digest")
    await house.restart()
    assert house.status(await fail(house, pipelineId="c")).reason is Reason.BATCHED
    await house.clock.advance(61)
    await fail(house, pipelineId="d")
    assert len(house.email.sent) == 2


async def test_after_another_routing_key_the_delivery_says_that_the_old_alert_must_be_closed_by_hand(house):
    configure(house, to=("pagerduty",))
    await fail(house)
    trigger = {"event": "pipeline_failure", "providers": ["pagerduty"], "cooldownSeconds": 0}
    house.config(pagerduty={"routingKey": "f" * 32}, eventTriggers=[trigger], incidents=ON)
    end = await succeed(house)
    (delivery,) = house.status(end).deliveries
    assert (delivery.phase, house.pagerduty.sent[-1][2].routing_key) == ("Delivered", "f" * 32)
    assert "close the old alert by hand" in delivery.message


async def test_a_success_that_is_too_old_to_be_told_closes_alerts_all_the_same(house):
    configure(house, to=("slack", "pagerduty"))
    await fail(house)
    old = house.event(event="pipeline_success")
    house.clock.trusted = True
    await house.clock.advance(86_500)
    await house.submit(old)
    assert the_incident(house).status.phase == "Resolved"
    assert [message.event.spec.event.value for _, message, _, _ in house.pagerduty.sent][-1] == "pipeline_success"
    assert len([m for _, m, _, a in house.slack.sent if a.action is not Action.EDIT]) == 1


async def test_where_the_api_cannot_hold_them_incidents_are_off(house):
    configure(house)
    house.engine.books.incidents.available = lambda: False
    one, two = await fail(house), await fail(house)
    assert not house.incidents.created
    assert [house.status(event).incident for event in (one, two)] == [None, None]
