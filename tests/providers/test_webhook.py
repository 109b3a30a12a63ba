import json
import ssl
from dataclasses import replace

import pytest

from pipebell.core.destinations.http import HttpRequest
from pipebell.core.destinations.slack import SLACK, SlackTarget, payload
from pipebell.core.errors import NotReady
from pipebell.core.hosts import HostPolicy
from pipebell.core.outcome import Attempt, OutcomeKind
from pipebell.core.vocabulary import NotReadyReason
from pipebell.providers.http import Http
from pipebell.providers.tls import client_context
from pipebell.providers.webhook import HttpProvider
from pipebell.sinks import DROP, HANG, KEEP_AND_DROP, Respond, SlackSink, redirect

NOW = 1_795_407_342.0  # Mon, 23 Nov 2026 04:15:42 GMT
URL = "https://hooks.slack.com/services/T0AAAA/B0BBBB/CCCCCCCCCCCC"
DELIVERED, RETRY, PERMANENT, PAUSE = OutcomeKind.DELIVERED, OutcomeKind.RETRY, OutcomeKind.PERMANENT, OutcomeKind.PAUSE


@pytest.fixture
async def sink(trust):
    async with SlackSink(trust=trust) as running:
        yield running


@pytest.fixture
async def slack_with(tls):
    made = []

    def make(*hosts, tls=tls, timeout=5.0):
        made.append(HttpProvider(SLACK, Http(tls, timeout), HostPolicy({"slack": hosts}), lambda: NOW))
        return made[-1]

    yield make
    for provider in made:
        await provider.close()


@pytest.fixture
def slack(slack_with):
    return slack_with("127.0.0.1")


@pytest.fixture
def send(notification):
    async def send(provider, target):
        return await provider.send(notification, target, Attempt("0b54f1c2.slack"))

    return send


async def test_delivers_what_is_rendered(send, slack, sink, notification):
    target = SlackTarget(sink.webhook(), channel="#größe 😀")
    assert (await send(slack, target)).kind is DELIVERED
    (post,) = sink.posts
    assert post.payload == json.loads(json.dumps(payload(notification, target)))
    assert post.headers["x-pipebell-delivery"] == "0b54f1c2.slack"
    assert post.headers["content-type"].startswith("application/json")
    assert "cookie" not in post.headers
    assert "authorization" not in post.headers


async def test_connections_are_reused(send, slack, sink, monkeypatch):
    opened = []
    wrap = ssl.SSLContext.wrap_bio
    monkeypatch.setattr(
        ssl.SSLContext, "wrap_bio", lambda *a, **k: opened.append(k.get("server_side")) or wrap(*a, **k)
    )
    for status in (200, 500, 404, 200):
        sink.plan(Respond(status, "x"))
        await send(slack, SlackTarget(sink.webhook()))
    assert len(sink.requests) == 4
    assert len(opened) <= 2  # one for each side of one connection


async def test_too_many_pauses_for_as_long_as_it_says(send, slack, sink):
    sink.plan(Respond(429, "rate_limited", {"Retry-After": "17"}))
    outcome = await send(slack, SlackTarget(sink.webhook()))
    assert (outcome.kind, outcome.retry_after) == (PAUSE, 17.0)


async def test_redirects_are_not_followed(send, slack, sink):
    sink.plan(redirect(sink.webhook("Elsewhere")))
    outcome = await send(slack, SlackTarget(sink.webhook()))
    assert (outcome.kind, outcome.reason) == (PERMANENT, "RedirectRefused")
    assert [post.path for post in sink.requests] == ["/services/T00000000/B00000000/Default"]


@pytest.mark.parametrize("answer", [DROP, KEEP_AND_DROP])
async def test_a_connection_that_breaks(send, slack, sink, answer):
    sink.plan(answer)
    outcome = await send(slack, SlackTarget(sink.webhook()))
    assert (outcome.kind, outcome.reason) == (RETRY, "ConnectionLost")
    assert (await send(slack, SlackTarget(sink.webhook()))).kind is DELIVERED


async def test_time_is_bounded(send, slack_with, sink):
    sink.plan(HANG)
    outcome = await send(slack_with("127.0.0.1", timeout=0.2), SlackTarget(sink.webhook()))
    assert (outcome.kind, outcome.reason) == (RETRY, "Timeout")


async def test_nobody_listens(send, slack, sink):
    await sink.stop()
    outcome = await send(slack, SlackTarget(sink.webhook()))
    assert (outcome.kind, outcome.reason) == (RETRY, "ConnectionFailed")


async def test_names_that_nobody_knows(send, slack):
    outcome = await send(slack, SlackTarget("https://nowhere.invalid/services/x", trusted=True))
    assert (outcome.kind, outcome.reason) == (RETRY, "DnsFailed")


async def test_certificates_are_verified(send, slack_with, sink):
    outcome = await send(slack_with("127.0.0.1", tls=client_context()), SlackTarget(sink.webhook()))
    assert (outcome.kind, outcome.reason) == (PERMANENT, "TlsCertificateInvalid")


async def test_an_endless_answer_is_not_read(send, slack, sink):
    sink.plan(Respond(500, "x" * 2_000_000))
    outcome = await send(slack, SlackTarget(sink.webhook()))
    assert (outcome.kind, outcome.reason) == (RETRY, "Http500")
    assert len(outcome.message) < 300


async def test_the_environments_proxy_is_none_of_ours(send, slack, sink, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await send(slack, SlackTarget(sink.webhook()))).kind is DELIVERED


async def test_another_request_follows_where_the_kind_says_so(send, tls, sink):
    """A plainer message after a refusal: the last answer decides, and nothing goes on for ever."""
    seen = []

    def plainer(sent, response):
        seen.append((sent.first, response.status, response.text))
        return HttpRequest(sent.request.url, b'{"text": "plain"}')

    kind = replace(SLACK, then=plainer)
    provider = HttpProvider(kind, Http(tls, 5.0), HostPolicy({"slack": ("127.0.0.1",)}), lambda: NOW)
    sink.plan(Respond(400, "invalid_blocks"), None, Respond(503, "later"))
    outcome = await send(provider, SlackTarget(sink.webhook()))
    await provider.close()
    assert (outcome.kind, outcome.reason) == (OutcomeKind.RETRY, "Http503")
    assert seen == [(True, 400, "invalid_blocks"), (False, 200, "ok")]
    assert [post.payload["text"] for post in sink.requests[1:]] == ["plain", "plain"]
    assert len({post.headers["x-pipebell-delivery"] for post in sink.requests}) == 1


async def test_hosts_of_organisations_are_checked(send, slack_with, sink):
    provider = slack_with()
    target = SlackTarget(sink.webhook())
    outcome = await send(provider, target)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.HOST_NOT_ALLOWED, "HostNotAllowed")
    assert "PIPEBELL_ALLOWED_HOSTS" in outcome.message
    with pytest.raises(NotReady) as refused:
        await provider.check(target)
    assert refused.value.reason is NotReadyReason.HOST_NOT_ALLOWED
    assert sink.requests == []
    await provider.check(replace(target, trusted=True))
    assert (await send(provider, replace(target, trusted=True))).kind is DELIVERED


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.slack.com.evil.example/services/x",
        "https://hooks.slack.com@127.0.0.1/services/x",
        "https://user:pass@hooks.slack.com/services/x",
        "https://hooks.slack.com:8443/services/x",
        "http://hooks.slack.com/services/x",
        "https://127.0.0.1\\@hooks.slack.com/services/x",
    ],
)
async def test_hosts_that_only_look_allowed(send, slack_with, url):
    assert (await send(slack_with(), SlackTarget(url))).kind is OutcomeKind.HOST_NOT_ALLOWED


@pytest.mark.parametrize(
    "url", ["https://", "https://[::1/x", "https://h:99999/x", "https://h:x/", "nonsense", "ftp://h/x"]
)
async def test_an_url_that_is_none(send, slack, url):
    outcome = await send(slack, SlackTarget(url, trusted=True))
    assert (outcome.kind, outcome.reason) == (PERMANENT, "InvalidUrl")
    assert url not in outcome.message
    assert (await send(slack, SlackTarget(url))).kind is OutcomeKind.HOST_NOT_ALLOWED
