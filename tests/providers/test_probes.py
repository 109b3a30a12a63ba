"""Trying endpoints without sending anything: what each kind asks, and what the answers say."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from pipebell.core.destinations.alertmanager import ALERTMANAGER, AlertmanagerTarget
from pipebell.core.destinations.discord import DISCORD, DiscordTarget
from pipebell.core.destinations.http import HttpKind
from pipebell.core.destinations.slack import SLACK, SlackTarget
from pipebell.core.destinations.sms import SMS, SmsTarget
from pipebell.core.destinations.telegram import TELEGRAM, TelegramTarget
from pipebell.core.health import login_refused
from pipebell.core.hosts import HostPolicy
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import KINDS, NotificationConfigSpec
from pipebell.core.outcome import REACHED, OutcomeKind
from pipebell.core.placeholders import OrgSecrets
from pipebell.providers.http import Http
from pipebell.providers.registry import build_providers
from pipebell.providers.webhook import HttpProvider
from pipebell.settings import Settings
from pipebell.sinks import HttpSink, Respond, SlackSink, TwilioSink

SECRET = "s3cret-part-of-a-url"
DELIVERED, RETRY, PERMANENT, PAUSE = OutcomeKind.DELIVERED, OutcomeKind.RETRY, OutcomeKind.PERMANENT, OutcomeKind.PAUSE


@pytest.fixture
async def provider(tls):
    made = []

    def make(kind, *hosts):
        policy = HostPolicy({kind.name: hosts or ("127.0.0.1",)}, ("127.0.0.1/32",))
        made.append(HttpProvider(kind, Http(tls, 20.0), policy, time.time))
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest.fixture
async def anywhere(trust):
    async with HttpSink(trust=trust) as sink:
        yield sink


def _targets(url):
    return {
        "slack": (SLACK, SlackTarget(f"{url}/services/T/B/{SECRET}")),
        "token": (
            SLACK,
            SlackTarget(f"{url}/api/chat.postMessage", bot_token=f"xoxb-{SECRET}", channel="#data"),
        ),
        "discord": (DISCORD, DiscordTarget(f"{url}/api/webhooks/1/{SECRET}")),
        "telegram": (TELEGRAM, TelegramTarget(f"{url}/bot1:{SECRET}/sendMessage", bot_token=f"1:{SECRET}")),
        "alertmanager": (
            ALERTMANAGER,
            AlertmanagerTarget(f"{url}/prefix/api/v2/alerts", username="robot", password=SECRET),
        ),
    }


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("slack", ("GET", f"/services/T/B/{SECRET}")),
        ("token", ("POST", "/api/auth.test")),
        ("discord", ("GET", f"/api/webhooks/1/{SECRET}")),
        ("telegram", ("GET", f"/bot1:{SECRET}/getMe")),
        ("alertmanager", ("GET", "/prefix/api/v2/status")),
    ],
)
async def test_what_each_kind_asks(provider, anywhere, name, asked):
    kind, target = _targets(anywhere.url)[name]
    outcome = await provider(kind).probe(target, "team")
    assert outcome.kind is DELIVERED
    (post,) = anywhere.requests
    assert ((post.method, post.path), post.body) == (asked, b"")
    if name in ("token", "alertmanager"):
        assert post.headers["authorization"]


@pytest.mark.parametrize("name", ["slack", "token", "discord", "telegram", "alertmanager"])
@pytest.mark.parametrize(
    ("answer", "expected", "refused"),
    [
        (Respond(400, "invalid_payload"), DELIVERED, False),
        (Respond(405, ""), DELIVERED, False),
        (Respond(401, f"xoxb-{SECRET}"), PERMANENT, True),
        (Respond(404, "no_service"), PERMANENT, True),
        (Respond(410, "gone"), PERMANENT, True),
        (Respond(429, "", {"Retry-After": "7"}), PAUSE, False),
        (Respond(500, f"xoxb-{SECRET}"), RETRY, False),
        (Respond(502, "<html>"), RETRY, False),
    ],
)
async def test_what_an_answer_says(provider, anywhere, name, answer, expected, refused):
    kind, target = _targets(anywhere.url)[name]
    anywhere.plan(answer)
    outcome = await provider(kind).probe(target)
    assert (outcome.kind, login_refused(outcome.reason)) == (expected, refused)
    assert SECRET not in repr(outcome)


async def test_slacks_word_for_a_token_that_does_not_work(provider, anywhere):
    anywhere.plan(Respond(200, '{"ok":false,"error":"invalid_auth"}'))
    outcome = await provider(SLACK).probe(_targets(anywhere.url)["token"][1])
    assert (outcome.kind, outcome.reason) == (PERMANENT, "LoginRefused")
    assert "invalid_auth" in outcome.message


async def test_what_is_not_there_is_no_surprise(provider):
    outcome = await provider(SLACK).probe(SlackTarget(f"https://127.0.0.1:1/{SECRET}"))
    assert (outcome.kind, outcome.reason) == (RETRY, "ConnectionFailed")
    assert SECRET not in repr(outcome)
    (refused,) = [await provider(SLACK, "elsewhere.example").probe(SlackTarget("https://127.0.0.1:1/x"))]
    assert refused.kind is OutcomeKind.HOST_NOT_ALLOWED


async def test_slacks_own_webhooks_take_no_message_by_it(provider, trust):
    async with SlackSink(trust=trust) as slack:
        assert (await provider(SLACK).probe(SlackTarget(slack.webhook()))).kind is DELIVERED
        assert slack.posts == []


@pytest.mark.parametrize("name", sorted({*KINDS} - {"email", "slack", "discord", "telegram", "alertmanager", "sms"}))
@pytest.mark.parametrize("status", [200, 401, 404, 500])
async def test_of_a_kind_without_a_harmless_way_only_the_host_is_asked(provider, anywhere, name, status):
    """Whatever it answers there: name, connection and certificate are in order."""
    kind = KINDS[name]
    target = replace(
        Layers(_org({name: kind.example}), None).target(name), url=f"{anywhere.url}/v2/{SECRET}?key={SECRET}"
    )
    anywhere.plan(status)
    outcome = await provider(kind).probe(target)
    assert (outcome.kind, outcome.reason) == (DELIVERED, REACHED)
    (post,) = anywhere.requests
    assert (post.method, post.target, post.body) == ("GET", "/", b"")
    assert SECRET not in repr(post.headers)
    assert (await provider(kind).probe(replace(target, url="https://127.0.0.1:1/x"))).reason == "ConnectionFailed"


def _org(spec):
    return Layer(NotificationConfigSpec.model_validate({"orgSlug": "acme", **spec}), OrgSecrets(None, {}))


TWILIO = SmsTarget("", username="AC1", password=SECRET, sender=(("From", "+15005550006"),), numbers=("+4915112345678",))


@pytest.mark.parametrize(
    ("answer", "verdict", "reason"),
    [
        (None, DELIVERED, ""),
        (Respond(401, '{"code":20003,"message":"Authenticate"}'), PERMANENT, "Http401"),
        (Respond(403, '{"code":20403,"message":"Forbidden"}'), PERMANENT, "Http403"),
        (Respond(404, '{"code":20404}'), PERMANENT, "Http404"),
        (Respond(401, '{"code":70051}'), DELIVERED, REACHED),  # a restricted key may send, and not list
        (Respond(403, f"{SECRET}"), DELIVERED, REACHED),
        (Respond(500, "{}"), RETRY, "Http500"),
    ],
)
async def test_twilio_is_asked_for_messages_that_there_cannot_be(provider, trust, answer, verdict, reason):
    async with TwilioSink(trust=trust) as twilio:
        twilio.plan(answer)
        target = replace(TWILIO, url=f"{twilio.url}/2010-04-01/Accounts/AC1/Messages.json")
        outcome = await provider(SMS).probe(target)
        assert (outcome.kind, outcome.reason) == (verdict, reason)
        (post,) = twilio.requests
        assert post.method == "GET"
        assert "DateSent%3C=2008-01-01" in post.target
        assert twilio.messages == []
        assert SECRET not in repr(outcome)


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if isinstance(kind, HttpKind)])
async def test_verify_and_probe_ask_the_same(provider, anywhere, kind):
    target = Layers(_org({kind.name: kind.example}), None).target(kind.name)
    target = replace(target, url=f"{anywhere.url}/x/chat.postMessage/{SECRET}", trusted=True)
    way = provider(replace(kind, form=lambda _: None))
    await way.verify(target)
    await way.probe(target)
    first, second = anywhere.requests
    assert (first.method, first.target) == (second.method, second.target)


async def test_every_provider_can_be_asked(trust):
    providers = build_providers(Settings.from_env({"PIPEBELL_CA_FILE": str(trust.ca_file)}), _Clock())
    assert all(callable(provider.probe) for provider in providers.values())
    for provider in providers.values():
        await provider.close()


class _Clock:
    trusted = True

    def now(self):
        return time.time()

    async def sleep(self, seconds):
        raise AssertionError("nobody waits here")


async def test_a_mail_server_is_logged_in_to_and_sent_nothing(email, sink, at):
    assert (await email.probe(at(sink.port))).kind is DELIVERED
    refused = await email.probe(at(sink.port, password="another-secret"))
    assert (refused.kind, refused.reason, login_refused(refused.reason)) == (PERMANENT, "SmtpAuthFailed", True)
    assert "another-secret" not in repr(refused)
    assert (await email.probe(at(1))).reason == "ConnectionFailed"
    assert (await email.probe(at(sink.port, use_tls=False))).reason == "TlsRequired"
    assert (sink.mails, sink.attempts) == ([], [])


async def test_a_mail_server_that_may_not_be_reached_is_not(email_with, sink, at):
    outcome = await email_with(hosts=HostPolicy()).probe(at(sink.port))
    assert outcome.kind is OutcomeKind.HOST_NOT_ALLOWED
