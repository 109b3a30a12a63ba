"""PagerDuty, Teams, Slack's Web API and a signed webhook at once, by a real operator and the vendors' own names."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import datetime

import pytest
import standardwebhooks
from tests.e2e.harness import SYSTEM, config, delivery, event, eventually, secret

from pipebell.sinks import HttpSink, PagerDutySink, Respond, SlackApiSink, TeamsSink, TwilioSink

TOKEN = "xoxb-confidential-token"
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
SIGNING_SECRET = "whsec_cGlwZWJlbGwtc2lnbmluZy1rZXktb2Ytbm93"
WORKFLOWS = "d0.e1.environment.api.powerplatform.com"
EVERYWHERE = ["pagerduty", "teams", "slack", "webhook"]


class Vendors:
    """A sink for each of them."""

    def __init__(self, trust):
        local = ("localhost", "127.0.0.1")
        self.pagerduty = PagerDutySink(trust=trust, names=(*local, "events.eu.pagerduty.com"))
        self.teams = TeamsSink(trust=trust, names=(*local, WORKFLOWS))
        self.slack = SlackApiSink(
            tokens={TOKEN: ("data",)}, channels={"C0DATA": "data"}, trust=trust, names=(*local, "slack.com")
        )
        self.webhook = HttpSink(trust=trust)
        self.twilio = TwilioSink(trust=trust, names=(*local, "api.twilio.com"))
        self.all = (self.pagerduty, self.teams, self.slack, self.webhook, self.twilio)

    @property
    def names(self):
        """Where the operator finds them."""
        places = {"events.eu.pagerduty.com": self.pagerduty, WORKFLOWS: self.teams, "slack.com": self.slack}
        places["api.twilio.com"] = self.twilio
        return json.dumps({name: ("127.0.0.1", sink.port) for name, sink in places.items()})

    def spec(self, **changes):
        workflow = self.teams.workflow("Ops").replace(f"127.0.0.1:{self.teams.port}", f"{WORKFLOWS}:443")
        return {
            "secretRef": {"name": "channels"},
            "pagerduty": {"routingKey": "${ROUTING_KEY}", "region": "eu", "changeEvents": True},
            "teams": {"webhookUrl": workflow},
            "slack": {"botTokenSecretRef": {"name": "channels", "key": "TOKEN"}, "channel": "#data"},
            "webhook": {
                "url": f"{self.webhook.url}/events",
                "format": "cloudeventsStructured",
                "signingSecretSecretRef": {"name": "channels", "key": "SIGNING_SECRET"},
                "headers": [{"name": "X-Api-Key", "valueSecretRef": {"name": "channels", "key": "TOKEN"}}],
            },
            "eventTriggers": [
                {"event": "pipeline_failure", "providers": EVERYWHERE, "cooldownSeconds": 0},
                {"event": "pipeline_success", "providers": ["pagerduty"], "cooldownSeconds": 0},
            ],
        } | changes


@pytest.fixture(scope="module")
def vendors(world):
    vendors = Vendors(world.trust)
    with ExitStack() as stack:
        for sink in vendors.all:
            stack.enter_context(world.another(sink))
        yield vendors


@pytest.fixture(scope="module")
def operator(world, vendors):
    with world.running(PIPEBELL_TEST_NAMES=vendors.names) as running:
        yield running


@pytest.fixture
def namespace(world, vendors, operator):
    name = world.namespace()
    values = {"ROUTING_KEY": ROUTING_KEY, "TOKEN": TOKEN, "SIGNING_SECRET": SIGNING_SECRET}
    world.api.create(secret(name, "channels", **values))
    world.api.create(config(name, "c", name, **vendors.spec()))
    return name


def test_one_failure_reaches_them_all(world, vendors, namespace):
    made = world.api.create(event(namespace, "e1", namespace, errorMessage="first <at>all</at>"))
    found = world.api.reaches(made, "Delivered")
    assert {name: delivery(found, name)["provider"] for name in EVERYWHERE} == {name: name for name in EVERYWHERE}
    (alert,) = [each for each in vendors.pagerduty.alerts if f"({namespace})" in each.summary]
    assert (alert.open, alert.severity) == (True, "error")
    assert any(namespace in json.dumps(card) for card in vendors.teams.cards)
    (shown,) = [each for each in vendors.slack.shown if namespace in each.text]
    assert delivery(found, "slack")["handle"] == f"C0DATA/{shown.ts}/#data"
    (post,) = [each for each in vendors.webhook.posts if namespace in each.body.decode()]
    sent = standardwebhooks.Webhook(SIGNING_SECRET).verify(post.body, dict(post.headers))
    uid = world.api.request("GET", f"/api/v1/namespaces/{SYSTEM}")["metadata"]["uid"]
    assert (sent["source"], sent["subject"]) == (f"/pipebell/{uid}/{namespace}", "nightly-load")
    assert post.headers["x-api-key"] == TOKEN
    status = json.dumps(found["status"])
    assert not [word for word in (TOKEN, ROUTING_KEY, SIGNING_SECRET, "signature-of-Ops") if word in status]


def test_replays_continue_a_slack_thread_until_its_first_message_is_deleted(world, vendors, namespace):
    only = {"name": "e1", "destinations": ["slack"]}
    world.api.reaches(world.api.create(event(namespace, "e1", namespace)), "Delivered", 60)
    world.api.reaches(world.api.create(event(namespace, "e2", namespace, replayOf=only)), "Delivered", 60)
    chain = {"name": "e2", "destinations": ["slack"]}
    world.api.reaches(world.api.create(event(namespace, "e3", namespace, replayOf=chain)), "Delivered", 60)
    first, *replies = [each for each in vendors.slack.shown if namespace in each.text]
    assert [(each.thread, "REPLAY" in each.text) for each in replies] == [(first.ts, True)] * 2
    vendors.slack.delete(first.ts)
    found = world.api.reaches(world.api.create(event(namespace, "e4", namespace, replayOf=chain)), "Delivered", 60)
    fresh = [each for each in vendors.slack.shown if namespace in each.text][-1]
    assert fresh.thread is None
    assert delivery(found, "slack")["handle"] == f"C0DATA/{fresh.ts}/#data"


def test_a_success_resolves_what_failures_of_several_runs_share(world, vendors, namespace):
    for name in ("e1", "e2"):
        made = world.api.create(event(namespace, name, namespace, pipelineLoggingId=name))
        world.api.reaches(made, "Delivered")
    made = world.api.create(event(namespace, "e3", namespace, "pipeline_success"))
    world.api.reaches(made, "Delivered")
    (alert,) = [each for each in vendors.pagerduty.alerts if f"({namespace})" in each.summary]
    assert (alert.open, alert.log) == (False, ["trigger", "trigger", "resolve"])
    assert [change for change in vendors.pagerduty.changes if namespace in change["summary"]]


def test_killed_before_the_record_pagerduty_has_one_alert(world, vendors, operator, namespace):
    """The operator dies three times while PagerDuty's yes is on the way."""
    vendors.pagerduty.plan(*[Respond(202, "{}", wait=60.0)] * 3, path="/v2/enqueue")
    made = world.api.create(event(namespace, "e1", namespace))

    def alert():
        return next((each for each in vendors.pagerduty.alerts if f"({namespace})" in each.summary), None)

    for times in (1, 2, 3):
        eventually(lambda n=times: alert() and len(alert().log) == n, 60, f"{times} triggers")
        operator.kill()
        operator.start()
    found = world.api.reaches(made, "Delivered")
    assert delivery(found, "pagerduty")["phase"] == "Delivered"
    assert alert().log == ["trigger"] * 4
    assert len([each for each in vendors.pagerduty.alerts if f"({namespace})" in each.summary]) == 1


def test_a_dead_pager_fails_over_to_the_phone_once_although_the_operator_dies_between(world, vendors, operator):
    """It dies with Twilio's yes on the way; the one started anew finds what was recorded, and the message."""
    namespace = world.namespace()
    world.api.create(secret(namespace, "channels", ROUTING_KEY=ROUTING_KEY, TOKEN=TOKEN, SIGNING_SECRET=SIGNING_SECRET))
    number = "+4915112345678"
    spec = vendors.spec(
        pagerduty={"routingKey": "${ROUTING_KEY}", "region": "eu", "failover": ["sms"], "failoverAfterSeconds": 3},
        sms={
            "accountSid": "AC0123456789abcdef0123456789abcdef",
            "authToken": "${TOKEN}",
            "fromNumber": "+15005550006",
            "toNumbers": [number],
        },
        eventTriggers=[{"event": "pipeline_failure", "providers": ["pagerduty"]}],
        retryConfig={"initialDelaySeconds": 2, "maxDelaySeconds": 4},
    )
    world.api.create(config(namespace, "c", namespace, **spec))
    vendors.pagerduty.script("/v2/enqueue").always = lambda _: Respond(500, "{}")
    try:
        slow = iter([Respond(201, "{}", wait=60.0)])  # to the message, not to a look for it
        vendors.twilio.script().always = lambda post: next(slow, None) if post.method == "POST" else None
        made = world.api.create(event(namespace, "e1", namespace))
        eventually(lambda: vendors.twilio.messages, 60, "a text message")
        instead = delivery(world.api.get(made), "sms/1")
        assert (instead["failoverFor"], instead["phase"]) == ("pagerduty", "Pending"), "recorded before it was sent"
        operator.kill()
        operator.start()
        eventually(lambda: delivery(world.api.get(made), "sms/1")["phase"] == "Delivered", 60, "it is found at Twilio")
        found = world.api.get(made)
        assert found["status"]["phase"] == "Delivering", "PagerDuty is tried on"
        assert delivery(found, "sms/1")["reason"] == "FailedOver"
        due = datetime.fromisoformat(delivery(found, "pagerduty")["firstDueTime"])
        assert due < datetime.fromisoformat(delivery(found, "sms/1")["deliveredTime"])
    finally:
        vendors.pagerduty.script("/v2/enqueue").clear()
        vendors.twilio.script().clear()
    found = world.api.reaches(made, "Delivered", 60)
    assert "reason" not in found["status"], "in the end it has arrived where it should"
    assert [message["To"] for message in vendors.twilio.messages] == [number]
    assert number not in json.dumps(found["status"])
    (alert,) = [each for each in vendors.pagerduty.alerts if f"({namespace})" in each.summary]
    assert alert.log == ["trigger"]


def test_an_endpoint_that_is_busy_without_a_time_is_left_alone_for_its_kinds_pause(world, vendors, namespace):
    vendors.pagerduty.plan(429, path="/v2/enqueue")
    made = world.api.create(event(namespace, "e1", namespace))

    def waiting():
        found = delivery(world.api.get(made), "pagerduty")
        return found if found and found.get("reason") == "RateLimited" else None

    paused = eventually(waiting, 60, "PagerDuty is left alone")
    began, until = (datetime.fromisoformat(paused[name]) for name in ("lastAttemptTime", "nextAttemptTime"))
    assert 29.0 <= (until - began).total_seconds() <= 35.0
    assert paused.get("attempts", 0) == 0, "no attempt was used up"
