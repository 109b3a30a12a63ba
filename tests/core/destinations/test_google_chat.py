import json
import re

import pytest
from hypothesis import given, settings
from tests.core.destinations.huge import HEAD, TAIL, WIDE, answer, hostile, huge, loud, sized
from tests.core.messages import make

from pipebell.core.destinations.google_chat import BODY, GOOGLE_CHAT, GoogleChatTarget, form, request
from pipebell.core.outcome import Action, Attempt, OutcomeKind

URL = "https://chat.googleapis.com/v1/spaces/AAAAspace/messages?key=hidden-key&token=hidden-token%3D"
TARGET = GoogleChatTarget(URL, where="googleChat")


def sent(message, handle=None):
    return request(message, TARGET, Attempt("uid.googleChat", action=Action.REPLY, handle=handle))


def text(message):
    return json.loads(sent(message).body)["text"]


@pytest.mark.parametrize("sign", [WIDE, "x", "`", '"', "\\", "é", "<"])
def test_the_largest_event_fits_and_shows_its_beginning_and_end(sign):
    body = sent(huge(sign)).body
    assert len(body) <= BODY
    shown = json.loads(body)["text"]
    assert HEAD in shown
    assert shown.count(TAIL) == 2
    assert re.search(r"… \(cut off: [\d,]+ characters\) …", shown)


def test_it_is_cut_at_the_exact_byte():
    most = (BODY - len(sent(sized(0)).body) - len("```\\n\\n```\\n")) // 4
    for length, whole in ((most, True), (most + 1, False)):
        request = sent(sized(length))
        assert len(request.body) <= BODY
        assert (b"cut off" not in request.body) is whole
    assert len(sent(sized(most)).body) > BODY - 4


@settings(deadline=None, max_examples=80)
@given(pipeline=hostile, run=hostile, message=hostile, detail=hostile, title=hostile)
def test_hostile_text_neither_mentions_nor_breaks_out(pipeline, run, message, detail, title):
    made = sent(loud(pipeline, run, message, detail, title))
    assert len(made.body) <= BODY
    shown = json.loads(made.body)["text"]
    assert not re.search(r"<users/|@all\b|<mailto:", shown, re.IGNORECASE)
    assert len(re.findall(r"<https?://", shown)) == 1, "our own link alone"
    assert shown.count("```") in (2, 4)
    outside = re.sub(r"```.*?```", "", shown, flags=re.DOTALL)
    assert outside.count("`") % 2 == 0
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\ud800-\udfff]", shown)


def test_a_repetition_has_the_same_identity():
    first, second, other = sent(make()), sent(make()), request(make(), TARGET, Attempt("other.googleChat"))
    assert first.url == second.url
    assert re.fullmatch(re.escape(URL) + r"&requestId=[0-9a-f]{40}", first.url)
    assert other.url != first.url


def test_a_thread_is_continued_in_its_own_space():
    continued = sent(make(), "tH.read-1")
    assert continued.url.endswith("&messageReplyOption=REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD")
    assert json.loads(continued.body)["thread"] == {"name": "spaces/AAAAspace/threads/tH.read-1"}
    for handle in ("../x", "a/b", "", None):
        assert "thread" not in json.loads(sent(make(), handle).body)


@pytest.mark.parametrize(
    ("body", "handle"),
    [
        ('{"name": "spaces/A/messages/m", "thread": {"name": "spaces/A/threads/t-1.x"}}', "t-1.x"),
        ('{"thread": {"name": "spaces/A/threads/../x"}}', None),
        ('{"thread": {"name": 5}}', None),
        ('{"thread": []}', None),
        ("", None),
    ],
)
def test_the_handle_is_the_thread_and_names_no_space(body, handle):
    assert answer(GOOGLE_CHAT, 200, body, target=TARGET).handle == handle


def error(code, status, message):
    return json.dumps({"error": {"code": code, "status": status, "message": message}})


# https://developers.google.com/workspace/chat/api/guides/handle-errors
@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (200, "{}", OutcomeKind.DELIVERED, ""),
        (
            400,
            error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
            OutcomeKind.PERMANENT,
            "key",
        ),
        (
            400,
            error(400, "INVALID_ARGUMENT", "Message cannot be empty."),
            OutcomeKind.PERMANENT,
            "(Message cannot be empty.)",
        ),
        (401, error(401, "UNAUTHENTICATED", "x"), OutcomeKind.PERMANENT, "token is not valid"),
        (
            403,
            error(403, "PERMISSION_DENIED", "The caller does not have permission"),
            OutcomeKind.PERMANENT,
            "new webhook",
        ),
        (404, error(404, "NOT_FOUND", "Requested entity was not found."), OutcomeKind.PERMANENT, "gone"),
        (500, "", OutcomeKind.RETRY, "has a problem"),
        (503, error(503, "UNAVAILABLE", "x"), OutcomeKind.RETRY, "has a problem"),
        (302, "", OutcomeKind.PERMANENT, "redirects"),
        (200, "<!doctype html>", OutcomeKind.RETRY, "no success"),
    ],
)
def test_what_answers_mean(status, body, kind, says):
    outcome = answer(GOOGLE_CHAT, status, body, target=TARGET)
    assert outcome.kind is kind
    assert says in outcome.message


def test_too_many_names_no_time_and_pauses_two_seconds_first():
    outcome = answer(GOOGLE_CHAT, 429, error(429, "RESOURCE_EXHAUSTED", "Quota exceeded"), target=TARGET)
    assert (outcome.kind, outcome.retry_after, outcome.first_pause) == (OutcomeKind.PAUSE, None, 2.0)
    assert outcome.longest_pause == 60.0


@pytest.mark.parametrize("echo", ["hidden-key", "hidden-token=", "hidden-token%3D", URL])
def test_neither_key_nor_token_shows_however_it_is_written(echo):
    outcome = answer(GOOGLE_CHAT, 400, error(400, "INVALID_ARGUMENT", f"bad {echo} here"), target=TARGET)
    assert "hidden" not in outcome.message
    assert "bad *** here" in outcome.message


def test_urls():
    assert form(URL) is None
    assert form("https://chat.example/x") is None
    for wrong in (URL.partition("?")[0], URL.replace("/messages", ""), "https://chat.googleapis.com/"):
        assert "as Google Chat shows it" in form(wrong)
