"""A channel that fails, with several replicas: told once, mended, told once; and the heartbeat."""

from __future__ import annotations

import time
from contextlib import contextmanager

from tests.e2e.harness import SYSTEM, config, event, eventually, phase

from pipebell.core.status import rfc3339
from pipebell.sinks import HttpSink, Respond

BROKEN = 1200.0  # seconds for which it has failed when the operators begin, as their predecessor wrote
PATIENCE = 60.0
TRIGGERS = [{"event": "pipeline_failure", "providers": ["slack", "email"], "cooldownSeconds": 0}]


@contextmanager
def replicas(world, count, **settings):
    started = [world.operator(**settings) for _ in range(count)]
    try:
        for replica, begun in [(replica, replica.spawn()) for replica in started]:
            replica.wait_ready(begun, PATIENCE)
        yield started
    finally:
        for replica in started:
            if replica.alive:
                replica.stop()


def notices(world, namespace):
    return {name: item for name, item in world.api.events(namespace).items() if "notice" in item["spec"]}


def told(world, namespace, kind):
    found = [item for item in notices(world, namespace).values() if item["spec"]["event"] == kind]
    return found[0] if len(found) == 1 and phase(found[0]) == "Delivered" else None


def record(world, document):
    found = world.api.get(document)["status"].get("destinations") or ()
    return next((item for item in found if item["name"] == "slack"), {})


def test_three_replicas_tell_once_that_a_channel_fails_and_once_that_it_works_again(world):
    world.set_root(world.root_spec())
    namespace = world.namespace()
    hook = world.slack.webhook(namespace.replace("-", ""))
    dead = [True]
    world.slack.script(hook).always = lambda _: Respond(404, "no_service") if dead else None
    mine = config(
        namespace,
        "acme",
        "acme",
        slack={"webhookUrl": hook},
        email=world.own_smtp("data@acme.example"),
        channelHealth={"tell": True},
        eventTriggers=TRIGGERS,
        retryConfig={"maxAttempts": 1},
    )
    world.api.create(mine)
    since = rfc3339(time.time() - BROKEN)
    left = {"name": "slack", "provider": "slack", "state": "Failing", "since": since, "reason": "Http404"}
    world.api.request(
        "PATCH",
        f"{world.api.path(mine)}/acme/status",
        {"status": {"destinations": [left]}},
        "application/merge-patch+json",
    )
    with world.another(HttpSink(trust=world.trust)) as switch:
        heartbeat = f"{switch.url}/ping/c0ffee-secret"
        with replicas(world, 3, heartbeat_url=heartbeat) as running:
            # Nothing is sent there, and the status alone says that it is time.
            failing = eventually(lambda: told(world, namespace, "channel_failing"), PATIENCE, "word of the failure")
            assert [item["destination"] for item in failing["status"]["deliveries"]] == ["email"]
            assert failing["spec"]["notice"]["destination"] == "slack"
            eventually(lambda: record(world, mine).get("toldTime"), PATIENCE, "a record that it was told")
            assert record(world, mine)["since"] == since
            eventually(lambda: switch.posts, PATIENCE, "a heartbeat")
            for replica in running:
                replica.kill()
            assert not any("c0ffee" in replica.text for replica in running)
        beats = len(switch.posts)
        with replicas(world, 1, heartbeat_url=heartbeat):
            dead.clear()
            world.api.create(event(namespace, "after", "acme"))
            recovered = eventually(lambda: told(world, namespace, "channel_recovered"), PATIENCE, "word of its end")
            assert [item["destination"] for item in recovered["status"]["deliveries"]] == ["email"]
            eventually(lambda: len(switch.posts) > beats, PATIENCE, "the next one's heartbeat")
            eventually(lambda: record(world, mine).get("state") == "Healthy", 2 * PATIENCE, "a record of the recovery")
    assert len(notices(world, namespace)) == 2
    assert len([mail for mail in world.smtp.mails if "data@acme.example" in mail.recipients]) == 3
    conditions = {item["type"]: item["status"] for item in world.api.get(mine)["status"]["conditions"]}
    assert conditions == {"Ready": "True", "Deliverable": "True"}
    assert not notices(world, SYSTEM)
