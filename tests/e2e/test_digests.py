"""Digests over SIGKILLs: three replicas die and come back while events are batched and digests are made."""

from __future__ import annotations

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.e2e.harness import config, event, eventually, phase

from pipebell.core.digest import parse

ORGS, EACH = 6, 40
EVERY = 60  # seconds, the least


@pytest.fixture
def replicas(world):
    world.set_root(world.root_spec())
    started = []

    def start():
        replica = world.operator()
        started.append(replica)
        return replica.start()

    yield start
    for replica in started:
        if replica.alive:
            replica.stop()


def digests(found):
    return {name: item for name, item in found.items() if item["spec"].get("notice")}


def lines(item):
    content = parse(item["spec"]["notice"]["content"])
    assert content is not None
    assert content.omitted == 0
    names = [line.name for group in content.groups for line in group.lines]
    assert content.total == len(names) > 0, "none is empty"
    return names


@pytest.mark.timeout(480)
def test_each_event_is_in_exactly_one_digest_whoever_dies_whenever(world, replicas):
    namespace, draw = world.namespace(), random.Random(15)
    digest = {"everySeconds": EVERY, "maxItems": 500}
    for number in range(ORGS):
        trigger = {"event": "pipeline_failure", "digest": digest}
        spec = world.slack_only(f"{namespace}{number}".replace("-", ""), eventTriggers=[trigger])
        world.api.create(config(namespace, f"c{number}", f"{namespace}-{number}", **spec))
    running = [replicas() for _ in range(3)]
    names = [f"e{number:03}" for number in range(ORGS * EACH)]
    before = len(world.slack.requests)

    def create():
        for number, name in enumerate(names):
            time.sleep(0.2)
            world.api.create_surely(event(namespace, name, f"{namespace}-{number % ORGS}"))

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(create)
        for _ in range(5):
            time.sleep(draw.uniform(3.0, 16.0))
            victim = running.pop(draw.randrange(len(running)))
            victim.kill()
            running.append(replicas())
        done.result()

    def all_told():
        found = world.api.events(namespace)
        told = [name for item in digests(found).values() if phase(item) == "Delivered" for name in lines(item)]
        return len(told) >= len(names)

    eventually(all_told, 2 * EVERY + 120, "all digests are delivered", every=1.0)
    found = world.api.events(namespace)
    made = digests(found)
    members = {name: item for name, item in found.items() if name not in made}
    assert {(phase(item), item["status"]["reason"]) for item in members.values()} == {("Suppressed", "Batched")}
    counted = Counter(name for item in made.values() for name in lines(item))
    assert counted == Counter(names), "each in exactly one"
    for name, item in made.items():
        for member in lines(item):
            assert members[member]["spec"]["orgSlug"] == item["spec"]["orgSlug"]
            assert members[member]["status"]["batch"][0]["digest"] == name
    posts = Counter(post.headers["x-pipebell-delivery"] for post in world.slack.requests[before:])
    assert set(posts) == {f"{item['metadata']['uid']}.slack" for item in made.values()}, "nothing was told singly"
