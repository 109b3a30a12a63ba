"""What happens between two steps: changes, restarts and failures at moments that are easily forgotten."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from tests.engine.fakes import EMAIL, settle_down

from pipebell.core.errors import Forbidden, NotReady, Rejected
from pipebell.core.event import EventPage
from pipebell.core.outcome import Outcome, Verdict
from pipebell.core.policy.cooldown import Sent, suppressed_until
from pipebell.core.vocabulary import NotReadyReason, Phase, Reason
from pipebell.engine.configs.readiness import Readiness

RETRY = Outcome(Verdict.RETRY, "Timeout", "no answer")
BROKEN = Outcome(Verdict.PERMANENT, "Http404", "no_service")
PAUSE = Outcome(Verdict.PAUSE, "Http429", "slow down", retry_after=60)
BOTH = [{"event": "pipeline_failure", "providers": ["email", "slack"]}]
SLACK = {"webhookUrl": "https://hooks.slack.com/services/T/B/x"}


@pytest.fixture
async def readiness(house):
    readiness = Readiness(house.ports, house.book, house.resolver, ("shared",))
    readiness.subscribe(house.engine)
    task = asyncio.create_task(readiness.run())
    yield readiness
    task.cancel()


def conditions(house, name="config"):
    patches = [patch for patched, patch in house.configs.patches if patched == name]
    return {item["type"]: item for item in patches[-1]["conditions"]} if patches else {}


# ---------------------------------------------------------------------- cooldown


async def test_the_second_destinations_success_neither_moves_the_window_nor_forgets_the_count(house):
    house.config(slack=SLACK, eventTriggers=BOTH, retryConfig={"initialDelaySeconds": 100})
    house.slack.script = [RETRY]
    first, held = house.event(), house.event()
    await house.submit(first, held)
    assert house.status(held).phase is Phase.SUPPRESSED
    await house.clock.advance(100)
    assert house.status(first).phase is Phase.DELIVERED
    await house.clock.advance(200)  # 300 s after the first success
    later = house.event()
    await house.submit(later)
    assert house.status(later).phase is Phase.DELIVERED
    assert house.status(later).suppressed_count == 1


async def test_a_restored_sender_that_is_skipped_gives_the_cooldown_back(house):
    house.config()
    house.email.script = [RETRY]
    first = house.event()
    await house.submit(first)
    house.config(enabled=False)
    await house.restart()
    await house.clock.advance(10)
    assert (house.status(first).phase, house.status(first).reason) == (Phase.FAILED, Reason.CONFIG_CHANGED)
    house.config()
    second = house.event()
    await house.submit(second)
    assert house.status(second).phase is Phase.DELIVERED


async def test_a_sender_that_ended_while_the_pass_went_on_holds_no_cooldown(house):
    house.config()
    house.email.script = [RETRY]
    first = house.event()
    await house.submit(first)
    house.email.script = [BROKEN]
    house.engine.room.close()
    house.start()  # the pass lists the event while it is still retried …
    listed = house.events.store["team", first.name]
    house.events.scan = _pages([listed])
    house.engine.submit(listed)
    await house.clock.advance(10)  # … and it ends before the pass does
    assert house.status(first).phase is Phase.FAILED
    await house.recover()
    second = house.event()
    await house.submit(second)
    assert house.status(second).phase is Phase.DELIVERED


def _pages(*pages):
    async def scan(phases_excluded=()):
        for page in pages:
            yield EventPage(None, "1", page)

    return scan


async def test_after_a_restart_a_retry_still_tells_how_many_were_held_back(house):
    house.config()
    first, *held = [house.event() for _ in range(3)]
    await house.submit(first, *held)
    await house.clock.advance(300)
    house.email.script = [RETRY]
    later = house.event()
    await house.submit(later)
    await house.restart()
    await house.clock.advance(5)
    assert house.email.names[-1] == later.name
    assert house.email.sent[-1][1].suppressed == 2
    assert house.status(later).suppressed_count == 2


async def test_a_failed_event_speaks_for_nobody(house):
    house.config()
    first, held = house.event(), house.event()
    await house.submit(first, held)
    await house.clock.advance(300)
    house.email.script = [RETRY, BROKEN]
    later = house.event()
    await house.submit(later)
    await house.clock.advance(5)
    assert house.status(later).phase is Phase.FAILED
    assert house.status(later).suppressed_count is None
    last = house.event()
    await house.submit(last)
    assert house.status(last).suppressed_count == 1


async def test_after_a_restart_the_rate_limited_sender_is_still_the_sender(house):
    house.config(slack=SLACK, eventTriggers=[{"event": "pipeline_failure", "providers": ["slack"]}])
    house.slack.script = [PAUSE]
    first, second = house.event("z"), house.event("a")
    await house.submit(first, second)
    await house.clock.advance(3)
    house.events.store = dict(sorted(house.events.store.items()))  # lists are in the order of names
    await house.restart()
    await house.clock.advance(50)
    assert house.slack.names == ["z"], "the endpoint is still to be left alone"
    await house.clock.advance(10)
    assert house.slack.names == ["z", "z"]
    assert house.status(second).suppressed_by == "z"


def test_a_notification_from_the_future_mutes_nobody():
    assert suppressed_until(Sent(1_000_000, "team", "a"), 300, 1_000) is None
    assert suppressed_until(Sent(1_001, "team", "a"), 300, 1_000) == 1_301


# ---------------------------------------------------------------------- configuration


async def test_a_configuration_mended_while_its_secret_was_being_read_wakes_the_event(house):
    house.config(secretRef={"name": "slow"}, email=EMAIL | {"toEmails": ["${TO}"]})
    gate = asyncio.Event()

    async def read(namespace, name, *, fresh=False):
        await gate.wait()

    house.secrets.read = read
    event = house.event()
    await house.submit(event)
    house.config()  # names its recipient without any Secret
    house.engine.wake_org("acme")
    gate.set()
    await settle_down()
    assert house.status(event).phase is Phase.DELIVERED


async def test_a_secret_that_may_not_be_read_holds_back_only_what_needs_it_and_is_asked_for_again(house, readiness):
    house.config(slack={"webhookUrlSecretRef": {"name": "s", "key": "url"}}, eventTriggers=BOTH)
    known = house.secrets.read

    async def read(namespace, name, *, fresh=False):
        raise Forbidden("403")

    house.secrets.read = read
    event = house.event()
    await house.submit(event)
    assert len(house.email.sent) == 1
    assert house.status(event).phase is Phase.DELIVERING
    house.secrets.read = known
    house.secrets.store["team", "s"] = {"url": SLACK["webhookUrl"]}
    house.resolver.subscribe(readiness)
    house.engine.wake(event.uid)
    await house.clock.advance(60)
    assert house.status(event).phase is Phase.DELIVERED


async def test_a_secret_is_polled_by_one_chain_however_many_events_wait(house, readiness):
    house.config(email=EMAIL | {"toEmails": ["${TO}"]}, secretRef={"name": "s"})
    house.resolver.subscribe(readiness)
    for _ in range(40):
        await house.submit(house.event())
    house.secrets.asked.clear()
    await house.clock.advance(120)
    assert 2 <= sum(fresh for *_, fresh in house.secrets.asked) <= 10


async def test_a_wrong_value_in_a_secret_is_looked_at_again(house, readiness):
    house.secrets.store["team", "s"] = {"TO": "nobody at all"}
    config = house.config(email=EMAIL | {"toEmails": ["${TO}"]}, secretRef={"name": "s"})
    readiness.changed(config)
    event = house.event()
    await house.submit(event)
    assert conditions(house)["Ready"]["reason"] == "Invalid"
    house.secrets.store["team", "s"] = {"TO": "a@acme.example"}
    await house.clock.advance(6)
    assert conditions(house)["Ready"]["status"] == "True"
    assert house.status(event).phase is Phase.DELIVERED


async def test_a_refused_host_says_nothing_of_the_edit_that_mended_it(house, readiness):
    config = house.config()
    readiness.on_config_refused(config, NotReady(NotReadyReason.HOST_NOT_ALLOWED, "smtp.example.com is 10.0.0.1"))
    await settle_down()
    readiness.changed(house.config(email=EMAIL | {"smtpHost": "mended.example.com"}))
    await settle_down()
    assert conditions(house)["Ready"]["status"] == "True"


async def test_conditions_wait_for_root(house):
    house.root.listed.clear()
    house.root.current = replace(house.root.current, spec=None)
    readiness = Readiness(house.ports, house.book, house.resolver, ())
    readiness.subscribe(house.engine)
    task = asyncio.create_task(readiness.run())
    readiness.changed(house.config(email={"toEmails": ["a@acme.example"]}))
    await settle_down()
    assert house.configs.patches == []
    house.root.update({"config.json": json.dumps({"email": EMAIL})}, "2")
    await settle_down()
    assert conditions(house)["Ready"]["status"] == "True"
    task.cancel()


async def test_who_leans_on_an_invalid_root_is_not_ready(house, readiness):
    house.root.update({"config.json": "{"}, "3")
    readiness.changed(house.config())
    await settle_down()
    assert conditions(house)["Ready"]["reason"] == "Invalid"
    assert "root" in conditions(house)["Ready"]["message"]


async def test_asking_for_one_namespace_forgets_nothing_of_others(house):
    there = house.config(namespace="other")
    house.configs.store.clear()  # as in a list of the event's namespace alone
    await house.submit(house.event())
    assert house.book.get(there.key) is there


# ---------------------------------------------------------------------- delivery and records


async def test_an_exception_of_one_provider_waits_for_what_the_other_one_does(house):
    house.config(slack=SLACK, eventTriggers=BOTH)
    house.email.script = [RuntimeError("boom")]
    house.slack.gate = asyncio.Event()
    event = house.event()
    await house.submit(event)
    await house.clock.advance(10)
    house.slack.gate.set()
    await settle_down()
    status = house.status(event)
    assert status.phase is Phase.PARTIALLY_DELIVERED
    assert {item.destination: item.phase for item in status.deliveries} == {
        "email": Phase.FAILED,
        "slack": Phase.DELIVERED,
    }


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


async def test_a_suppressed_event_keeps_no_open_delivery(house):
    house.config(slack=SLACK, eventTriggers=[{"event": "pipeline_failure", "providers": ["slack"]}])
    house.slack.script = [PAUSE]
    first, second = house.event(), house.event()
    await house.submit(first)
    house.ledger.succeeded(_key(house, first), second.uid, Sent(house.clock.now(), "team", second.name))
    house.ledger._find(_key(house, first)).sender = None
    house.engine.wake(first.uid)
    await settle_down()
    assert house.status(first).phase is Phase.SUPPRESSED
    assert house.status(first).deliveries is None


def _key(house, event):
    return next(key for key in house.ledger._all() if key.org == event.spec.org_slug)


# ---------------------------------------------------------------------- upkeep


async def test_one_event_that_may_not_be_deleted_keeps_none_of_the_others(house):
    house.config()
    events = [house.event(test=True) for _ in range(3)]
    task = asyncio.create_task(house.sweeper().run())
    await house.submit(*events)
    real = house.events.delete

    async def delete(namespace, name, uid):
        if name == events[0].name:
            raise Rejected("403 by a webhook")
        await real(namespace, name, uid)

    house.events.delete = delete
    await house.clock.advance(120)
    assert set(house.events.store) == {("team", events[0].name)}
    task.cancel()


async def test_a_long_cooldown_is_never_deleted_while_it_runs(house):
    month = 2_592_000
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": month}])
    sent = house.event()
    await house.submit(sent)
    await house.clock.advance(month - 10_000)
    task = asyncio.create_task(house.sweeper(cooldown=month).run())
    await house.recover()
    await house.clock.advance(20)
    assert ("team", sent.name) in house.events.store
    task.cancel()


async def test_a_status_that_nobody_understands_stops_neither_the_pass_nor_the_sweeper(house):
    house.config()
    sent, odd = house.event(), house.event(test=True)
    await house.submit(sent)
    known = house.events.store["team", sent.name].status
    broken = [item.model_copy(update={"delivered_time": "yesterday"}) for item in known.deliveries]
    strange = known.model_copy(update={"deliveries": broken, "completion_time": "yesterday"})
    house.events.store["team", odd.name] = replace(house.event("odd"), status=strange)
    await house.restart()
    held = house.event()
    await house.submit(held)
    assert house.status(held).suppressed_by == sent.name
    task = asyncio.create_task(house.sweeper().run())
    await house.recover()
    await house.clock.advance(120)
    assert not task.done()
    task.cancel()


def test_a_root_that_is_nested_too_deeply_is_invalid(house):
    house.root.update({"config.json": "[" * 200_000}, "3")
    assert "nested" in house.root.current.problems
