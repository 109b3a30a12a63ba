import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from tests.core.destinations.huge import HEAD, TAIL, WIDE, answer, hostile, huge, loud, sized
from tests.core.destinations.test_kinds import org, root
from tests.core.messages import make

from pipebell.core.destinations.http import Response, Sent
from pipebell.core.destinations.telegram import TELEGRAM, TEXT, TelegramTarget, request, then
from pipebell.core.errors import NotReady
from pipebell.core.layers import Layers
from pipebell.core.outcome import Action, Attempt, OutcomeKind

TOKEN = "1234567890:hidden-Token_of-the-bot"
TARGET = TelegramTarget(f"https://api.telegram.org/bot{TOKEN}/sendMessage", chat_id="-100123", bot_token=TOKEN)


def sent(message, target=TARGET, handle=None):
    return json.loads(request(message, target, Attempt("uid.telegram", action=Action.REPLY, handle=handle)).body)


def parts(body):
    """Every entity with the text that it is of, by Telegram's own counting."""
    units = body["text"].encode("utf-16-le")
    for entity in body["entities"]:
        start, end = 2 * entity["offset"], 2 * (entity["offset"] + entity["length"])
        yield entity, units[start:end].decode("utf-16-le")


def within_limits(body):
    assert 1 <= len(body["text"].encode()) <= TEXT
    assert len(body["entities"]) <= 100
    end = 0
    for entity, text in parts(body):
        assert text.strip()
        assert entity["offset"] >= end, "entities neither overlap nor go back"
        end = entity["offset"] + entity["length"]
    assert end <= len(body["text"].encode("utf-16-le")) // 2


@pytest.mark.parametrize("sign", [WIDE, "x", "&", "é"])
def test_the_largest_event_fits_and_shows_its_beginning_and_end(sign):
    body = sent(huge(sign))
    within_limits(body)
    assert HEAD in body["text"]
    assert body["text"].count(TAIL) == 2
    assert re.search(r"… \(cut off: [\d,]+ characters\) …", body["text"])
    assert len(body["text"].encode()) > TEXT - 100, "the room is used"


def test_it_is_cut_at_the_exact_byte():
    most = (TEXT - len(sent(sized(0))["text"].encode()) - len("\n")) // 4
    for length, whole in ((most, True), (most + 1, False)):
        body = sent(sized(length))
        within_limits(body)
        assert ("cut off" not in body["text"]) is whole
    assert len(sent(sized(most))["text"].encode()) > TEXT - 4


@settings(deadline=None, max_examples=80)
@given(pipeline=hostile, run=hostile, message=hostile, detail=hostile, title=hostile)
def test_hostile_text_neither_mentions_nor_becomes_markup(pipeline, run, message, detail, title):
    body = sent(loud(pipeline, run, message, detail, title))
    within_limits(body)
    assert "parse_mode" not in body
    assert {entity["type"] for entity, _ in parts(body)} <= {"bold", "italic", "code", "pre", "text_link"}
    units = bytearray(body["text"].encode("utf-16-le"))
    for entity, _ in parts(body):
        if entity["type"] in ("code", "pre"):  # where Telegram looks for nothing
            units[2 * entity["offset"] : 2 * (entity["offset"] + entity["length"])] = b" \0" * entity["length"]
    assert not re.search(r"@\w", units.decode("utf-16-le"))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\ud800-\udfff]", body["text"])


def test_what_is_what():
    shown = {text: entity["type"] for entity, text in parts(sent(make()))}
    assert shown["Pipeline failed"] == "bold"
    assert shown["nightly-orders-load (acme_corp)"] == "code"
    assert shown["Logs of this run"] == "text_link"
    assert next(text for text, kind in shown.items() if kind == "pre").startswith("Job 'load_orders' failed")


def test_where_it_goes():
    assert "message_thread_id" not in sent(make())
    body = sent(make(), replace(TARGET, message_thread_id=7))
    assert (body["chat_id"], body["message_thread_id"]) == ("-100123", 7)
    assert body["link_preview_options"] == {"is_disabled": True}


def test_a_later_message_replies_to_the_first_in_the_same_chat_alone():
    handle = answer(TELEGRAM, 200, TELEGRAM.success[1], target=TARGET).handle
    assert re.fullmatch(r"[0-9a-f]{12}/4711", handle)
    assert "100123" not in handle, "the chat may come from a Secret"
    reply = {"message_id": 4711, "allow_sending_without_reply": True}
    assert sent(make(), handle=handle)["reply_parameters"] == reply
    assert "reply_parameters" not in sent(make(), replace(TARGET, chat_id="-7"), handle)
    for other in ("4711", "x/y", "", None):
        assert "reply_parameters" not in sent(make(), handle=other)


def bad(status, description, **parameters):
    made = {"ok": False, "error_code": status, "description": description}
    return json.dumps(made | ({"parameters": parameters} if parameters else {}))


@pytest.mark.parametrize(
    "description", ["Bad Request: can't parse entities: Unexpected end", "Bad Request: ENTITY_BOUNDS_INVALID"]
)
def test_entities_that_are_refused_are_sent_as_plain_text_once(description):
    attempt = Attempt("uid.telegram")
    first = Sent(huge("@"), TARGET, attempt, request(huge("@"), TARGET, attempt))
    refused = Response(400, {}, bad(400, description).encode())
    second = then(first, refused)
    body = json.loads(second.body)
    assert (second.url, "entities" in body) == (TARGET.url, False)
    assert len(body["text"].encode()) <= TEXT
    assert not re.search(r"@\w|@@", body["text"])
    assert then(replace(first, request=second, first=False), refused) is None
    assert then(first, Response(400, {}, bad(400, "Bad Request: chat not found").encode())) is None
    assert then(first, Response(200, {}, b"{}")) is None


# https://core.telegram.org/bots/api#making-requests, and descriptions as the server words them
@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (200, '{"ok": true, "result": {"message_id": 1}}', OutcomeKind.DELIVERED, ""),
        (200, '{"ok": false}', OutcomeKind.RETRY, "no success"),
        (400, bad(400, "Bad Request: chat not found"), OutcomeKind.PERMANENT, "check chatId, add the bot"),
        (400, bad(400, "Bad Request: message thread not found"), OutcomeKind.PERMANENT, "messageThreadId"),
        (400, bad(400, "Bad Request: message is too long"), OutcomeKind.PERMANENT, "Bad Request: message is too long"),
        (401, bad(401, "Unauthorized"), OutcomeKind.PERMANENT, "BotFather"),
        (403, bad(403, "Forbidden: bot was blocked by the user"), OutcomeKind.PERMANENT, "unblocked"),
        (
            403,
            bad(403, "Forbidden: bot was kicked from the supergroup chat"),
            OutcomeKind.PERMANENT,
            "add it to the chat",
        ),
        (404, bad(404, "Not Found"), OutcomeKind.PERMANENT, "BotFather"),
        (500, bad(500, "Internal Server Error"), OutcomeKind.RETRY, "has a problem"),
        (502, "", OutcomeKind.RETRY, "has a problem"),
    ],
)
def test_what_answers_mean(status, body, kind, says):
    outcome = answer(TELEGRAM, status, body, target=TARGET)
    assert outcome.kind is kind
    assert says in outcome.message


def test_a_group_that_moved_is_named():
    moved = bad(400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=-1009)
    outcome = answer(TELEGRAM, 400, moved, target=TARGET)
    assert outcome.kind is OutcomeKind.PERMANENT
    assert "set chatId to its new ID" in outcome.message
    assert outcome.message.endswith("supergroup chat: -1009)")


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        (bad(429, "Too Many Requests: retry after 35", retry_after=35), {}, 35.0),
        (bad(429, "Too Many Requests", retry_after=100_000), {}, 3600.0),
        (bad(429, "Too Many Requests", retry_after=True), {"Retry-After": "4"}, 4.0),
        (bad(429, "Too Many Requests"), {}, None),
        ("", {}, None),
    ],
)
def test_pauses(body, headers, seconds):
    outcome = answer(TELEGRAM, 429, body, headers, TARGET)
    assert (outcome.kind, outcome.retry_after) == (OutcomeKind.PAUSE, seconds)


def test_a_pause_is_one_chats():
    assert TARGET.endpoint != replace(TARGET, chat_id="-7").endpoint


@pytest.mark.parametrize("echo", [TOKEN, f"bot{TOKEN}", TOKEN.partition(":")[2], TARGET.url])
def test_no_part_of_the_token_shows(echo):
    assert "hidden" not in answer(TELEGRAM, 404, bad(404, f"no {echo} here"), target=TARGET).message
    assert "hidden" not in repr(TARGET)


def test_a_chat_goes_with_its_bot():
    """Whoever has a bot of their own never writes to root's chat."""
    over = root({"telegram": {"bot_token": TOKEN, "chat_id": "-1"}})
    with pytest.raises(NotReady, match="chatId is not set"):
        Layers(org({"telegram": {"botToken": "1:own"}}), over).target("telegram")


def test_recipient_domains_are_about_e_mail():
    over = root(
        {
            "telegram": {"bot_token": TOKEN, "chat_id": "-1", "allow": {"namespaces": ["*"]}},
            "restrict": {"org_may_set": ["chat_id"], "recipient_domains": ["acme.example"]},
        }
    )
    assert Layers(org({"telegram": {"chatId": "-2"}}), over, "team-a").target("telegram").chat_id == "-2"
