"""Further kinds against servers that speak their vendor's language: all fits by the vendor's own counting."""

import time
from dataclasses import replace

import pytest
from tests.core.destinations.huge import WIDE, huge
from tests.core.destinations.test_kinds import org
from tests.core.messages import CASES, make

from pipebell.core.hosts import HostPolicy
from pipebell.core.layers import Layers
from pipebell.core.models import KINDS
from pipebell.core.outcome import Action, Attempt, OutcomeKind
from pipebell.core.vocabulary import Severity
from pipebell.providers.http import Http
from pipebell.providers.webhook import HttpProvider
from pipebell.sinks import (
    KEEP_AND_DROP,
    AlertmanagerSink,
    DiscordSink,
    GoogleChatSink,
    JsmSink,
    MattermostSink,
    TelegramSink,
    TwilioSink,
)

SINKS = {
    "discord": DiscordSink,
    "googleChat": GoogleChatSink,
    "telegram": TelegramSink,
    "mattermost": MattermostSink,
    "jsm": JsmSink,
    "alertmanager": AlertmanagerSink,
    "sms": TwilioSink,
}
NOW = 1_795_407_343.0  # one second after the typical event
SUCCESS = {"event": "pipeline_success", "severity": Severity.INFO, "error_message": None}


class Way:
    """A kind's provider, its vendor's server, and the example's target there."""

    def __init__(self, name, sink, tls):
        self.kind, self.sink = KINDS[name], sink
        http = Http(tls, 5.0, reads=self.kind.reads)
        self.provider = HttpProvider(self.kind, http, HostPolicy({name: ("127.0.0.1",)}), time.time)
        example = Layers(org({name: self.kind.example}), None).target(name)
        scheme, _, rest = example.url.partition("://")
        self.target = replace(example, url=f"{sink.url}/{rest.partition('/')[2]}")
        assert scheme == "https"

    async def send(self, message, delivery="uid.x", **more):
        options = {"now": NOW, "expires": NOW + 3600, "installation": "one"} | more
        return await self.provider.send(message, self.target, Attempt(delivery, **options))


@pytest.fixture
async def way(request, trust, tls):
    async with SINKS[request.param](trust=trust) as sink:
        made = Way(request.param, sink, tls)
        yield made
        await made.provider.close()


every = pytest.mark.parametrize("way", SINKS, indirect=True)


@every
async def test_every_message_is_taken(way):
    for name, case in CASES.items():
        outcome = await way.send(make(**case), f"{name}.x")
        assert (outcome.kind, outcome.message) == (OutcomeKind.DELIVERED, ""), name
    assert len(way.sink.posts) == len(way.sink.requests), "at the first request, no plainer one after it"


@every
@pytest.mark.parametrize("sign", [WIDE, "x", "`", "\\", '"', "é", "ж", "<@"], ids=ascii)
async def test_the_largest_event_is_taken(way, sign):
    message = huge(sign[0] if len(sign) > 1 else sign)
    outcome = await way.send(message)
    assert (outcome.kind, outcome.message) == (OutcomeKind.DELIVERED, "")
    assert len(way.sink.requests) == 1


# What the answer is lost of, as when the operator dies before it could record it; each new process sends the same.


@pytest.mark.parametrize("way", ["jsm"], indirect=True)
async def test_an_alert_repeated_after_crashes_is_one_and_a_success_closes_it(way):
    for _ in range(3):
        way.sink.plan(KEEP_AND_DROP)
        assert (await way.send(make())).kind is OutcomeKind.RETRY
    await way.send(make(), "later.x")
    (alert,) = way.sink.alerts
    assert (alert.count, alert.priority, alert.open) == (4, "P2", True)
    await way.send(make(**SUCCESS), "success.x")
    await way.send(make(**SUCCESS), "success.x")
    assert not alert.open
    await way.send(make(), "again.x")
    assert [alert.open for alert in way.sink.alerts] == [False, True]


@pytest.mark.parametrize("way", ["alertmanager"], indirect=True)
async def test_one_alert_fires_until_a_success_ends_it(way):
    for run in range(3):
        way.sink.plan(KEEP_AND_DROP)
        await way.send(make(pipeline_logging_id=f"run-{run}"), f"{run}.x", now=NOW + run)
    await way.send(make(), "3.x", now=NOW + 3)
    await way.send(make(Severity.CRITICAL, pipeline_id="other"), "4.x", now=NOW + 3)
    assert [alert["labels"]["pipeline"] for alert in way.sink.firing(NOW + 4)] == ["nightly-orders-load", "other"]
    await way.send(make(**SUCCESS), "5.x", now=NOW + 5)
    assert [alert["labels"]["pipeline"] for alert in way.sink.firing(NOW + 5)] == ["other"]
    assert way.sink.firing(NOW + 4000) == [], "at the latest when the event has become history"


@pytest.mark.parametrize("way", ["sms"], indirect=True)
async def test_a_text_message_is_sent_once_whatever_is_lost(way):
    way.sink.plan(KEEP_AND_DROP)
    assert (await way.send(make())).kind is OutcomeKind.RETRY
    for after in (3, 60):
        assert (await way.send(make(), now=NOW + after, again=True)).kind is OutcomeKind.DELIVERED
    assert len(way.sink.messages) == 1


@pytest.mark.parametrize("way", ["googleChat"], indirect=True)
async def test_a_repeated_message_has_the_identity_of_the_first(way):
    way.sink.plan(KEEP_AND_DROP)
    await way.send(make())
    first = await way.send(make())
    await way.send(make(), "reply.x", action=Action.REPLY, handle=first.handle)
    threads = [message["thread"]["name"] for message in way.sink.messages.values()]
    assert len(threads) == 2
    assert len(set(threads)) == 1, "the second is a reply in the first one's thread"


@pytest.mark.parametrize("way", ["telegram"], indirect=True)
async def test_a_reply_names_the_first_message(way):
    first = await way.send(make())
    await way.send(make(), "reply.x", action=Action.REPLY, handle=first.handle)
    assert way.sink.posts[1].payload["reply_parameters"]["message_id"] == 1


@pytest.mark.parametrize("way", ["discord", "telegram", "mattermost", "googleChat"], indirect=True)
async def test_a_repeated_message_carries_the_same_delivery(way):
    way.sink.plan(KEEP_AND_DROP)
    await way.send(make())
    await way.send(make())
    assert len({post.headers["x-pipebell-delivery"] for post in way.sink.requests}) == 1


# ---------------------------------------------------------------------------- what follows a message


@pytest.mark.parametrize("way", ["jsm"], indirect=True)
async def test_somebody_takes_care_of_an_alert_and_then_it_is_over(way):
    await way.send(make())
    await way.send(make(), "a.x", action=Action.ACKNOWLEDGE)
    (alert,) = way.sink.alerts
    assert (alert.open, alert.acknowledged, alert.count) == (True, True, 1)
    await way.send(make(), "r.x", action=Action.RESOLVE)
    assert not alert.open


@pytest.mark.parametrize("way", ["alertmanager"], indirect=True)
@pytest.mark.parametrize("event", ["pipeline_failure", "data_quality_warning", "system_error"])
async def test_the_end_of_trouble_ends_its_alert_whatever_its_type(way, event):
    await way.send(make(event=event))
    await way.send(make(event=event, pipeline_id="other"))
    assert len(way.sink.firing(NOW + 1)) == 2
    await way.send(make(event=event), "r.x", action=Action.RESOLVE, now=NOW + 2)
    assert [alert["labels"]["pipeline"] for alert in way.sink.firing(NOW + 2)] == ["other"]


@pytest.mark.parametrize("way", ["discord"], indirect=True)
async def test_a_message_is_changed_until_it_is_deleted_and_then_made_anew(way):
    first = await way.send(make())
    edited = await way.send(make(**SUCCESS), "e.x", action=Action.EDIT, handle=first.handle)
    assert (edited.kind, edited.handle, list(way.sink.shown)) == (OutcomeKind.DELIVERED, first.handle, [first.handle])
    assert "succeeded" in way.sink.shown[first.handle]
    del way.sink.shown[first.handle]
    fresh = await way.send(make(**SUCCESS), "e.x", action=Action.EDIT, handle=first.handle)
    assert fresh.kind is OutcomeKind.DELIVERED
    assert list(way.sink.shown) == [fresh.handle]
    assert fresh.handle != first.handle
    beside = await way.send(make(**SUCCESS), "e.x", action=Action.EDIT, handle=first.handle, anew=False)
    assert (beside.kind, list(way.sink.shown)) == (OutcomeKind.DELIVERED, [fresh.handle])
    assert all(request.payload["allowed_mentions"] == {"parse": []} for request in way.sink.requests)
