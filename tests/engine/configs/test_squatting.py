"""Many configurations of one slug in one namespace cost nobody else anything: not their time, not their turns."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from tests.engine.fakes import EMAIL, House, config_object, settle_down

from pipebell.core.vocabulary import Phase
from pipebell.engine.configs.readiness import Readiness

MANY = 2_000


@pytest.fixture
async def squatted(house):
    """The victim's configuration in `team`, and thousands of the same slug in `evil`."""
    house.config("acme", "team")
    for number in range(MANY):
        config = config_object("acme", "evil", f"c{number:05}", str(1_000 + number), {"email": EMAIL})
        house.configs.store[config.key] = config
        house.book.put(config)
    readiness = Readiness(house.ports, house.book, house.resolver, ("shared",))
    readiness.subscribe(house.engine)
    house.book.subscribe(readiness, house.engine)
    task = asyncio.create_task(readiness.run())
    await settle_down()
    yield house
    task.cancel()
    await settle_down()


def edited(house, namespace, name, version):
    config = config_object("acme", namespace, name, version, {"email": EMAIL})
    house.configs.store[config.key] = config
    house.book.put(config)


def written(house):
    return [name for name, _ in house.configs.patches]


async def test_an_edit_of_one_of_them_is_an_edit_of_one(squatted):
    began = time.process_time()
    for number in range(50):
        edited(squatted, "evil", f"c{number:05}", str(900_000 + number))
    await settle_down()
    assert sorted(written(squatted)) == [f"c{number:05}" for number in range(50)]
    assert time.process_time() - began < 10.0
    assert not any("config" in name for name in written(squatted)), "the victim's is not looked at"


async def test_the_victims_edit_is_judged_at_once_while_all_of_them_change(squatted):
    for number in range(MANY):
        edited(squatted, "evil", f"c{number:05}", str(900_000 + number))
    edited(squatted, "team", "config", "999999")
    await settle_down()
    assert "config" in written(squatted)[:32]


async def test_a_deletion_of_the_one_that_counts_there_is_followed_by_a_paced_review(squatted):
    squatted.book.remove(("evil", "c00000"))
    await settle_down()
    assert written(squatted) == ["c00001"], "the one that counts now"
    await squatted.clock.advance(1.0)
    assert len(written(squatted)) <= 110
    edited(squatted, "team", "config", "999999")
    await settle_down()
    assert written(squatted)[-1] == "config"


async def test_an_event_of_the_victim_is_resolved_without_looking_at_them(squatted):
    began = time.process_time()
    for _ in range(1_000):
        await squatted.resolver.resolve("team", "acme")
    assert time.process_time() - began < 5.0


async def test_an_event_without_a_configuration_asks_for_those_that_could_serve_it_only(house):
    for number in range(100):
        config = config_object("acme", "evil", f"c{number:05}", str(1_000 + number), {"email": EMAIL})
        house.configs.store[config.key] = config
    event = house.event(namespace="team")
    await house.submit(event)
    assert house.status(event).phase is Phase.SKIPPED
    assert house.configs.namespaces == [("team", "shared")]
    assert len(house.book) == 0


async def test_a_configuration_that_flaps_wakes_the_events_of_its_own_namespace_only(house):
    broken = {"email": {"toEmails": ["a@b.c"]}}
    house.config("acme", "team", **broken)
    house.book.subscribe(house.engine)
    event = house.event(namespace="team")
    await house.submit(event)
    reads = len(house.events.reads)
    for version in range(100):
        edited(house, "evil", "flaps", str(900_000 + version))
        await settle_down()
    assert len(house.events.reads) == reads
    edited(house, "team", "config", "999999")
    await settle_down()
    assert house.status(event).phase is Phase.DELIVERED


async def test_a_shared_configuration_wakes_the_events_of_all_namespaces(house):
    house.book.subscribe(house.engine)
    house.config("acme", "shared", eventNamespaces={"from": "All"}, email={"toEmails": ["a@b.c"]})
    events = [house.event(namespace=namespace) for namespace in ("team", "other")]
    await house.submit(*events)
    assert {house.status(event).phase for event in events} == {Phase.PENDING}
    house.config("acme", "shared", eventNamespaces={"from": "All"})
    await settle_down()
    assert {house.status(event).phase for event in events} == {Phase.DELIVERED}


async def test_many_of_one_namespace_that_appear_in_the_worst_order_cost_little():
    house = House()
    house.no_root()
    readiness = Readiness(house.ports, house.book, house.resolver, ())
    house.book.subscribe(readiness)
    began = time.process_time()
    for number in range(MANY):
        config = config_object("acme", "evil", f"c{number:05}", str(1_000 + number), {"email": EMAIL})
        house.book.put(replace(config, created=1e9 - number))
    assert time.process_time() - began < 10.0
    assert house.book.own("evil", "acme").name == f"c{MANY - 1:05}"
    await readiness._queue.close(0)
    await house.engine.close(0)


async def test_an_organisation_is_named_where_a_configuration_may_serve_it(house):
    house.config("acme", "team")
    house.config("everybody", "shared", name="shared")
    names = house.resolver.names
    assert names("team", "acme")
    assert not names("evil", "acme")
    assert names("evil", "everybody")
    assert not names("team", "invented")
