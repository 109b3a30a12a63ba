"""What single kinds need of the provider, on real servers: http where it is allowed, a second request, a thread."""

import json
from dataclasses import replace

import pytest
from aiohttp import web

from pipebell.core.destinations.alertmanager import AlertmanagerTarget
from pipebell.core.destinations.discord import DISCORD, DiscordTarget
from pipebell.core.destinations.google_chat import GOOGLE_CHAT, GoogleChatTarget
from pipebell.core.destinations.telegram import TELEGRAM, TelegramTarget
from pipebell.core.errors import NotReady
from pipebell.core.hosts import HostPolicy
from pipebell.core.outcome import Action, Attempt, OutcomeKind
from pipebell.providers.http import Http
from pipebell.providers.registry import build_providers
from pipebell.providers.webhook import HttpProvider
from pipebell.settings import Settings
from pipebell.sinks import HttpSink, Respond

TOKEN = "1234567890:hidden-Token"


class Clock:
    def now(self):
        return 0.0


@pytest.fixture
async def plain():
    """A server without TLS, as Alertmanager within a cluster; what it was sent, and its port."""
    got = []

    async def take(request):
        got.append((request.path, await request.json()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield got, site._server.sockets[0].getsockname()[1]
    await runner.cleanup()


@pytest.fixture
async def alertmanager():
    made = []

    def make(**settings):
        providers = build_providers(Settings(**settings), Clock())
        made.extend(providers.values())
        return providers["alertmanager"]

    yield make
    for provider in made:
        await provider.close()


@pytest.mark.parametrize(
    ("host", "settings"),
    [
        ("127.0.0.1", {"private_hosts": ("127.0.0.1",)}),
        ("127.0.0.1", {"private_hosts": ("127.0.0.0/8",)}),
        ("localhost", {"private_hosts": ("localhost",)}),
        ("localhost", {"private_hosts": ("127.0.0.0/8", "::1/128")}),
        ("localhost", {"private_hosts": ("localhost",), "allowed_hosts": (("alertmanager", "localhost"),)}),
    ],
)
async def test_http_to_hosts_that_the_platform_team_lists(alertmanager, plain, notification, host, settings):
    got, port = plain
    provider = alertmanager(**settings)
    target = AlertmanagerTarget(f"http://{host}:{port}/api/v2/alerts", where="alertmanager")
    await provider.check(target)
    assert (await provider.send(notification, target, Attempt("uid.x"))).kind is OutcomeKind.DELIVERED
    ((path, (alert,)),) = got
    assert (path, alert["labels"]["alertname"]) == ("/api/v2/alerts", "PipelineFailure")


@pytest.mark.parametrize(
    ("host", "settings"),
    [
        ("127.0.0.1", {}),
        ("localhost", {}),
        ("localhost", {"private_hosts": ("10.0.0.0/8", "elsewhere")}),
        ("localhost", {"allowed_hosts": (("alertmanager", "localhost"),)}),
        ("localhost", {"private_hosts": ("localhost",), "allowed_hosts": (("alertmanager", "elsewhere"),)}),
    ],
)
async def test_http_to_no_other(alertmanager, plain, notification, host, settings):
    got, port = plain
    provider = alertmanager(**settings)
    target = AlertmanagerTarget(f"http://{host}:{port}/api/v2/alerts", where="alertmanager")
    outcome = await provider.send(notification, target, Attempt("uid.x"))
    assert outcome.kind is OutcomeKind.HOST_NOT_ALLOWED
    assert "PIPEBELL_" in outcome.message
    assert got == []


async def test_a_literal_address_is_refused_before_anything_is_sent(alertmanager):
    target = AlertmanagerTarget("http://127.0.0.1:9/api/v2/alerts", where="alertmanager")
    with pytest.raises(NotReady, match="PIPEBELL_PRIVATE_HOSTS"):
        await alertmanager().check(target)


async def test_http_to_public_hosts_is_refused(alertmanager):
    target = AlertmanagerTarget("http://8.8.8.8/api/v2/alerts", where="alertmanager")
    with pytest.raises(NotReady, match="use https"):
        await alertmanager().check(target)


async def test_roots_own_may_be_http_anywhere(alertmanager, plain, notification):
    got, port = plain
    target = AlertmanagerTarget(f"http://localhost:{port}/api/v2/alerts", trusted=True)
    assert (await alertmanager().send(notification, target, Attempt("uid.x"))).kind is OutcomeKind.DELIVERED
    assert len(got) == 1


@pytest.fixture
async def sink(trust):
    async with HttpSink(trust=trust) as running:
        yield running


@pytest.fixture
async def provider(tls):
    made = []

    def make(kind):
        http = Http(tls, 5.0)
        made.append(HttpProvider(kind, http, HostPolicy({kind.name: ("127.0.0.1",)}), lambda: 0.0))
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def test_telegram_takes_plain_text_where_it_refuses_entities(provider, sink, notification):
    target = TelegramTarget(f"{sink.url}/bot{TOKEN}/sendMessage", chat_id="-1", bot_token=TOKEN)
    refusal = json.dumps({"ok": False, "error_code": 400, "description": "Bad Request: can't parse entities: x"})
    sink.plan(Respond(400, refusal), Respond(200, TELEGRAM.success[1]))
    outcome = await provider(TELEGRAM).send(notification, target, Attempt("uid.telegram"))
    assert outcome.kind is OutcomeKind.DELIVERED
    assert ["entities" in post.payload for post in sink.requests] == [True, False]
    assert len({post.headers["x-pipebell-delivery"] for post in sink.requests}) == 1


async def test_telegram_refuses_plain_text_too(provider, sink, notification):
    target = TelegramTarget(f"{sink.url}/bot{TOKEN}/sendMessage", chat_id="-1", bot_token=TOKEN)
    refusal = json.dumps({"ok": False, "error_code": 400, "description": "Bad Request: ENTITY_X of bot" + TOKEN})
    sink.plan(*[Respond(400, refusal)] * 3)
    outcome = await provider(TELEGRAM).send(notification, target, Attempt("uid.telegram"))
    assert outcome.kind is OutcomeKind.PERMANENT
    assert "hidden" not in repr(outcome)
    assert len(sink.requests) == 2


async def test_a_thread_goes_on_by_the_first_answers_handle(provider, sink, notification):
    target = GoogleChatTarget(f"{sink.url}/v1/spaces/AAAA/messages?key=k&token=t%3D")
    sink.plan(Respond(200, '{"thread": {"name": "spaces/AAAA/threads/th1"}}'), Respond(200, "{}"))
    chat = provider(GOOGLE_CHAT)
    first = await chat.send(notification, target, Attempt("1.googleChat"))
    await chat.send(notification, target, Attempt("2.googleChat", action=Action.REPLY, handle=first.handle))
    assert sink.requests[0].target.startswith("/v1/spaces/AAAA/messages?key=k&token=t%3D&requestId="), "byte for byte"
    assert "thread" not in sink.requests[0].payload
    assert sink.requests[1].payload["thread"] == {"name": "spaces/AAAA/threads/th1"}


async def test_discord_waits_for_the_message_to_be_saved(provider, sink, notification):
    target = DiscordTarget(f"{sink.url}/api/webhooks/1/hidden", thread_id="7")
    sink.plan(Respond(200, DISCORD.success[1]), Respond(429, '{"retry_after": 1.5}', {"Retry-After": "2"}))
    discord = provider(DISCORD)
    outcome = await discord.send(notification, target, Attempt("uid.discord"))
    assert (outcome.kind, outcome.handle) == (OutcomeKind.DELIVERED, "1205000000000000001")
    assert sink.requests[0].target == "/api/webhooks/1/hidden?wait=true&thread_id=7"
    busy = await discord.send(notification, replace(target, thread_id=None), Attempt("uid.discord"))
    assert (busy.kind, busy.retry_after) == (OutcomeKind.PAUSE, 1.5)
