"""Other destinations stand in for those that fail, or are late: once, recorded first, over restarts and edits."""

from __future__ import annotations

import asyncio

import pytest
from tests.engine.fakes import EMAIL, FakeProvider, House, settle_down

from pipebell.core.errors import Rejected
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.vocabulary import Phase, Reason

KEY = {"routingKey": "0123456789abcdef0123456789abcdef"}
ACCOUNT = {"accountSid": "AC" + "0a" * 16, "authToken": "t", "fromNumber": "+15005550006"}
SMS = ACCOUNT | {"toNumbers": ["+4915112345678"]}
CHAT = {"webhookUrl": "https://hooks.slack.com/services/T/B/x"}
TRIGGERS = [{"event": "pipeline_failure", "providers": ["pagerduty"]}]
NO_ANSWER = Outcome(OutcomeKind.RETRY, "Timeout", "no answer")
REFUSED = Outcome(OutcomeKind.PERMANENT, "Http400", "bad key")
DELIVERED = Outcome(OutcomeKind.DELIVERED)
DEAD = [NO_ANSWER] * 1000


@pytest.fixture
def pager(house):
    house.ports.providers["pagerduty"] = FakeProvider(house.clock)
    return house.ports.providers["pagerduty"]


@pytest.fixture
def phone(house):
    house.ports.providers["sms"] = FakeProvider(house.clock)
    return house.ports.providers["sms"]


def guarded(*failover, **more):
    """PagerDuty with stand-ins."""
    spec = {
        "pagerduty": KEY | {"failover": list(failover)} | more.pop("pagerduty", {}),
        "sms": SMS,
        "slack": CHAT,
        "eventTriggers": TRIGGERS,
        "retryConfig": {"maxElapsedSeconds": 3600},
    }
    return spec | more


def again(house):
    """The same providers after a restart."""
    kept = dict(house.ports.providers)

    async def restart():
        await house.engine.close(0)
        house.start()
        house.ports.providers.update(kept)
        for event in list(house.events.store.values()):
            house.engine.submit(event)
        await house.recover()

    return restart()


def entry(house, event, name):
    return next(item for item in house.status(event).deliveries if item.destination == name)


def times(provider, house, event):
    """When it was sent, in seconds since the event."""
    return [at - event.created for at, *_ in provider.sent]


# ---------------------------------------------------------------------------- when


async def test_a_dead_pager_fails_over_to_the_phone_in_time_and_goes_on_trying(house, pager, phone):
    house.config(**guarded("sms"))
    pager.script = list(DEAD)
    event = house.event()
    await house.submit(event)
    await house.clock.advance(299)
    assert phone.sent == []
    await house.clock.advance(6)
    assert times(phone, house, event) == [pytest.approx(300, abs=5)]
    before = len(pager.sent)
    first, instead = entry(house, event, "pagerduty"), entry(house, event, "sms/1")
    assert (instead.phase, instead.reason, instead.failover_for) == (Phase.DELIVERED, Reason.FAILED_OVER, "pagerduty")
    assert (first.phase, first.reason, first.failover_to) == (Phase.PENDING, Reason.RETRYING, ["sms/1"])
    assert house.status(event).phase is Phase.DELIVERING
    await house.clock.advance(4000)
    assert len(pager.sent) > before, "the first destination is tried on"
    status = house.status(event)
    assert (status.phase, status.reason) == (Phase.DELIVERED, Reason.FAILED_OVER)
    assert "delivered by sms/1; failed over: pagerduty: Timeout" in status.message
    assert len(phone.sent) == 1
    assert {item.type: item.status for item in status.conditions}["Delivered"] == "True"


async def test_a_refusal_for_good_fails_over_at_once(house, pager, phone):
    house.config(**guarded("sms"))
    pager.script = [REFUSED]
    event = house.event()
    await house.submit(event)
    status = house.status(event)
    assert (status.phase, status.reason) == (Phase.DELIVERED, Reason.FAILED_OVER)
    assert entry(house, event, "pagerduty").phase is Phase.FAILED
    assert len(phone.sent) == 1
    assert house.notices.posted == [("PipelineEvent", "team/event-1", "FailedOver")]


async def test_a_clock_that_goes_on_by_itself_makes_no_endless_round(house, pager, phone):
    """Each look shows a later time, as on a real machine."""
    house.config(**guarded("sms"))
    pager.script = [REFUSED]
    standing = house.clock.now

    def going():
        house.clock._now += 0.000_1
        return standing()

    house.clock.now = going
    event = house.event()
    await house.submit(event)
    assert house.status(event).reason is Reason.FAILED_OVER
    assert len(phone.sent) == 1


async def test_while_an_attempt_hangs_others_stand_in_all_the_same(house, pager, phone):
    """The first attempt too: nothing of it is known before it ends."""
    house.config(**guarded("sms", pagerduty={"failoverAfterSeconds": 20}))
    pager.gate = asyncio.Event()
    event = house.event()
    await house.submit(event)
    await house.clock.advance(25)
    assert times(phone, house, event) == [pytest.approx(20, abs=5)]
    assert len(pager.sent) == 1
    pager.gate.set()
    await settle_down()
    status = house.status(event)
    assert (status.phase, status.reason) == (Phase.DELIVERED, None)
    assert [item.phase for item in status.deliveries] == [Phase.DELIVERED] * 2


async def test_a_pause_counts_from_its_beginning(house, pager, phone):
    house.config(**guarded("sms", pagerduty={"failoverAfterSeconds": 60}))
    pager.script = [Outcome(OutcomeKind.PAUSE, "Http429", "busy", retry_after=3000)]
    event = house.event()
    await house.submit(event)
    await house.clock.advance(30)
    second = house.event(pipelineId="other", event="pipeline_failure", test=True)  # its endpoint is left alone already
    await house.submit(second)
    await house.clock.advance(35)
    assert [phone.names] == [[event.name]]
    await house.clock.advance(30)
    assert phone.names == [event.name, second.name]
    assert len(pager.sent) == 1


async def test_an_unready_only_destination_fails_over(house, pager, phone):
    house.config(**guarded("sms", secretRef={"name": "none"}, pagerduty={"routingKey": "${MISSING}"}))
    event = house.event()
    await house.submit(event)
    status = house.status(event)
    assert (status.phase, status.reason) == (Phase.PENDING, Reason.CONFIG_NOT_READY)
    assert entry(house, event, "pagerduty").first_due_time is not None
    await again(house)
    await house.clock.advance(299)
    assert phone.sent == []
    await house.clock.advance(6)
    assert len(phone.sent) == 1
    assert house.status(event).phase is Phase.DELIVERING
    house.secrets.store["team", "none"] = {"MISSING": KEY["routingKey"]}
    house.engine.wake_org("acme", "team")
    await settle_down()
    assert len(pager.sent) == 1
    assert (house.status(event).phase, house.status(event).reason) == (Phase.DELIVERED, None)


async def test_events_that_wait_for_a_secret_do_not_keep_each_other_from_failing_over(house, pager, phone):
    house.config(**guarded("sms", secretRef={"name": "none"}, pagerduty={"routingKey": "${MISSING}"}))
    first, second = house.event(), house.event()
    await house.submit(first)
    await house.clock.advance(10)
    await house.submit(second)
    assert house.status(second).reason is Reason.CONFIG_NOT_READY, "not the other one's turn"
    await house.clock.advance(400)
    assert phone.names == [first.name]
    assert (house.status(second).phase, house.status(second).suppressed_by) == (Phase.SUPPRESSED, first.name)


async def test_what_stands_in_counts_as_delivered_and_starts_the_cooldown(house, pager, phone):
    house.config(**guarded("sms"))
    pager.script = [REFUSED]
    first, second = house.event(), house.event()
    await house.submit(first, second)
    assert house.status(second).phase is Phase.SUPPRESSED
    assert house.status(second).suppressed_by == first.name


# ---------------------------------------------------------------------------- who


async def test_nobody_stands_in_for_a_stand_in(house, pager, phone):
    spec = guarded("sms")
    house.config(**spec | {"sms": SMS | {"failover": ["slack"]}})
    pager.script, phone.script = [REFUSED], [REFUSED]
    event = house.event()
    await house.submit(event)
    await house.clock.advance(4000)
    assert house.slack.sent == []
    assert (house.status(event).phase, house.status(event).reason) == (Phase.FAILED, Reason.PERMANENT_ERROR)


async def test_all_that_are_named_stand_in_and_one_of_them_is_enough(house, pager, phone):
    house.config(**guarded("sms", "slack"))
    pager.script, phone.script = [REFUSED], [REFUSED]
    event = house.event()
    await house.submit(event)
    assert (house.status(event).phase, house.status(event).reason) == (Phase.DELIVERED, Reason.FAILED_OVER)
    assert (len(phone.sent), len(house.slack.sent)) == (1, 1)


async def test_two_that_fail_share_a_stand_in(house, pager, phone):
    house.config(
        **guarded("slack", sms=SMS | {"failover": ["slack"]})
        | {"eventTriggers": [{"event": "pipeline_failure", "providers": ["pagerduty", "sms"]}]}
    )
    pager.script, phone.script = [REFUSED], [NO_ANSWER, REFUSED]
    event = house.event()
    await house.submit(event)
    await house.clock.advance(10)
    assert len(house.slack.sent) == 1
    assert (house.status(event).phase, house.status(event).reason) == (Phase.DELIVERED, Reason.FAILED_OVER)
    assert entry(house, event, "sms/1").failover_to == ["slack"]


async def test_a_destination_of_the_event_itself_stands_in_for_no_other(house, pager, phone):
    house.config(
        **guarded("sms") | {"eventTriggers": [{"event": "pipeline_failure", "providers": ["pagerduty", "sms"]}]}
    )
    pager.script = [REFUSED]
    event = house.event()
    await house.submit(event)
    assert len(phone.sent) == 1
    assert house.status(event).phase is Phase.PARTIALLY_DELIVERED


async def test_each_number_beyond_the_hours_budget_fails_over(house, phone):
    house.config(
        sms=ACCOUNT | {"toNumbers": ["+4915112345678", "+447700900123"], "failover": ["slack"]},
        slack=CHAT,
        eventTriggers=[{"event": "pipeline_failure", "providers": ["sms"]}],
    )
    phone.script = [DELIVERED, Outcome(OutcomeKind.PERMANENT, "RateLimited", "maxPerHour", ends_as=Reason.RATE_LIMITED)]
    event = house.event()
    await house.submit(event)
    assert len(house.slack.sent) == 1
    assert entry(house, event, "slack").failover_for == "sms/2"
    assert (house.status(event).phase, house.status(event).reason) == (Phase.DELIVERED, Reason.FAILED_OVER)


async def test_an_unready_stand_in_waits_by_itself(house, pager, phone):
    house.config(**guarded("sms", sms=SMS | {"authToken": "${MISSING}"}, secretRef={"name": "none"}))
    pager.script = [REFUSED]
    event = house.event()
    await house.submit(event)
    assert (house.status(event).phase, house.status(event).reason) == (Phase.PENDING, Reason.CONFIG_NOT_READY)
    house.secrets.store["team", "none"] = {"MISSING": "t"}
    house.engine.wake_org("acme", "team")
    await settle_down()
    assert house.status(event).phase is Phase.DELIVERED


# ---------------------------------------------------------------------------- restarts, edits, and second thoughts


@pytest.mark.parametrize("recorded", [True, False])
async def test_killed_around_the_record_it_fails_over_once(house, pager, phone, recorded):
    house.config(**guarded("sms"))
    pager.script = [REFUSED]
    phone.before = asyncio.Event()
    if not recorded:
        house.events.before_patch = lambda _: setattr(house.events, "away", True)
    event = house.event()
    await house.submit(event)
    if recorded:
        assert entry(house, event, "sms/1").failover_for == "pagerduty", "recorded before it is sent"
    assert phone.sent == []
    house.events.before_patch, house.events.away, phone.before = None, False, None
    pager.script = [REFUSED]
    await again(house)
    await house.clock.advance(10)
    assert len(phone.sent) == 1
    assert (house.status(event).phase, house.status(event).reason) == (Phase.DELIVERED, Reason.FAILED_OVER)


async def test_the_time_runs_on_over_a_restart(house, pager, phone):
    house.config(**guarded("sms"))
    pager.script = list(DEAD)
    event = house.event()
    await house.submit(event)
    await house.clock.advance(200)
    await again(house)
    await house.clock.advance(99)
    assert phone.sent == []
    await house.clock.advance(6)
    assert len(phone.sent) == 1


async def test_a_clock_that_was_wrong_keeps_nobody_waiting_for_longer(house, pager, phone):
    house.config(**guarded("sms"))
    pager.script = list(DEAD)
    event = house.event()
    await house.submit(event)
    wrong = entry(house, event, "pagerduty").model_copy(update={"first_due_time": "2199-01-01T00:00:00.000Z"})
    house.events.force_status("team", event.name, {"deliveries": [wrong.model_dump(by_alias=True, mode="json")]})
    await again(house)
    await house.clock.advance(310)
    assert len(phone.sent) == 1


async def test_what_is_not_needed_any_more_is_not_sent(house, pager, phone):
    house.config(**guarded("sms"))
    pager.script = [NO_ANSWER] * 6
    phone.script = [NO_ANSWER] * 2
    event = house.event()
    await house.submit(event)
    await house.clock.advance(3000)
    status = house.status(event)
    assert (status.phase, status.reason) == (Phase.DELIVERED, None)
    instead = entry(house, event, "sms/1")
    if instead.phase is not Phase.DELIVERED:
        assert (instead.phase, instead.reason) == (Phase.SKIPPED, Reason.SUPERSEDED)


async def test_another_stand_in_after_an_edit_takes_the_place_of_one_that_has_not_been_told(house, pager, phone):
    house.config(**guarded("sms"))
    pager.script = [REFUSED]
    phone.script = list(DEAD)
    event = house.event()
    await house.submit(event)
    house.config(**guarded("slack"))
    house.engine.wake_org("acme", "team")
    await house.clock.advance(30)
    assert entry(house, event, "sms/1").reason == Reason.CONFIG_CHANGED
    assert len(house.slack.sent) == 1
    assert (house.status(event).phase, house.status(event).reason) == (Phase.DELIVERED, Reason.FAILED_OVER)


async def test_a_stand_in_that_was_told_is_followed_by_no_other(house, pager, phone):
    house.config(**guarded("sms"))
    pager.script = list(DEAD)
    event = house.event()
    await house.submit(event)
    await house.clock.advance(310)
    house.config(**guarded("slack"))
    await house.clock.advance(4000)
    assert (len(phone.sent), house.slack.sent) == (1, [])
    assert (house.status(event).phase, house.status(event).reason) == (Phase.DELIVERED, Reason.FAILED_OVER)


async def test_failover_that_is_configured_while_an_event_is_retried_counts_from_when_that_was_due(house, pager, phone):
    plain = guarded("sms")
    del plain["pagerduty"]["failover"]
    house.config(**plain)
    pager.script = list(DEAD)
    event = house.event()
    await house.submit(event)
    await house.clock.advance(200)
    house.config(**guarded("sms"))
    await house.clock.advance(400)
    (at,) = times(phone, house, event)
    assert at < 620, "with the next attempt at the latest"


async def test_a_destination_that_a_person_took_away_is_stood_in_for_by_nobody(house, pager, phone):
    house.config(**guarded("sms"))
    pager.script = list(DEAD)
    event = house.event()
    await house.submit(event)
    house.config(**guarded("sms") | {"eventTriggers": [{"event": "pipeline_failure", "providers": ["slack"]}]})
    await house.clock.advance(400)
    assert (phone.sent, house.slack.sent) == ([], [])
    assert house.status(event).reason is Reason.CONFIG_CHANGED


async def test_what_could_not_be_recorded_is_not_sent(house, pager, phone):
    house.config(**guarded("sms"))
    pager.script = [REFUSED]

    def refuse(name):
        raise Rejected("quota")

    house.events.before_patch = refuse
    event = house.event()
    await house.submit(event)
    await house.clock.advance(20)
    assert phone.sent == []
    house.events.before_patch = None
    await house.clock.advance(60)
    assert len(phone.sent) == 1
    assert (house.status(event).phase, house.status(event).reason) == (Phase.DELIVERED, Reason.FAILED_OVER)


async def test_another_replica_goes_on_where_this_one_stopped(house, pager, phone):
    house.config(**guarded("sms"))
    pager.script = [REFUSED]
    phone.before = asyncio.Event()
    event = house.event()
    await house.submit(event)
    house.ownership.fresh = False
    phone.before.set()
    await settle_down()
    assert phone.sent == []
    house.ownership.fresh, phone.before = True, None
    house.engine.on_lease_renewed()
    await settle_down()
    assert len(phone.sent) == 1
    assert house.status(event).reason is Reason.FAILED_OVER


async def test_what_is_too_old_to_be_told_fails_over_to_nobody():
    house = House(max_age=100.0)
    house.no_root()
    pager, phone = FakeProvider(house.clock), FakeProvider(house.clock)
    house.ports.providers.update(pagerduty=pager, sms=phone)
    house.config(**guarded("sms"))
    pager.busy_for = {"old"}
    event = house.event("old")
    await house.submit(event)
    await house.clock.advance(500)
    assert phone.sent == []
    assert (house.status(event).phase, house.status(event).reason) == (Phase.FAILED, Reason.RATE_LIMITED)
    await house.engine.close(0)


async def test_without_failover_an_event_is_written_once(house):
    house.config(email=EMAIL)
    event = house.event()
    await house.submit(event)
    assert len(house.events.writes) == 1
    (told,) = house.status(event).deliveries
    assert (told.first_due_time, told.failover_to, told.failover_for) == (None, None, None)


async def test_a_destination_that_never_gets_ready_ends_as_failed_over():
    house = House(max_age=1000.0)
    house.no_root()
    pager, phone = FakeProvider(house.clock), FakeProvider(house.clock)
    house.ports.providers.update(pagerduty=pager, sms=phone)
    house.config(**guarded("sms", secretRef={"name": "none"}, pagerduty={"routingKey": "${MISSING}"}))
    event = house.event()
    await house.submit(event)
    await house.clock.advance(400)
    assert len(phone.sent) == 1
    await house.clock.advance(1000)
    status = house.status(event)
    assert (status.phase, status.reason) == (Phase.DELIVERED, Reason.FAILED_OVER)
    assert pager.sent == []
    await house.engine.close(0)
