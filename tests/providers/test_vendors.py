"""Kinds against servers that speak their vendor's language, limits and refusals included: real HTTPS, real answers."""

import time
from dataclasses import replace

import pytest
import standardwebhooks
from tests.core.messages import CASES, make

from pipebell.core.destinations.pagerduty import PAGERDUTY, PagerDutyTarget
from pipebell.core.destinations.slack import SLACK, SlackTarget
from pipebell.core.destinations.teams import TEAMS, MentionedUser, TeamsTarget
from pipebell.core.destinations.teams import payload as teams_payload
from pipebell.core.destinations.webhook import WEBHOOK, Signature, WebhookTarget
from pipebell.core.errors import Fenced
from pipebell.core.hosts import HostPolicy
from pipebell.core.outcome import Action, Attempt, OutcomeKind
from pipebell.core.render.facts import facts
from pipebell.core.render.programs import Format
from pipebell.core.vocabulary import Severity
from pipebell.core.wire import encode
from pipebell.providers.http import Http
from pipebell.providers.webhook import HttpProvider
from pipebell.sinks import KEEP_AND_DROP, HttpSink, PagerDutySink, Respond, SlackApiSink, TeamsSink
from pipebell.sinks.slack_api import refuse, too_many

KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "xoxb-confidential-token"
ATTEMPT = Attempt("0b54f1c2.x", installation="4f1c-uid")
HUGE = "😀" * 32_768
SUCCESS = {"event": "pipeline_success", "severity": Severity.INFO, "error_message": None}


@pytest.fixture
async def provider(tls):
    made = []

    def make(kind):
        made.append(HttpProvider(kind, Http(tls, 5.0), HostPolicy({kind.name: ("127.0.0.1",)}), time.time))
        return made[-1]

    yield make
    for each in made:
        await each.close()


# ---------------------------------------------------------------------------- PagerDuty


@pytest.fixture
async def pagerduty(trust):
    async with PagerDutySink(trust=trust) as sink:
        yield sink


def integration(sink, **changes):
    return PagerDutyTarget(f"{sink.url}/v2/enqueue", routing_key=KEY, **changes)


@pytest.mark.parametrize("case", CASES)
async def test_pagerduty_takes_every_message(provider, pagerduty, case):
    outcome = await provider(PAGERDUTY).send(make(**CASES[case]), integration(pagerduty, change_events=True), ATTEMPT)
    assert (outcome.kind, outcome.message) == (OutcomeKind.DELIVERED, "")
    assert len(pagerduty.alerts) == (0 if case in ("pipeline_success", "pipeline_started") else 1)


async def test_a_trigger_repeated_after_crashes_is_one_alert(provider, pagerduty):
    """The answer is lost, as when the operator dies before it could record it; each new process sends the same."""
    for _ in range(3):
        pagerduty.plan(KEEP_AND_DROP)
        await provider(PAGERDUTY).send(make(), integration(pagerduty), ATTEMPT)
    await provider(PAGERDUTY).send(make(), integration(pagerduty), ATTEMPT)
    (alert,) = pagerduty.alerts
    assert alert.log == ["trigger"] * 4


async def test_a_success_resolves_and_is_a_change(provider, pagerduty):
    sender = provider(PAGERDUTY)
    await sender.send(make(), integration(pagerduty), ATTEMPT)
    await sender.send(make(**SUCCESS), integration(pagerduty, change_events=True), ATTEMPT)
    await sender.send(make(), integration(pagerduty), ATTEMPT)
    assert [(alert.open, alert.log) for alert in pagerduty.alerts] == [
        (False, ["trigger", "resolve"]),
        (True, ["trigger"]),
    ]
    assert [change["summary"] for change in pagerduty.changes] == [
        "Pipeline succeeded: nightly-orders-load (acme_corp)"
    ]


async def test_when_the_change_is_refused_the_attempt_is_repeated_without_harm(provider, pagerduty):
    sender, target = provider(PAGERDUTY), integration(pagerduty, change_events=True)
    await sender.send(make(), target, ATTEMPT)
    pagerduty.plan(None, 500)
    assert (await sender.send(make(**SUCCESS), target, ATTEMPT)).kind is OutcomeKind.RETRY
    assert (await sender.send(make(**SUCCESS), target, ATTEMPT)).kind is OutcomeKind.DELIVERED
    (alert,) = pagerduty.alerts
    assert alert.log == ["trigger", "resolve"]
    assert len(pagerduty.changes) == 1


async def test_a_replica_that_may_not_send_any_more_stops_between_two_requests(provider, pagerduty):
    answers = iter([True, False])
    attempt = replace(ATTEMPT, allowed=lambda: next(answers))
    with pytest.raises(Fenced):
        await provider(PAGERDUTY).send(make(**SUCCESS), integration(pagerduty, change_events=True), attempt)
    assert pagerduty.changes == []


async def test_pagerduty_takes_the_longest_message(provider, pagerduty):
    message = make(error_message=HUGE, details={"log": HUGE * 8}, pipeline_id="😀" * 512)
    assert (await provider(PAGERDUTY).send(message, integration(pagerduty), ATTEMPT)).kind is OutcomeKind.DELIVERED


async def test_pagerduty_names_what_is_wrong(provider, pagerduty):
    wrong = replace(integration(pagerduty), routing_key="too-short")
    outcome = await provider(PAGERDUTY).send(make(), wrong, ATTEMPT)
    assert outcome.kind is OutcomeKind.PERMANENT
    assert "'routing_key' is invalid" in outcome.message
    pagerduty.plan(429)
    busy = await provider(PAGERDUTY).send(make(), integration(pagerduty), ATTEMPT)
    assert (busy.kind, busy.retry_after, busy.first_pause) == (OutcomeKind.PAUSE, None, 30.0)


async def test_somebody_takes_care_of_an_alert_and_then_it_is_over(provider, pagerduty):
    sender, target = provider(PAGERDUTY), integration(pagerduty)
    for action in (Action.SEND, Action.ACKNOWLEDGE, Action.RESOLVE):
        outcome = await sender.send(make(), target, replace(ATTEMPT, action=action, alert="an incident"))
        assert outcome.kind is OutcomeKind.DELIVERED
    (alert,) = pagerduty.alerts
    assert (alert.log, alert.open) == (["trigger", "acknowledge", "resolve"], False)


# ---------------------------------------------------------------------------- Teams


@pytest.fixture
async def teams(trust):
    async with TeamsSink(trust=trust) as sink:
        yield sink


@pytest.mark.parametrize("case", CASES)
async def test_a_channel_of_teams_shows_every_message(provider, teams, case):
    outcome = await provider(TEAMS).send(make(**CASES[case]), TeamsTarget(teams.workflow("Ops")), ATTEMPT)
    assert outcome.kind is OutcomeKind.DELIVERED
    assert len(teams.cards) == 1


async def test_teams_shows_the_longest_message_which_it_would_drop_silently_if_it_were_not_cut(provider, teams):
    crowd = tuple(MentionedUser(id=f"user-{number}", name="😀" * 60) for number in range(20))
    target = TeamsTarget(teams.workflow(), mention_users=crowd, mention_min_severity=Severity.INFO)
    message = make(error_message=HUGE, details={"log": HUGE}, pipeline_id="😀" * 512, owner="😀" * 256)
    assert (await provider(TEAMS).send(message, target, ATTEMPT)).kind is OutcomeKind.DELIVERED
    assert len(teams.cards) == 1
    uncut = encode(teams_payload(message, target, facts(message), 10**9))
    http = provider(TEAMS)._http
    assert (await http.send("POST", target.url, uncut, {})).status == 202
    assert len(teams.cards) == 1, "202, and nobody sees it"


async def test_teams_asks_for_the_urls_own_signature(provider, teams):
    bent = teams.workflow("Ops").replace("%2F", "/")
    outcome = await provider(TEAMS).send(make(), TeamsTarget(bent), ATTEMPT)
    assert outcome.kind is OutcomeKind.PERMANENT
    assert "copy its URL again" in outcome.message
    gone = await provider(TEAMS).send(make(), TeamsTarget(f"{teams.url}/workflows/gone"), ATTEMPT)
    assert "owner" in gone.message


# ---------------------------------------------------------------------------- Slack's Web API


@pytest.fixture
async def slack(trust):
    async with SlackApiSink(
        tokens={TOKEN: ("data",)}, channels={"C0DATA": "data", "C0OPS": "ops"}, trust=trust
    ) as sink:
        yield sink


def channel(sink, name="#data", token=TOKEN):
    return SlackTarget(f"{sink.url}/api/chat.postMessage", bot_token=token, channel=name)


@pytest.mark.parametrize("case", CASES)
async def test_slack_shows_every_message(provider, slack, case):
    outcome = await provider(SLACK).send(make(**CASES[case]), channel(slack), ATTEMPT)
    assert outcome.kind is OutcomeKind.DELIVERED
    assert outcome.handle == f"C0DATA/{slack.shown[0].ts}/#data"


async def test_a_second_message_continues_the_thread_until_the_first_is_deleted(provider, slack):
    sender = provider(SLACK)
    first = await sender.send(make(), channel(slack), ATTEMPT)
    later = replace(ATTEMPT, action=Action.REPLY, handle=first.handle)
    await sender.send(make(error_message="again"), channel(slack), later)
    assert [message.thread for message in slack.shown] == [None, slack.shown[0].ts]
    slack.delete(slack.shown[0].ts)
    fresh = await sender.send(make(), channel(slack), later)
    assert fresh.kind is OutcomeKind.DELIVERED
    assert fresh.handle != first.handle
    assert slack.shown[-1].thread is None


async def test_a_reply_to_a_reply_stays_in_the_thread(provider, slack):
    sender = provider(SLACK)
    first = await sender.send(make(), channel(slack), ATTEMPT)
    reply = await sender.send(make(), channel(slack), replace(ATTEMPT, action=Action.REPLY, handle=first.handle))
    assert reply.handle == first.handle, "only a thread's first message leads on"


async def test_a_message_is_changed_until_it_is_deleted_and_then_made_anew(provider, slack):
    sender = provider(SLACK)
    first = await sender.send(make(), channel(slack), ATTEMPT)
    change = replace(ATTEMPT, action=Action.EDIT, handle=first.handle)
    edited = await sender.send(make(**SUCCESS), channel(slack), change)
    (shown,) = slack.shown
    assert (edited.kind, edited.handle, shown.edits) == (OutcomeKind.DELIVERED, first.handle, 1)
    assert "succeeded" in shown.text
    slack.delete(shown.ts)
    fresh = await sender.send(make(**SUCCESS), channel(slack), change)
    assert (fresh.kind, len(slack.shown)) == (OutcomeKind.DELIVERED, 1)
    assert fresh.handle == f"C0DATA/{slack.shown[0].ts}/#data"
    assert (slack.shown[0].thread, slack.shown[0].edits) == (None, 0)


async def test_a_change_beside_other_words_makes_no_message(provider, slack):
    sender = provider(SLACK)
    first = await sender.send(make(), channel(slack), ATTEMPT)
    change = replace(ATTEMPT, action=Action.EDIT, handle=first.handle, anew=False)
    assert (await sender.send(make(**SUCCESS), channel(slack), change)).handle == first.handle
    slack.delete(slack.shown[0].ts)
    assert (await sender.send(make(**SUCCESS), channel(slack), change)).kind is OutcomeKind.DELIVERED
    assert slack.shown == []


async def test_a_change_that_slack_cannot_read_is_made_as_text(provider, slack):
    sender = provider(SLACK)
    first = await sender.send(make(), channel(slack), ATTEMPT)
    slack.plan(refuse("invalid_blocks"))
    await sender.send(make(), channel(slack), replace(ATTEMPT, action=Action.EDIT, handle=first.handle))
    (shown,) = slack.shown
    assert [request.path for request in slack.requests] == ["/api/chat.postMessage", *["/api/chat.update"] * 2]
    assert "Unexpected keyword FROM" in shown.text


async def test_blocks_that_slack_does_not_take_go_out_as_text(provider, slack):
    slack.plan(refuse("invalid_blocks"))
    outcome = await provider(SLACK).send(make(), channel(slack), ATTEMPT)
    assert outcome.kind is OutcomeKind.DELIVERED
    assert "attachments" in slack.requests[0].payload
    assert "attachments" not in slack.requests[1].payload
    assert "Unexpected keyword FROM" in slack.shown[-1].text


@pytest.mark.parametrize(
    ("name", "token", "words"),
    [
        ("#ops", TOKEN, "invite it"),
        ("#gone", TOKEN, "no such channel"),
        ("#data", "xoxb-other", "install the app again"),
    ],
)
async def test_slack_says_what_to_do(provider, slack, name, token, words):
    outcome = await provider(SLACK).send(make(), channel(slack, name, token), ATTEMPT)
    assert outcome.kind is OutcomeKind.PERMANENT
    assert words in outcome.message


async def test_slack_is_left_alone_as_long_as_it_says(provider, slack):
    slack.plan(too_many(17), 429)
    outcomes = [await provider(SLACK).send(make(), channel(slack), ATTEMPT) for _ in range(2)]
    assert [(outcome.kind, outcome.retry_after) for outcome in outcomes] == [
        (OutcomeKind.PAUSE, 17.0),
        (OutcomeKind.PAUSE, None),
    ]
    assert outcomes[1].first_pause == 1.0


# ---------------------------------------------------------------------------- webhook


@pytest.mark.parametrize("style", [style for style in Format if style is not Format.TEMPLATE])
async def test_what_arrives_is_what_was_signed(provider, trust, style):
    key = b"pipebell-signing-key-of-now"
    async with HttpSink(trust=trust) as sink:
        sink.plan(Respond(204, ""))
        target = WebhookTarget(
            f"{sink.url}/hook?x=%2F", keys=(key,), signature=Signature.STANDARD, format=style, headers={"X-Env": "prod"}
        )
        attempt = replace(ATTEMPT, now=time.time())
        assert (await provider(WEBHOOK).send(make(), target, attempt)).kind is OutcomeKind.DELIVERED
        (post,) = sink.posts
    assert standardwebhooks.Webhook(key).verify(post.body, dict(post.headers))
    assert post.target == "/hook?x=%2F"
    assert post.headers["x-env"] == "prod"
    assert (post.headers.get("ce-id") is not None) is (style is Format.BINARY)
