"""Slack by a bot token: what is posted where, each documented word of its answers, threads, blocks that Slack reads."""

import json
from dataclasses import replace

import pytest
from slack_sdk.models.blocks import Block
from tests.core.messages import CASES, make

from pipebell.core.destinations import slack_api
from pipebell.core.destinations.http import Response, Sent, classify_response
from pipebell.core.destinations.slack import SLACK, SlackTarget, payload, request, then
from pipebell.core.errors import NotReady
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import NotificationConfigSpec
from pipebell.core.outcome import Action, Attempt, OutcomeKind
from pipebell.core.placeholders import OrgSecrets
from pipebell.core.vocabulary import NotReadyReason

TOKEN = "xoxb-confidential-0123456789"
WEBHOOK = "https://hooks.slack.com/services/T/B/X"
TARGET = SlackTarget(slack_api.URL, bot_token=TOKEN, channel="#data", where="slack")
HANDLE = "C024BE91L/1503435956.000247/#data"
ATTEMPT = Attempt("0b54.slack")
DELIVERED, RETRY, PERMANENT, PAUSE = OutcomeKind.DELIVERED, OutcomeKind.RETRY, OutcomeKind.PERMANENT, OutcomeKind.PAUSE


def target(**slack):
    spec = {"orgSlug": "acme", "secretRef": {"name": "s"}, "slack": slack}
    layer = Layer(NotificationConfigSpec.model_validate(spec), OrgSecrets("s", {"s": {"T": TOKEN, "W": WEBHOOK}}))
    return Layers(layer, None).target("slack")


def body(made):
    return json.loads(made.body)


def refused(word, status=200, headers=None):
    return Response(status, headers or {}, json.dumps({"ok": False, "error": word}).encode(), "slack.com")


def classify(response, where=TARGET):
    return classify_response(SLACK, response, where, 0.0)


# ---------------------------------------------------------------------------- configuration


def test_a_token_posts_to_its_channel(notify):
    made = request(notify(), target(botToken="${T}", channel="#data"), ATTEMPT)
    assert made.url == "https://slack.com/api/chat.postMessage"
    assert made.headers["Authorization"] == f"Bearer {TOKEN}"
    assert body(made) == json.loads(json.dumps(payload(notify(), TARGET)))
    assert body(made)["channel"] == "#data"


def test_a_webhook_is_what_it_was(notify):
    made = request(notify(), target(webhookUrl="${W}"), replace(ATTEMPT, action=Action.REPLY, handle=HANDLE))
    assert made.url == WEBHOOK
    assert "Authorization" not in made.headers
    assert "thread_ts" not in body(made)


@pytest.mark.parametrize(
    ("slack", "words"),
    [
        ({"botToken": TOKEN}, "slack.channel is not set, and a bot token needs it"),
        (
            {"botToken": TOKEN, "webhookUrl": WEBHOOK, "channel": "#x"},
            "slack.botToken and slack.webhookUrl are both set",
        ),
        (
            {
                "botTokenSecretRef": {"name": "gone", "key": "k"},
                "webhookUrlSecretRef": {"name": "gone", "key": "k"},
                "channel": "#x",
            },
            "slack.botToken and slack.webhookUrl are both set",
        ),
        ({"channel": "#x"}, "slack.webhookUrl is not set"),
    ],
)
def test_what_is_missing_or_too_much_is_named(slack, words):
    with pytest.raises(NotReady) as caught:
        target(**slack)
    assert words in caught.value.message
    assert caught.value.reason is NotReadyReason.INCOMPLETE


@pytest.mark.parametrize("token", ["xapp", "Bearer xoxb-1-2", "xoxb-1 2", "xoxb-${T}", "xoxb-1\n"])
def test_what_is_no_bot_token_is_refused(token):
    with pytest.raises(ValueError, match=r"botToken|bot token"):
        target(botToken=token, channel="#x")


def test_the_token_shows_nowhere():
    assert TOKEN not in repr(TARGET)
    assert TOKEN not in classify(Response(400, {}, f"bad {TOKEN}".encode())).message


def test_an_endpoint_is_a_channel_of_a_token():
    assert TARGET.endpoint != replace(TARGET, channel="#other").endpoint
    assert TARGET.endpoint != replace(TARGET, bot_token=TOKEN + "x").endpoint


# ---------------------------------------------------------------------------- what Slack reads


@pytest.mark.parametrize("case", CASES)
def test_slacks_own_library_reads_the_blocks(case):
    made = body(request(make(**CASES[case]), TARGET, ATTEMPT))
    (attachment,) = made["attachments"]
    blocks = Block.parse_all(attachment["blocks"])
    assert len(blocks) == len(attachment["blocks"])
    for block in blocks:
        block.validate_json()
    assert [block.to_dict() for block in blocks] == attachment["blocks"]


# ---------------------------------------------------------------------------- answers

TABLE = [
    *[(word, PAUSE) for word in ("ratelimited", "rate_limited", "message_limit_exceeded")],
    *[
        (word, RETRY)
        for word in (
            *("service_unavailable", "internal_error", "fatal_error", "request_timeout", "team_added_to_org"),
            *("org_login_required", "external_channel_migrating", "update_failed"),
        )
    ],
    *[
        (word, PERMANENT)
        for word in (
            *("not_authed", "invalid_auth", "token_revoked", "token_expired", "account_inactive", "missing_scope"),
            *("no_permission", "not_allowed_token_type", "access_denied", "channel_not_found", "not_in_channel"),
            *("is_archived", "restricted_action", "restricted_action_read_only_channel", "ekm_access_denied"),
            *("restricted_action_thread_only_channel", "restricted_action_non_threadable_channel"),
            *("two_factor_setup_required", "as_user_not_supported", "team_not_found", "method_deprecated"),
            *("invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text"),
            *("too_many_attachments", "invalid_arguments", "invalid_arg_name", "invalid_array_arg"),
            *("invalid_charset", "invalid_form_data", "invalid_post_type", "missing_post_type"),
            *("message_not_found", "cant_update_message", "edit_window_closed", "is_inactive"),
        )
    ],
]


@pytest.mark.parametrize(("word", "kind"), TABLE)
@pytest.mark.parametrize("status", [200, 403])
def test_every_documented_word_is_sorted(word, kind, status):
    outcome = classify(refused(word, status))
    assert outcome.kind is kind
    assert outcome.reason.startswith("Slack")
    assert f"({word})" in outcome.message
    assert len(outcome.message) > len(f"200: ({word})") + 10, "it says what to do"


def test_the_words_of_the_module_are_all_in_the_table():
    assert {word for word, _ in TABLE} >= {*slack_api._TOO_MANY, *slack_api._LATER}
    assert len({word for word, _ in TABLE}) == len(TABLE)


def test_a_pause_is_as_long_as_slack_says():
    assert classify(refused("ratelimited", 429, {"retry-after": "30"})).retry_after == 30.0
    busy = classify(refused("rate_limited"))
    assert (busy.retry_after, busy.first_pause) == (None, 1.0)
    assert classify(refused("message_limit_exceeded")).retry_after == 300.0
    assert classify(refused("message_limit_exceeded", 429, {"retry-after": "30"})).retry_after == 30.0


@pytest.mark.parametrize(
    "text", ["", "ok", "[]", '{"ok": "yes"}', "<html>", '{"ok": false}', '{"ok": false, "error": "new"}']
)
def test_what_is_no_success_is_none(text):
    outcome = classify(Response(200, {}, text.encode(), "slack.com"))
    assert (outcome.kind, outcome.reason) == (RETRY, "UnexpectedAnswer")


# ---------------------------------------------------------------------------- once more, as text


def following(message, response, where=TARGET, attempt=ATTEMPT, made=None):
    made = made or request(message, where, attempt)
    return then(Sent(message, where, attempt, made), response)


@pytest.mark.parametrize(
    "word",
    ["invalid_blocks", "invalid_blocks_something", "msg_blocks_too_long", "too_many_attachments", "invalid_args"],
)
@pytest.mark.parametrize("where", [TARGET, SlackTarget(WEBHOOK)], ids=["token", "webhook"])
def test_what_slack_cannot_read_goes_out_once_more_as_text(notify, word, where):
    answer = refused(word) if where is TARGET else Response(400, {}, word.encode(), "hooks.slack.com")
    plain = following(notify(), answer, where)
    assert "attachments" not in body(plain)
    assert "blocks" not in body(plain)
    assert "nightly-orders-load" in body(plain)["text"]
    assert "Unexpected keyword FROM" in body(plain)["text"]
    assert len(body(plain)["text"]) <= 4000
    assert plain.headers == request(notify(), where, ATTEMPT).headers
    assert following(notify(), answer, where, made=plain) is None, "once"


@pytest.mark.parametrize("word", ["not_in_channel", "ratelimited", "invalid_auth", "service_unavailable"])
def test_nothing_else_is_sent_again_at_once(notify, word):
    assert following(notify(), refused(word)) is None


def test_a_success_is_not_sent_again(notify):
    assert following(notify(), Response(200, {}, b'{"ok": true}')) is None


@pytest.mark.parametrize("unit", ["😀", "<", "`", "x"])
def test_the_text_alone_is_escaped_and_short_enough(notify, unit):
    text = body(following(notify(error_message=unit * 30_000), refused("msg_too_long")))["text"]
    assert len(text) <= 4000
    assert text.count("```") == 2
    assert "<" not in text


# ---------------------------------------------------------------------------- threads


def test_the_handle_is_what_a_thread_needs():
    answer = Response(200, {}, b'{"ok": true, "channel": "C024BE91L", "ts": "1503435956.000247"}', "slack.com")
    outcome = classify(answer)
    assert (outcome.kind, outcome.handle) == (DELIVERED, HANDLE)
    assert TOKEN not in outcome.handle
    assert classify(Response(200, {}, b"ok", "hooks.slack.com"), SlackTarget(WEBHOOK)).handle is None
    assert classify(Response(200, {}, b'{"ok": true, "channel": "x\\n", "ts": 1}', "slack.com")).handle is None


def test_a_later_message_continues_the_thread(notify):
    made = body(request(notify(), TARGET, replace(ATTEMPT, action=Action.REPLY, handle=HANDLE)))
    assert (made["channel"], made["thread_ts"]) == ("C024BE91L", "1503435956.000247")


@pytest.mark.parametrize("handle", [None, "", "x", "C1/2/#data", HANDLE.replace("#data", "#other"), "C024BE91L/1.1/"])
def test_another_channels_thread_is_not_continued(notify, handle):
    made = body(request(notify(), TARGET, replace(ATTEMPT, action=Action.REPLY, handle=handle)))
    assert "thread_ts" not in made
    assert made["channel"] == "#data"


@pytest.mark.parametrize(
    "word", ["message_not_found", "thread_not_found", "cannot_reply_to_message", "channel_not_found"]
)
def test_a_thread_that_is_gone_makes_room_for_a_new_message(notify, word):
    attempt = replace(ATTEMPT, action=Action.REPLY, handle=HANDLE)
    fresh = following(notify(), refused(word), attempt=attempt)
    assert body(fresh) == body(request(notify(), TARGET, ATTEMPT))
    assert following(notify(), refused(word), attempt=attempt, made=fresh) is None, "its own trouble is told"
    plain = following(notify(), refused("invalid_blocks"), attempt=attempt, made=fresh)
    assert "attachments" not in body(plain)
