"""The cooldown ledger: what is known of each key, whose event mutes whose, and what is forgotten when."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc

import pytest
from tests.engine.fakes import EMAIL, House, settle_down

from pipebell.core.policy.sent import Sent, suppressed_until
from pipebell.core.policy.situation import CooldownFacts
from pipebell.core.shards import shard_of
from pipebell.core.status import ConfigReference
from pipebell.core.vocabulary import EventType, Phase, Reason
from pipebell.engine.events.ledger import KEPT, UNCOUNTED, CooldownKey, CooldownLedger, key_for

ROOT = '{"email": {"smtp_host": "relay", "from_email": "a@b.c", "to_emails": ["ops@b.c"]}}'


def key(org="acme", namespace="team", home=""):
    return CooldownKey("NotificationConfig", namespace, "config", org, EventType.PIPELINE_FAILURE, home)


KEY = key()


@pytest.fixture
def ledger():
    return opened()


def opened(**bounds):
    """A ledger that knows the past: there was none."""
    ledger = CooldownLedger(**bounds)
    ledger.finish_fold()
    return ledger


def decided(ledger, which, uid, cooldown, now):
    """What the cooldown says of an event, carried out: "suppressed", "waits", or how many it speaks for."""
    facts = ledger.look(which)
    if suppressed_until(facts.last, cooldown, now) is not None:
        ledger.suppress(which, cooldown)
        return "suppressed"
    if facts.sender not in (None, uid):
        return "waits"
    ledger.claim(which, uid, cooldown)
    return facts.suppressed


def sent(ledger, which, at=0.0, name="sent", cooldown=300):
    """One notification of this key went out."""
    assert decided(ledger, which, name, cooldown, at) == 0
    ledger.succeeded(which, name, Sent(at, which.namespace, name))


def configured(seconds):
    return lambda config, kind: seconds


def forget(ledger, now, cooldown=300.0):
    """Every key is looked at."""
    for _ in range(1 + len(ledger) // 1_000):
        ledger.forget(now, configured(cooldown))


# ---------------------------------------------------------------------- what is known


def test_nothing_is_known_before_the_past_was_folded_in():
    assert CooldownLedger().look(KEY) == CooldownFacts(known=False)


def test_looking_changes_nothing(ledger):
    assert ledger.look(KEY) == ledger.look(KEY) == CooldownFacts()
    assert ledger.senders() == []


def test_a_success_starts_the_window_and_counts_anew(ledger):
    ledger.claim(KEY, "a")
    assert ledger.look(KEY).sender == "a"
    ledger.suppress(KEY, 300)
    sent = Sent(5, "team", "a")
    assert ledger.succeeded(KEY, "a", sent)
    assert ledger.look(KEY) == CooldownFacts(last=sent)
    ledger.suppress(KEY, 300)
    assert (ledger.look(KEY).suppressed, ledger.suppressed(KEY)) == (1, 1)


def test_a_success_of_another_event_leaves_the_turn_where_it_is(ledger):
    ledger.claim(KEY, "a")
    assert not ledger.succeeded(KEY, "stranger", Sent(5, "team", "stranger"))
    assert ledger.look(KEY).sender == "a"


@pytest.mark.parametrize("uid", ["stranger", "b"])
def test_only_the_sender_can_give_up_the_turn(ledger, uid):
    ledger.claim(KEY, "a")
    assert not ledger.released(KEY, uid)
    assert ledger.look(KEY).sender == "a"
    assert ledger.released(KEY, "a")
    assert ledger.look(KEY).sender is None
    assert not ledger.released(KEY, "a"), "once"


def test_a_suppression_that_could_not_be_recorded_is_taken_back_once(ledger):
    first, second = Sent(5, "team", "a"), Sent(500, "team", "b")
    ledger.succeeded(KEY, "a", first)
    ledger.suppress(KEY, 300)
    ledger.suppress(KEY, 300)
    ledger.unsuppress(KEY, first)
    assert ledger.suppressed(KEY) == 1
    ledger.succeeded(KEY, "b", second)
    ledger.unsuppress(KEY, first)
    assert ledger.suppressed(KEY) == 0, "another notification has told of it"


# ---------------------------------------------------------------------- keys


@pytest.mark.parametrize("kind", ["NotificationConfig", "RootConfig"])
async def test_a_key_always_holds_the_events_namespace(kind):
    reference = ConfigReference(kind=kind, namespace="shared", name="config", generation=None)
    house = House()
    keys = {key_for(reference, house.event(namespace=namespace)) for namespace in ("shared", "team", "other")}
    assert {found.namespace for found in keys} == {"shared", "team", "other"}
    assert {found.config for found in keys} == {None if kind == "RootConfig" else ("shared", "config")}


async def test_a_shared_configuration_mutes_nobody_in_another_namespace(house):
    house.config("acme", "shared", eventNamespaces={"from": "All"})
    poison = house.event("harmless-secret-project-name", namespace="evil")
    await house.submit(poison)
    real = house.event("real-failure", namespace="team")
    await house.submit(real)
    assert house.status(real).phase is Phase.DELIVERED
    again = house.event("again", namespace="team")
    await house.submit(again)
    assert house.status(again).phase is Phase.SUPPRESSED
    assert house.status(again).suppressed_by == "real-failure"


@pytest.mark.parametrize("which", ["shared", "root", "own"])
async def test_what_suppresses_an_event_is_of_its_own_namespace_after_a_restart_too(which):
    house = House()
    if which == "root":
        house.with_root(ROOT)
    else:
        house.no_root()
    if which == "shared":
        house.config("acme", "shared", eventNamespaces={"from": "All"})
    for namespace in ("evil", "team"):
        if which == "own":
            house.config("acme", namespace)
    first = [house.event(f"first-{namespace}", namespace=namespace) for namespace in ("evil", "team")]
    held = [house.event(namespace=namespace) for namespace in ("evil", "team", "team")]
    await house.submit(*first)
    await house.submit(*held)
    assert {house.status(event).phase for event in first} == {Phase.DELIVERED}
    await house.restart()
    later = [house.event(namespace=namespace) for namespace in ("evil", "team")]
    await house.submit(*later)
    for event in (*held, *later):
        status = house.status(event)
        assert (status.phase, status.reason) == (Phase.SUPPRESSED, Reason.COOLDOWN)
        assert status.suppressed_by == f"first-{event.namespace}"
        assert "evil" not in (status.message or "") or event.namespace == "evil"
    await house.clock.advance(301)
    last = house.event(namespace="team")
    await house.submit(last)
    assert house.status(last).suppressed_count == 3, "its own namespace's, and no other's"


# ---------------------------------------------------------------------- forgetting


def test_a_key_is_forgotten_when_its_window_is_over_and_nothing_is_left_to_tell():
    ledger = opened()
    sent(ledger, key())
    forget(ledger, 299)
    assert len(ledger) == 1
    assert decided(ledger, key("beta"), "b", 300, 299) == 0
    forget(ledger, 301)
    assert ledger.last(key()) is None
    assert len(ledger) == 1, "beta is being sent for"
    assert ledger.released(key("beta"), "b")
    assert len(ledger) == 0


def test_an_uncounted_suppression_keeps_its_key_for_a_week():
    ledger = opened()
    sent(ledger, key())
    assert decided(ledger, key(), "held", 300, 10) == "suppressed"
    forget(ledger, UNCOUNTED)
    assert decided(ledger, key(), "next", 300, UNCOUNTED) == 1
    assert ledger.released(key(), "next")
    forget(ledger, UNCOUNTED + 301)
    assert len(ledger) == 0


def test_a_longer_cooldown_than_the_configured_one_counts_if_an_event_was_decided_by_it():
    ledger = opened()
    sent(ledger, key(), cooldown=3_600)
    forget(ledger, 3_599, cooldown=300)
    assert decided(ledger, key(), "b", 3_600, 3_599) == "suppressed"


def test_a_cooldown_that_was_lengthened_since_counts():
    ledger = opened()
    sent(ledger, key(), cooldown=60)
    forget(ledger, 2_000, cooldown=3_600)
    assert decided(ledger, key(), "b", 3_600, 2_000) == "suppressed"


def test_a_key_outlives_the_bookkeeping_that_tells_of_it():
    ledger = opened()
    sent(ledger, key(), cooldown=1)
    forget(ledger, KEPT - 1, cooldown=1)
    assert ledger.last(key()) == Sent(0, "team", "sent")
    forget(ledger, KEPT, cooldown=1)
    assert ledger.last(key()) is None


def test_whoever_is_being_sent_for_is_never_forgotten():
    ledger = opened()
    ledger.claim(key(), "sender", 300)
    forget(ledger, 1e9)
    assert decided(ledger, key(), "waiter", 300, 1e9) == "waits"


def test_what_a_wrong_clock_noted_is_forgotten_as_it_mutes_nobody():
    ledger = opened()
    sent(ledger, key(), at=1_000_000)
    forget(ledger, 999_800)
    assert len(ledger) == 1
    forget(ledger, 1_000)
    assert len(ledger) == 0


def test_invented_organisations_leave_nothing_behind_and_one_look_takes_no_time():
    ledger = opened()
    for number in range(20_000):
        sent(ledger, key(f"invented-{number}", "evil"), at=0.0, name=f"event-{number}")
    longest = 0.0
    gc.collect()  # what others left is not of these looks
    for _ in range(10):
        began = time.process_time()
        ledger.forget(301, configured(300))
        longest = max(longest, time.process_time() - began)
    assert len(ledger) == 0
    assert ledger._namespaces == {}
    assert longest < 0.5  # measured: 0.01 s


def test_a_key_takes_half_a_kilobyte_at_most():
    ledger = opened()
    for number in range(5_000):
        shard_of(f"invented-slug-{number:08d}")  # a cache of its own, with a bound of its own
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(5_000):
            sent(ledger, key(f"invented-slug-{number:08d}", "evil"), name=f"event-{number:012d}")
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / 5_000 < 512


def test_beyond_the_bound_the_namespace_with_most_keys_loses_its_oldest():
    ledger = opened(most=100)
    for number in range(10):
        sent(ledger, key(f"org-{number}", "team"))
    decided(ledger, key("under-way", "evil"), "sender", 300, 0)
    for number in range(500):
        sent(ledger, key(f"invented-{number}", "evil"))
    assert len(ledger) == 100
    for number in range(10):
        assert decided(ledger, key(f"org-{number}", "team"), "x", 300, 1) == "suppressed"
    assert decided(ledger, key("invented-499", "evil"), "x", 300, 1) == "suppressed"
    assert ledger.last(key("invented-0", "evil")) is None
    assert ledger.released(key("under-way", "evil"), "sender")


async def test_the_sweeper_has_the_ledger_forget(house):
    house.config(email=EMAIL)
    event = house.event()
    await house.submit(event)
    assert len(house.ledger) == 1
    task = house.sweeper(ttl_delivered=86_400.0)
    running = asyncio.create_task(task.run())
    await house.clock.advance(310)
    await settle_down()
    running.cancel()
    assert len(house.ledger) == 0
