"""Digests: each event in exactly one, whatever happens between its decision and the digest's record."""

import asyncio
import json
import random
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from tests.engine.fakes import EMAIL, settle_down
from tests.engine.nights import Night, later

from pipebell.core.digest import Tally, parse
from pipebell.core.errors import Rejected, Unavailable
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.shards import ALL_SHARDS, shard_of
from pipebell.core.vocabulary import Phase, Reason

SLACK = {"webhookUrl": "https://hooks.slack.com/services/T/B/X"}
HOURLY = {"everySeconds": 3600}


def trigger(digest=HOURLY, event="pipeline_failure", **changes):
    return {"event": event, **({"digest": digest} if digest else {}), **changes}


@asynccontextmanager
async def running(house):
    task = asyncio.create_task(house.digests.run())
    try:
        yield
    finally:
        task.cancel()
        await settle_down()


def digests(house):
    return [event for event in house.events.store.values() if event.spec.notice is not None]


def told(house, provider):
    """For each message of a provider: what it was about."""
    return [notification.event for _, notification, _, _ in provider.sent]


def lines(event):
    content = parse(event.spec.notice.content)
    return sorted(line.name for group in content.groups for line in group.lines)


async def test_what_is_batched_ends_suppressed_and_is_told_together(house):
    house.config(eventTriggers=[trigger()])
    events = [house.event() for _ in range(3)]
    async with running(house):
        await house.submit(*events[:2])
        await house.clock.advance(1800)
        await house.submit(events[2])
        statuses = [house.status(event) for event in events]
        assert {(status.phase, status.reason) for status in statuses} == {(Phase.SUPPRESSED, Reason.BATCHED)}
        assert len({status.batch[0].digest for status in statuses}) == 1
        assert statuses[0].decision.stage == "digest"
        assert statuses[0].batch[0].digest in statuses[0].message
        await house.clock.advance(1795)
        assert not house.email.sent
        await house.clock.advance(10)
    (sent,) = told(house, house.email)
    assert lines(sent) == sorted(event.name for event in events)
    assert (sent.name, house.status(sent).phase) == (statuses[0].batch[0].digest, Phase.DELIVERED)
    assert len(house.engine.books.batches) == 0


async def test_on_call_destinations_get_each_event_at_once_unless_the_settings_name_them(house):
    house.config(
        slack=SLACK,
        pagerduty={"routingKey": "0" * 32},
        eventTriggers=[
            trigger(providers=["email", "pagerduty"]),
            trigger({**HOURLY, "destinations": ["slack"]}, "system_error", providers=["email", "slack"]),
        ],
    )
    house.ports.providers["pagerduty"] = house.slack
    first, second = house.event(), house.event(event="system_error")
    await house.submit(first, second)
    assert [item.destination for item in house.status(first).batch] == ["email"]
    assert [item.destination for item in house.status(first).deliveries] == ["pagerduty"]
    assert [item.destination for item in house.status(second).batch] == ["slack"]
    assert house.status(second).phase is Phase.DELIVERED


async def test_no_cooldown_for_what_is_batched_and_the_usual_one_for_the_rest(house):
    house.config(
        slack=SLACK, eventTriggers=[trigger({**HOURLY, "destinations": ["email"]}, providers=["email", "slack"])]
    )
    first, second = house.event(), house.event()
    async with running(house):
        await house.submit(first)
        await house.submit(second)
        assert house.status(first).phase is Phase.DELIVERED
        assert (house.status(second).reason, house.status(second).suppressed_by) == (Reason.COOLDOWN, first.name)
        await house.clock.advance(3605)
    assert [lines(event) for event in told(house, house.email)] == [sorted([first.name, second.name])]
    assert house.slack.names == [first.name]


async def test_each_destination_and_each_organisation_gets_only_its_own(house):
    both = [trigger(providers=["email", "slack"]), trigger(event="system_error", providers=["slack"])]
    house.config(slack=SLACK, eventTriggers=both)
    house.config(org="globex", name="g", eventTriggers=[trigger()])
    a, b, c = house.event(), house.event(event="system_error"), house.event(org="globex")
    async with running(house):
        await house.submit(a, b, c)
        await house.clock.advance(3610)
    assert sorted(map(lines, told(house, house.email))) == sorted([[a.name], [c.name]])
    assert [lines(event) for event in told(house, house.slack)] == [sorted([a.name, b.name])]
    severe = told(house, house.slack)[0].spec
    assert (severe.event, severe.severity) == ("system_error", "critical")


async def test_other_settings_for_one_destination_are_other_digests(house):
    house.config(eventTriggers=[trigger(), trigger({"everySeconds": 7200}, "system_error")])
    await house.submit(house.event(), house.event(event="system_error"))
    assert len(house.engine.books.batches) == 2


async def test_a_schedule_in_its_time_zone(house):
    house.config(eventTriggers=[trigger({"schedule": "0 8 * * *", "timezone": "America/New_York"})])
    event = house.event()
    await house.submit(event)
    assert house.status(event).batch[0].due.endswith("T12:00:00.000Z")  # EDT in June


async def test_tests_replays_and_what_is_switched_off_go_out_at_once(house):
    house.config(eventTriggers=[trigger(), trigger({"enabled": False}, "system_error", cooldownSeconds=0)])
    test, off = house.event(test=True), house.event(event="system_error")
    await house.submit(test, off)
    assert house.status(test).phase is house.status(off).phase is Phase.DELIVERED


async def test_members_go_out_when_due_although_digests_are_switched_off_by_then(house):
    house.config(eventTriggers=[trigger()])
    event = house.event()
    async with running(house):
        await house.submit(event)
        house.config(eventTriggers=[trigger(None)])
        await house.clock.advance(3605)
    assert [lines(sent) for sent in told(house, house.email)] == [[event.name]]


async def test_a_configuration_that_is_gone_leaves_a_digest_without_one(house):
    config = house.config(eventTriggers=[trigger()])
    async with running(house):
        await house.submit(house.event())
        house.book.remove(config.key)
        del house.configs.store[config.key]
        await house.clock.advance(3605)
    (digest,) = digests(house)
    assert (house.status(digest).phase, house.status(digest).reason) == (Phase.SKIPPED, Reason.NO_CONFIG)


async def test_the_api_is_away_when_it_is_due(house):
    house.config(eventTriggers=[trigger()])
    event = house.event()
    async with running(house):
        await house.submit(event)
        await house.clock.advance(3595)
        house.events.away = True
        await house.clock.advance(600)
        assert not digests(house)
        house.events.away = False
        await house.clock.advance(60)
    assert [lines(sent) for sent in told(house, house.email)] == [[event.name]]


async def test_many_that_are_due_at_once_are_made_soon_and_namespaces_take_turns(house):
    for namespace, orgs in (("many", 150), ("few", 1)):
        for number in range(orgs):
            house.config(org=f"{namespace}-{number}", namespace=namespace, name=f"c{number}", eventTriggers=[trigger()])
            await house.submit(house.event(org=f"{namespace}-{number}", namespace=namespace))
    async with running(house):
        await house.clock.advance(3601.5)
    assert len(house.events.created) == 151
    assert "few" in [namespace for namespace, _ in house.events.created[:20]]


async def test_what_the_api_refuses_is_not_retried_hot_and_comes_in_the_end(house):
    house.config(eventTriggers=[trigger()])
    tries = []
    async with running(house):
        await house.submit(house.event())
        house.events.refusal = Rejected("exceeded quota")
        original = house.events.create
        house.events.create = lambda *args: (tries.append(house.clock.now()), original(*args))[1]
        await house.clock.advance(4200)
        assert 1 <= len(tries) <= 3
        assert house.engine.books.batches.refused == 1
        house.events.refusal = None
        await house.clock.advance(400)
    assert len(house.email.sent) == 1


async def test_a_mistake_about_one_digest_stops_no_other(house, monkeypatch):
    house.config(eventTriggers=[trigger()])
    house.config(org="globex", name="g", namespace="other", eventTriggers=[trigger()])
    bad, good = house.event(), house.event(org="globex", namespace="other")
    original, mistakes = Tally.content, [True]

    def content(tally, **given):
        if mistakes and tally.oldest.org == "acme":
            raise KeyError("a mistake of ours")
        return original(tally, **given)

    monkeypatch.setattr(Tally, "content", content)
    async with running(house):
        await house.submit(bad, good)
        await house.clock.advance(3610)
        assert [lines(sent) for sent in told(house, house.email)] == [[good.name]]
        assert house.engine.books.batches.refused == 1
        mistakes.clear()
        await house.clock.advance(310)
    assert [lines(sent) for sent in told(house, house.email)] == [[good.name], [bad.name]]


async def test_a_member_whose_write_is_under_way_is_waited_for(house):
    house.config(eventTriggers=[trigger()])
    first, late = house.event(), house.event()
    gate = asyncio.Event()
    original = house.events.patch_status

    async def slowly(namespace, name, *rest):
        if name == late.name:
            await gate.wait()
        return await original(namespace, name, *rest)

    async with running(house):
        await house.submit(first)
        await house.clock.advance(3598)
        house.events.patch_status = slowly
        await house.submit(late)
        await house.clock.advance(30)
        assert not digests(house)
        gate.set()
        await settle_down()
        await house.clock.advance(2)
    assert [lines(sent) for sent in told(house, house.email)] == [sorted([first.name, late.name])]


async def test_what_is_decided_after_the_moment_belongs_to_the_next(house):
    house.config(eventTriggers=[trigger()])
    first, next_one = house.event(), house.event()
    await house.submit(first)
    await house.clock.advance(3601)  # nobody has made it yet
    await house.submit(next_one)
    async with running(house):
        await house.clock.advance(5)
        assert [lines(sent) for sent in told(house, house.email)] == [[first.name]]
        await house.clock.advance(3605)
    assert [lines(sent) for sent in told(house, house.email)] == [[first.name], [next_one.name]]


async def test_an_event_that_cannot_be_recorded_counts_once(house):
    house.config(eventTriggers=[trigger()])
    event = house.event()
    house.events.before_patch = lambda _: setattr(house.events, "store", {**house.events.store})
    await house.submit(event)
    stored = house.status(event).batch[0]
    house.engine.submit(event)
    await settle_down()
    assert house.engine.books.batches.get("team", stored.digest).tally.total == 1


@pytest.mark.parametrize("away", [5, 100, 1000, 4000])
@pytest.mark.parametrize("in_part", [False, True])
@pytest.mark.parametrize("alone", [False, True])
async def test_a_write_whose_answer_is_lost_counts_once(house, alone, in_part, away):
    providers = ["email", "slack"] if in_part else ["email"]
    house.config(eventTriggers=[trigger({**HOURLY, "destinations": ["email"]}, providers=providers)])
    others = [] if alone else [house.event()]
    await house.submit(*others)
    await house.clock.advance(7)
    event, lost = house.event(), []
    original = house.events.patch_status

    async def patch(namespace, name, *rest):
        made = await original(namespace, name, *rest)
        if name == event.name and not lost:
            lost.append(made)
            house.events.away = True
            raise Unavailable("the server went away")
        return made

    house.events.patch_status = patch
    async with running(house):
        await house.submit(event)
        assert lost
        await house.clock.advance(away)
        house.events.away = False
        await house.clock.advance(9000)
        await house.restart()
        await house.clock.advance(9000)
    found = [name for sent in told(house, house.email) for name in lines(sent)]
    assert sorted(found) == sorted(each.name for each in (*others, event))
    assert house.status(event).batch[0].digest in [
        sent.name for sent in told(house, house.email) if event.name in lines(sent)
    ]


@pytest.mark.parametrize("seen", ["by our write", "when it is read again"])
async def test_what_another_replica_recorded_last_is_in_its_digest(house, seen):
    house.config(eventTriggers=[trigger()])
    event, name = house.event(), "digest-20250615-160500-0123456789abcdef"
    batch = [{"destination": "email", "digest": name, "due": "2025-06-15T16:05:00.000Z"}]
    ended = {"phase": "Suppressed", "reason": "Batched", "batch": batch, "completionTime": "2025-06-15T15:05:00.000Z"}
    async with running(house):
        if seen == "by our write":
            once = [lambda: house.events.force_status("team", event.name, ended)]
            house.events.before_patch = lambda _: once.pop()() if once else None
            await house.submit(event)
        else:
            house.events.force_status("team", event.name, ended)
            house.engine.submit(event, stale=True)
        await house.clock.advance(9000)
    assert [(sent.name, lines(sent)) for sent in told(house, house.email)] == [(name, [event.name])]


async def test_an_event_with_a_part_that_waits_keeps_it_over_retries_and_restarts(house):
    house.config(
        slack=SLACK, eventTriggers=[trigger({**HOURLY, "destinations": ["email"]}, providers=["email", "slack"])]
    )
    house.slack.script = [Outcome(OutcomeKind.RETRY, "Http503", "later")]
    event = house.event()
    await house.submit(event)
    before = house.status(event)
    assert (before.phase, before.reason) == (Phase.PENDING, Reason.RETRYING)
    await house.restart()
    async with running(house):
        await house.clock.advance(30)
        assert house.status(event).phase is Phase.DELIVERED
        assert house.status(event).batch == before.batch
        await house.clock.advance(3605)
    assert [lines(sent) for sent in told(house, house.email)] == [[event.name]]


async def test_what_waits_in_part_over_a_restart_after_the_moment_is_in_one_digest(house):
    house.config(eventTriggers=[trigger({**HOURLY, "destinations": ["email"]}, providers=["email", "slack"])])
    event = house.event()
    await house.submit(event)
    assert house.status(event).reason is Reason.CONFIG_NOT_READY
    before = house.status(event).batch
    await house.clock.advance(3700)  # nobody makes it: the operator is away
    await house.restart()
    async with running(house):
        await house.clock.advance(10_000)
    assert house.status(event).batch == before
    assert [lines(sent) for sent in told(house, house.email)] == [[event.name]]


async def test_an_event_that_waits_for_its_configuration_is_in_the_digest_all_the_same(house):
    house.config(eventTriggers=[trigger({**HOURLY, "destinations": ["email"]}, providers=["email", "slack"])])
    await house.clock.advance(7)
    event = house.event()
    async with running(house):
        await house.submit(event)
        assert house.status(event).reason is Reason.CONFIG_NOT_READY
        await house.clock.advance(86_700)
    assert house.status(event).reason is Reason.EXPIRED
    assert [lines(sent) for sent in told(house, house.email)] == [[event.name]]


@pytest.mark.parametrize("seed", range(8))
async def test_killed_at_any_moment_each_event_is_told_once(house, seed):
    draw = random.Random(seed)
    house.config(slack=SLACK, eventTriggers=[trigger(providers=["email", "slack"])])
    events = []
    task = asyncio.create_task(house.digests.run())
    for _ in range(40):
        events.append(house.event())
        house.engine.submit(events[-1])
        for _ in range(draw.randrange(6)):
            await asyncio.sleep(0)
        await house.clock.advance(draw.choice([0, 1, 200, 900]))
        if draw.random() < 0.3:
            task.cancel()
            await house.restart()
            task = asyncio.create_task(house.digests.run())
    await house.clock.advance(8000)
    task.cancel()
    for provider in (house.email, house.slack):
        found = [name for event in told(house, provider) for name in lines(event)]
        assert sorted(found) == sorted(event.name for event in events)
    assert all(parse(event.spec.notice.content).total for event in digests(house))


async def test_a_takeover_brings_what_waits_and_the_former_owner_forgets(house):
    house.config(eventTriggers=[trigger()])
    event = house.event()
    await house.submit(event)
    house.engine.on_shards_released(ALL_SHARDS)
    assert len(house.engine.books.batches) == 0
    async with running(house):
        await house.clock.advance(4000)
        assert not digests(house)
        house.engine.on_shards_acquired(ALL_SHARDS)
        await house.recover()
        await house.clock.advance(5)
    assert [lines(sent) for sent in told(house, house.email)] == [[event.name]]


async def test_a_digest_whose_members_are_gone_by_then_goes_out(house):
    house.config(eventTriggers=[trigger()])
    event = house.event()
    house.email.script = [Outcome(OutcomeKind.RETRY, "Smtp451", "later")]
    async with running(house):
        await house.submit(event)
        await house.clock.advance(3602)
    del house.events.store["team", event.name]
    await house.restart()
    await house.clock.advance(30)
    assert [house.status(digest).phase for digest in digests(house)] == [Phase.DELIVERED]


async def test_nothing_is_sent_when_all_members_were_deleted_before_a_restart(house):
    house.config(eventTriggers=[trigger()])
    event = house.event()
    await house.submit(event)
    del house.events.store["team", event.name]
    await house.restart()
    async with running(house):
        await house.clock.advance(4000)
    assert not digests(house)


async def test_members_outlive_their_time_to_live_until_their_digest_is_finished(house):
    house.config(eventTriggers=[trigger({"everySeconds": 86_400})])
    event = house.event(ttlSecondsAfterFinished=3600)
    sweeper = house.sweeper(ttl_delivered=3600)
    sweeping = asyncio.create_task(sweeper.run())
    async with running(house):
        await house.submit(event)
        await house.clock.leap(86_000)
        assert ("team", event.name) in house.events.store
        await house.restart()
        sweeping.cancel()
        sweeping = asyncio.create_task(house.sweeper(ttl_delivered=3600).run())
    async with running(house):
        await house.clock.advance(5000)
        (digest,) = digests(house)
        assert lines(digest) == [event.name]
        await house.clock.advance(20_000)
        assert ("team", event.name) not in house.events.store
        assert ("team", digest.name) in house.events.store
        await house.clock.leap(200_000)
    sweeping.cancel()
    assert not house.events.store
    assert house.engine.books.batches.get("team", digest.name) is None


async def test_a_weekly_digest_has_all_of_the_week_although_its_members_live_for_an_hour(house):
    house.config(eventTriggers=[trigger({"schedule": "0 8 * * mon", "timezone": "Europe/Berlin"})])
    house.clock._now = datetime(2026, 10, 19, 8, 0, 1, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    monday = datetime(2026, 10, 26, 8, 0, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    assert monday - house.clock.now() == 7 * 86_400 + 3600 - 1, "the week in which summer time ends"
    sweeping, events = asyncio.create_task(house.sweeper(ttl_delivered=3600).run()), []
    async with running(house):
        for _ in range(4):
            events.append(house.event(ttlSecondsAfterFinished=3600))
            await house.submit(events[-1])
            await house.clock.leap(86_400)
        sweeping.cancel()
        await house.restart()
        sweeping = asyncio.create_task(house.sweeper(ttl_delivered=3600).run())
    async with running(house):
        for _ in range(3):
            events.append(house.event(ttlSecondsAfterFinished=3600))
            await house.submit(events[-1])
            await house.clock.leap(86_400)
        await house.clock.leap(monday - house.clock.now() - 5)
        assert len(house.events.store) == len(events) == 7, "none was swept, none is told of"
        await house.clock.advance(10)
        assert [lines(event) for event in told(house, house.email)] == [sorted(event.name for event in events)]
        await house.clock.leap(86_400)
        assert set(house.events.store) == {("team", digest.name) for digest in digests(house)}, "the members went first"
    sweeping.cancel()


async def test_a_forged_digest_is_not_due_and_bars_no_real_one(house):
    house.config(eventTriggers=[trigger()])
    event = house.event()
    async with running(house):
        await house.submit(event)
        name = house.status(event).batch[0].digest
        content = {"title": "Digest", "since": "", "until": "", "total": 1, "groups": []}
        notice = {"kind": "Digest", "destination": "email", "due": house.status(event).batch[0].due, "content": content}
        forged = house.event(name=name, notice=notice)
        other = house.event(notice=notice)
        await house.submit(forged, other)
        assert {house.status(each).reason for each in (forged, other)} == {Reason.NOT_DUE}
        await house.restart()
    async with running(house):
        await house.clock.advance(3610)
    assert [lines(sent) for sent in told(house, house.email)] == [[event.name]]


async def test_somebodys_event_of_a_digests_name_takes_nothing_from_it(house):
    house.config(eventTriggers=[trigger()])
    event = house.event()
    async with running(house):
        await house.submit(event)
        name = house.status(event).batch[0].digest
        await house.submit(house.event(name=name, test=True))
        await house.clock.advance(3610)
        assert house.events.created == [("team", f"{name}.2")]
        await house.restart()
    async with running(house):
        await house.clock.advance(3610)
    assert [lines(sent) for sent in told(house, house.email) if not sent.spec.test] == [[event.name]]
    assert not house.engine.books.batches.needs(house.events.store["team", event.name])


async def test_a_digest_that_is_forged_in_the_moment_of_its_making_is_not_sent(house):
    house.config(eventTriggers=[trigger()])
    event = house.event()
    forged, create = [], house.events.create

    async def late(namespace, name, spec):
        if not forged:
            forged.append(house.event(name=name, **spec | {"notice": spec["notice"] | {"content": {"groups": []}}}))
            house.engine.submit(forged[0])
            for _ in range(100):  # it is looked at
                await asyncio.sleep(0)
        await create(namespace, name, spec)

    house.events.create = late
    async with running(house):
        await house.submit(event)
        await house.clock.advance(3610)
    assert [lines(sent) for sent in told(house, house.email)] == [[event.name]]


async def test_a_digest_that_failed_is_sent_again_word_by_word_and_nothing_else_is(house):
    house.config(eventTriggers=[trigger()])
    house.email.script = [Outcome(OutcomeKind.PERMANENT, "Smtp550", "no")]
    async with running(house):
        await house.submit(house.event())
        await house.clock.advance(3605)
    (failed,) = digests(house)
    assert house.status(failed).phase is Phase.FAILED
    notice = failed.spec.notice.model_dump(by_alias=True, exclude_none=True, mode="json")
    again = house.event(replayOf={"name": failed.name, "destinations": ["email"]}, notice=notice)
    other = house.event(replayOf={"name": failed.name}, notice=notice | {"content": {"groups": []}})
    foreign = house.event(org="globex", replayOf={"name": failed.name}, notice=notice)
    await house.submit(again, other, foreign)
    assert house.status(again).phase is Phase.DELIVERED
    assert house.status(other).reason is Reason.NOT_DUE
    assert house.status(foreign).phase is Phase.SKIPPED


async def test_a_moment_that_a_wrong_clock_wrote_is_waited_for_no_longer_than_its_interval(house):
    house.config(eventTriggers=[trigger()])
    house.clock._now += 90 * 86_400
    event = house.event()
    await house.submit(event)
    house.clock._now -= 90 * 86_400
    await house.restart()
    async with running(house):
        await house.clock.advance(3605)
    assert [lines(sent) for sent in told(house, house.email)] == [[event.name]]


async def test_a_clock_that_was_set_back_reopens_no_digest(house):
    house.config(eventTriggers=[trigger({"schedule": "0 * * * *"})])
    first, second = house.event(), house.event()
    async with running(house):
        await house.submit(first)
        await house.clock.advance(3700)
        assert len(house.email.sent) == 1
        house.clock._now -= 3600
        await house.submit(second)
        assert house.status(second).batch[0].digest != house.status(first).batch[0].digest
        await house.clock.advance(8000)
    assert [lines(sent) for sent in told(house, house.email)] == [[first.name], [second.name]]


async def test_parts_of_a_destination_wait_as_one(house):
    numbers = {"accountSid": "AC" + "0" * 32, "authToken": "t", "fromNumber": "+15005550006"}
    house.config(
        sms={**numbers, "toNumbers": ["+4915112345678", "+4915112345679"]}, eventTriggers=[trigger(providers=["sms"])]
    )
    house.ports.providers["sms"] = house.slack
    event = house.event()
    async with running(house):
        await house.submit(event)
        assert [item.destination for item in house.status(event).batch] == ["sms"]
        await house.clock.advance(3605)
    (digest,) = digests(house)
    assert [item.destination for item in house.status(digest).deliveries] == ["sms/1", "sms/2"]


# ---------------------------------------------------------------------------- hourly limits


async def test_a_flood_is_as_many_messages_as_the_limit_and_one_digest_of_all_the_rest(house):
    house.config(maxNotificationsPerHour=60, eventTriggers=[trigger(None, cooldownSeconds=0)])
    events = [house.event(pipelineId=f"p{number % 7}") for number in range(10_000)]
    worst = house.event(severity="critical")
    good = house.event(event="pipeline_success")
    async with running(house):
        for start in range(0, len(events), 1_000):  # as many as memory holds at once
            await house.submit(*events[start : start + 1_000])
        await house.submit(worst, good)
        assert len(house.email.sent) == 61
        assert house.status(worst).phase is Phase.DELIVERED
        over = [house.status(event) for event in events if house.status(event).phase is Phase.SUPPRESSED]
        assert {(status.reason, status.decision.stage) for status in over} == {(Reason.BATCHED, "budget")}
        assert len(over) == 9_940
        await house.clock.advance(3700)
    (digest,) = digests(house)
    content = parse(digest.spec.notice.content)
    assert (content.total, sum(group.total for group in content.groups)) == (9_940, 9_940)
    assert (len(lines(digest)), content.omitted) == (100, 9_840)
    assert len(house.email.sent) == 62


async def test_the_count_survives_a_restart_and_ends_with_the_hour(house):
    house.config(maxNotificationsPerHour=2, eventTriggers=[trigger(None, cooldownSeconds=0)])
    house.clock._now = (house.clock.now() // 3600 + 1) * 3600 + 100
    await house.submit(house.event(), house.event())
    await house.restart()
    third = house.event()
    await house.submit(third)
    assert house.status(third).reason is Reason.BATCHED
    await house.clock.advance(3600)
    fourth = house.event()
    await house.submit(fourth)
    assert house.status(fourth).phase is Phase.DELIVERED


async def test_one_that_is_due_before_all_that_are_known_is_no_later_for_it(house):
    house.config(maxNotificationsPerHour=1, eventTriggers=[trigger(None, cooldownSeconds=0)])
    house.config("later", name="later", eventTriggers=[trigger()])
    house.clock._now = (house.clock.now() // 3600 + 1) * 3600 - 95
    async with running(house):
        await house.submit(house.event(org="later"))
        await house.clock.advance(87)
        await house.submit(house.event(), house.event())
        await house.clock.advance(7)
        assert not digests(house)
        await house.clock.advance(3)
        assert len(digests(house)) == 1


async def test_what_fails_for_good_gives_its_place_back(house):
    house.config(maxNotificationsPerHour=1, eventTriggers=[trigger(None, cooldownSeconds=0)])
    house.email.script = [Outcome(OutcomeKind.PERMANENT, "Smtp550", "no")]
    first, second, third = house.event(), house.event(), house.event()
    await house.submit(first)
    await house.submit(second)
    await house.submit(third)
    assert [house.status(event).phase for event in (first, second, third)] == [
        Phase.FAILED,
        Phase.DELIVERED,
        Phase.SUPPRESSED,
    ]


async def test_after_a_restart_what_failed_holds_no_place_and_what_is_under_way_holds_one(house):
    house.config(maxNotificationsPerHour=1, eventTriggers=[trigger(None, cooldownSeconds=0)])
    house.clock._now = (house.clock.now() // 3600 + 1) * 3600 + 100
    house.email.script = [
        Outcome(OutcomeKind.PERMANENT, "Smtp550", "no"),
        Outcome(OutcomeKind.RETRY, "Smtp451", "later"),
    ]
    failed, tried = house.event(), house.event()
    await house.submit(failed)
    await house.submit(tried)
    assert house.status(tried).reason is Reason.RETRYING
    await house.restart()
    third = house.event()
    await house.submit(third)
    assert house.status(third).reason is Reason.BATCHED
    await house.clock.advance(30)
    assert house.status(tried).phase is Phase.DELIVERED


async def test_roots_limit_is_of_a_namespace_and_of_roots_endpoints_alone(house):
    of_root = {
        "org_slug": "root",
        "default_provider": "email",
        "restrict": {"max_notifications_per_hour": 1},
        "email": {"smtp_host": "mail.example.com", "from_email": "a@example.com", "to_emails": ["ops@example.com"]},
        "event_triggers": [{"event": "pipeline_failure", "cooldown_seconds": 0, "providers": ["email"]}],
    }
    house.root.update({"config.json": json.dumps(of_root)}, "1")
    house.config(
        org="own",
        name="own",
        email={},
        slack=SLACK,
        eventTriggers=[trigger(None, providers=["email", "slack"], cooldownSeconds=0)],
    )
    first, second, third = house.event(org="a"), house.event(org="b"), house.event(org="own")
    elsewhere = house.event(org="a", namespace="other")
    worst = house.event(org="a", severity="critical")
    async with running(house):
        for event in (first, second, third, elsewhere, worst):
            await house.submit(event)
        assert house.status(first).phase is house.status(elsewhere).phase is Phase.DELIVERED
        assert house.status(second).reason is house.status(worst).reason is Reason.BATCHED
        assert house.status(third).phase is Phase.DELIVERED
        assert [item.destination for item in house.status(third).deliveries] == ["slack"]
        assert [item.destination for item in house.status(third).batch] == ["email"]
        await house.clock.advance(3700)
    found = sorted(name for event in digests(house) for name in lines(event))
    assert found == sorted([second.name, third.name, worst.name])


async def test_successes_that_end_nothing_are_no_way_around_roots_limit(house):
    of_root = {
        "org_slug": "root",
        "restrict": {"max_notifications_per_hour": 2},
        "email": {"smtp_host": "mail.example.com", "from_email": "a@example.com", "to_emails": ["ops@example.com"]},
    }
    house.root.update({"config.json": json.dumps(of_root)}, "1")
    types = ("pipeline_failure", "pipeline_success", "channel_recovered")
    house.config(email={}, eventTriggers=[trigger(None, event=name, cooldownSeconds=0) for name in types])
    failures = [house.event() for _ in range(3)]
    good = [house.event(event=name) for name in types[1:] * 3]
    elsewhere = house.event(event="pipeline_success", namespace="other", org="other")
    async with running(house):
        await house.submit(*failures)
        await house.submit(*good, elsewhere)
        phases = [house.status(event).phase for event in good]
        assert phases.count(Phase.DELIVERED) == 2, "so many go out whatever else has failed in this hour"
        assert sorted({house.status(event).reason for event in good}, key=str) == [Reason.BATCHED, None]
        await house.restart()
        again = house.event(event="pipeline_success")
        await house.submit(again)
        assert house.status(again).reason is Reason.BATCHED, "what this hour had is known afterwards"
    async with running(house):
        await house.clock.advance(3700)
    assert sum(len(lines(event)) for event in digests(house)) == 6


async def test_what_an_hour_is_counted_by_is_kept_until_it_ends(house):
    house.config(maxNotificationsPerHour=1, eventTriggers=[trigger(None, cooldownSeconds=0)])
    house.clock._now = (house.clock.now() // 3600 + 1) * 3600 + 100
    event = house.event(ttlSecondsAfterFinished=0)
    sweeping = asyncio.create_task(house.sweeper(cooldown=0).run())
    await house.submit(event)
    await house.clock.advance(1000)
    assert ("team", event.name) in house.events.store
    await house.clock.advance(7300)
    sweeping.cancel()
    assert ("team", event.name) not in house.events.store


# ---------------------------------------------------------------------------- together with incidents


async def test_with_incidents_on_opening_and_end_are_lines_and_others_are_told_once(house):
    house.keep()
    house.config(
        slack=SLACK,
        incidents={"enabled": True},
        eventTriggers=[
            trigger({**HOURLY, "destinations": ["email"]}, providers=["email", "slack"]),
            trigger(event="pipeline_success", providers=["email"]),
        ],
    )
    first, second = house.event(), house.event()
    async with running(house):
        await house.submit(first)
        await house.clock.advance(10)
        await house.submit(second)
        assert house.status(first).phase is Phase.DELIVERED
        assert (house.status(second).phase, house.slack.names) == (Phase.SUPPRESSED, [first.name])
        good = house.event(event="pipeline_success")
        await house.submit(good)
        await house.clock.advance(3700)
    assert house.slack.names == [first.name, good.name]
    found = sorted(name for event in told(house, house.email) for name in lines(event))
    assert found == sorted([first.name, good.name])


async def test_with_incidents_on_what_is_told_by_digests_alone_is_lost_nowhere(house):
    house.keep()
    house.config(incidents={"enabled": True}, eventTriggers=[trigger()])
    events = [house.event(pipelineId=name) for name in ("a", "b", "a")]
    async with running(house):
        for event in events:
            await house.submit(event)
            await house.clock.advance(5)
        reasons = [house.status(event).reason for event in events]
        assert reasons == [Reason.BATCHED, Reason.BATCHED, Reason.REPEATED]
        await house.restart()
    async with running(house):
        await house.clock.advance(3700)
    assert [lines(sent) for sent in told(house, house.email)] == [sorted(event.name for event in events[:2])]


# ---------------------------------------------------------------------- silences and quiet hours


QUIET = [{"from": "15:30", "to": "18:00"}]  # the tests begin at 15:06:40 UTC


async def test_a_digest_that_is_due_in_quiet_hours_comes_at_their_end(house):
    house.config(eventTriggers=[trigger()], quietHours=QUIET)
    event = house.event()
    await house.submit(event)
    async with running(house):
        await house.clock.advance(2 * 3600)
        assert not house.email.sent
        await house.clock.advance(3300)
        assert [lines(sent) for sent in told(house, house.email)] == [[event.name]]


async def test_what_is_critical_comes_in_quiet_hours_too(house):
    house.config(eventTriggers=[trigger(severity="critical")], quietHours=QUIET)
    await house.submit(house.event())
    async with running(house):
        await house.clock.advance(3610)
        assert len(house.email.sent) == 1


async def test_a_digest_that_is_due_in_a_silence_of_everything_comes_at_its_end_by_hand_too(house):
    house.config(eventTriggers=[trigger()])
    event = house.event()
    await house.submit(event)
    silences = house.silence(86_400)
    async with running(house):
        await house.clock.advance(2 * 3600)
        assert not house.email.sent
        silences.clear()
        await house.clock.advance(65)
        assert [lines(sent) for sent in told(house, house.email)] == [[event.name]]


async def test_a_silence_of_some_pipelines_moves_no_digest(house):
    house.config(eventTriggers=[trigger()])
    await house.submit(house.event())
    (silence,) = house.silence(86_400)
    spec = silence.spec.model_copy(update={"pipelines": ["p"]})
    house.engine.books.holds.silences = lambda *_: [replace(silence, spec=spec)]
    async with running(house):
        await house.clock.advance(3610)
        assert len(house.email.sent) == 1


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("holds", ["silence", "quiet hours"])
async def test_what_waits_for_a_digest_in_part_is_not_held_back_as_well(holds, killed):
    night = Night()
    night.no_root()
    triggers = [trigger({**HOURLY, "destinations": ["email"]}, providers=["email", "slack"])]
    night.config(eventTriggers=triggers)  # without Slack, for which it waits
    night.run()
    event = night.event()
    await night.submit(event)
    assert [item.destination for item in night.status(event).batch] == ["email"]
    hours = [{"from": "15:00", "to": "15:30"}] if holds == "quiet hours" else []
    if not hours:
        night.silence(seconds=1400)
    if killed:
        await night.kill()
    night.engine.on_config_change(None, night.config(slack=SLACK, eventTriggers=triggers, quietHours=hours))
    await later(night, 5)
    assert night.status(event).phase is Phase.DELIVERED
    async with running(night):
        await later(night, 7200)
    assert night.slack.names == [event.name]
    assert [lines(sent) for sent in told(night, night.email)] == [[event.name]]
    assert [made.spec.notice.kind for made in digests(night)] == ["Digest"]
    await night.close()


async def test_quiet_hours_of_one_organisation_move_nothing_of_another(house):
    of_root = {
        "org_slug": "root",
        "default_provider": "email",
        "restrict": {"max_notifications_per_hour": 1},
        "email": {"smtp_host": "mail.example.com", "from_email": "a@example.com", "to_emails": ["ops@example.com"]},
        "event_triggers": [{"event": "pipeline_failure", "cooldown_seconds": 0, "providers": ["email"]}],
    }
    house.root.update({"config.json": json.dumps(of_root)}, "1")
    house.ledger.finish_fold()
    orgs = [org for org in map(str, range(1000)) if shard_of(org) == shard_of("acme")][:2]
    quiet = [{"from": "15:30", "to": "18:00"}]
    house.config(org=orgs[0], name="quiet", email={}, quietHours=quiet)
    first, *held = [house.event(org=org) for org in ("acme", orgs[0], orgs[1])]
    async with running(house):
        await house.submit(first)
        await house.submit(*held)
        await house.clock.advance(3300)
        (overflow,) = digests(house)
        assert lines(overflow) == sorted(event.name for event in held)


@pytest.mark.parametrize("change", [{"enabled": False}, {"slack": SLACK, "defaultProvider": "slack"}, {"email": EMAIL}])
async def test_what_one_organisation_changes_meanwhile_takes_no_others_events_away(house, change):
    of_root = {
        "org_slug": "root",
        "default_provider": "email",
        "restrict": {"max_notifications_per_hour": 1},
        "email": {"smtp_host": "mail.example.com", "from_email": "a@example.com", "to_emails": ["ops@example.com"]},
        "event_triggers": [{"event": "pipeline_failure", "cooldown_seconds": 0, "providers": ["email"]}],
    }
    house.root.update({"config.json": json.dumps(of_root)}, "1")
    house.ledger.finish_fold()
    one, two = [org for org in map(str, range(1000)) if shard_of(org) == shard_of("acme")][:2]
    house.config(org=one, name="one", email={})
    first, *held = [house.event(org=org) for org in ("acme", one, two)]
    async with running(house):
        for event in (first, *held):
            await house.submit(event)
        house.config(org=one, name="one", **({"email": {}} | change))
        await house.clock.advance(3700)
    (overflow,) = digests(house)
    assert lines(overflow) == sorted(event.name for event in held)
    assert house.status(overflow).phase is Phase.DELIVERED
    (target,) = [target for _, notification, target, _ in house.email.sent if notification.event.name == overflow.name]
    assert target.host == "mail.example.com"


@pytest.mark.parametrize(
    "when", ["9999-12-31T23:59:59-05:00", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+14:00"]
)
async def test_an_event_of_the_end_of_all_times_stops_nobodys_digests(house, when):
    house.config(eventTriggers=[trigger()])
    house.config(org="globex", name="g", namespace="other", eventTriggers=[trigger()])
    strange, other = house.event(occurredAt=when), house.event(org="globex", namespace="other")
    async with running(house):
        await house.submit(strange, other)
        await house.clock.advance(3610)
    assert sorted(lines(sent) for sent in told(house, house.email)) == sorted([[strange.name], [other.name]])
