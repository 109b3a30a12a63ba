"""SMS against a server that keeps and lists messages as Twilio does."""

import json
from dataclasses import replace
from urllib.parse import parse_qsl

import pytest

from pipebell.core.destinations.sms import SMS, SmsTarget
from pipebell.core.hosts import HostPolicy
from pipebell.core.outcome import Attempt, OutcomeKind
from pipebell.core.vocabulary import Reason
from pipebell.providers.budget import Budgeted
from pipebell.providers.http import Http
from pipebell.providers.registry import build_providers
from pipebell.providers.webhook import HttpProvider
from pipebell.settings import Settings
from pipebell.sinks import KEEP_AND_DROP, HttpSink, Respond

CREATED = 1_795_407_342.0
PATH = "/2010-04-01/Accounts/AC1/Messages.json"


class Twilio(HttpSink):
    """Takes messages, and lists the newest first; with much that other applications of the account have sent."""

    def usual(self, request, body):
        if request.headers["Authorization"] != "Basic QUMxOnNlY3JldC10b2tlbg==":
            return Respond(401, json.dumps({"code": 20003, "message": "Authenticate", "status": 401}))
        if request.method == "POST":
            return Respond(201, json.dumps({"sid": f"SM{len(self.kept()):032x}", "status": "queued"}))
        number = request.query["To"]
        mine = [one for one in reversed(self.kept()) if one["To"] == number]
        padding = {"price": None, "uri": "x" * 800}
        return Respond(200, json.dumps({"messages": [{"body": one["Body"], **padding} for one in mine]}))

    def kept(self):
        """What it took over, answered or not."""
        return [dict(parse_qsl(post.body.decode())) for post in self.requests if post.method == "POST"]

    def looked(self):
        return [post for post in self.requests if post.method == "GET"]


@pytest.fixture
async def twilio(trust):
    async with Twilio(trust=trust) as running:
        yield running


@pytest.fixture
def target(twilio):
    return SmsTarget(
        f"{twilio.url}{PATH}",
        where="sms",
        username="AC1",
        password="secret-token",
        sender=(("From", "+15005550006"),),
        numbers=("+4915112345678",),
        number="+4915112345678",
        per_hour=3,
    )


@pytest.fixture
async def sms(tls):
    http = HttpProvider(SMS, Http(tls, 5.0, reads=SMS.reads), HostPolicy({"sms": ("127.0.0.1",)}), lambda: CREATED)
    yield Budgeted(http)
    await http.close()


def attempt(name="uid.sms/1", after=0.5, **more):
    return Attempt(name, now=CREATED + after, expires=CREATED + 3600, **more)


async def test_the_operator_keeps_its_budget():
    class Clock:
        def now(self):
            return 0.0

    providers = build_providers(Settings(), Clock())
    assert isinstance(providers["sms"], Budgeted)
    for provider in providers.values():
        await provider.close()


async def test_a_message_is_sent_once(sms, twilio, target, notification):
    outcome = await sms.send(notification, target, attempt())
    assert (outcome.kind, outcome.handle) == (OutcomeKind.DELIVERED, f"SM{0:032x}")
    assert [post.method for post in twilio.requests] == ["POST"]


async def test_an_answer_that_never_came_is_looked_for_and_not_sent_again(sms, twilio, target, notification):
    twilio.plan(KEEP_AND_DROP)
    first = await sms.send(notification, target, attempt())
    assert first.kind is OutcomeKind.RETRY
    assert "may have arrived" in first.message
    second = await sms.send(notification, target, attempt(after=5, again=True))
    assert second.kind is OutcomeKind.DELIVERED
    assert len(twilio.kept()) == 1


async def test_one_that_was_not_taken_over_is_sent_again(sms, twilio, target, notification):
    twilio.plan(Respond(503, ""))
    assert (await sms.send(notification, target, attempt())).kind is OutcomeKind.RETRY
    twilio.journal.all.clear()
    assert (await sms.send(notification, target, attempt(after=5, again=True))).kind is OutcomeKind.DELIVERED
    assert [post.method for post in twilio.requests] == ["GET", "POST"]


async def test_a_process_that_died_after_sending_repeats_nothing(sms, twilio, target, notification, tls):
    """Nothing was written down: to the next process it is the first attempt at an event that is no longer fresh."""
    await sms.send(notification, target, attempt())
    for number in range(40):
        await sms.send(notification, replace(target, per_hour=99), attempt(f"other{number}.sms/1"))
    reborn = HttpProvider(SMS, Http(tls, 5.0, reads=SMS.reads), HostPolicy({"sms": ("127.0.0.1",)}), lambda: CREATED)
    sent = len(twilio.kept())
    outcome = await Budgeted(reborn).send(notification, target, attempt(after=12))
    await reborn.close()
    assert outcome.kind is OutcomeKind.DELIVERED
    assert len(twilio.kept()) == sent
    assert len(twilio.looked()) == 1


async def test_each_number_looks_for_its_own(sms, twilio, target, notification):
    await sms.send(notification, target, attempt("uid.sms/1", after=12))
    other = replace(target, number="+447700900123")
    await sms.send(notification, other, attempt("uid.sms/2", after=12))
    assert [message["To"] for message in twilio.kept()] == ["+4915112345678", "+447700900123"]


async def test_a_login_that_is_refused_is_permanent_and_shows_nothing(sms, twilio, target, notification):
    outcome = await sms.send(notification, replace(target, password="wrong-token"), attempt(after=12))
    assert outcome.kind is OutcomeKind.PERMANENT
    assert "check accountSid" in outcome.message
    assert "token" not in outcome.message.replace("authToken", "")
    assert [post.method for post in twilio.requests] == ["GET", "POST"]


# ------------------------------------------------------------------ maxPerHour


async def send(sms, message, target, *names, after=0.5):
    return [await sms.send(message, target, attempt(name, after)) for name in names]


async def test_what_is_more_than_an_hours_is_not_sent(sms, twilio, target, notification):
    outcomes = await send(sms, notification, target, "1", "2", "3", "4")
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.DELIVERED] * 3 + [OutcomeKind.PERMANENT]
    assert (outcomes[3].reason, outcomes[3].ends_as) == ("RateLimited", Reason.RATE_LIMITED)
    assert "sms.maxPerHour is 3" in outcomes[3].message
    assert len(twilio.kept()) == 3


async def test_the_hour_slides(sms, target, notification):
    await send(sms, notification, target, "1", after=0)
    await send(sms, notification, target, "2", "3", after=1800)
    for after, kind in ((3599, OutcomeKind.PERMANENT), (3600, OutcomeKind.DELIVERED), (3601, OutcomeKind.PERMANENT)):
        (outcome,) = await send(sms, notification, target, f"at {after}", after=after)
        assert outcome.kind is kind


async def test_one_message_counts_once_however_often_it_is_tried(sms, twilio, target, notification):
    twilio.plan(Respond(500, ""), Respond(500, ""), Respond(500, ""))
    await send(sms, notification, target, "1", "1", "1", "1")
    assert [o.kind for o in await send(sms, notification, target, "2", "3")] == [OutcomeKind.DELIVERED] * 2


async def test_what_was_refused_costs_nothing(sms, twilio, target, notification):
    twilio.plan(*[Respond(400, "{}"), Respond(429, "")] * 3)
    await send(sms, notification, target, *"abcdef")
    assert {o.kind for o in await send(sms, notification, target, "1", "2", "3")} == {OutcomeKind.DELIVERED}


async def test_one_organisation_takes_nothing_from_another(sms, target, notification):
    await send(sms, notification, target, "1", "2", "3", "4")
    event = notification.event
    spec = event.spec.model_copy(update={"org_slug": "globex"})
    for other in (replace(event, namespace="elsewhere"), replace(event, spec=spec)):
        (outcome,) = await send(sms, replace(notification, event=other), target, f"x.{other.namespace}")
        assert outcome.kind is OutcomeKind.DELIVERED


async def test_made_up_organisations_get_no_further_on_roots_account(sms, target, notification):
    roots = replace(target, trusted=True)
    event = notification.event
    outcomes = []
    for number in range(5):
        spec = event.spec.model_copy(update={"org_slug": f"made-up-{number}"})
        made_up = replace(notification, event=replace(event, spec=spec))
        outcomes += await send(sms, made_up, roots, f"x.{number}")
    assert [outcome.reason for outcome in outcomes] == ["", "", "", "RateLimited", "RateLimited"]
    (outcome,) = await send(sms, replace(notification, event=replace(event, namespace="elsewhere")), roots, "y")
    assert outcome.kind is OutcomeKind.DELIVERED
