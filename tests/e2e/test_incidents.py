"""One trouble, one conversation, by a real operator on a real API server: told once, acknowledged, recovered."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest
from tests.e2e.harness import config, event, eventually, secret

from pipebell.sinks import PagerDutySink, SlackApiSink
from pipebell.sinks.slack_api import UPDATE

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
    with world.running(PIPEBELL_TEST_NAMES=names) as running:
        yield running


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
    eventually(lambda: all_recorded(world, name), 60, "and the events say so")  # else it would be said once more
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

    # Another pipeline's trouble, whose first message is deleted before it is over: one new message says so.
    def about_orders(number, kind="pipeline_failure", **fields):
        made = world.api.create(event(name, f"o{number}", name, kind, pipelineId="orders", **fields))
        return world.api.reaches(made, "Delivered", 60)

    about_orders(1)
    about_orders(2, replayOf={"name": "o1", "destinations": ["slack"]})
    first, replay = (each for each in shown(slack, name) if "orders" in each.text)
    assert (first.thread, replay.thread) == (None, first.ts)
    slack.delete(first.ts)
    about_orders(3, "pipeline_success")
    eventually(lambda: [p for p in slack.posts if first.ts in p.body.decode() and p.path == UPDATE], 60, "it is edited")
    operator.stop()  # with what is under way
    operator.start()
    _, *fresh = (each for each in shown(slack, name) if "orders" in each.text)
    assert [(each.thread, "recovered" in each.text.lower()) for each in fresh] == [(None, True)]


def all_recorded(world, namespace):
    path = f"/apis/pipebell.io/v1alpha1/namespaces/{namespace}/pipelineevents"
    phases = [each.get("status", {}).get("phase") for each in world.api.request("GET", path)["items"]]
    return phases.count("Delivered") + phases.count("Suppressed") == len(phases)


def shown(slack, name):
    return [each for each in slack.shown if name in each.text]
