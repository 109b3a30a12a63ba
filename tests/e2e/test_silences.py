"""What a silence holds back is told once, by a real operator on a real API server that is killed while it tells."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta

from tests.e2e.harness import config, event, eventually, phase, reason

ORGS = ("north", "south")
NO_COOLDOWN = {"eventTriggers": [{"event": "pipeline_failure", "cooldownSeconds": 0}]}


def silence(namespace, name, **spec):
    ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="seconds")
    return {
        "apiVersion": "pipebell.io/v1alpha1",
        "kind": "Silence",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"endsAt": ends, "reason": "the warehouse moves", **spec},
    }


def status(world, document):
    return world.api.get(document).get("status") or {}


def catch_ups(world, namespace):
    return [item for item in world.api.events(namespace).values() if "notice" in item["spec"]]


def test_killed_at_random_moments_each_organisation_is_told_once_of_all_that_was_held_back(world, operator):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201  (pytest shows it when the test fails)
    chance = random.Random(seed)
    namespace = world.namespace()
    for org in ORGS:
        world.api.create(config(namespace, org, org, **world.slack_only(org.title()) | NO_COOLDOWN))
    made = silence(namespace, "migration", pipelines=["orders-*"], catchUp="Summary")
    world.api.create(made)
    eventually(lambda: status(world, made).get("phase") == "Active", 60, "the operator obeys the silence")
    names = [(org, f"{org}-{number}") for org in ORGS for number in range(10)]
    world.api.create_all([event(namespace, name, org, pipelineId=f"orders-{org}") for org, name in names])
    others = [event(namespace, f"{org}-other", org, pipelineId="payroll") for org in ORGS]
    for other in others:
        world.api.create(other)
        world.api.reaches(other, "Delivered", 60)

    def held():
        found = world.api.events(namespace)
        return all(reason(found[name]) == "Silenced" for _, name in names)

    eventually(held, 60, "all are held back")
    assert {len(world.posts_to(org.title())) for org in ORGS} == {1}
    operator.kill()
    operator.start()
    eventually(lambda: status(world, made).get("matched") == len(names), 90, "what it held back is counted")
    world.api.delete(made)
    for _ in range(3):
        time.sleep(chance.uniform(0.0, 3.0))
        operator.kill()
        operator.start()
    eventually(lambda: [phase(item) for item in catch_ups(world, namespace)] == ["Delivered"] * 2, 120, "both are told")
    for item in catch_ups(world, namespace):
        assert item["spec"]["notice"]["content"]["total"] == 10
    for org in ORGS:
        told = world.posts_to(org.title())[1:]
        # More than one only where the process died between Slack's yes and our write: then it is the same message.
        assert len({post.headers["x-pipebell-delivery"] for post in told}) == 1
        assert "Held back by silence migration" in str(told[0].payload)
        assert f"orders-{org}" in str(told[0].payload)
    operator.kill()
    operator.start()
    world.api.create(event(namespace, "last", ORGS[0], pipelineId="orders-north"))
    world.api.reaches(event(namespace, "last", ORGS[0]), "Delivered", 60)
    assert len(catch_ups(world, namespace)) == 2
