"""A destination that is divided: one delivery, with a record of its own, for each number of sms."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.engine.fakes import EMAIL, FakeProvider, settle_down

from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.status import EventStatus
from pipebell.core.vocabulary import Phase, Reason

RETRY = Outcome(OutcomeKind.RETRY, "Timeout", "no answer")
FIRST, SECOND, THIRD = "+4915112345678", "+447700900123", "+12025550143"
ONLY_SMS = {"eventTriggers": [{"event": "pipeline_failure", "providers": ["sms"]}]}


def sms(*numbers):
    account = {"accountSid": "AC" + "0a" * 16, "authToken": "t", "fromNumber": "+15005550006"}
    return {"sms": account | {"toNumbers": list(numbers)}, **ONLY_SMS}


@pytest.fixture
def twilio(house):
    house.ports.providers["sms"] = FakeProvider(house.clock)
    return house.ports.providers["sms"]


def numbers(twilio):
    return [(attempt.delivery_id.rpartition(".")[2], target.number) for _, _, target, attempt in twilio.sent]


async def test_each_number_is_told_and_recorded_by_itself(house, twilio):
    house.config(**sms(FIRST, SECOND))
    twilio.script = [
        Outcome(OutcomeKind.DELIVERED, handle="SM1"),
        Outcome(OutcomeKind.PERMANENT, "Http400", "no such number"),
    ]
    event = house.event()
    await house.submit(event)
    await settle_down()
    status = house.status(event)
    assert (status.phase, status.reason) == (Phase.PARTIALLY_DELIVERED, Reason.PERMANENT_ERROR)
    assert [(d.destination, d.provider, d.phase, d.recipients, d.handle) for d in status.deliveries] == [
        ("sms/1", "sms", Phase.DELIVERED, "+49…678", "SM1"),
        ("sms/2", "sms", Phase.FAILED, "+44…123", None),
    ]
    assert sorted(numbers(twilio)) == [("sms/1", FIRST), ("sms/2", SECOND)]


async def test_only_what_failed_is_tried_again_and_knows_that_it_is(house, twilio):
    house.config(**sms(FIRST, SECOND))
    twilio.script = [RETRY]
    event = house.event()
    await house.submit(event)
    await house.clock.advance(10)
    assert house.status(event).phase is Phase.DELIVERED
    assert numbers(twilio) == [("sms/1", FIRST), ("sms/2", SECOND), ("sms/1", FIRST)]
    assert [attempt.again for _, _, _, attempt in twilio.sent] == [False, False, True]
    assert all(attempt.expires == event.created + house.max_age for _, _, _, attempt in twilio.sent)


async def test_another_number_at_its_place_is_not_told_of_it(house, twilio):
    house.config(**sms(FIRST, SECOND))
    twilio.script = [RETRY]
    event = house.event()
    await house.submit(event)
    house.config(**sms(THIRD, SECOND))
    await house.clock.advance(10)
    status = house.status(event)
    assert (status.phase, status.reason) == (Phase.PARTIALLY_DELIVERED, Reason.CONFIG_CHANGED)
    assert (status.deliveries[0].phase, status.deliveries[0].reason) == (Phase.FAILED, Reason.CONFIG_CHANGED)
    assert THIRD not in [number for _, number in numbers(twilio)]
    assert not any(number in str(status) for number in (FIRST, SECOND, THIRD))


async def test_a_number_less_is_not_told_either(house, twilio):
    house.config(**sms(FIRST, SECOND))
    twilio.script = [Outcome(OutcomeKind.DELIVERED), RETRY]
    event = house.event()
    await house.submit(event)
    house.config(**sms(FIRST))
    await house.clock.advance(10)
    assert [(d.destination, d.reason) for d in house.status(event).deliveries] == [
        ("sms/1", None),
        ("sms/2", Reason.CONFIG_CHANGED),
    ]


async def test_a_budget_that_is_spent_ends_it_by_that_name(house, twilio):
    house.config(**sms(FIRST))
    twilio.script = [Outcome(OutcomeKind.PERMANENT, "RateLimited", "sms.maxPerHour is 1", ends_as=Reason.RATE_LIMITED)]
    event = house.event()
    await house.submit(event)
    await settle_down()
    status = house.status(event)
    assert (status.phase, status.reason) == (Phase.FAILED, Reason.RATE_LIMITED)
    assert (status.deliveries[0].phase, status.deliveries[0].reason) == (Phase.FAILED, Reason.RATE_LIMITED)


async def test_more_deliveries_than_a_status_holds_wait_and_the_configuration_says_so(house, twilio):
    many = [f"+4915112345{n:03}" for n in range(10)]
    destinations = [{"name": f"d{n}", "sms": sms(*many)["sms"]} for n in range(4)]
    names = [item["name"] for item in destinations]
    house.config(destinations=destinations, eventTriggers=[{"event": "pipeline_failure", "providers": names}])
    event = house.event()
    await house.submit(event)
    await settle_down()
    status = house.status(event)
    assert (status.phase, status.reason) == (Phase.PENDING, Reason.CONFIG_NOT_READY)
    assert "makes 40 deliveries" in status.message
    assert twilio.sent == []
    house.config(destinations=destinations, eventTriggers=[{"event": "pipeline_failure", "providers": names[:3]}])
    house.engine.wake_org("acme")
    await settle_down()
    assert house.status(event).phase is Phase.DELIVERED
    assert len(twilio.sent) == 30


async def test_a_replay_to_one_number(house, twilio):
    house.config(**sms(FIRST, SECOND))
    old = house.event(name="old")
    await house.submit(old)
    await settle_down()
    twilio.sent.clear()
    again = house.event(replayOf={"name": "old", "destinations": ["sms/2"]})
    await house.submit(again)
    await house.clock.advance(5)
    assert numbers(twilio) == [("sms/2", SECOND)]


BOTH = {"eventTriggers": [{"event": "pipeline_failure", "providers": ["slack", "on-call"], "cooldownSeconds": 0}]}
CHANNEL = {"slack": {"webhookUrl": "https://hooks.slack.com/services/T/B/X"}}


async def test_a_name_that_becomes_known_as_sms_is_told_at_its_numbers(house, twilio):
    house.config(**CHANNEL, **BOTH)
    event = house.event()
    await house.submit(event)
    assert [(d.destination, d.provider, d.phase) for d in house.status(event).deliveries] == [
        ("slack", "slack", Phase.DELIVERED),
        ("on-call", None, Phase.PENDING),
    ]
    house.config(**CHANNEL, **BOTH, destinations=[{"name": "on-call", "sms": sms(FIRST, SECOND)["sms"]}])
    house.engine.wake_org("acme")
    await settle_down()
    assert [(d.destination, d.provider, d.phase) for d in house.status(event).deliveries] == [
        ("slack", "slack", Phase.DELIVERED),
        ("on-call/1", "sms", Phase.DELIVERED),
        ("on-call/2", "sms", Phase.DELIVERED),
    ]
    assert [number for _, number in numbers(twilio)] == [FIRST, SECOND]


async def test_a_name_that_becomes_known_is_recorded_with_its_kind(house):
    house.config(**CHANNEL, **BOTH)
    event = house.event()
    await house.submit(event)
    house.config(**CHANNEL, **BOTH, destinations=[{"name": "on-call", **CHANNEL}])
    house.engine.wake_org("acme")
    await settle_down()
    assert [(d.destination, d.provider, d.phase) for d in house.status(event).deliveries] == [
        ("slack", "slack", Phase.DELIVERED),
        ("on-call", "slack", Phase.DELIVERED),
    ]


async def test_a_name_that_means_another_kind_meanwhile_inherits_nothing(house, twilio):
    house.config(**CHANNEL, **BOTH, destinations=[{"name": "on-call", "email": EMAIL}])
    refused = Outcome(
        OutcomeKind.RETRY, "Smtp450", "later", accepted=("a@x",), retry_recipients=("b@x",), handle="mail"
    )
    house.email.script = [refused]
    event = house.event()
    await house.submit(event)
    house.config(**CHANNEL, **BOTH, destinations=[{"name": "on-call", **CHANNEL}])
    await house.clock.advance(10)
    delivery = house.status(event).deliveries[1]
    assert (delivery.destination, delivery.provider, delivery.phase) == ("on-call", "slack", Phase.DELIVERED)
    _, _, _, attempt = house.slack.sent[-1]
    assert (attempt.recipients, attempt.handle) == (None, None)


async def test_numbers_that_are_added_later_are_told(house, twilio):
    house.config(**CHANNEL, **BOTH, destinations=[{"name": "on-call", "sms": sms()["sms"]}])
    event = house.event()
    await house.submit(event)
    assert house.status(event).deliveries[1].provider == "sms"
    house.config(**CHANNEL, **BOTH, destinations=[{"name": "on-call", "sms": sms(FIRST)["sms"]}])
    house.engine.wake_org("acme")
    await settle_down()
    assert [(d.destination, d.phase) for d in house.status(event).deliveries] == [
        ("slack", Phase.DELIVERED),
        ("on-call/1", Phase.DELIVERED),
    ]


async def test_a_name_that_was_tried_and_means_sms_meanwhile_ends(house, twilio):
    house.config(**CHANNEL, **BOTH, destinations=[{"name": "on-call", "email": EMAIL}])
    house.email.script = [RETRY]
    event = house.event()
    await house.submit(event)
    house.config(**CHANNEL, **BOTH, destinations=[{"name": "on-call", "sms": sms(FIRST)["sms"]}])
    await house.clock.advance(10)
    assert [(d.destination, d.phase, d.reason) for d in house.status(event).deliveries] == [
        ("slack", Phase.DELIVERED, None),
        ("on-call", Phase.FAILED, Reason.CONFIG_CHANGED),
    ]
    assert twilio.sent == []


async def test_a_number_that_was_told_is_not_told_again_where_the_whole_stands_beside_it(house, twilio):
    house.config(**CHANNEL, **BOTH, destinations=[{"name": "on-call", "sms": sms(FIRST, SECOND)["sms"]}])
    done = {"phase": "Delivered", "attempts": 1, "lastAttemptTime": "2025-06-15T15:06:40.000Z"}
    status = {
        "phase": "Delivering",
        "deliveries": [
            {"destination": "slack", "provider": "slack", **done},
            {"destination": "on-call", "phase": "Pending", "reason": "ConfigNotReady"},
            {"destination": "on-call/1", "provider": "sms", "recipients": "+49…678", **done},
        ],
    }
    event = house.events.add(replace(house.event(), status=EventStatus.model_validate(status)))
    await house.submit(event)
    await settle_down()
    assert numbers(twilio) == [("on-call/2", SECOND)]
    assert [(d.destination, d.phase) for d in house.status(event).deliveries] == [
        ("slack", Phase.DELIVERED),
        ("on-call/1", Phase.DELIVERED),
        ("on-call/2", Phase.DELIVERED),
    ]


async def test_more_numbers_than_a_status_holds_end_the_name_and_nothing_else(house, twilio):
    first = [{"name": f"d{n}", "sms": sms(*(f"+4915112345{m:03}" for m in range(10)))["sms"]} for n in range(3)]
    names = [item["name"] for item in first]
    trigger = {"event": "pipeline_failure", "providers": [*names, "on-call"]}
    house.config(destinations=first, eventTriggers=[trigger])
    event = house.event()
    await house.submit(event)
    many = {"name": "on-call", "sms": sms(*(f"+4915112346{m:03}" for m in range(10)))["sms"]}
    house.config(destinations=[*first, many], eventTriggers=[trigger])
    house.engine.wake_org("acme")
    await settle_down()
    status = house.status(event)
    assert (status.phase, status.reason) == (Phase.PARTIALLY_DELIVERED, Reason.CONFIG_CHANGED)
    assert len(status.deliveries) == 31
