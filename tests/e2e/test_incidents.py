"""One trouble, one conversation, by a real operator on a real API server: told once, acknowledged, recovered."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest
from tests.e2e.harness import config, event, eventually, secret

from pipebell.sinks import PagerDutySink, SlackApiSink

TOKEN = "xoxb-token"
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
INCIDENTS = "/apis/pipebell.io/v1alpha1/namespaces/{}/incidents"


@pytest.fixture(scope="module")
def sinks(world):
    local = ("localhost", "127.0.0.1")
    slack = SlackApiSink(
        tokens={TOKEN: ("data",)}, channels={"C0DATA": "data"}, trust=world.trust, names=(*local, "slack.com")
    )
    pagerduty = PagerDutySink(trust=world.trust, names=(*local, "events.pagerduty.com"))
    with ExitStack() as stack:
        stack.enter_context(world.another(slack))
        stack.enter_context(world.another(pagerduty))
        yield slack, pagerduty


@pytest.fixture(scope="module")
def operator(world, sinks):
    slack, pagerduty = sinks
    places = {"slack.com": slack, "events.pagerduty.com": pagerduty}
    names = json.dumps({name: ("127.0.0.1", sink.port) for name, sink in places.items()})
    running = world.operator(PIPEBELL_TEST_NAMES=names).start()
    try:
        world.warm_up()
        yield running
    finally:
        code = running.stop()
    assert code == 0


def incident(world, namespace):
    (found,) = world.api.request("GET", INCIDENTS.format(namespace))["items"]
    return found


def reaches(world, namespace, phase):
    return eventually(
        lambda: (i := incident(world, namespace)).get("status", {}).get("phase") == phase and i, 60, f"incident {phase}"
    )


def test_three_failures_an_acknowledgement_a_crash_and_the_end_are_one_conversation(world, sinks, operator):
    slack, pagerduty = sinks
    name = world.namespace()
    world.api.create(secret(name, "channels", TOKEN=TOKEN, ROUTING_KEY=ROUTING_KEY))
    spec = {
        "secretRef": {"name": "channels"},
        "slack": {"botToken": "${TOKEN}", "channel": "#data"},
        "pagerduty": {"routingKey": "${ROUTING_KEY}"},
        "eventTriggers": [{"event": "pipeline_failure", "providers": ["slack", "pagerduty"]}],
        "incidents": {"enabled": True},
    }
    world.api.create(config(name, "c", name, **spec))

    def fails(number, phase):
        made = world.api.create(event(name, f"e{number}", name, errorMessage=f"error {number}"))
        return world.api.reaches(made, phase, 60)["status"]

    assert fails(1, "Delivered")["incident"]["action"] == "Opened"
    assert fails(2, "Suppressed")["reason"] == "Repeated"
    found = reaches(world, name, "Open")
    path = f"{INCIDENTS.format(name)}/{found['metadata']['name']}"
    said = {"spec": {"acknowledgement": {"by": "ann", "note": "on it"}}}
    world.api.request("PATCH", path, said, "application/merge-patch+json")
    assert reaches(world, name, "Acknowledged")["status"]["acknowledgedBy"] == "ann"

    def alert():
        (found,) = [each for each in pagerduty.alerts if f"({name})" in each.summary]
        return found

    eventually(lambda: alert().log == ["trigger", "acknowledge"], 60, "PagerDuty knows that it was acknowledged")
    operator.kill()
    operator.start()
    assert fails(3, "Suppressed")["incident"]["failures"] == 3
    end = world.api.create(event(name, "e4", name, "pipeline_success"))
    status = world.api.reaches(end, "Delivered", 60)["status"]
    assert status["incident"]["action"] == "Recovered"
    status = reaches(world, name, "Resolved")["status"]
    assert (status["failures"], status["firstError"], status["lastError"]) == (3, "error 1", "error 3")
    assert (alert().open, alert().log) == (False, ["trigger", "acknowledge", "resolve"])
    eventually(lambda: [each for each in shown(slack, name) if each.edits > 1], 60, "the first message says so")
    parent, *replies = shown(slack, name)
    assert [each.thread for each in replies] == [parent.ts]
    assert "recovered" in replies[0].text.lower()
    assert "error 1" not in parent.text


def shown(slack, name):
    return [each for each in slack.shown if name in each.text]
