import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from tests.core.destinations.huge import HEAD, TAIL, WIDE, answer, hostile, huge, loud, sized
from tests.core.messages import make

from pipebell.core.destinations.discord import DISCORD, DiscordTarget, form, payload, request
from pipebell.core.outcome import Attempt, OutcomeKind

URL = "https://discord.com/api/webhooks/1205000000000000002/hidden-token-of-it"
TARGET = DiscordTarget(URL, where="discord")


def texts(made):
    (embed,) = made["embeds"]
    yield from (embed["title"], embed.get("description", ""), embed["footer"]["text"])
    for field in embed["fields"]:
        yield from (field["name"], field["value"])


def size(text):
    return len(text.encode())


def within_limits(made):
    """https://discord.com/developers/docs/resources/message#embed-object-embed-limits, in bytes."""
    (embed,) = made["embeds"]
    assert 1 <= size(made["content"]) <= 2000
    assert 1 <= size(embed["title"]) <= 256
    assert size(embed.get("description", "x")) <= 4096
    assert len(embed["fields"]) <= 25
    assert all(1 <= size(field["name"]) <= 256 and 1 <= size(field["value"]) <= 1024 for field in embed["fields"])
    assert size(embed["footer"]["text"]) <= 2048
    assert sum(map(size, texts(made))) <= 6000


@pytest.mark.parametrize("sign", [WIDE, "x", "`", "\\", "_", "é"])
def test_the_largest_event_fits_and_shows_its_beginning_and_end(sign):
    made = payload(huge(sign), TARGET)
    within_limits(made)
    description = made["embeds"][0]["description"]
    assert HEAD in description
    assert description.count(TAIL) == 2  # of the error, and of the details
    assert re.search(r"… \(cut off: [\d,]+ characters\) …", description)
    assert sum(map(size, texts(made))) > 5000, "the room is used"


def test_the_description_is_cut_at_the_exact_byte():
    around = size(payload(sized(1), TARGET)["embeds"][0]["description"]) - size(WIDE)
    most = (4096 - around) // size(WIDE)
    whole, cut = (payload(sized(length), TARGET)["embeds"][0]["description"] for length in (most, most + 1))
    assert whole == f"```\n{WIDE * most}\n```"
    assert size(whole) <= 4096
    assert "cut off" in cut
    assert size(cut) <= 4096


def unescaped(text):
    """What Discord would read as markup: without what stands behind a backslash."""
    return re.sub(r"\\[^0-9A-Za-z\s]", "", text)


@settings(deadline=None, max_examples=80)
@given(pipeline=hostile, run=hostile, message=hostile, detail=hostile, title=hostile)
def test_hostile_text_neither_mentions_nor_breaks_out(pipeline, run, message, detail, title):
    made = payload(loud(pipeline, run, message, detail, title), TARGET)
    within_limits(made)
    assert made["allowed_mentions"] == {"parse": []}
    assert not re.search(r"[<@`\[\]|~>]", unescaped(made["content"]).replace("**", ""))
    (embed,) = made["embeds"]
    assert embed.get("description", "```\n```").count("```") in (2, 4)
    for field in embed["fields"]:
        if field["name"] == "Links":
            assert re.fullmatch(r"\[(?:[^\[\]\\]|\\.)*\]\(<https://[^<>()\s]*>\)", field["value"])
        else:
            assert re.fullmatch(r"`[^`\n]+`", field["value"])
    for text in texts(made):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\ud800-\udfff]", text)


def test_where_it_is_posted():
    attempt = Attempt("uid.discord")
    assert request(make(), TARGET, attempt).url == f"{URL}?wait=true"
    assert request(make(), replace(TARGET, thread_id="12"), attempt).url == f"{URL}?wait=true&thread_id=12"
    own = replace(TARGET, url=f"{URL}?thread_id=7")
    assert request(make(), own, attempt).url == f"{URL}?thread_id=7&wait=true"


def test_names_are_the_configurations():
    assert "username" not in payload(make(), TARGET)
    assert payload(make(), replace(TARGET, username="Ops"))["username"] == "Ops"


# https://discord.com/developers/docs/topics/opcodes-and-status-codes
@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (200, '{"id": "1205"}', OutcomeKind.DELIVERED, ""),
        (204, "", OutcomeKind.DELIVERED, ""),
        (200, "<html>log in</html>", OutcomeKind.RETRY, "no success"),
        (
            400,
            '{"code": 50035, "message": "Invalid Form Body"}',
            OutcomeKind.PERMANENT,
            "Invalid Form Body (code 50035)",
        ),
        (400, '{"code": 220001, "message": "Webhooks posted to forum channels…"}', OutcomeKind.PERMANENT, "threadId"),
        (400, '{"code": 50083, "message": "Tried to perform…"}', OutcomeKind.PERMANENT, "unarchive"),
        (400, '{"code": 10003, "message": "Unknown Channel"}', OutcomeKind.PERMANENT, "check threadId"),
        (401, '{"code": 50027, "message": "Invalid Webhook Token"}', OutcomeKind.PERMANENT, "make a new one"),
        (403, '{"code": 50013, "message": "Missing Permissions"}', OutcomeKind.PERMANENT, "refuses the webhook"),
        (404, '{"code": 10015, "message": "Unknown Webhook"}', OutcomeKind.PERMANENT, "make a new one"),
        (405, "", OutcomeKind.PERMANENT, "refused"),
        (500, "", OutcomeKind.RETRY, "has a problem"),
        (502, "", OutcomeKind.RETRY, "has a problem"),
        (301, "", OutcomeKind.PERMANENT, "redirects"),
    ],
)
def test_what_answers_mean(status, body, kind, says):
    outcome = answer(DISCORD, status, body, target=TARGET)
    assert outcome.kind is kind
    assert says in outcome.message
    assert "hidden-token" not in outcome.message


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        (
            '{"message": "You are being rate limited.", "retry_after": 64.57, "global": false}',
            {"Retry-After": "65"},
            64.57,
        ),
        ('{"retry_after": 0.3}', {}, 0.3),
        ('{"retry_after": 1e9}', {}, 3600.0),
        ('{"retry_after": true}', {"Retry-After": "7"}, 7.0),
        ('{"retry_after": "x"}', {}, None),
        ("error code: 1015", {"Retry-After": "120"}, 120.0),
        ("", {}, None),
    ],
)
def test_pauses(body, headers, seconds):
    outcome = answer(DISCORD, 429, body, headers, TARGET)
    assert (outcome.kind, outcome.retry_after) == (OutcomeKind.PAUSE, seconds)


@pytest.mark.parametrize(
    ("body", "handle"),
    [
        ('{"id": "1205000000000000001"}', "1205000000000000001"),
        ('{"id": 12}', None),
        ('{"id": "<script>"}', None),
        ("[]", None),
        ("", None),
    ],
)
def test_the_handle_is_the_messages_id(body, handle):
    assert answer(DISCORD, 200, body, target=TARGET).handle == handle


@pytest.mark.parametrize("url", [URL, URL.replace("/api/", "/api/v10/"), "https://discord.example/x"])
def test_urls_that_can_be_right(url):
    assert form(url) is None


@pytest.mark.parametrize(
    "url", [f"{URL}/slack", f"{URL}/github", "https://discord.com/channels/1/2", "https://discord.com/"]
)
def test_urls_that_cannot_be_right(url):
    assert "as Discord shows it" in form(url)


def test_json_can_be_encoded_whatever_the_event_holds():
    json.loads(request(huge(), TARGET, Attempt("uid.discord")).body)
