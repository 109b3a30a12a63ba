"""What goes on beside the events: readiness, root, bookkeeping, retention."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from tests.engine.fakes import EMAIL, START, settle_down

from pipebell.core.errors import NotReady, Problem, Unavailable
from pipebell.core.status import Condition, NotificationConfigStatus, rfc3339
from pipebell.core.vocabulary import NotReadyReason, Phase
from pipebell.engine.configs.readiness import Readiness
from pipebell.engine.upkeep.usage import UsageWriter


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


async def test_a_usable_configuration_is_ready_and_written_once(house, readiness):
    config = house.config()
    readiness.changed(config)
    await settle_down()
    readiness.changed(config)
    await settle_down()
    ready = conditions(house)["Ready"]
    assert (ready["status"], ready["observedGeneration"]) == ("True", config.generation)
    assert len(house.configs.patches) == 1


async def test_nothing_is_written_over_what_stands_there(house, readiness):
    stands = Condition(
        type="Ready",
        status="True",
        reason="Ready",
        message="notifications can be sent",
        last_transition_time=rfc3339(START),
        observed_generation=1,
    )
    config = house.config()
    known = replace(config, status=NotificationConfigStatus(observed_generation=config.generation, conditions=[stands]))
    house.book.remove(config.key)
    house.book.put(known)
    readiness.found(known)
    await house.clock.advance(1)
    assert house.configs.patches == []


@pytest.mark.parametrize(
    ("spec", "reason", "named"),
    [
        ({"email": {"toEmails": ["a@x.example"]}}, "Incomplete", "email.smtpHost"),
        ({"secretRef": {"name": "s"}, "email": EMAIL | {"toEmails": ["${TO}"]}}, "MissingSecret", "Secret s"),
        ({"slack": {"enabled": True}}, "Incomplete", "slack.webhookUrl"),
    ],
)
async def test_what_is_wrong_is_named(house, readiness, spec, reason, named):
    readiness.changed(house.config(**spec))
    await settle_down()
    ready = conditions(house)["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", reason)
    assert named in ready["message"]
    assert house.notices.posted == [("NotificationConfig", "team/config", reason)]


async def test_an_unparsable_configuration_is_invalid(house, readiness):
    config = replace(house.config(), spec=None, problems=(Problem("email.smtpPort", "is not a port"),))
    house.book.remove(config.key)
    house.book.put(config)
    readiness.changed(config)
    await settle_down()
    assert conditions(house)["Ready"]["reason"] == "Invalid"
    assert "email.smtpPort" in conditions(house)["Ready"]["message"]


async def test_of_two_for_one_organisation_the_younger_conflicts_until_the_other_goes(house, readiness):
    first, second = house.config(name="a"), house.config(name="b")
    readiness.found(first)
    readiness.found(second)
    await settle_down()
    assert conditions(house, "a")["Ready"]["status"] == "True"
    assert conditions(house, "b")["Ready"]["reason"] == "Conflict"
    house.book.remove(first.key)
    readiness.on_config_change(first, None)
    await settle_down()
    assert conditions(house, "b")["Ready"]["status"] == "True"
    assert second.key == ("team", "b")


async def test_a_secret_that_appears_is_noticed_and_events_go_on(house, readiness):
    config = house.config(email=EMAIL | {"toEmails": ["${TO}"]}, secretRef={"name": "s"})
    readiness.changed(config)
    event = house.event()
    await house.submit(event)
    assert house.status(event).phase is Phase.PENDING
    house.secrets.store["team", "s"] = {"TO": "a@acme.example"}
    await house.clock.advance(6)
    assert conditions(house)["Ready"]["status"] == "True"
    assert house.status(event).phase is Phase.DELIVERED


async def test_sharing_without_permission_is_said(house, readiness):
    readiness.changed(house.config(eventNamespaces={"from": "All"}))
    readiness.changed(house.config(name="s", namespace="shared", eventNamespaces={"from": "All"}))
    await settle_down()
    assert conditions(house)["Shared"]["reason"] == "NotPermitted"
    assert conditions(house, "s")["Shared"]["status"] == "True"


async def test_a_host_refused_at_connect_time_counts_although_a_check_finds_nothing(house, readiness):
    config = house.config()
    readiness.on_config_refused(config, NotReady(NotReadyReason.HOST_NOT_ALLOWED, "smtp.example.com is 10.0.0.1"))
    await settle_down()
    assert conditions(house)["Ready"]["reason"] == "HostNotAllowed"
    await house.clock.advance(61)
    assert conditions(house)["Ready"]["status"] == "True"


async def test_an_invalid_root_keeps_the_last_good_one(house):
    house.root.update({"config.json": json.dumps({"email": EMAIL})}, "2")
    house.root.update({"config.json": "{"}, "3")
    assert house.root.current.spec.email.smtp_host == "smtp.example.com"
    assert "JSON" in house.root.current.problems
    assert house.notices.posted == [("ConfigMap", "ops/pipebell-root", "InvalidRootConfiguration")]
    event = house.event()
    await house.submit(event)
    assert house.status(event).phase is Phase.DELIVERED


async def test_with_an_invalid_root_and_no_good_one_events_wait(house):
    house.root.update({"config.json": "{"}, "3")
    event = house.event()
    await house.submit(event)
    assert house.status(event).phase is Phase.PENDING
    house.root.update({"config.json": json.dumps({"email": EMAIL})}, "4")
    house.engine.wake_org(None)
    await settle_down()
    assert house.status(event).phase is Phase.DELIVERED


async def test_with_an_invalid_root_only_those_wait_who_lean_on_it(house):
    house.root.update({"config.json": "{"}, "3")
    house.config("leaning")
    house.config("standing", name="c2", eventTriggers=[{"event": "pipeline_failure", "providers": ["email"]}])
    leaning, standing = house.event(org="leaning"), house.event(org="standing")
    await house.submit(leaning, standing)
    assert house.status(leaning).phase is Phase.PENDING
    assert "root" in house.status(leaning).message
    assert house.status(standing).phase is Phase.DELIVERED


async def test_a_deleted_root_counts_for_half_a_minute(house):
    house.root.update({"config.json": json.dumps({"email": EMAIL})}, "2")
    house.root.update(None, "")
    await house.clock.advance(29)
    assert house.root.current.spec is not None
    await house.clock.advance(1)
    assert house.root.current.spec is None


async def test_a_root_that_comes_back_in_time_was_never_gone(house):
    house.root.update({"config.json": json.dumps({"email": EMAIL})}, "2")
    house.root.update(None, "")
    await house.clock.advance(29)
    house.root.update({"config.json": json.dumps({"email": EMAIL | {"smtpHost": "new.example"}})}, "5")
    await house.clock.advance(60)
    assert house.root.current.spec.email.smtp_host == "new.example"


async def test_bookkeeping_is_written_seldom(house):
    house.config()
    books = UsageWriter(house.ports, house.book, house.ledger)
    house.engine.observers.subscribe(books)
    task = asyncio.create_task(books.run())
    events = [house.event() for _ in range(5)]
    await house.submit(*events)
    await house.clock.advance(1)
    (_, status), *more = house.configs.patches
    assert not more
    assert status["triggers"][0]["suppressedSinceLastSent"] == 4
    assert status["counters"] == {"delivered": 1, "suppressed": 4, "failed": 0}
    assert status["lastDelivery"]["event"] == f"team/{events[-1].name}"
    await house.submit(house.event())
    await house.clock.advance(58)
    assert len(house.configs.patches) == 1
    await house.clock.advance(3)
    assert len(house.configs.patches) == 2
    task.cancel()


async def test_finished_events_go_when_their_time_has_come_unless_a_cooldown_needs_them(house):
    house.config()
    task = asyncio.create_task(house.sweeper().run())
    sent, held = house.event(), house.event()
    own = house.event(ttlSecondsAfterFinished=10, event="system_error", test=True)
    unwanted = house.event(event="pipeline_started")
    await house.submit(sent, held, own, unwanted)
    await house.clock.advance(30)
    assert set(house.events.store) == {("team", e.name) for e in (sent, held, unwanted)}
    await house.clock.advance(100)
    assert set(house.events.store) == {("team", e.name) for e in (sent, held)}
    await house.clock.advance(300)
    assert len(house.events.store) == 2, "the suppression has not been told yet"
    later = house.event()
    await house.submit(later)
    assert house.email.sent[-1][1].suppressed == 1
    await house.clock.advance(100)
    assert set(house.events.store) == {("team", later.name)}
    task.cancel()


async def test_failures_are_kept_longer_and_unfinished_events_for_ever(house):
    house.config(email={"toEmails": ["a@x.example"]})
    waiting = house.event()
    await house.submit(waiting)
    task = asyncio.create_task(house.sweeper(ttl_delivered=0).run())
    house.events.force_status("team", waiting.name, {"phase": "Failed", "completionTime": rfc3339(START)})
    other = house.event()
    await house.recover()
    await house.clock.advance(500)
    assert len(house.events.store) == 2
    await house.clock.advance(700)
    assert set(house.events.store) == {("team", other.name)}
    task.cancel()


async def test_thousands_that_fell_due_are_deleted_within_seconds(house):
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}])
    events = [house.event(test=True) for _ in range(1000)]
    for event in events:
        house.events.force_status("team", event.name, {"phase": "Delivered", "completionTime": rfc3339(START)})
    task = asyncio.create_task(house.sweeper(ttl_delivered=1).run())
    await house.recover()
    await house.clock.advance(10)
    assert house.events.store == {}
    task.cancel()


async def test_a_look_at_all_events_is_rare(house):
    """Ten in an event's life, for each reads everything that there is; and the pass at the start is the first."""
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}])
    looks = []
    real = house.events.scan

    def scan(**how):
        looks.append(house.clock.now() - START)
        return real(**how)

    retention = house.sweeper(ttl_delivered=3600)
    await house.recover()
    house.events.scan = scan
    task = asyncio.create_task(retention.run())
    for _ in range(240):
        await house.submit(house.event())
        await house.clock.advance(60)
    assert looks[0] == 3600, "none at the start"
    assert len(looks) <= 3 * 10, "in the three hours in which something falls due every minute"
    assert 60 <= len(house.events.store) <= 60 * 1.1 + 2
    task.cancel()


async def test_nothing_is_swept_by_a_clock_that_is_not_trusted(house):
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}])
    task = asyncio.create_task(house.sweeper(cooldown=0, ttl_delivered=3600).run())
    await house.submit(*(house.event() for _ in range(3)))
    house.clock.trusted = False
    await house.clock.advance(8 * 86_400)
    assert len(house.events.store) == 3
    house.clock.trusted = True
    await house.clock.advance(30)
    assert house.events.store == {}
    task.cancel()


@pytest.mark.parametrize(("ended", "after"), [(8 * 86_400.0, 86_400 + 3600), (1e11, 86_400 + 3600), (-1e9, 3600)])
async def test_an_end_that_a_wrong_clock_wrote_keeps_nothing_for_ever_and_takes_nothing_early(house, ended, after):
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}])
    event = house.event()
    await house.submit(event)
    stored = house.events.store["team", event.name]
    status = stored.status.model_copy(update={"completion_time": rfc3339(house.clock.now() + ended)})
    house.events.store["team", event.name] = replace(stored, status=status)
    task = asyncio.create_task(house.sweeper(cooldown=0, ttl_delivered=3600).run())
    await house.clock.advance(after - 120)
    assert len(house.events.store) == 1
    await house.clock.advance(2 * 3600)
    assert house.events.store == {}
    task.cancel()


async def test_a_look_that_fails_is_made_again_soon(house):
    house.config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}])
    task = asyncio.create_task(house.sweeper(cooldown=0).run())
    await house.submit(*(house.event() for _ in range(3)))
    real, house.events.delete = house.events.delete, refuse
    await house.clock.advance(80)
    assert len(house.events.store) == 3
    house.events.delete = real
    await house.clock.advance(10)
    assert house.events.store == {}
    task.cancel()


async def refuse(*_):
    raise Unavailable("429 too many requests")
