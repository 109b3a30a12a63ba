import json
import ssl
from dataclasses import replace

import pytest

from pipebell.core.errors import NotReady
from pipebell.core.hosts import HostPolicy
from pipebell.core.outcome import Attempt, Verdict
from pipebell.core.render import slack_payload
from pipebell.core.targets import SlackTarget
from pipebell.core.vocabulary import NotReadyReason
from pipebell.providers.http import Answer, Http
from pipebell.providers.slack import MENDS, RULES, SlackProvider, retry_after, sort_answer
from pipebell.providers.tls import client_context
from pipebell.sinks import DROP, HANG, KEEP_AND_DROP, Respond, SlackSink, redirect

NOW = 1_795_407_342.0  # Mon, 23 Nov 2026 04:15:42 GMT
URL = "https://hooks.slack.com/services/T0AAAA/B0BBBB/CCCCCCCCCCCC"
DELIVERED, RETRY, PERMANENT, PAUSE = Verdict.DELIVERED, Verdict.RETRY, Verdict.PERMANENT, Verdict.PAUSE

# The whole table: status, body, what it means, and a word of the mend.
TABLE = [
    (200, "ok", DELIVERED, "", ""),
    (204, "", DELIVERED, "", ""),
    (301, "", PERMANENT, "RedirectRefused", "not followed"),
    (302, "", PERMANENT, "RedirectRefused", "not followed"),
    (308, "", PERMANENT, "RedirectRefused", "not followed"),
    (400, "invalid_payload", PERMANENT, "Http400", "cannot read the message"),
    (400, "user_not_found", PERMANENT, "Http400", "no such user"),
    (401, "", PERMANENT, "Http401", "refused the message"),
    (403, "action_prohibited", PERMANENT, "Http403", "administrator"),
    (403, "invalid_token", PERMANENT, "Http403", "make a new one"),
    (404, "no_service", PERMANENT, "Http404", "make a new one"),
    (404, "channel_not_found", PERMANENT, "Http404", "check slack.channel"),
    (404, "", PERMANENT, "Http404", "make a new one"),
    (408, "", RETRY, "Http408", "in time"),
    (410, "channel_is_archived", PERMANENT, "Http410", "archived"),
    (410, "", PERMANENT, "Http410", "make a new one"),
    (422, "", PERMANENT, "Http422", "refused the message"),
    (429, "rate_limited", PAUSE, "Http429", "too many"),
    (500, "rollup_error", RETRY, "Http500", "a problem"),
    (503, "<html>down</html>", RETRY, "Http503", "a problem"),
    (599, "", RETRY, "Http599", "a problem"),
    (100, "", RETRY, "Http100", "as it should"),
    (777, "", RETRY, "Http777", "as it should"),
]


@pytest.mark.parametrize(("status", "body", "verdict", "reason", "mend"), TABLE)
def test_what_answers_mean(status, body, verdict, reason, mend):
    outcome = sort_answer(Answer(status, {}, body.encode()), URL, NOW)
    assert (outcome.verdict, outcome.reason) == (verdict, reason)
    assert mend in outcome.message
    assert "<" not in outcome.message
    assert outcome.message.isprintable()


def test_the_table_is_whole():
    used = {next((rule for rule in RULES if status in rule.statuses), None) for status, *_ in TABLE}
    assert used == {*RULES, None}


@pytest.mark.parametrize("name", MENDS)
def test_each_of_slacks_errors_has_its_mend(name):
    assert MENDS[name] in sort_answer(Answer(403, {}, name.encode()), URL, NOW).message


def test_what_a_server_echoes_is_struck_out():
    body = f"bad {URL} /services/T0AAAA/B0BBBB/CCCCCCCCCCCC CCCCCCCCCCCC\r\n\x1b[31m" + "x" * 9999
    message = sort_answer(Answer(400, {}, body.encode()), URL, NOW).message
    assert not {"T0AAAA", "B0BBBB", "CCCC"} & set(message.replace("/", " ").split())
    assert "CCCC" not in message
    assert len(message) < 300


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("30", 30.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("1.5", 1.5),
        ("999999", 3600.0),
        ("inf", 3600.0),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Mon, 23 Nov 2026 04:16:42 GMT", 60.0),
        ("Mon, 23 Nov 2026 04:16:42", 60.0),
        ("Mon, 23 Nov 2026 04:00:00 GMT", 0.0),
        ("Tue, 24 Nov 2026 04:00:00 GMT", 3600.0),
        ("Mon, 99 Nov 2026 04:00:00 GMT", None),
    ],
)
def test_retry_after(value, seconds):
    assert retry_after(value, NOW) == seconds


@pytest.fixture
async def sink(trust):
    async with SlackSink(trust=trust) as running:
        yield running


@pytest.fixture
async def slack_with(tls):
    made = []

    def make(*hosts, tls=tls, timeout=5.0):
        made.append(SlackProvider(Http(tls, timeout), HostPolicy(hosts), lambda: NOW))
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
    assert (await send(slack, target)).verdict is DELIVERED
    (post,) = sink.posts
    assert post.payload == json.loads(json.dumps(slack_payload(notification, target)))
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
    assert (outcome.verdict, outcome.retry_after) == (PAUSE, 17.0)


async def test_redirects_are_not_followed(send, slack, sink):
    sink.plan(redirect(sink.webhook("Elsewhere")))
    outcome = await send(slack, SlackTarget(sink.webhook()))
    assert (outcome.verdict, outcome.reason) == (PERMANENT, "RedirectRefused")
    assert [post.path for post in sink.requests] == ["/services/T00000000/B00000000/Default"]


@pytest.mark.parametrize("answer", [DROP, KEEP_AND_DROP])
async def test_a_connection_that_breaks(send, slack, sink, answer):
    sink.plan(answer)
    outcome = await send(slack, SlackTarget(sink.webhook()))
    assert (outcome.verdict, outcome.reason) == (RETRY, "ConnectionLost")
    assert (await send(slack, SlackTarget(sink.webhook()))).verdict is DELIVERED


async def test_time_is_bounded(send, slack_with, sink):
    sink.plan(HANG)
    outcome = await send(slack_with("127.0.0.1", timeout=0.2), SlackTarget(sink.webhook()))
    assert (outcome.verdict, outcome.reason) == (RETRY, "Timeout")


async def test_nobody_listens(send, slack, sink):
    await sink.stop()
    outcome = await send(slack, SlackTarget(sink.webhook()))
    assert (outcome.verdict, outcome.reason) == (RETRY, "ConnectionFailed")


async def test_names_that_nobody_knows(send, slack):
    outcome = await send(slack, SlackTarget("https://nowhere.invalid/services/x", trusted=True))
    assert (outcome.verdict, outcome.reason) == (RETRY, "DnsFailed")


async def test_certificates_are_verified(send, slack_with, sink):
    outcome = await send(slack_with("127.0.0.1", tls=client_context()), SlackTarget(sink.webhook()))
    assert (outcome.verdict, outcome.reason) == (PERMANENT, "TlsCertificateInvalid")


async def test_an_endless_answer_is_not_read(send, slack, sink):
    sink.plan(Respond(500, "x" * 2_000_000))
    outcome = await send(slack, SlackTarget(sink.webhook()))
    assert (outcome.verdict, outcome.reason) == (RETRY, "Http500")
    assert len(outcome.message) < 300


async def test_the_environments_proxy_is_none_of_ours(send, slack, sink, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await send(slack, SlackTarget(sink.webhook()))).verdict is DELIVERED


async def test_hosts_of_organisations_are_checked(send, slack_with, sink):
    provider = slack_with()
    target = SlackTarget(sink.webhook())
    outcome = await send(provider, target)
    assert (outcome.verdict, outcome.reason) == (Verdict.HOST_NOT_ALLOWED, "HostNotAllowed")
    assert "PIPEBELL_SLACK_HOSTS" in outcome.message
    with pytest.raises(NotReady) as refused:
        await provider.check(target)
    assert refused.value.reason is NotReadyReason.HOST_NOT_ALLOWED
    assert sink.requests == []
    await provider.check(replace(target, trusted=True))
    assert (await send(provider, replace(target, trusted=True))).verdict is DELIVERED


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
    assert (await send(slack_with(), SlackTarget(url))).verdict is Verdict.HOST_NOT_ALLOWED


@pytest.mark.parametrize(
    "url", ["https://", "https://[::1/x", "https://h:99999/x", "https://h:x/", "nonsense", "ftp://h/x"]
)
async def test_an_url_that_is_none(send, slack, url):
    outcome = await send(slack, SlackTarget(url, trusted=True))
    assert (outcome.verdict, outcome.reason) == (PERMANENT, "InvalidUrl")
    assert url not in outcome.message
    assert (await send(slack, SlackTarget(url))).verdict is Verdict.HOST_NOT_ALLOWED
