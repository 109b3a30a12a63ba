"""Several replicas share the organisations: they die, are paused, come and go, and each event is served once."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from threading import Event

import pytest
from tests.e2e.harness import SYSTEM, config, event, eventually, phase

from pipebell.core.shards import SHARDS, shard_of
from pipebell.sinks import Respond

ORGS, EACH = 100, 20
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"


@pytest.fixture
def replicas(world):
    """Start replicas; all of them end with the test."""
    world.set_root(world.root_spec())
    started = []

    def start(count=1):
        new = [world.operator() for _ in range(count)]
        began = [replica.spawn() for replica in new]
        started.extend(new)
        for replica, at in zip(new, began, strict=True):
            replica.wait_ready(at)
        return new

    yield start
    for replica in started:
        if replica.alive:
            replica.go_on()
            replica.stop()


def held(replica):
    return replica.metric("pipebell_shards_held")


def shared_by(*replicas):
    return sum(map(held, replicas)) == SHARDS and all(held(replica) >= SHARDS // len(replicas) for replica in replicas)


def identities(posts):
    return Counter(post.headers["x-pipebell-delivery"] for post in posts)


def recorded(found):
    return {f"{item['metadata']['uid']}.slack" for item in found.values() if phase(item) == "Delivered"}


@contextmanager
def creating(world, namespace, per_second):
    """All organisations' events, one after another at this pace; the last quarter once the caller's block has ended."""
    go_on = Event()

    def create():
        began = time.monotonic()
        for number in range(ORGS * EACH):
            if number == ORGS * EACH * 3 // 4:
                go_on.wait(120)
            time.sleep(max(0.0, began + number / per_second - time.monotonic()))
            world.api.create(event(namespace, f"e{number:04}", f"{namespace}-{number % ORGS}"))

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(create)
        try:
            yield done
        finally:
            go_on.set()
        done.result()


def organisations(world, namespace):
    """Every other one has a cooldown that outlasts the test. Slack takes its time."""
    documents = []
    for number in range(ORGS):
        hook = f"{namespace}{number}".replace("-", "")
        world.slack.script(world.slack.webhook(hook)).always = lambda _: Respond(wait=0.15)
        trigger = {"event": "pipeline_failure", "cooldownSeconds": 3600 * (number % 2)}
        spec = world.slack_only(hook, eventTriggers=[trigger])
        documents.append(config(namespace, f"c{number}", f"{namespace}-{number}", **spec))
    world.api.create_all(documents)


def check(found, posts):
    """Every event ended as it should, and each notification that arrived is one that is recorded."""
    assert len(found) == ORGS * EACH
    by_org = {}
    for item in found.values():
        by_org.setdefault(item["spec"]["orgSlug"], Counter())[phase(item)] += 1
    for number, (org, phases) in enumerate(sorted(by_org.items(), key=lambda pair: int(pair[0].rpartition("-")[2]))):
        wanted = {"Delivered": 1, "Suppressed": EACH - 1} if number % 2 else {"Delivered": EACH}
        assert phases == wanted, f"{org}, whose shard is {shard_of(org)}"
    assert set(identities(posts)) == recorded(found)


@pytest.mark.timeout(420)
def test_one_of_three_is_killed_and_one_is_paused_past_its_lease(world, replicas):
    namespace = world.namespace()
    organisations(world, namespace)
    killed, paused, third = replicas(3)
    eventually(lambda: shared_by(killed, paused, third), 60, "fair shares")
    before = len(world.slack.requests)
    may_repeat: Counter[str] = Counter()

    def posts():
        return world.slack.requests[before:]

    with creating(world, namespace, per_second=50):
        time.sleep(5.0)
        killed.kill()
        died = time.time()
        time.sleep(1.0)  # what it had sent arrives
        may_repeat.update(set(identities(posts())) - recorded(world.api.events(namespace)))
        eventually(lambda: held(paused) + held(third) == SHARDS, 60, "the dead one's shards are taken over")
        taken_over = time.time() - died
        time.sleep(3.0)
        paused.pause()
        stopped = time.time()
        time.sleep(1.0)
        may_repeat.update(set(identities(posts())) - recorded(world.api.events(namespace)))
        eventually(lambda: held(third) == SHARDS, 60, "the paused one's shards are taken over")
        taken_from_paused = time.time() - stopped
        time.sleep(max(0.0, 16.0 - taken_from_paused))
        at = paused.log.stat().st_size
        paused.go_on()
        eventually(lambda: paused.told("all_shards_lost", since=at), 60, "it learns that it has lost everything")
    found = world.api.finished(namespace, ORGS * EACH, 120)
    repeated = {identity: count for identity, count in identities(posts()).items() if count > 1}
    print(f"takeover after {taken_over:.1f} and {taken_from_paused:.1f} s, in flight {len(may_repeat)}, {repeated=}")  # noqa: T201  (pytest shows it when the test fails)
    check(found, posts())
    assert taken_over <= 45
    assert taken_from_paused <= 45
    again = Counter({identity: count - 1 for identity, count in repeated.items()})
    assert again <= may_repeat, "only what was in flight on the two may come again, once for each of them"
    waits = [_delivered(item) - _created(item) for item in found.values() if phase(item) == "Delivered"]
    assert max(waits) <= 90, "nobody waited longer than for a takeover"
    eventually(lambda: shared_by(paused, third), 60, "it has a share again")


def _created(item):
    return datetime.fromisoformat(item["metadata"]["creationTimestamp"]).timestamp()


def _delivered(item):
    return datetime.fromisoformat(item["status"]["deliveries"][0]["deliveredTime"]).timestamp()


@pytest.mark.timeout(420)
def test_replicas_that_come_and_go_under_load_lose_and_repeat_nothing(world, replicas):
    """A rolling restart of two: the new ones first, then the old ones leave."""
    namespace = world.namespace()
    organisations(world, namespace)
    old = replicas(2)
    eventually(lambda: shared_by(*old), 60, "fair shares")
    before = len(world.slack.requests)
    with creating(world, namespace, per_second=80) as done:
        time.sleep(2.0)
        for leaving in old:
            new = replicas(1)
            time.sleep(2.0)
            assert leaving.stop() == 0
            old = [*old[1:], *new]
        assert not done.done(), "they changed while events were being created"
    found = world.api.finished(namespace, ORGS * EACH, 120)
    posts = world.slack.requests[before:]
    check(found, posts)
    assert set(identities(posts).values()) == {1}, "nothing was sent twice"
    eventually(lambda: shared_by(*old), 60, "fair shares again")
    waits = sorted(_delivered(item) - _created(item) for item in found.values() if phase(item) == "Delivered")
    print(f"the longest wait: {waits[-1]:.1f} s")  # noqa: T201
    assert waits[-1] < 90


def test_leases_say_who_serves_what_and_go_with_the_operators_account(world, replicas):
    (only,) = replicas(1)
    leases = {item["metadata"]["name"]: item for item in world.api.request("GET", LEASES)["items"]}
    shards = [f"pipebell-shard-{number:02}" for number in range(SHARDS)]
    assert set(shards) < set(leases)
    (mine,) = [name for name in leases if name.startswith("pipebell-replica-")]
    assert {leases[name]["spec"]["holderIdentity"] for name in shards} == {mine.removeprefix("pipebell-replica-")}
    owners = {owner["name"] for item in leases.values() for owner in item["metadata"].get("ownerReferences", [])}
    assert owners == {"pipebell-operator"}
    assert only.stop() == 0
    left = {item["metadata"]["name"]: item for item in world.api.request("GET", LEASES)["items"]}
    assert mine not in left


def test_a_replica_that_is_killed_and_started_again_waits_for_nobody(world, replicas):
    began = time.monotonic()
    (only,) = replicas(1)
    eventually(lambda: held(only) == SHARDS, 60, "it has everything")
    fresh = time.monotonic() - began
    only.kill()
    began = time.monotonic()
    only.start()
    eventually(lambda: held(only) == SHARDS, 60, "it has everything")
    assert time.monotonic() - began < fresh * 1.5 + 6, "another's lease takes eight seconds to end"


def test_without_the_right_to_leases_it_says_so_and_sends_nothing(world, replicas):
    """The rights that `pipebell run` needs are the chart's; whoever made their own has to add these."""
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{SYSTEM}/roles/pipebell-operator-root"
    role = world.api.request("GET", path)
    rules = [rule for rule in role["rules"] if rule["resources"] != ["leases"]]
    assert len(rules) < len(role["rules"])
    world.api.request("PUT", path, role | {"rules": rules})
    replica = world.operator()
    replica.spawn()
    try:
        line = eventually(lambda: replica.told("leases_not_kept"), 60, "a line in the log")
        assert "leases" in line["error"]
        assert "forbidden" in line["error"]
        assert replica.told("started") is None
    finally:
        fresh = world.api.request("GET", path)
        world.api.request("PUT", path, fresh | {"rules": role["rules"]})
        replica.wait_ready(0)  # it has waited for the right
        assert replica.stop() == 0
