"""The API server goes away, watches are cut, history is forgotten, answers are lost: the operator gets over it."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

import pytest
from tests.e2e.harness import FINAL, config, delivery, event, eventually, phase
from tests.e2e.proxy import ApiProxy

from pipebell.sinks import Respond

FREE = {"eventTriggers": [{"event": "pipeline_failure", "cooldownSeconds": 0}]}


@pytest.fixture(scope="module")
def proxy(world, tmp_path_factory):
    made = ApiProxy(world)
    made.kubeconfig = world.run(made.start(tmp_path_factory.mktemp("proxy")))
    yield made
    world.run(made.stop())


@pytest.fixture(scope="module")
def operator(world, proxy):
    world.set_root(world.root_spec())
    with world.running(kubeconfig=proxy.kubeconfig) as running:
        yield running


class Load:
    """Within its `with` block, creates events one after another in the background, whatever happens."""

    def __init__(self, world, namespace, org, every=0.03):
        self.count = 0
        self._world, self._namespace, self._org, self._every = world, namespace, org, every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def _work(self):
        while not self._ended.is_set():
            self._world.api.create_surely(event(self._namespace, f"e{self.count:04}", self._org))
            self.count += 1
            time.sleep(self._every)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()


def organisation(world, org, **changes):
    namespace = world.namespace()
    world.api.create(config(namespace, org, org, **world.slack_only(org.title().replace("-", "_")), **FREE, **changes))
    return namespace


def all_delivered_once(world, namespace, org, count, seconds=60):
    found = world.api.finished(namespace, count, seconds)
    assert len(found) == count
    assert {phase(item) for item in found.values()} == {"Delivered"}
    hook = org.title().replace("-", "_")
    times = Counter(post.headers["x-pipebell-delivery"] for post in world.posts_to(hook))
    assert set(times) == {f"{item['metadata']['uid']}.slack" for item in found.values()}
    assert set(times.values()) == {1}, "nothing twice: the process that sent it lives"
    return found


def test_configs_deleted_unseen_are_forgotten(world, proxy, operator):
    """The watch breaks, and what was deleted meanwhile is never told: a list has to heal that."""
    namespace = organisation(world, "healed")
    world.api.reaches(world.api.create(event(namespace, "e1", "healed")), "Delivered")
    proxy.watched()
    proxy.deaf = True
    world.api.delete(config(namespace, "healed", ""))
    root = world.set_root(world.root_spec(email=world.root_spec()["email"] | {"to_emails": ["healed@root.io"]}))
    time.sleep(0.5)
    proxy.deaf = False
    at = operator.log.stat().st_size
    proxy.watched()
    proxy.gone()

    def served_by_root(number):
        made = world.api.create(event(namespace, f"after-{number}", "healed", "system_error"))
        eventually(lambda: phase(world.api.get(made)) in FINAL)
        return world.api.get(made)["status"]["configRef"]["kind"] == "RootConfig"

    numbers = iter(range(100))
    eventually(lambda: served_by_root(next(numbers)), 60, "root instead of the deleted config", every=0.5)
    eventually(lambda: operator.told("root_config_loaded", since=at, version=root))
    assert world.mails_to("healed@root.io")


def test_watches_that_are_cut_lose_nothing(world, proxy, operator):
    namespace = organisation(world, "cut")
    with Load(world, namespace, "cut") as load:
        for _ in range(3):
            time.sleep(random.uniform(0.1, 0.5))
            proxy.watched()
            proxy.cut()
    all_delivered_once(world, namespace, "cut", load.count)


def test_history_that_is_gone_is_listed_again(world, proxy, operator):
    namespace = organisation(world, "gone")
    with Load(world, namespace, "gone") as load:
        for _ in range(2):
            time.sleep(random.uniform(0.1, 0.5))
            proxy.watched()
            proxy.gone()
    all_delivered_once(world, namespace, "gone", load.count)


@pytest.mark.parametrize("status", [500, 429])
def test_a_server_that_fails_now_and_then_delays_but_loses_nothing(world, proxy, operator, status):
    org = f"fails-{status}"
    namespace = organisation(world, org)
    chance = random.Random(status)
    proxy.fail(lambda method, path: status if chance.random() < 0.4 else None)
    try:
        with Load(world, namespace, org) as load:
            time.sleep(1.0)
            proxy.cut()
            time.sleep(1.0)
    finally:
        proxy.fail(None)
    all_delivered_once(world, namespace, org, load.count)


def test_a_write_whose_answer_is_lost_is_not_sent_again(world, proxy, operator):
    namespace = organisation(world, "lost")
    lost = []

    def lose(method, path):
        if method == "PATCH" and namespace in path and path.endswith("/status") and len(lost) < 10:
            lost.append(path)
            return True
        return False

    proxy.lose(lose)
    try:
        world.api.create_all(event(namespace, f"e{n:02}", "lost") for n in range(30))
        all_delivered_once(world, namespace, "lost", 30)
    finally:
        proxy.lose(None)
    assert len(lost) == 10


def test_a_permission_that_is_missing_for_a_while_loses_nothing(world, proxy, operator):
    """Somebody takes the right to write away after the message was sent, and gives it back."""
    namespace = organisation(world, "forbidden")
    proxy.fail(lambda method, path: 403 if method == "PATCH" else None)
    try:
        world.api.create_all(event(namespace, f"e{n:02}", "forbidden") for n in range(10))
        eventually(lambda: len(world.posts_to("Forbidden")) == 10)
        time.sleep(1.0)
    finally:
        proxy.fail(None)
    all_delivered_once(world, namespace, "forbidden", 10)


def test_an_api_server_that_is_away_for_ten_seconds_under_load(world, proxy, operator):
    namespace = organisation(world, "away")
    retry = {"initialDelaySeconds": 3, "maxAttempts": 3}
    retried = organisation(world, "away-retry", retryConfig=retry)
    world.slack.plan(500, path=world.slack.webhook("Away_Retry"))
    with Load(world, namespace, "away") as load:
        late = world.api.create(event(retried, "late", "away-retry"))
        world.api.reaches(late, "Retrying")
        # some are at the provider when the API server goes
        world.slack.script(world.slack.webhook("Away")).always = lambda _: Respond(wait=1.0)
        time.sleep(0.5)
        world.cluster.stop()
        time.sleep(10.0)
        world.cluster.resume()
        world.slack.script(world.slack.webhook("Away")).clear()
        time.sleep(1.0)
    all_delivered_once(world, namespace, "away", load.count, 90)
    found = world.api.reaches(late, "Delivered")
    assert delivery(found, "slack")["attempts"] == 2
    assert operator.alive
    # root and configs are followed as before
    made = world.api.create(config(retried, "fresh", "fresh", **world.slack_only("Fresh")))
    world.api.condition(made, "Ready")


def test_an_api_server_that_is_killed_comes_back(world, proxy, operator):
    namespace = organisation(world, "killed")
    with Load(world, namespace, "killed") as load:
        time.sleep(0.7)
        world.cluster.kill()
        world.cluster.resume()
        time.sleep(1.0)
    all_delivered_once(world, namespace, "killed", load.count, 90)
