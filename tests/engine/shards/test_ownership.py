"""What an engine does whose organisations come and go: nothing is sent that is another replica's to send."""

from __future__ import annotations

import asyncio

import pytest
from tests.engine.fakes import House, settle_down

from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.shards import ALL_SHARDS, shard_of
from pipebell.core.status import rfc3339
from pipebell.core.vocabulary import Phase, Reason
from pipebell.engine.upkeep.recovery import Recovery

SHARD = {shard_of("acme")}
BOTH = [{"event": "pipeline_failure", "providers": ["email", "slack"]}]
SLACK = {"webhookUrl": "https://hooks.slack.com/services/T/B/X"}


def lose(house):
    """As `Sharing` does it: first it is not ours, then the engine is told."""
    house.ownership.lost.add("acme")
    house.engine.on_shards_released(SHARD)


async def gain(house):
    """It is ours (again), and the pass over all events has been made."""
    house.ownership.lost.discard("acme")
    await house.recover(SHARD)


async def test_while_the_lease_is_not_fresh_an_event_waits_and_then_goes(house):
    house.config()
    house.ownership.fresh = False
    event = house.event()
    await house.submit(event)
    assert house.status(event).phase is None
    assert house.events.writes == []
    house.ownership.fresh = True
    house.engine.on_lease_renewed()
    await settle_down()
    assert house.status(event).phase is Phase.DELIVERED


async def test_a_lease_that_ends_right_before_the_message_goes_out_stops_it(house):
    house.config()
    house.email.before = asyncio.Event()
    event = house.event()
    await house.submit(event)
    house.ownership.fresh = False
    house.email.before.set()
    await settle_down()
    assert house.email.sent == []
    assert house.events.writes == [], "there is nothing to tell"
    assert not house.engine.busy
    house.ownership.fresh = True
    house.engine.on_lease_renewed()
    await settle_down()
    assert house.status(event).phase is Phase.DELIVERED
    assert house.status(event).deliveries[0].attempts == 1


async def test_what_was_sent_before_the_lease_ended_is_recorded_and_the_rest_goes_later(house):
    house.config(slack=SLACK, eventTriggers=BOTH)
    house.email.before = asyncio.Event()
    event = house.event()
    await house.submit(event)
    house.ownership.fresh = False
    house.email.before.set()
    await settle_down()
    deliveries = {item.destination: item for item in house.status(event).deliveries}
    assert deliveries["slack"].phase is Phase.DELIVERED
    assert (deliveries["email"].phase, deliveries["email"].attempts) == (Phase.PENDING, 0)
    house.ownership.fresh = True
    house.engine.on_lease_renewed()
    await settle_down()
    assert house.status(event).phase is Phase.DELIVERED
    assert (len(house.slack.sent), len(house.email.sent)) == (1, 1)


async def test_a_lease_renewed_between_the_refusal_and_the_wait_leaves_nobody_waiting(house):
    house.config()
    house.email.before = asyncio.Event()
    event = house.event()
    await house.submit(event)
    house.ownership.answers = [False]
    house.email.before.set()
    await settle_down()
    assert house.ownership.answers == []
    assert house.status(event).phase is Phase.DELIVERED


async def test_waiting_events_of_a_lost_shard_are_forgotten_and_nothing_is_written(house):
    house.email.script = [Outcome(OutcomeKind.RETRY, "Timeout", "no answer")]
    house.config()
    sender, waiter = house.event(), house.event()
    await house.submit(sender, waiter)
    writes = len(house.events.writes)
    lose(house)
    assert not house.engine.unfinished
    assert not house.engine.knows(sender.uid)
    await house.clock.advance(3600)
    assert len(house.email.sent) == 1
    assert len(house.events.writes) == writes
    assert not house.ledger.opened("acme")


async def test_what_is_under_way_ends_and_is_recorded_and_then_forgotten(house):
    house.config()
    house.email.gate = asyncio.Event()
    sender, queued = house.event(), house.event(event="system_error")
    await house.submit(sender)
    assert set(house.engine.busy) == SHARD
    lose(house)
    house.engine.submit(queued)  # as if it had been in the queue
    house.email.gate.set()
    await settle_down()
    assert house.status(sender).phase is Phase.DELIVERED, "it was sent, so it is told"
    assert not house.engine.busy


async def test_a_retry_that_falls_due_after_the_loss_is_the_new_owners(house):
    house.config()
    house.email.script = [Outcome(OutcomeKind.RETRY, "Timeout", "no answer")]
    event = house.event()
    await house.submit(event)
    lose(house)
    other = House()
    other.events, other.book, other.clock = house.events, house.book, house.clock
    other.configs, other.root = house.configs, house.root
    other.start()
    await other.recover(SHARD)
    await house.clock.advance(10)
    assert (len(house.email.sent), len(other.email.sent)) == (1, 1)
    assert house.status(event).phase is Phase.DELIVERED
    assert house.status(event).deliveries[0].attempts == 2
    await other.engine.close(0)


async def test_a_new_owner_knows_the_cooldown_before_it_sends(house):
    house.config()
    sent, held = house.event(), house.event()
    await house.submit(sent, held)
    lose(house)
    later = house.event()
    await gain(house)
    assert house.status(later).phase is Phase.SUPPRESSED
    assert house.status(later).suppressed_by == sent.name
    await house.clock.advance(301)
    last = house.event()
    await house.submit(last)
    assert house.status(last).suppressed_count == 2


async def test_other_shards_cooldowns_are_untouched_by_a_pass(house):
    house.config()
    other = next(org for org in map(str, range(99)) if shard_of(org) not in SHARD)
    house.config(org=other, name="other")
    sent, theirs = house.event(), house.event(org=other)
    await house.submit(sent, theirs)
    lose(house)
    assert house.ledger.opened(other)
    await gain(house)
    held = house.event(org=other)
    await house.submit(held)
    assert house.status(held).phase is Phase.SUPPRESSED


class Watching:
    """A recovery under way, whose pass can be held up."""

    def __init__(self, house):
        self.house, self.gate = house, asyncio.Event()
        self.recovery = Recovery(house.ports, house.ledger, house.engine, house.met)
        scan = house.events.scan

        async def held_up(phases_excluded=(), **wanted):
            pages = [page async for page in scan(phases_excluded, **wanted)]
            await self.gate.wait()
            for page in pages:
                yield page

        house.events.scan = held_up
        self.task = asyncio.create_task(self.recovery.run())

    async def gain(self):
        self.house.ownership.lost.discard("acme")
        self.recovery.on_shards_acquired(SHARD)
        await settle_down()


@pytest.fixture
async def watching(house):
    watching = Watching(house)
    yield watching
    watching.task.cancel()


async def test_late_news_of_an_event_that_the_last_owner_finished_starts_nothing(house, watching):
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}])
    event, another = house.event(), house.event()
    for done in (event, another):
        house.events.force_status("team", done.name, {"phase": "Delivered"})
    await watching.gain()
    watching.recovery.add(event)  # while the pass goes on: it is read again first
    await settle_down()
    assert house.events.reads == [event.name]
    watching.gate.set()
    await settle_down()
    watching.recovery.add(another)  # after the pass: older than what that has seen
    fresh = house.event()
    watching.recovery.add(fresh)
    await settle_down()
    assert house.email.names == [fresh.name]
    assert house.events.reads == [event.name], "and nothing else is read for it"


async def test_an_event_that_is_created_during_the_pass_is_not_missed(house, watching):
    house.config()
    await watching.gain()
    event = house.event()
    watching.recovery.add(event)
    watching.gate.set()
    await settle_down()
    assert house.status(event).phase is Phase.DELIVERED


async def test_a_shard_that_is_lost_during_its_pass_is_not_opened(house, watching):
    house.config()
    house.event()
    house.ledger.close(ALL_SHARDS)
    await watching.gain()
    watching.recovery.on_shards_released(SHARD)
    lose(house)
    watching.gate.set()
    await settle_down()
    assert not house.ledger.opened("acme")
    assert not house.engine.unfinished
    assert house.email.sent == []


async def test_lost_and_gained_again_during_a_pass_is_passed_over_again(house, watching):
    house.config()
    event = house.event()
    await watching.gain()
    watching.recovery.on_shards_released(SHARD)
    lose(house)
    await watching.gain()
    watching.gate.set()
    await settle_down()
    assert house.status(event).phase is Phase.DELIVERED
    assert len(house.email.sent) == 1


async def test_only_the_owner_deletes_and_what_fell_due_elsewhere_goes_when_it_becomes_ours(house):
    done = house.event(event="pipeline_started")
    house.events.force_status(
        "team",
        done.name,
        {"phase": "Skipped", "reason": Reason.NO_TRIGGER.value, "completionTime": rfc3339(house.clock.now())},
    )
    house.ledger.close(SHARD)
    task = asyncio.create_task(house.sweeper().run())
    await house.clock.advance(120)
    assert ("team", done.name) in house.events.store
    await gain(house)
    await house.clock.advance(11)
    assert ("team", done.name) not in house.events.store
    task.cancel()


def tried_elsewhere(house, event):
    """Another replica has made a first attempt, in vain."""
    delivery = {"provider": "email", "destination": "email", "phase": "Pending", "attempts": 1}
    delivery |= {"reason": "Retrying", "lastAttemptTime": rfc3339(house.clock.now())}
    house.events.force_status("team", event.name, {"phase": "Pending", "deliveries": [delivery]})


async def test_a_decision_that_another_replica_has_to_take_by_now_is_not_written(house):
    """It was stopped right before its write; meanwhile there is a configuration, and the new owner has tried."""
    event = house.event()

    def meanwhile(_):
        house.events.before_patch = None
        lose(house)
        tried_elsewhere(house, event)

    house.events.before_patch = meanwhile
    await house.submit(event)
    assert house.status(event).phase is Phase.PENDING
    assert house.status(event).deliveries[0].attempts == 1
    assert not house.engine.unfinished


async def test_a_decision_is_taken_anew_when_somebody_else_has_tried_meanwhile(house):
    """As a process that came back late does; ours goes on from there."""
    event = house.event()

    def meanwhile(_):
        house.events.before_patch = None
        house.config()
        tried_elsewhere(house, event)

    house.events.before_patch = meanwhile
    await house.submit(event)
    assert house.status(event).phase is Phase.DELIVERED
    assert house.status(event).deliveries[0].attempts == 2


async def test_what_was_sent_is_recorded_by_whoever_sent_it_even_if_it_has_lost_the_shard(house):
    house.config()
    house.email.gate = asyncio.Event()
    event = house.event()
    await house.submit(event)
    lose(house)
    house.ownership.fresh = False
    house.email.gate.set()
    await settle_down()
    assert house.status(event).phase is Phase.DELIVERED


async def test_a_probe_that_may_not_be_sent_lets_the_next_one_go(house):
    other = next(org for org in map(str, range(99)) if shard_of(org) not in SHARD)
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}])
    house.config(org=other, name="other", eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}])
    house.email.script = [Outcome(OutcomeKind.PAUSE, "Smtp421", "later", retry_after=10.0)]
    first = house.event()
    await house.submit(first)
    theirs = house.event(org=other)
    await house.submit(theirs)
    house.email.before = asyncio.Event()
    await house.clock.advance(10)  # the probe is on its way …
    lose(house)
    house.email.before.set()  # … and may not be sent
    await house.clock.advance(1)
    assert house.status(theirs).phase is Phase.DELIVERED
