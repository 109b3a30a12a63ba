"""Chats, alerts and SMS by the real operator, at their real addresses, which servers here answer."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack

import pytest
from tests.e2e.harness import config, delivery, event, eventually, secret

from pipebell.sinks import (
    AlertmanagerSink,
    DiscordSink,
    GoogleChatSink,
    JsmSink,
    MattermostSink,
    Respond,
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
SECRETS = {
    "DISCORD": "https://discord.com/api/webhooks/1205/hiddendiscord",
    "CHAT": "https://chat.googleapis.com/v1/spaces/AAAA/messages?key=hiddenkey&token=hiddenchat%3D",
    "TELEGRAM": "1234567890:hiddentelegram",
    "MATTERMOST": "https://mattermost.acme.example/hooks/hiddenmattermost",
    "JSM": "hiddenjsm",
    "ALERTMANAGER": "hiddenalertmanager",
    "TWILIO": "hiddentwilio",
    "PHONE": "+4915112345678",
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
            for name, sink in NAMES.items()
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


def test_killed_between_twilios_yes_and_the_record_nobody_gets_it_twice(world, operator, sinks, namespace):
    twilio = sinks["api.twilio.com"]
    before = len(twilio.messages)
    yes = Respond(status=201, body='{"sid": "SM0123456789abcdef0123456789abcdef"}', wait=60.0)  # until it is killed
    twilio.plan(yes, yes)
    made = world.api.create(event(namespace, "lost", "acme_corp", event="system_error"))
    eventually(lambda: len(twilio.messages) == before + 2, 60, "Twilio has both")
    operator.kill()
    assert delivery(world.api.get(made), "sms/1") is None or not delivery(world.api.get(made), "sms/1")["attempts"]
    operator.start()
    world.api.reaches(made, "Delivered")
    assert len(twilio.messages) == before + 2, "both were found, and neither was sent again"
