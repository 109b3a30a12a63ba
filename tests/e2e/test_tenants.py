"""A hostile namespace, through the real API server and real sockets: what it does is its own trouble."""

from __future__ import annotations

import statistics
import time

import pytest
from tests.e2e.harness import GROUP, config, event, eventually, phase

from pipebell.sinks import HANG, Respond, SlackSink

UNCOOLED = {"eventTriggers": [{"event": "pipeline_failure", "providers": ["slack"], "cooldownSeconds": 0}]}
FLOOD = 5_000
SLOW = 128


class Victim:
    """An organisation that minds its own business, and how long its events take from creation to the webhook."""

    def __init__(self, world, org, webhook):
        self.world, self.org, self.webhook, self.count = world, org, webhook, 0
        self.namespace = world.namespace()
        made = world.api.create(config(self.namespace, "mine", org, **world.slack_only(webhook), **UNCOOLED))
        world.api.condition(made, "Ready")

    def latencies(self, times):
        """Seconds, one event after another."""
        found = []
        for _ in range(times):
            self.count += 1
            began = time.time()
            self.world.api.create(event(self.namespace, f"victim-{self.count}", self.org))
            eventually(lambda: len(self.world.posts_to(self.webhook)) >= self.count, 60, "the victim's post", 0.002)
            found.append(self.world.posts_to(self.webhook)[-1].time - began)
        return found

    def stays_within(self, bound, measure):
        """Whether 30 events keep to this in one of five rounds: a machine that is busy otherwise is not busy for ever,
        and whoever is really in the way is there in all of them."""
        rounds = []
        for _ in range(5):
            rounds.append(measure(self.latencies(30)))
            if rounds[-1] <= bound:
                return
        raise AssertionError((bound, rounds))


def lower_quartile(seconds):
    return statistics.quantiles(seconds, n=4)[0]


@pytest.fixture
def slow(world):
    """A server of somebody's own that never gets anything done."""
    sink = SlackSink(trust=world.trust, names=("127.0.0.1",))
    with world.another(sink):
        yield sink


@pytest.fixture(scope="module")
def operator(world, request):
    """One that may reach any port of this machine by webhook."""
    with world.running(slack_hosts="127.0.0.1") as running:
        yield running


def test_a_namespace_with_the_victims_slug_a_flood_and_a_slow_server_delays_nobody(world, operator, slow):
    victim = Victim(world, "victim", "Victim")
    idle = statistics.median(victim.latencies(15))
    evil = world.namespace()
    slow.script(slow.webhook("Evil")).always = lambda _: Respond(500, "later", wait=3.0)
    retries = {"maxAttempts": 100, "initialDelaySeconds": 1, "maxDelaySeconds": 1}
    spec = {"defaultProvider": "slack", "slack": {"webhookUrl": slow.webhook("Evil")}, "retryConfig": retries}
    made = world.api.create(config(evil, "squatter", "victim", **spec, **UNCOOLED))
    world.api.condition(made, "Ready")
    world.api.create_all(event(evil, f"flood-{number:05}", "victim") for number in range(FLOOD))
    eventually(lambda: len(slow.requests) > 20, 60, "the flood is under way")
    victim.stays_within(idle + 1.0, lambda seconds: sorted(seconds)[-2])
    assert {phase(item) for item in world.api.events(victim.namespace).values()} <= {"Delivered", None}
    # The victim's slug is its own: nothing of it went to the squatter, and nothing of the squatter's to it.
    assert all("victim-" not in post.body.decode() for post in slow.requests)
    assert len(world.posts_to("Victim")) == victim.count
    world.api.request("DELETE", f"{GROUP}/namespaces/{evil}/pipelineevents")


def test_a_hundred_destinations_that_hang_leave_the_others_as_they_were(world, operator, slow):
    victim = Victim(world, "beside", "Beside")
    idle = max(lower_quartile(victim.latencies(30)) for _ in range(2))
    evil = world.namespace()
    for number in range(SLOW):
        slow.script(slow.webhook(f"Hangs{number}")).always = lambda _: HANG
    documents = [
        config(
            evil,
            f"slow-{number}",
            f"slow-{number}",
            defaultProvider="slack",
            slack={"webhookUrl": slow.webhook(f"Hangs{number}")},
            **UNCOOLED,
        )
        for number in range(SLOW)
    ]
    for made in world.api.create_all(documents):
        world.api.condition(made, "Ready")
    world.api.create_all(
        event(evil, f"hangs-{number}-{again}", f"slow-{number}") for number in range(SLOW) for again in range(4)
    )
    eventually(lambda: operator.metric("pipebell_queue_running") >= SLOW, 60, "all of them hang")
    assert operator.metric("pipebell_queue_running") <= 256, "a namespace has its bound"
    victim.stays_within(max(2 * idle, idle + 0.02), lower_quartile)
    world.api.request("DELETE", f"{GROUP}/namespaces/{evil}/pipelineevents")
