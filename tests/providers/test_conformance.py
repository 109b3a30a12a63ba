"""What every kind of destination must keep, new ones too. Kinds that post are tried from their example alone."""

import asyncio
import contextlib
import logging
import traceback
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from pipebell.core.destinations.email import EmailTarget
from pipebell.core.destinations.http import HttpKind
from pipebell.core.destinations.slack import SLACK
from pipebell.core.errors import NotReady
from pipebell.core.hosts import HostPolicy
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import KINDS, NotificationConfigSpec
from pipebell.core.outcome import Attempt, Outcome, OutcomeKind
from pipebell.core.placeholders import OrgSecrets
from pipebell.providers.email import EmailProvider
from pipebell.providers.http import Http
from pipebell.providers.smtp import Limits, Smtp
from pipebell.providers.tls import client_context
from pipebell.providers.webhook import HttpProvider
from pipebell.sinks import DROP, HANG, KEEP_AND_DROP, HttpSink, Respond, Say, SmtpSink, redirect

USER, PASSWORD, TOKEN = "confidential-user", "confidential-password", "ConfidentialToken"
LOOPBACK = HostPolicy(private_hosts=("127.0.0.1",))


def org(spec):
    return Layer(NotificationConfigSpec.model_validate({"orgSlug": "acme", **spec}), OrgSecrets(None, {}))


@dataclass
class Bench:
    """A provider with tiny timeouts, a real sink, and how that sink can be made to answer."""

    provider: Any
    stranger: Any  # the same provider, trusting no private CA
    guarded: Any  # the same, with no hosts allowed
    sink: Any
    target: Any
    elsewhere: list[Any]  # targets where nothing works
    secrets: tuple[str, ...]
    answers: dict[OutcomeKind, list[Any]]
    where: dict[str, Any] = field(default_factory=dict)

    def plan(self, *answers):
        self.sink.plan(*answers, **self.where)

    def identities(self):
        raise NotImplementedError


class EmailBench(Bench):
    def identities(self):
        return [(mail.message["Message-ID"], mail.message["X-Pipebell-Delivery"]) for mail in self.sink.journal.all]


class HttpBench(Bench):
    def identities(self):
        return [post.headers["x-pipebell-delivery"] for post in self.sink.journal.all]


def email_bench(trust, tls):
    sink = SmtpSink(users={USER: PASSWORD}, trust=trust)
    limits = Limits(connect=0.5, command=0.5, opening=1.0, envelope=1.0, final_dot=0.5, trial=2.0)
    target = EmailTarget(
        sink.host, sink.port, True, False, "a@example.com", None, ("b@example.com",), username=USER, password=PASSWORD
    )
    echo = f"{USER} {PASSWORD}"
    return EmailBench(
        EmailProvider(Smtp(LOOPBACK, tls, limits), lambda: 0.0),
        EmailProvider(Smtp(LOOPBACK, client_context(), limits), lambda: 0.0),
        EmailProvider(Smtp(HostPolicy(), tls, limits), lambda: 0.0),
        sink,
        target,
        [
            replace(target, host="nowhere.invalid"),
            replace(target, port=9),
            replace(target, password=PASSWORD + "x"),
            replace(target, use_tls=False),
        ],
        (USER, PASSWORD),
        {
            OutcomeKind.RETRY: [Say(status=f"451 {echo}"), DROP, KEEP_AND_DROP, HANG],
            OutcomeKind.PERMANENT: [Say(status=f"554 {echo}")],
            OutcomeKind.PAUSE: [Say(status=f"421 {echo}")],
        },
    )


class Receiver(HttpSink):
    """Answers every request as the kind's receiver answers one that it takes."""

    def __init__(self, kind, **options):
        super().__init__(**options)
        self.kind = kind

    def usual(self, request, body):
        status, text = self.kind.success
        return Respond(status, text)


def http_bench(kind):
    """A bench for any kind that posts, from its example alone; its URL leads to a receiver here instead."""

    def make(trust, tls):
        sink = Receiver(kind, trust=trust)
        example = Layers(org({kind.name: kind.example}), None).target(kind.name)
        path = urlsplit(example.url)._replace(scheme="", netloc="").geturl().lstrip("/")
        target = replace(example, url=f"{sink.url}/{TOKEN}/{path}")
        secrets = (TOKEN, target.url, *(word for word in target.secrets if len(word) > 8))
        echo = " ".join(secrets)
        loopback = HostPolicy({kind.name: ("127.0.0.1",)}, ("127.0.0.1",))
        return HttpBench(
            HttpProvider(kind, Http(tls, 0.5), loopback, lambda: 0.0),
            HttpProvider(kind, Http(client_context(), 0.5), loopback, lambda: 0.0),
            HttpProvider(kind, Http(tls, 0.5), HostPolicy({kind.name: ("elsewhere.example",)}), lambda: 0.0),
            sink,
            target,
            [
                replace(target, url=f"https://nowhere.invalid/{TOKEN}/{path}", trusted=True),
                replace(target, url=f"https://127.0.0.1:9/{TOKEN}/{path}"),
                replace(target, url=f"https://[::1/{TOKEN}/{path}", trusted=True),
                replace(target, url=f"https://127.0.0.1:99999/{TOKEN}", trusted=True),
            ],
            secrets,
            {
                OutcomeKind.RETRY: [
                    *(Respond(500, echo), Respond(503, TOKEN), Respond(408, ""), DROP, KEEP_AND_DROP, HANG),
                    *(Respond(200, '{"ok": false}'), Respond(200, f"<html>{echo}</html>")),
                ],
                OutcomeKind.PERMANENT: [
                    Respond(404, echo),
                    Respond(403, TOKEN),
                    Respond(400, echo),
                    redirect(target.url),
                ],
                OutcomeKind.PAUSE: [Respond(429, TOKEN, {"Retry-After": "3"}), Respond(429, echo)],
            },
        )

    return make


SLACK_BY_TOKEN = replace(
    SLACK,
    example={"botToken": "xoxb-confidential-bot-token", "channel": "#data"},
    success=(200, '{"ok": true, "channel": "C024BE91L", "ts": "1503435956.000247"}'),
)
OTHER_WAYS = {"slack by token": http_bench(SLACK_BY_TOKEN)}
BENCHES = {
    "email": email_bench,
    **{name: http_bench(kind) for name, kind in KINDS.items() if isinstance(kind, HttpKind)},
    **OTHER_WAYS,
}


def test_every_kind_is_here():
    assert set(BENCHES) - set(OTHER_WAYS) == set(KINDS), (
        "a kind that needs more than one HTTP request needs a bench of its own"
    )


@pytest.fixture(params=BENCHES, ids=str)
async def bench(request, trust, tls):
    bench = BENCHES[request.param](trust, tls)
    async with bench.sink:
        yield bench
        for provider in (bench.provider, bench.stranger, bench.guarded):
            await provider.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                while getattr(bench.sink, "open", 0):  # noqa: ASYNC110  (a refused handshake ends a moment later)
                    await asyncio.sleep(0.01)


async def test_delivers(bench, notification):
    outcome = await bench.provider.send(notification, bench.target, Attempt("uid.x"))
    assert outcome.kind is OutcomeKind.DELIVERED
    assert (outcome.reason, outcome.message) == ("", "")
    assert len(bench.sink.journal.accepted) == 1


async def test_sorts_answers_by_kind_and_bounds_its_time(bench, notification):
    for kind, answers in bench.answers.items():
        for answer in answers:
            bench.plan(answer)
            async with asyncio.timeout(15):  # far from the hours that a sender without bounds would wait
                outcome = await bench.provider.send(notification, bench.target, Attempt("uid.x"))
            assert outcome.kind is kind, answer
            assert outcome.reason
            assert outcome.message
            assert outcome.message.isprintable()


async def test_identity_is_the_same_at_every_attempt(bench, notification):
    bench.plan(*bench.answers[OutcomeKind.RETRY][:3])
    for _ in range(4):
        outcome = await bench.provider.send(notification, bench.target, Attempt("uid.x"))
    assert outcome.kind is OutcomeKind.DELIVERED
    assert len(bench.identities()) == 4
    assert len(set(bench.identities())) == 1
    await bench.provider.send(notification, bench.target, Attempt("other.x"))
    assert len(set(bench.identities())) == 2


async def test_hosts_are_checked_before_anything_is_sent(bench, notification):
    outcome = await bench.guarded.send(notification, bench.target, Attempt("uid.x"))
    assert outcome.kind is OutcomeKind.HOST_NOT_ALLOWED
    with pytest.raises(NotReady):
        await bench.guarded.check(bench.target)
    await bench.provider.check(bench.target)
    trusted = replace(bench.target, trusted=True)
    await bench.guarded.check(trusted)
    assert bench.sink.journal.all == []
    assert (await bench.guarded.send(notification, trusted, Attempt("uid.x"))).kind is OutcomeKind.DELIVERED


async def test_verifying_sends_nothing_comes_to_an_end_and_tells_no_secret(bench, caplog):
    """Whatever the other side answers, and wherever it is; what fails has a reason for machines."""
    caplog.set_level(logging.DEBUG)
    (*_, last) = await bench.provider.verify(bench.target, "team")
    assert last.ok or last.what == "form", last
    told = [last]
    for answer in [answer for answers in bench.answers.values() for answer in answers]:
        bench.plan(answer)
        async with asyncio.timeout(60):
            told += await bench.provider.verify(bench.target, "team")
    for target in bench.elsewhere:
        told += await bench.provider.verify(target, "team")
        assert not told[-1].ok, target
    for one in (bench.stranger, bench.guarded):
        told += await one.verify(bench.target, "team")
        assert not told[-1].ok
    assert told[-1].reason == "HostNotAllowed"
    assert not [finding for finding in told if not finding.ok and not finding.reason]
    for post in bench.sink.journal.all:
        assert (post.method == "GET" or post.path.endswith("/auth.test"), post.body) == (True, b""), (
            "no message, no e-mail"
        )
    everything = repr(told) + "".join(record.getMessage() for record in caplog.records if record.name != "mail.log")
    for secret in bench.secrets:
        assert secret not in everything


async def test_no_secret_anywhere(bench, notification, caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("asyncio", "aiohttp", "httpx", "aiosmtplib"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    told: list[Outcome] = [await bench.provider.send(notification, bench.target, Attempt("uid.x"))]
    for answer in [answer for answers in bench.answers.values() for answer in answers]:
        bench.plan(answer)
        told.append(await bench.provider.send(notification, bench.target, Attempt("uid.x")))
    told += [await bench.provider.send(notification, target, Attempt("uid.x")) for target in bench.elsewhere]
    told += [await one.send(notification, bench.target, Attempt("uid.x")) for one in (bench.stranger, bench.guarded)]
    with pytest.raises(NotReady) as refused:
        await bench.guarded.check(bench.target)
    assert {outcome.kind for outcome in told} == set(OutcomeKind)
    everything = "\n".join(
        [
            *map(repr, told),
            *traceback.format_exception(refused.value),
            repr(bench.target),
            *(record.getMessage() for record in caplog.records if record.name != "mail.log"),
        ]
    )
    for secret in bench.secrets:
        assert secret not in everything
    for name in ("asyncio", "aiohttp", "httpx", "aiosmtplib"):
        logging.getLogger(name).setLevel(logging.NOTSET)


async def test_nothing_is_raised_for_what_the_other_side_does(bench, notification):
    for target in bench.elsewhere:
        outcome = await bench.provider.send(notification, target, Attempt("uid.x"))
        assert outcome.kind in (OutcomeKind.RETRY, OutcomeKind.PERMANENT)


async def test_after_a_restart_of_the_other_side_it_goes_on(bench, notification):
    await bench.provider.send(notification, bench.target, Attempt("1.x"))
    await bench.sink.stop()
    outcome = await bench.provider.send(notification, bench.target, Attempt("2.x"))
    assert outcome.kind is OutcomeKind.RETRY
    await bench.sink.start()
    assert (await bench.provider.send(notification, bench.target, Attempt("2.x"))).kind is OutcomeKind.DELIVERED
