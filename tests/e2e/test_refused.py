"""Statuses that the API server refuses for good: an event near etcd's limit, and a policy that forbids to write."""

from __future__ import annotations

import json
import secrets

import pytest
from tests.e2e.harness import config, event, eventually, phase, reason

POLICIES = "/apis/admissionregistration.k8s.io/v1"


@pytest.fixture
def forbidding(world):
    """A policy by which nobody may write the status of events labelled so; what takes it away again."""
    name = f"e2e-{secrets.token_hex(4)}"
    policy = {
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "objectSelector": {"matchLabels": {"e2e": name}},
                "resourceRules": [
                    {
                        "apiGroups": ["pipebell.io"],
                        "apiVersions": ["*"],
                        "operations": ["UPDATE"],
                        "resources": ["pipelineevents/status"],
                    }
                ],
            },
            "validations": [{"expression": "false", "message": "no status here", "reason": "Invalid"}],
        },
    }
    binding = {"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}}
    world.api.request("POST", f"{POLICIES}/validatingadmissionpolicies", policy)
    world.api.request("POST", f"{POLICIES}/validatingadmissionpolicybindings", binding)
    yield name
    for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
        world.api.request("DELETE", f"{POLICIES}/{kind}/{name}")


def labelled(document, label):
    document["metadata"]["labels"] = {"e2e": label}
    return document


def enforced(world, namespace, label):
    """A new policy takes effect after a moment."""
    probe = world.api.create(labelled(event(namespace, "probe", "nobody-at-all"), label))
    path = f"{world.api.path(probe)}/probe/status"

    def refused():
        status, _ = world.api._exchange("PATCH", path, {"status": {"message": "x"}}, "application/merge-patch+json")
        return status == 422

    eventually(refused, 60, "the policy")


def test_what_may_not_be_recorded_is_sent_once_and_holds_up_nobody(world, operator, forbidding):
    namespace = world.namespace()
    triggers = [{"event": "pipeline_failure", "cooldownSeconds": 0}]
    spec = world.slack_only("Trefused", eventTriggers=triggers)
    world.api.condition(world.api.create(config(namespace, "org", "refused-org", **spec)), "Ready")
    enforced(world, namespace, forbidding)
    before = operator.metric("pipebell_unrecordable_events")
    documents = [labelled(event(namespace, f"refused-{number}", "refused-org"), forbidding) for number in range(20)]
    world.api.create_all(documents)
    eventually(lambda: len(world.posts_to("Trefused")) == 20, 60, "20 posts")
    eventually(lambda: operator.metric("pipebell_unrecordable_events") >= before + 20, 60, "the metric")
    other = world.api.create(event(namespace, "other", "refused-org"))
    world.api.reaches(other, "Delivered")
    assert operator.http("/healthz") == "ok"
    answer = operator.http("/readyz")
    assert answer.startswith("ok\n"), answer
    assert "status is refused" in answer
    eventually(lambda: operator.metric("pipebell_queue_running") == 0, 60, "nothing is under way")
    assert len(world.posts_to("Trefused")) == 21
    for document in documents:
        world.api.delete(document)
    world.api.delete(event(namespace, "probe", "nobody-at-all"))
    eventually(lambda: operator.metric("pipebell_unrecordable_events") == 0, 60, "the metric after the deletion")
    eventually(lambda: operator.http("/readyz") == "ok", 60, "nothing is left to say")


@pytest.mark.parametrize(
    ("size", "sign", "sent"),
    [(1_400_000, "x", True), (1_530_000, "x", False), (1_571_000, "x", False), (255_000, "<", False)],
)
def test_an_event_near_the_limit_of_what_is_stored_is_sent_only_if_that_can_be_recorded(
    world, operator, size, sign, sent
):
    namespace, webhook = world.namespace(), f"T{secrets.token_hex(4)}"
    org = f"large-{secrets.token_hex(3)}"
    world.api.condition(world.api.create(config(namespace, "org", org, **world.slack_only(webhook))), "Ready")
    created = world.api.create(event(namespace, "large", org, details={"a": sign * size}))
    found = world.api.reaches(created, "Delivered" if sent else "Failed")
    assert len(world.posts_to(webhook)) == sent
    if not sent:
        assert (phase(found), reason(found)) == ("Failed", "TooLarge")
        assert json.dumps(found["status"]).count("bytes") >= (size != 1_571_000)
