"""The journey of an event, on fakes: every branch of it, with time moved by hand."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from tests.engine.fakes import EMAIL, START, House, settle_down

from pipebell.core.outcome import Action, Outcome, OutcomeKind
from pipebell.core.status import epoch, rfc3339
from pipebell.core.vocabulary import Phase, Reason

RETRY = Outcome(OutcomeKind.RETRY, "Timeout", "no answer")
BROKEN = Outcome(OutcomeKind.PERMANENT, "Http404", "no_service")
BOTH = [{"event": "pipeline_failure", "providers": ["email", "slack"]}]
SLACK = {"webhookUrl": "https://hooks.slack.com/services/T/B/x"}


async def test_a_happy_event_is_sent_once_and_costs_one_write(house):
    house.config()
    event = house.event()
    await house.submit(event, event)
    status = house.status(event)
    assert (status.phase, status.reason) == (Phase.DELIVERED, None)
    assert house.email.names == [event.name]
    assert len(house.events.writes) == 1
    assert status.config_ref.kind == "NotificationConfig"
    assert [(d.destination, d.phase, d.attempts) for d in status.deliveries] == [("email", Phase.DELIVERED, 1)]
    assert {c.type: c.status for c in status.conditions} == {"Accepted": "True", "Delivered": "True"}
    assert status.completion_time == "2025-06-15T15:06:40.000Z"


async def test_late_echoes_of_a_finished_event_start_nothing(house):
    house.config()
    event = house.event()
    await house.submit(event)
    await house.submit(event)
    assert len(house.email.sent) == 1


async def test_who_is_under_way_is_known_by_namespace(house):
    house.config()
    done, here, there = house.event(), house.event(), house.event(namespace="other")
    await house.submit(done)
    house.engine.submit(here)
    house.engine.submit(there)
    assert house.engine.under_way(None) == [here.uid, there.uid]
    assert house.engine.under_way("team") == [here.uid]
    await settle_down()


async def test_without_any_configuration_it_is_skipped(house):
    event = house.event()
    await house.submit(event)
    assert (house.status(event).phase, house.status(event).reason) == (Phase.SKIPPED, Reason.NO_CONFIG)
    assert house.status(event).severity == "error"
    assert house.configs.lists == ["acme"]


async def test_a_disabled_organisation_does_not_fall_back():
    house = House()
    house.with_root(json.dumps({"email": EMAIL}))
    house.config(enabled=False)
    event = house.event()
    await house.submit(event)
    assert house.status(event).reason is Reason.CONFIG_DISABLED
    assert not house.email.sent
    await house.engine.close(0)


@pytest.mark.parametrize(
    ("triggers", "email", "reason"),
    [
        ([{"event": "system_error"}], EMAIL, Reason.NO_TRIGGER),
        ([{"event": "pipeline_failure", "enabled": False}], EMAIL, Reason.TRIGGER_DISABLED),
        ([], EMAIL, Reason.NO_TRIGGER),
        (None, EMAIL | {"enabled": False}, Reason.NO_PROVIDER_ENABLED),
    ],
)
async def test_events_that_nobody_wants_are_skipped_and_say_why(house, triggers, email, reason):
    house.config(email=email, **({} if triggers is None else {"eventTriggers": triggers}))
    event = house.event()
    await house.submit(event)
    assert (house.status(event).phase, house.status(event).reason) == (Phase.SKIPPED, reason)


async def test_the_config_may_be_known_to_the_api_only(house):
    config = house.config()
    house.book.remove(config.key)
    event = house.event()
    await house.submit(event)
    assert house.status(event).phase is Phase.DELIVERED


async def test_one_list_serves_all_events_that_wait_for_it(house):
    house.configs.gate = asyncio.Event()
    events = [house.event() for _ in range(20)]
    await house.submit(*events)
    house.configs.gate.set()
    await settle_down()
    assert all(house.status(event).reason is Reason.NO_CONFIG for event in events)
    assert len(house.configs.lists) <= 6  # 16 share two; the last four, that had no slot, come later


async def test_fifty_at_once_one_is_sent_and_the_next_after_the_window_tells_of_the_others(house):
    house.config()
    house.email.gate = asyncio.Event()
    burst = [house.event() for _ in range(50)]
    await house.submit(*burst)
    assert len(house.email.sent) == 1
    house.email.gate.set()
    await settle_down()
    phases = [house.status(event).phase for event in burst]
    assert phases.count(Phase.DELIVERED) == 1
    assert phases.count(Phase.SUPPRESSED) == 49
    sender = house.email.names[0]
    held = [house.status(event) for event in burst if house.status(event).phase is Phase.SUPPRESSED]
    assert {status.suppressed_by for status in held} == {sender}
    assert {epoch(status.suppressed_until) for status in held} == {START + 300}
    await house.clock.advance(299)
    early = house.event()
    await house.submit(early)
    assert house.status(early).phase is Phase.SUPPRESSED
    await house.clock.advance(1)
    later = house.event()
    await house.submit(later)
    assert house.status(later).phase is Phase.DELIVERED
    assert house.email.sent[-1][1].suppressed == 50
    assert house.status(later).suppressed_count == 50


async def test_when_the_first_send_fails_for_good_the_next_event_is_sent(house):
    house.config()
    house.email.script = [BROKEN]
    house.email.gate = asyncio.Event()
    first, second, third = house.event(), house.event(), house.event()
    await house.submit(first, second, third)
    house.email.gate.set()
    await settle_down()
    assert (house.status(first).phase, house.status(first).reason) == (Phase.FAILED, Reason.PERMANENT_ERROR)
    assert house.status(second).phase is Phase.DELIVERED
    assert house.status(third).suppressed_by == second.name
    assert house.notices.posted == [("PipelineEvent", "team/event-1", "PermanentError")]


async def test_events_that_wait_for_a_sender_say_so_after_a_while(house):
    house.config()
    house.email.script = [RETRY]
    first, second = house.event(), house.event()
    await house.submit(first, second)
    assert house.status(second).phase is None
    await house.clock.advance(2)
    assert (house.status(second).phase, house.status(second).reason) == (Phase.PENDING, Reason.WAITING_FOR_SENDER)
    await house.clock.advance(3)
    assert house.status(first).phase is Phase.DELIVERED
    assert house.status(second).phase is Phase.SUPPRESSED


async def test_deleting_the_sender_lets_the_next_one_go(house):
    house.config()
    house.email.script = [RETRY]
    first, second = house.event(), house.event()
    await house.submit(first, second)
    del house.events.store["team", first.name]
    house.engine.forget(first.uid)
    await settle_down()
    assert house.status(second).phase is Phase.DELIVERED


async def test_a_test_event_neither_obeys_nor_starts_a_cooldown(house):
    house.config()
    test = [house.event(test=True) for _ in range(2)]
    real = house.event()
    await house.submit(test[0], real, test[1])
    assert [house.status(event).phase for event in (*test, real)] == [Phase.DELIVERED] * 3


async def test_cooldown_zero_never_waits(house):
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}])
    house.email.gate = asyncio.Event()
    events = [house.event() for _ in range(5)]
    await house.submit(*events)
    assert len(house.email.sent) == 5
    house.email.gate.set()
    await settle_down()
    assert {house.status(event).phase for event in events} == {Phase.DELIVERED}


async def test_retries_follow_the_schedule_and_are_persisted_in_between(house):
    house.config()
    house.email.script = [RETRY, RETRY]
    event = house.event()
    await house.submit(event)
    status = house.status(event)
    assert (status.phase, status.reason) == (Phase.PENDING, Reason.RETRYING)
    assert (status.deliveries[0].attempts, epoch(status.deliveries[0].next_attempt_time)) == (1, START + 5)
    await house.clock.advance(5)
    assert epoch(house.status(event).deliveries[0].next_attempt_time) == START + 15
    await house.clock.advance(9.9)
    assert len(house.email.sent) == 2
    await house.clock.advance(0.1)
    assert [moment - START for moment, *_ in house.email.sent] == [0, 5, 15]
    assert house.status(event).phase is Phase.DELIVERED
    assert house.status(event).deliveries[0].attempts == 3
    assert len({attempt.delivery_id for *_, attempt in house.email.sent}) == 1


async def test_retries_end(house):
    house.config(retryConfig={"maxAttempts": 2, "initialDelaySeconds": 1})
    house.email.script = [RETRY, RETRY]
    event = house.event()
    await house.submit(event)
    await house.clock.advance(1)
    assert (house.status(event).phase, house.status(event).reason) == (Phase.FAILED, Reason.RETRIES_EXHAUSTED)
    assert house.status(event).deliveries[0].next_attempt_time is None


async def test_a_restart_between_attempts_goes_on_where_it_stopped(house):
    house.config()
    house.email.script = [RETRY, RETRY]
    event, waiter = house.event(), house.event()
    await house.submit(event, waiter)
    await house.clock.advance(2)
    await house.restart()
    assert len(house.email.sent) == 1
    await house.clock.advance(3)
    assert len(house.email.sent) == 2
    await house.restart()
    await house.clock.advance(10)
    assert [moment - START for moment, *_ in house.email.sent] == [0, 5, 15]
    assert house.email.names == [event.name] * 3
    assert house.status(waiter).suppressed_by == event.name


async def test_a_restart_remembers_cooldowns_and_counts(house):
    house.config()
    first, second = house.event(), house.event()
    await house.submit(first, second)
    await house.restart()
    third = house.event()
    await house.submit(third)
    assert house.status(third).suppressed_by == first.name
    await house.clock.advance(300)
    await house.restart()
    fourth = house.event()
    await house.submit(fourth)
    assert house.email.sent[-1][1].suppressed == 2
    assert house.status(fourth).suppressed_count == 2


async def test_what_succeeded_is_not_repeated_because_another_destination_failed(house):
    house.config(slack=SLACK, eventTriggers=BOTH)
    house.email.script = [RETRY, RETRY, RETRY]
    event = house.event()
    await house.submit(event)
    assert house.status(event).phase is Phase.DELIVERING
    await house.restart()
    await house.clock.advance(15)
    status = house.status(event)
    assert (status.phase, status.reason) == (Phase.PARTIALLY_DELIVERED, Reason.RETRIES_EXHAUSTED)
    assert len(house.slack.sent) == 1
    assert len(house.email.sent) == 3


async def test_a_success_beside_a_slow_destination_is_recorded_early_and_starts_the_cooldown(house):
    house.config(slack=SLACK, eventTriggers=BOTH)
    house.slack.gate = asyncio.Event()
    event, second = house.event(), house.event()
    await house.submit(event, second)
    assert house.status(second).phase is Phase.SUPPRESSED
    await house.clock.advance(2.9)
    assert house.status(event).phase is None
    await house.clock.advance(0.1)
    assert house.status(event).phase is Phase.DELIVERING
    house.slack.gate.set()
    await settle_down()
    assert house.status(event).phase is Phase.DELIVERED


async def test_a_missing_secret_holds_back_only_what_needs_it(house):
    house.config(slack={"webhookUrl": "${HOOK}"}, eventTriggers=BOTH, secretRef={"name": "s"})
    event = house.event()
    await house.submit(event)
    assert len(house.email.sent) == 1
    status = house.status(event)
    assert (status.phase, status.reason) == (Phase.DELIVERING, Reason.CONFIG_NOT_READY)
    assert house.observer.unready == ["MissingSecret"]
    house.secrets.store["team", "s"] = {"HOOK": SLACK["webhookUrl"]}
    house.engine.wake_org("acme")
    await settle_down()
    assert house.status(event).phase is Phase.DELIVERED
    assert len(house.email.sent) == 1


async def test_an_incomplete_configuration_makes_events_wait_until_it_is_mended(house):
    house.config(email={"toEmails": ["a@example.com"]})
    event = house.event()
    await house.submit(event)
    status = house.status(event)
    assert (status.phase, status.reason) == (Phase.PENDING, Reason.CONFIG_NOT_READY)
    assert "email.smtpHost" in status.message
    house.config()
    house.engine.wake_org("acme")
    await settle_down()
    assert house.status(event).phase is Phase.DELIVERED
    assert house.status(event).deliveries[0].attempts == 1


async def test_events_too_old_expire_while_they_wait():
    house = House(max_age=100)
    house.no_root()
    house.config(email={"toEmails": ["a@example.com"]})
    event = house.event()
    await house.submit(event)
    await house.clock.advance(200)
    assert (house.status(event).phase, house.status(event).reason) == (Phase.SKIPPED, Reason.EXPIRED)
    assert house.engine.unfinished == 0
    await house.engine.close(0)


async def test_an_event_that_is_exactly_as_old_as_it_may_get_at_a_look_expires_by_the_next_one():
    house = House(max_age=100)
    house.no_root()
    house.config(email={"toEmails": ["a@example.com"]})
    event = house.events.add(replace(house.event(), created=house.clock.now() + 25.5 - 100))  # looks come every 25.5 s
    await house.submit(event)
    assert house.status(event).phase is Phase.PENDING
    await house.clock.advance(60)
    assert (house.status(event).phase, house.status(event).reason) == (Phase.SKIPPED, Reason.EXPIRED)
    await house.engine.close(0)


async def test_nothing_expires_by_a_clock_that_is_not_trusted():
    house = House(max_age=100)
    house.no_root()
    house.config(email={"toEmails": ["a@example.com"]})
    event = house.event()
    await house.submit(event)
    house.clock.trusted = False
    await house.clock.leap(8 * 86_400)
    assert house.status(event).phase is Phase.PENDING
    house.clock.trusted = True
    await house.clock.advance(200)
    assert (house.status(event).phase, house.status(event).reason) == (Phase.SKIPPED, Reason.EXPIRED)
    await house.engine.close(0)


@pytest.mark.parametrize(("ahead", "waits"), [(3600.0, True), (86_000.0, True), (8 * 86_400.0, False)])
async def test_a_persisted_time_that_no_configuration_can_ask_for_is_no_reason_to_wait(house, ahead, waits):
    """Of a process whose clock was wrong."""
    house.config(retryConfig={"maxAttempts": 3})
    house.email.script = [Outcome(OutcomeKind.RETRY, "Smtp421", "not now")]
    event = house.event()
    await house.submit(event)
    assert house.status(event).reason is Reason.RETRYING
    stored = house.events.store["team", event.name]
    deliveries = [
        item.model_copy(update={"next_attempt_time": rfc3339(house.clock.now() + ahead)})
        for item in stored.status.deliveries
    ]
    house.events.store["team", event.name] = replace(
        stored, status=stored.status.model_copy(update={"deliveries": deliveries})
    )
    await house.restart()
    await settle_down()
    assert (house.status(event).phase is Phase.DELIVERED) is not waits
    if waits:
        await house.clock.advance(ahead)
        assert house.status(event).phase is Phase.DELIVERED


async def test_an_unexpected_exception_ends_that_event_only(house):
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}])
    house.email.script = [RuntimeError("boom secret")]
    first, second = house.event(), house.event()
    await house.submit(first)
    await house.submit(second)
    status = house.status(first)
    assert (status.phase, status.reason) == (Phase.FAILED, Reason.INTERNAL_ERROR)
    assert "secret" not in status.message
    assert house.status(second).phase is Phase.DELIVERED


async def test_a_conflict_is_merged_and_nothing_is_sent_again(house):
    house.config()
    event = house.event()

    def meddle(name: str) -> None:
        house.events.before_patch = None
        house.events.force_status("team", name, {"message": "somebody else wrote"})

    house.events.before_patch = meddle
    await house.submit(event)
    assert house.status(event).phase is Phase.DELIVERED
    assert len(house.email.sent) == 1


async def test_an_api_that_is_away_after_sending_is_waited_for(house):
    house.config()
    event = house.event()
    house.events.away = True
    await house.submit(event)
    await house.clock.advance(60)
    house.events.away = False
    await house.clock.advance(10)
    assert house.status(event).phase is Phase.DELIVERED
    assert len(house.email.sent) == 1


async def test_a_pause_counts_as_no_attempt_and_another_one_probes(house):
    house.config(
        slack=SLACK, eventTriggers=[{"event": "pipeline_failure", "providers": ["slack"], "cooldownSeconds": 0}]
    )
    house.slack.script = [Outcome(OutcomeKind.PAUSE, "Http429", "slow down", retry_after=30)]
    first = house.event()
    await house.submit(first)
    status = house.status(first)
    assert (status.phase, status.reason) == (Phase.PENDING, Reason.RATE_LIMITED)
    assert (status.deliveries[0].attempts, epoch(status.deliveries[0].next_attempt_time)) == (0, START + 30)
    others = [house.event() for _ in range(10)]
    await house.submit(*others)
    assert len(house.slack.sent) == 1
    await house.clock.advance(29.9)
    assert len(house.slack.sent) == 1
    await house.clock.advance(0.2)
    assert house.slack.names[1] == others[0].name
    assert len(house.slack.sent) <= 3
    await house.clock.advance(60)
    assert {house.status(event).phase for event in (first, *others)} == {Phase.DELIVERED}
    assert house.status(first).deliveries[0].attempts == 1


async def test_what_meets_only_busy_answers_ends_rate_limited_when_it_is_too_old(house):
    house.config()
    event = house.event()
    house.email.script = [Outcome(OutcomeKind.PAUSE, "Smtp421", "later")] * 1000
    await house.submit(event)
    await house.clock.advance(86_000)
    assert house.status(event).reason is Reason.RATE_LIMITED
    await house.clock.advance(600)
    status = house.status(event)
    assert (status.phase, status.reason) == (Phase.FAILED, Reason.RATE_LIMITED)
    assert status.deliveries[0].attempts == 0
    assert "later" in status.message


async def test_one_message_that_is_always_refused_is_given_up_while_others_pass(house):
    """Its refusals count from the fifth on, across a restart, too."""
    spec = {"eventTriggers": [{"event": "pipeline_failure", "cooldownSeconds": 0}]}
    house.config(**spec, retryConfig={"maxAttempts": 2, "initialDelaySeconds": 1})
    house.config(org="globex", namespace="other", **spec)
    bad = house.event()
    house.email.busy_for = {bad.name}
    await house.submit(bad)
    waits = []
    for n in range(20):
        other = house.event(namespace="other", org="globex")
        await house.submit(other)
        began = house.clock.now()
        while house.status(other).phase is not Phase.DELIVERED:
            await house.clock.advance(1.0)
        waits.append(house.clock.now() - began)
        await house.clock.advance(30.0)
        if n == 2:
            await house.restart()
    status = house.status(bad)
    assert (status.phase, status.reason) == (Phase.FAILED, Reason.RETRIES_EXHAUSTED)
    assert (status.deliveries[0].attempts, status.deliveries[0].refusals) == (2, 6)
    assert max(waits) <= 20


async def test_a_changed_configuration_counts_for_the_next_attempt(house):
    house.config(slack=SLACK, eventTriggers=BOTH)
    house.slack.script = [RETRY]
    event = house.event()
    await house.submit(event)
    house.config(slack=SLACK | {"enabled": False}, eventTriggers=BOTH)
    await house.clock.advance(5)
    status = house.status(event)
    assert (status.phase, status.reason) == (Phase.PARTIALLY_DELIVERED, Reason.CONFIG_CHANGED)
    assert len(house.slack.sent) == 1


async def test_recipients_refused_for_now_are_the_only_ones_tried_again(house):
    house.config()
    house.email.script = [
        Outcome(OutcomeKind.RETRY, "Smtp450", "b@x: 450", accepted=True, retry_recipients=("b@x",)),
        Outcome(OutcomeKind.PERMANENT, "Smtp550", "b@x: 550"),
    ]
    event = house.event()
    await house.submit(event)
    await house.clock.advance(5)
    assert [attempt.recipients for *_, attempt in house.email.sent] == [None, ("b@x",)]
    status = house.status(event)
    assert (status.phase, status.deliveries[0].refused_recipients) == (Phase.PARTIALLY_DELIVERED, ["b@x"])
    assert "b@x" in house.status(event).deliveries[0].message


async def test_an_events_deletion_while_it_waits_ends_it(house):
    house.config()
    house.email.script = [RETRY]
    event = house.event()
    await house.submit(event)
    del house.events.store["team", event.name]  # unnoticed: the watch was cut
    await house.clock.advance(5)
    assert len(house.email.sent) == 1
    assert house.engine.unfinished == 0


async def test_a_refused_login_reads_the_secret_again_at_once(house):
    ref = {"name": "s", "key": "password"}
    house.config(email=EMAIL | {"smtpUsername": "u", "smtpPasswordSecretRef": ref})
    house.secrets.store["team", "s"] = {"password": "old"}
    house.email.script = [Outcome(OutcomeKind.PERMANENT, "SmtpAuthFailed", "535")]
    house.email.gate = asyncio.Event()
    event = house.event()
    await house.submit(event)
    house.secrets.store["team", "s"] = {"password": "new"}
    house.email.gate.set()
    await settle_down()
    assert house.status(event).phase is Phase.DELIVERED
    assert house.status(event).deliveries[0].attempts == 1
    assert house.secrets.asked[-1] == ("team", "s", True)


@pytest.mark.parametrize("reason", ["Http401", "Http403", "Http404", "Http410", "SlackRefused"])
async def test_a_withdrawn_url_reads_the_secret_again_at_once(house, reason):
    hook = "https://hooks.slack.com/services/T/B/"
    trigger = {"event": "pipeline_failure", "providers": ["slack"]}
    house.config(slack={"webhookUrlSecretRef": {"name": "s", "key": "url"}}, eventTriggers=[trigger])
    house.secrets.store["team", "s"] = {"url": hook + "old"}
    house.slack.script = [Outcome(OutcomeKind.PERMANENT, reason, "no")]
    house.slack.gate = asyncio.Event()
    event = house.event()
    await house.submit(event)
    house.secrets.store["team", "s"] = {"url": hook + "new"}
    house.slack.gate.set()
    await settle_down()
    assert [target.url for _, _, target, _ in house.slack.sent] == [hook + "old", hook + "new"]
    assert house.status(event).phase is Phase.DELIVERED


async def test_a_refused_message_is_not_sent_again_with_the_same_secret(house):
    trigger = {"event": "pipeline_failure", "providers": ["slack"]}
    house.config(slack={"webhookUrlSecretRef": {"name": "s", "key": "url"}}, eventTriggers=[trigger])
    house.secrets.store["team", "s"] = {"url": "https://hooks.slack.com/services/T/B/X"}
    house.slack.script = [Outcome(OutcomeKind.PERMANENT, "Http403", "no")]
    event = house.event()
    await house.submit(event)
    await settle_down()
    assert len(house.slack.sent) == 1
    assert house.status(event).phase is Phase.FAILED


async def test_a_thousand_waiters_beyond_the_limit_drop_their_events(house):
    house.engine.bounds._payload = 10 * house.event().size
    house.config()
    house.email.script = [RETRY, BROKEN]
    events = [house.event() for _ in range(30)]
    await house.submit(*events)
    await house.clock.advance(5)
    await settle_down()
    phases = [house.status(event).phase for event in events]
    assert phases.count(Phase.FAILED) == 1
    assert phases.count(Phase.DELIVERED) == 1
    assert phases.count(Phase.SUPPRESSED) == 28


async def test_events_that_queue_beyond_the_limit_are_read_again_in_their_turn(house):
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}])
    events = [house.event() for _ in range(100)]
    house.engine.bounds._payload = 10 * events[0].size
    await house.submit(*events)
    await settle_down()
    assert house.email.names == [event.name for event in events]
    assert house.events.reads == [event.name for event in events[10:]]
    await house.submit(later := house.event())
    assert house.email.names[-1] == later.name
    assert len(house.events.reads) == 90, "nothing waits any more, so the next ones are kept"


async def test_events_that_are_read_again_in_any_case_take_no_room_while_they_wait(house):
    house.config("broken", email={"toEmails": ["a@x.example"]})
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}])
    waiting = [house.event(org="broken") for _ in range(30)]
    house.engine.bounds._payload = 10 * waiting[0].size
    await house.submit(*waiting)
    await settle_down()
    house.events.reads.clear()
    await house.submit(*(events := [house.event() for _ in range(10)]))
    assert house.email.names == [event.name for event in events]
    assert house.events.reads == []


async def test_a_backlog_beyond_the_limit_goes_out_in_order_after_a_start(house):
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}])
    events = [house.event() for _ in range(50)]
    house.engine.bounds._payload = 10 * events[0].size
    await house.recover()
    await settle_down()
    assert house.email.names == [event.name for event in events]
    assert house.events.reads == [event.name for event in events[10:]]


async def test_a_sender_that_falls_under_another_configuration_frees_the_first_ones_cooldown():
    house = House()
    house.with_root(json.dumps({"slack": SLACK, "default_provider": "slack"}))
    house.slack.script = [Outcome(OutcomeKind.PAUSE, "Http429", retry_after=30)]
    first, second = house.event(), house.event()
    await house.submit(first, second)
    assert house.slack.names == [first.name]
    house.config(defaultProvider="email")
    house.engine.wake(first.uid)
    await settle_down()
    assert (house.status(first).phase, house.status(first).reason) == (Phase.FAILED, Reason.CONFIG_CHANGED)
    house.engine.wake(second.uid)
    await settle_down()
    assert house.status(second).phase is Phase.DELIVERED
    await house.engine.close(0)


async def test_after_a_restart_a_paused_endpoint_is_left_alone(house):
    house.config(slack=SLACK, eventTriggers=[{"event": "pipeline_failure", "providers": ["slack"]}])
    house.slack.script = [Outcome(OutcomeKind.PAUSE, "Http429", retry_after=60)]
    event = house.event()
    await house.submit(event)
    await house.clock.advance(10)
    await house.restart()
    await house.clock.advance(49)
    assert len(house.slack.sent) == 1
    await house.clock.advance(2)
    assert house.status(event).phase is Phase.DELIVERED


async def test_an_attempt_knows_when_it_is_made_and_by_which_installation(house):
    house.config()
    event = house.event()
    await house.submit(event)
    attempt = house.email.sent[0][3]
    assert (attempt.now, attempt.expires) == (house.clock.now(), event.created + house.max_age)
    assert attempt.installation == "4f1c-uid"


# ---------------------------------------------------------------------- replays


async def test_a_replay_of_a_finished_event_of_its_organisation_is_sent(house):
    house.config()
    original = house.event()
    await house.submit(original)
    replay = house.event(replayOf={"name": original.name})
    await house.submit(replay)
    assert house.status(replay).phase is Phase.DELIVERED


@pytest.mark.parametrize("which", ["nothing", "unfinished", "another organisation's", "another namespace's", "itself"])
async def test_a_replay_of_anything_else_tells_nobody(which):
    house = House()
    house.with_root(json.dumps({"email": EMAIL, "retry_config": {"max_attempts": 3}}))
    house.email.script = [RETRY] if which == "unfinished" else []
    original = house.event(
        org="beta" if which == "another organisation's" else "acme",
        namespace="other" if which == "another namespace's" else "team",
    )
    if which not in ("nothing", "itself"):
        await house.submit(original)
    sent = len(house.email.sent)
    name = {"nothing": "invented", "itself": "replay"}.get(which, original.name)
    replay = house.event("replay", replayOf={"name": name})
    await house.submit(replay)
    status = house.status(replay)
    assert (status.phase, status.reason) == (Phase.SKIPPED, Reason.NOT_DUE)
    assert status.decision.stage == "trigger"
    assert len(house.email.sent) == sent
    await house.engine.close(0)


async def test_whether_another_organisations_event_exists_is_not_told(house):
    house.config()
    house.config("beta", name="beta")
    theirs = house.event(org="beta")
    await house.submit(theirs)
    replays = [house.event(replayOf={"name": name}) for name in (theirs.name, "event-99")]
    await house.submit(*replays)
    first, second = (house.status(replay).message for replay in replays)
    assert first.replace(theirs.name, "X") == second.replace("event-99", "X")


async def test_a_replay_answers_the_message_that_it_repeats_over_retries_and_a_restart(house):
    house.config(
        slack={"botToken": "xoxb-1", "channel": "#data"},
        email={**EMAIL},
        eventTriggers=BOTH,
    )
    house.slack.script = [Outcome(OutcomeKind.DELIVERED, handle="C1/1.1/#data")]
    house.email.script = [Outcome(OutcomeKind.DELIVERED, message_id="<1@pipebell.io>")]
    original = house.event()
    await house.submit(original)
    house.slack.script = [RETRY]
    house.email.script = [RETRY]
    replay = house.event("replay", replayOf={"name": original.name})
    await house.submit(replay)
    del house.events.store["team", original.name]  # swept meanwhile
    await house.restart()
    await house.clock.advance(5)
    assert house.status(replay).phase is Phase.DELIVERED
    for provider, handle in ((house.slack, "C1/1.1/#data"), (house.email, "<1@pipebell.io>")):
        seen = [(attempt.action, attempt.handle) for _, _, _, attempt in provider.sent]
        assert seen == [(Action.SEND, None), *[(Action.REPLY, handle)] * 2]


async def test_a_replay_to_another_kind_of_that_name_stands_by_itself(house):
    trigger = [{"event": "pipeline_failure", "providers": ["team"]}]
    house.config(
        destinations=[{"name": "team", "slack": {"botToken": "xoxb-1", "channel": "#d"}}], eventTriggers=trigger
    )
    house.slack.script = [Outcome(OutcomeKind.DELIVERED, handle="C1/1.1/#d")]
    original = house.event()
    await house.submit(original)
    house.config(destinations=[{"name": "team", "email": EMAIL}], eventTriggers=trigger)
    await house.submit(house.event(replayOf={"name": original.name}))
    (sent,) = house.email.sent
    assert (sent[3].action, sent[3].handle) == (Action.SEND, None)


async def test_a_replay_by_a_webhook_which_has_no_threads_is_a_message_of_its_own(house):
    house.config(slack=SLACK, eventTriggers=[{"event": "pipeline_failure", "providers": ["slack"]}])
    house.slack.script = [Outcome(OutcomeKind.DELIVERED, handle="C1/1.1/#d")]
    original = house.event()
    await house.submit(original)
    await house.submit(house.event(replayOf={"name": original.name}))
    assert house.slack.sent[1][3].action is Action.SEND


async def test_a_replay_under_way_does_not_look_at_its_original_again(house):
    house.config()
    original = house.event()
    await house.submit(original)
    house.email.script = [RETRY]
    replay = house.event(replayOf={"name": original.name})
    await house.submit(replay)
    del house.events.store["team", original.name]  # swept meanwhile
    await house.clock.advance(5)
    assert house.status(replay).phase is Phase.DELIVERED


async def test_a_configuration_that_flaps_leaves_one_time_for_each_event_and_no_attempt(house):
    """An event that waits both for its retry and for a Secret."""
    house.config(
        slack={"webhookUrl": "${MISSING}"},
        secretRef={"name": "none"},
        eventTriggers=BOTH,
        retryConfig={"initialDelaySeconds": 3600, "maxDelaySeconds": 3600},
    )
    house.email.script = [RETRY]
    await house.submit(house.event())
    for _ in range(200):
        house.engine.wake_org("acme")
        await settle_down()
    assert (house.engine.room.deadlines, len(house.email.sent)) == (1, 1)
    assert len(house.engine.room._deadlines._heap) < 100
