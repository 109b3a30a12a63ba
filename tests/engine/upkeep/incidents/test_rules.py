"""Which rule wins (FEATURES' table), through the real engine: configurations that change, triggers, replays, ends."""

from __future__ import annotations

import pytest

from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.status import rfc3339
from pipebell.core.vocabulary import Reason

SLACK = {"botToken": "xoxb-1", "channel": "#data"}
DUTY = {"routingKey": "0123456789abcdef0123456789abcdef"}
BROKEN = Outcome(OutcomeKind.PERMANENT, "Http404", "no_service")
HOUR = 3600.0


@pytest.fixture
async def house(house):
    house.keep()
    return house


def configure(house, to=("slack",), event="pipeline_failure", namespace="team", **spec):
    """Put a configuration there, or change it; the store tells of it."""
    trigger = {"event": event, "providers": list(to), "cooldownSeconds": 0}
    rules = {"enabled": True, "remindAfterSeconds": 0, **spec.pop("incidents", {})}
    spec = {"slack": SLACK, "pagerduty": DUTY, "eventTriggers": [trigger], "incidents": rules} | spec
    house.keeper.on_config_change(None, house.config(namespace=namespace, **spec))


async def fail(house, **spec):
    event = house.event(**spec)
    await house.submit(event)
    return event


async def succeed(house, **spec):
    return await fail(house, event="pipeline_success", **spec)


def phases(house):
    return sorted(
        str(item.status.phase.value if item.status.phase else None) for item in house.incidents.store.values()
    )


def actions(provider):
    return [attempt.action.value for _, _, _, attempt in provider.sent]


CHANGES = {
    "incidents switched off": {"incidents": {"enabled": False}},
    "the configuration disabled": {"enabled": False},
    "grouped otherwise": {"incidents": {"groupBy": ["owner"]}},
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_no_event_can_reach_any_more_ends_soon_and_silently(house, change):
    configure(house, to=("slack", "pagerduty"))
    await fail(house)
    configure(house, to=("slack", "pagerduty"), **CHANGES[change])
    await house.clock.advance(5)
    assert phases(house) == ["Open"], "what replaces a configuration may come a moment later"
    await house.clock.advance(60)
    assert phases(house) == ["Resolved"]
    (incident,) = house.incidents.store.values()
    assert incident.status.resolved_by == "ConfigChanged"
    assert actions(house.slack) == ["send"]


async def test_a_configuration_that_comes_back_at_once_ends_nothing(house):
    configure(house)
    await fail(house)
    configure(house, incidents={"enabled": False})
    await house.clock.advance(5)
    configure(house)
    await house.clock.advance(300)
    assert phases(house) == ["Open"]


async def test_roots_change_counts_as_well(house):
    configure(house, incidents={"enabled": None})
    house.with_root('{"incidents": {"enabled": true, "remind_after_seconds": 0}}')
    await fail(house)
    assert phases(house) == ["Open"]
    house.root.update({"config.json": "{}"}, "2")
    house.keeper.on_root_change()
    await house.clock.advance(60)
    assert phases(house) == ["Resolved"]


async def test_another_change_of_the_configuration_ends_nothing(house):
    configure(house)
    await fail(house)
    configure(house, to=("slack", "pagerduty"), incidents={"notifyAfterFailures": 3})
    await house.clock.advance(120)
    assert phases(house) == ["Open"]


async def test_two_namespaces_of_one_organisation_have_nothing_to_do_with_each_other(house):
    configure(house)
    configure(house, namespace="other")
    await fail(house)
    await fail(house, namespace="other")
    assert len(house.slack.sent) == 2
    await succeed(house, namespace="other")
    assert phases(house) == ["Open", "Resolved"]
    assert {item.namespace: item.status.phase.value for item in house.incidents.store.values()}["team"] == "Open"


async def test_a_failure_without_an_enabled_trigger_is_not_counted_and_a_success_still_ends(house):
    off = {"event": "data_quality_failure", "providers": ["slack"], "enabled": False}
    on = {"event": "pipeline_failure", "providers": ["slack"], "cooldownSeconds": 0}
    success = {"event": "pipeline_success", "enabled": False}
    configure(house, eventTriggers=[on, off, success])
    quiet = await fail(house, event="data_quality_failure")
    assert house.status(quiet).reason is Reason.TRIGGER_DISABLED
    assert not house.incidents.store
    await fail(house)
    end = await succeed(house)
    assert phases(house) == ["Resolved"]
    assert house.status(end).phase == "Delivered"


async def test_a_start_changes_nothing(house):
    configure(house)
    await fail(house)
    await fail(house, event="pipeline_started")
    assert phases(house) == ["Open"]


async def test_tests_touch_no_incident(house):
    configure(house)
    await fail(house, test=True)
    assert not house.incidents.store
    await fail(house)
    await fail(house, test=True, event="pipeline_success")
    assert phases(house) == ["Open"]


async def test_a_replay_of_an_opening_that_nobody_got_counts_as_told(house):
    configure(house)
    house.slack.script = [BROKEN]
    one = await fail(house)
    assert house.status(one).phase == "Failed"
    again = await fail(house, replayOf={"name": one.name})
    assert house.status(again).phase == "Delivered"
    three = await fail(house)
    assert house.status(three).reason is Reason.REPEATED
    await succeed(house)
    assert len(house.slack.sent) == 3, "the end goes to whoever got the replay"


async def test_nobody_is_told_of_the_end_by_a_message_when_that_is_not_wanted(house):
    configure(house, to=("slack", "pagerduty"), incidents={"notifyRecovery": False})
    house.slack.script = [Outcome(OutcomeKind.DELIVERED, handle="C1/1.1")]
    await fail(house)
    await succeed(house)
    await house.clock.advance(1)
    assert actions(house.slack) == ["send", "edit"]
    assert len(house.pagerduty.sent) > 1, "the alert is closed all the same"


@pytest.mark.parametrize("kind", ["data_quality_failure", "system_error"])
async def test_what_no_success_follows_ends_by_itself_a_day_after_its_last_failure(house, kind):
    configure(house, to=("slack", "pagerduty"), event=kind)
    await fail(house, event=kind)
    await house.clock.advance(20 * HOUR)
    await fail(house, event=kind)
    await house.clock.advance(23.9 * HOUR)
    assert phases(house) == ["Open"]
    await house.clock.advance(0.2 * HOUR)
    assert phases(house) == ["Resolved"]
    assert actions(house.slack) == ["send"], "no message"
    assert actions(house.pagerduty)[-1] == "resolve"


async def test_a_failure_that_happened_before_the_last_success_is_superseded(house):
    configure(house)
    await fail(house)
    await house.clock.advance(60)
    await succeed(house)
    late = await fail(house, occurredAt=rfc3339(house.clock.now() - 30))
    assert house.status(late).reason is Reason.SUPERSEDED
    assert phases(house) == ["Resolved"]
    await house.restart()
    later = await fail(house, occurredAt=rfc3339(house.clock.now() - 30))
    assert house.status(later).reason is Reason.SUPERSEDED


async def test_data_quality_is_not_ended_by_the_run_that_found_it(house):
    configure(house, event="data_quality_failure")
    await fail(house, event="data_quality_failure", pipelineLoggingId="r1")
    await succeed(house, pipelineLoggingId="r1")
    assert phases(house) == ["Open"]
    await house.restart()
    await succeed(house, pipelineLoggingId="r1")
    assert phases(house) == ["Open"]
    await succeed(house, pipelineLoggingId="r2")
    assert phases(house) == ["Resolved"]


async def test_an_old_success_ends_it_without_a_message(house):
    configure(house, to=("slack", "pagerduty"))
    await fail(house)
    end = house.event(event="pipeline_success")
    await house.clock.advance(25 * HOUR)
    await house.submit(end)
    await house.clock.advance(1)
    assert phases(house) == ["Resolved"]
    assert "send" not in actions(house.slack)[1:]
    assert len(house.pagerduty.sent) == 2


async def test_a_new_destination_hears_of_the_next_failure_and_who_was_told_does_not(house):
    configure(house)
    await fail(house)
    configure(house, to=("slack", "pagerduty"))
    await fail(house)
    assert (len(house.slack.sent), len(house.pagerduty.sent)) == (1, 1)
    await succeed(house)
    assert (len(house.slack.sent), len(house.pagerduty.sent)) == (2, 2)


async def test_a_destination_that_is_gone_does_not_hold_up_the_end(house):
    configure(house, to=("slack", "pagerduty"))
    await fail(house)
    configure(house, to=("slack",))
    end = await succeed(house)
    assert house.status(end).phase == "Delivered"
    assert phases(house) == ["Resolved"]


BOTH = pytest.mark.parametrize("how", ["goes on", "restarted"])


@BOTH
@pytest.mark.parametrize("by", [{"labels": {"tier": "gold"}}, {"owner": "pay*"}])
async def test_an_opening_that_was_held_goes_where_an_override_sends_the_failure(house, how, by):
    rule = {"pipelines": ["*"], "providers": ["pagerduty"], **by}
    configure(house, pipelineOverrides=[rule], incidents={"notifyAfterSeconds": 600})
    await fail(house, owner="payments", labels={"tier": "gold"})
    await house.clock.advance(20)
    (event,) = house.events.store.values()
    assert not house.keeper.covers(event), "what is told, if nothing else comes, depends on it"
    if how == "restarted":
        await house.restart()
    await house.clock.advance(600)
    assert (len(house.slack.sent), len(house.pagerduty.sent)) == (0, 1)
    told = house.pagerduty.sent[0][1].event.spec
    assert (told.owner, told.labels) == ("payments", {"tier": "gold"})


@BOTH
async def test_what_is_told_of_an_incident_is_of_its_type_over_a_restart(house, how):
    rules = {"notifyAfterSeconds": 600, "remindAfterSeconds": 3600}
    configure(house, event="pipeline_missing", incidents=rules)
    await fail(house, event="pipeline_missing")
    for seconds in (20, 600, 3600):
        await house.clock.advance(seconds)
        if how == "restarted":
            await house.restart()
    await house.clock.advance(30)
    sent = [(message.event.spec.notice.kind, message.event.spec.event) for _, message, _, _ in house.slack.sent]
    assert sent == [("Opening", "pipeline_missing"), ("Reminder", "pipeline_missing")]


def changed(house, **destination):
    """A named destination is this from now on."""
    trigger = {"event": "pipeline_failure", "providers": ["them"], "cooldownSeconds": 0}
    rules = {"enabled": True, "remindAfterSeconds": 0}
    house.config(destinations=[{"name": "them", **destination}], eventTriggers=[trigger], incidents=rules)


@pytest.mark.parametrize(
    ("before", "after", "edited"),
    [
        ({"slack": SLACK}, {"slack": SLACK}, True),
        ({"slack": SLACK}, {"slack": {"botToken": "xoxb-2", "channel": "#data"}}, False),
        ({"slack": SLACK}, {"pagerduty": DUTY}, False),
        ({"pagerduty": DUTY}, {"slack": SLACK}, False),
    ],
    ids=["the same", "another workspace", "another kind", "on call no more"],
)
async def test_what_a_person_ends_changes_first_messages_and_makes_no_new_one(house, before, after, edited):
    changed(house, **before)
    house.slack.script = [Outcome(OutcomeKind.DELIVERED, handle="C1/1.1")]
    await fail(house)
    changed(house, **after)
    (incident,) = house.incidents.store.values()
    house.incidents.say("team", incident.name, resolution={"by": "ana"})
    await house.clock.advance(5)
    sent = [attempt for provider in (house.slack, house.pagerduty) for _, _, _, attempt in provider.sent[:]]
    assert [attempt.action.value for attempt in sent] == ["send", *(["edit"] if edited else [])]
    assert not any(attempt.anew for attempt in sent[1:]), "not even where the first message is gone"
    assert {event.status.phase for event in house.events.store.values()} <= {"Delivered", "Suppressed"}
