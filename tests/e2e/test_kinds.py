"""Chats, alerts and SMS by the real operator, at their real addresses, which servers here answer."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from functools import partial
from itertools import repeat

import pytest
from tests.e2e.harness import config, event, eventually, secret

from pipebell.sinks import (
    AlertmanagerSink,
    DiscordSink,
    GoogleChatSink,
    HttpSink,
    JsmSink,
    MattermostSink,
    PagerDutySink,
    Respond,
    Say,
    SlackApiSink,
    SmtpSink,
    TeamsSink,
    TelegramSink,
    TwilioSink,
)

NAMES = {
    "discord.com": DiscordSink,
    "chat.googleapis.com": GoogleChatSink,
    "api.telegram.org": TelegramSink,
    "mattermost.acme.example": MattermostSink,
    "api.atlassian.com": JsmSink,
    "alertmanager.acme.example": AlertmanagerSink,
    "api.twilio.com": TwilioSink,
}
WORKFLOWS = "d0.e1.environment.api.powerplatform.com"
# What other tests try by itself.
MORE = {
    "events.pagerduty.com": PagerDutySink,
    WORKFLOWS: TeamsSink,
    "slack.com": partial(SlackApiSink, tokens=None, channels={"C0DATA": "data"}),
    "hook.acme.example": HttpSink,
}
SECRETS = {
    "DISCORD": "https://discord.com/api/webhooks/1205/hiddendiscord",
    "CHAT": "https://chat.googleapis.com/v1/spaces/AAAA/messages?key=hiddenkey&token=hiddenchat%3D",
    "OWN_CHAT": "https://chat.googleapis.com/v1/spaces/BBBB/messages?key=hiddenkey&token=hiddenown%3D",
    "TELEGRAM": "1234567890:hiddentelegram",
    "MATTERMOST": "https://mattermost.acme.example/hooks/hiddenmattermost",
    "JSM": "hiddenjsm",
    "ALERTMANAGER": "hiddenalertmanager",
    "TWILIO": "hiddentwilio",
    "PHONE": "+4915112345678",
    "PAGERDUTY": "0123456789abcdef0123456789abcdef",
    "SLACK": "xoxb-hiddenslack",
    "SIGNING": "whsec_cGlwZWJlbGwtc2lnbmluZy1rZXktb2Ytbm93",
}
KINDS = ["discord", "google_chat", "telegram", "mattermost", "jsm", "alertmanager", "sms"]
SPEC = {
    "secretRef": {"name": "channels"},
    "discord": {"webhookUrl": "${DISCORD}"},
    "googleChat": {"webhookUrl": "${CHAT}"},
    "telegram": {"botToken": "${TELEGRAM}", "chatId": "-100123"},
    "mattermost": {"webhookUrl": "${MATTERMOST}"},
    "jsm": {"apiKeySecretRef": {"name": "channels", "key": "JSM"}},
    "alertmanager": {"url": "https://alertmanager.acme.example", "bearerToken": "${ALERTMANAGER}"},
    "sms": {
        "accountSid": "AC" + "0a" * 16,
        "authToken": "${TWILIO}",
        "fromNumber": "+15005550006",
        "toNumbers": ["${PHONE}", "+447700900123"],
    },
    "eventTriggers": [
        {"event": "pipeline_failure", "providers": KINDS, "cooldownSeconds": 0},
        {"event": "pipeline_success", "providers": ["jsm", "alertmanager"], "cooldownSeconds": 0},
        {"event": "system_error", "providers": ["sms"], "cooldownSeconds": 0},
    ],
}


@pytest.fixture(scope="module")
def sinks(world):
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(world.another(sink(trust=world.trust, names=(name,))))
            for name, sink in (NAMES | MORE).items()
        }


@pytest.fixture(scope="module", autouse=True)
def operator(world, sinks):
    names = {name: ("127.0.0.1", sink.port) for name, sink in sinks.items()}
    running = world.operator(PIPEBELL_TEST_NAMES=json.dumps(names)).start()
    try:
        world.warm_up()
        yield running
    finally:
        running.stop()
        world.clear()


@pytest.fixture(scope="module")
def namespace(world):
    made = world.namespace()
    world.api.create(secret(made, "channels", **SECRETS))
    document = config(made, "acme", "acme_corp", **SPEC)
    world.api.create(document)
    world.api.condition(document, "Ready")
    return made


def test_one_organisation_with_all_of_them(world, operator, sinks, namespace):
    made = world.api.create(event(namespace, "failed", "acme_corp", errorMessage="boom"))
    done = world.api.reaches(made, "Delivered")
    deliveries = {item["destination"]: item for item in done["status"]["deliveries"]}
    assert {name: item["provider"] for name, item in deliveries.items()} == {
        **{name: name for name in ("discord", "googleChat", "telegram", "mattermost", "jsm", "alertmanager")},
        "sms/1": "sms",
        "sms/2": "sms",
    }
    assert [sinks[name].posts[0].status // 100 for name in NAMES] == [2] * len(NAMES)
    texts = sinks["api.twilio.com"].messages
    assert sorted(message["To"] for message in texts) == ["+447700900123", "+4915112345678"], "both at once"
    assert deliveries["sms/1"]["recipients"] == "+49…678"
    assert deliveries["googleChat"]["handle"] == "t1"
    assert deliveries["discord"]["handle"] == "1205000000000000000"
    for text in (json.dumps(done), operator.text):
        assert "hidden" not in text
        assert "5112345678" not in text


def test_a_success_ends_the_alerts(world, sinks, namespace):
    made = world.api.create(event(namespace, "succeeded", "acme_corp", event="pipeline_success"))
    world.api.reaches(made, "Delivered")
    (alert,) = sinks["api.atlassian.com"].alerts
    assert (alert.open, alert.count) == (False, 1)
    assert sinks["alertmanager.acme.example"].firing(time.time() + 1) == []


def test_killed_between_everybodys_yes_and_the_record_each_kind_repeats_as_its_page_says(
    world, operator, sinks, namespace
):
    """Whoever knows a message's identity has it once; the others have two of the same identity."""
    org, slow = "every_kind", Respond(wait=60.0)  # until it is killed
    workflow = sinks[WORKFLOWS].workflow("Every").replace(f"127.0.0.1:{sinks[WORKFLOWS].port}", f"{WORKFLOWS}:443")
    spec = {name: SPEC[name] for name in SPEC if name != "eventTriggers"} | {
        "googleChat": {"webhookUrl": "${OWN_CHAT}"},  # the other takes one message a second
        "pagerduty": {"routingKey": "${PAGERDUTY}"},
        "teams": {"webhookUrl": workflow},
        "slack": {"botToken": "${SLACK}", "channel": "#data"},
        "webhook": {"url": "https://hook.acme.example/events", "signingSecret": "${SIGNING}"},
        "eventTriggers": [
            {"event": "pipeline_failure", "providers": [*KINDS, "teams", "slack", "webhook", "pagerduty", "email"]}
        ],
    }
    before = {name: len(sink.requests) for name, sink in sinks.items()}
    with world.another(SmtpSink(users=world.users, trust=world.trust)) as mail, ExitStack() as stack:
        spec["email"] = world.own_smtp("a@b.io", port=mail.port)
        world.api.create(config(namespace, "every", org, **spec))
        for sink in sinks.values():  # to messages alone: of an event that may be older than it, SMS looks for one first
            answers = repeat(slow, 2)
            sink.script().always = lambda post, rest=answers: next(rest, None) if post.method == "POST" else None
            stack.callback(sink.script().clear)
        mail.plan(Say(wait=60.0))
        made = world.api.create(event(namespace, "every", org, errorMessage="boom"))

        def posts(name):
            return [post for post in sinks[name].requests[before[name] :] if post.method == "POST"]

        def missing():
            wanted = dict.fromkeys(sinks, 1) | {"api.twilio.com": 2}
            return [name for name in sinks if len(posts(name)) < wanted[name]] + ["email"] * (not mail.mails)

        eventually(lambda: not missing() or print(missing()), 60, "all have it")  # noqa: T201  (shown when it fails)
        operator.kill()
        assert not any(item.get("attempts") for item in world.api.get(made).get("status", {}).get("deliveries", []))
        for sink in sinks.values():
            sink.script().clear()
        mail.script().clear()
        operator.start()
        done = world.api.reaches(made, "Delivered", 90)
    assert len(done["status"]["deliveries"]) == len(KINDS) + 1 + 5, "two numbers, and five kinds more"
    for name in sinks:
        found = posts(name)
        assert len(found) == 2, f"{name}: {len(found)}"
        identities = {post.headers["x-pipebell-delivery"] for post in found}
        assert len(identities) == (2 if name == "api.twilio.com" else 1), "one for each number"
    (alert,) = [each for each in sinks["events.pagerduty.com"].alerts if org in each.summary]
    assert alert.log == ["trigger"] * 2
    (alert,) = [each for each in sinks["api.atlassian.com"].alerts if org in each.message]
    assert (alert.open, alert.count) == (True, 2)
    assert len([a for a in sinks["alertmanager.acme.example"].firing(time.time()) if a["labels"]["org"] == org]) == 1
    assert len({post.headers["webhook-id"] for post in posts("hook.acme.example")}) == 1
    assert len({sent.message["Message-ID"] for sent in mail.mails}) == 1
    assert len(mail.mails) == 2
    assert "hidden" not in operator.text
