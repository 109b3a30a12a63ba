import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipebell.core.destinations.http import Response, classify_response
from pipebell.core.destinations.slack import SLACK, SlackTarget
from pipebell.core.destinations.slack import payload as slack_payload
from pipebell.core.outcome import OutcomeKind
from pipebell.core.vocabulary import Severity

URL = "https://hooks.slack.com/services/T000/B000/secretsecret"
PLAIN = SlackTarget(URL)
LOUD = SlackTarget(URL, mention_users=("U1", "W2", "S3"), mention_channel=True, mention_min_severity=Severity.ERROR)
MENTIONS = "<!channel> <@U1> <@W2> <!subteam^S3>"
HOSTILE = [
    "<",
    ">",
    "&",
    "<!channel>",
    "<@U1>",
    "`",
    "```",
    "|",
    "@here",
    "\r\n",
    "\x00",
    "\ud800",
    "\u202e",
    "😀",
    "خطأ",
    "&lt;!",
]
hostile_text = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=20), max_size=60).map("".join)


def texts(payload):
    """Every text that Slack would interpret."""
    (attachment,) = payload["attachments"]
    yield payload["text"]
    yield attachment["fallback"]
    for block in attachment["blocks"]:
        for part in [block.get("text"), *block.get("fields", ()), *block.get("elements", ())]:
            if part:
                assert part["verbatim"] is True
                yield part["text"]


def within_limits(payload):
    (attachment,) = payload["attachments"]
    blocks = attachment["blocks"]
    assert len(blocks) <= 50
    for block in blocks:
        assert 1 <= len(block.get("text", {}).get("text", "x")) <= 3000
        assert len(block.get("fields", ())) <= 10
        assert all(1 <= len(field["text"]) <= 2000 for field in block.get("fields", ()))
        assert len(block.get("elements", ())) <= 10
    assert len(payload["text"]) <= 4000
    assert sum(map(len, texts(payload))) <= 11_000


def harmless(payload):
    for text in texts(payload):
        assert not re.search(r"<(?!https?://)", text), text
        assert re.sub(r"&(amp|lt|gt);", "", text).count("&") == 0, text
        assert text.count("```") in (0, 2), text
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", text)
    assert not re.search("@(here|channel|everyone)", payload["text"])
    json.dumps(payload, ensure_ascii=False).encode()


@settings(deadline=None, max_examples=150)
@given(pipeline=hostile_text, run=hostile_text, message=hostile_text, detail=hostile_text, title=hostile_text)
def test_hostile_text_neither_mentions_nor_breaks_out(notify, raw, pipeline, run, message, detail, title):
    details = {detail: [detail, {detail: None}]}
    made = notify(
        pipeline_id=raw(pipeline),
        pipeline_logging_id=raw(run),
        error_message=raw(message),
        details=details,
        suppressed=3,
    )
    link = made.event.spec.links[0].model_copy(update={"title": title, "url": "https://x/" + detail})
    object.__setattr__(made.event.spec, "links", [link] * 10)
    payload = slack_payload(made, PLAIN)
    within_limits(payload)
    harmless(payload)


@pytest.mark.parametrize("unit", ["x", "&", "<", "a&", "ab<", "abc>", "`", "\n", "é", "😀", "\ud800", "\x00"])
@pytest.mark.parametrize("length", [2_850, 2_899, 2_900, 2_901, 32_768])
def test_long_text_is_cut_between_entities_with_a_mark(notify, raw, unit, length):
    text = (unit * length)[:length]
    made = notify(
        error_message=raw("x" + text), details={"k": text}, pipeline_id=raw(text), pipeline_logging_id=raw(text)
    )
    payload = slack_payload(made, PLAIN)
    within_limits(payload)
    harmless(payload)


def test_the_mark_counts_what_is_missing(notify):
    payload = slack_payload(notify(error_message="<" * 10_000, details=None, links=None), PLAIN)
    (section,) = [block["text"]["text"] for block in payload["attachments"][0]["blocks"] if "text" in block]
    shown = section.count("&lt;")
    assert section.endswith(f"… (cut off: {10_000 - shown:,} more characters)\n```")
    assert shown > 700


def test_what_just_fits_is_not_cut(notify):
    payload = slack_payload(notify(error_message="x" * 2_900, details=None), PLAIN)
    assert "cut off" not in json.dumps(payload)


def test_details_of_200_kilobytes(notify):
    payload = slack_payload(notify(details={f"key{number}": "<!here>" * 20 for number in range(1_300)}), PLAIN)
    within_limits(payload)
    harmless(payload)
    assert "cut off" in json.dumps(payload)


def test_links_that_have_no_room_are_counted(notify):
    links = [{"title": f"link {number}", "url": "https://x/" + "y" * 600} for number in range(10)]
    payload = slack_payload(notify(links=links), PLAIN)
    within_limits(payload)
    assert "(cut off: 8 more links)" in json.dumps(payload)


@pytest.mark.parametrize(
    ("severity", "test", "expected"),
    [
        (Severity.CRITICAL, None, MENTIONS),
        (Severity.ERROR, None, MENTIONS),
        (Severity.WARNING, None, ""),
        (Severity.INFO, None, ""),
        (Severity.CRITICAL, True, ""),
    ],
)
def test_mentions_from_their_severity_on_but_never_by_tests(notify, severity, test, expected):
    payload = slack_payload(notify(severity, test=test), LOUD)
    assert payload["text"].startswith(
        (expected + " " if expected else "") + ("🚨", "🔴", "🟠", "🔵")[3 - severity.rank]
    )
    assert json.dumps(payload).count("<!") == expected.count("<!")


def test_overrides_only_when_given(notify):
    assert not {"channel", "username", "icon_emoji"} & slack_payload(notify(), PLAIN).keys()
    target = SlackTarget(URL, channel="#a", username="B", icon_emoji=":c:")
    payload = slack_payload(notify(), target)
    assert (payload["channel"], payload["username"], payload["icon_emoji"]) == ("#a", "B", ":c:")


def test_the_webhook_is_not_in_the_payload(notify):
    assert "secretsecret" not in json.dumps(slack_payload(notify(), LOUD))


def test_each_severity_has_its_colour(notify):
    colors = {slack_payload(notify(severity), PLAIN)["attachments"][0]["color"] for severity in Severity}
    assert len(colors) == len(Severity)


# The whole table of Slack's own answers: status, body, what it means, and a word of the hint.
ANSWERS = [
    (200, "ok", OutcomeKind.DELIVERED, ""),
    (200, "", OutcomeKind.RETRY, "does not say ok"),
    (200, "<html>login</html>", OutcomeKind.RETRY, "does not say ok"),
    (204, "", OutcomeKind.RETRY, "does not say ok"),
    (400, "invalid_payload", OutcomeKind.PERMANENT, "cannot read the message"),
    (400, "user_not_found", OutcomeKind.PERMANENT, "no such user"),
    (403, "action_prohibited", OutcomeKind.PERMANENT, "administrator"),
    (403, "invalid_token", OutcomeKind.PERMANENT, "make a new one"),
    (404, "no_service", OutcomeKind.PERMANENT, "make a new one"),
    (404, "channel_not_found", OutcomeKind.PERMANENT, "check channel"),
    (404, "", OutcomeKind.PERMANENT, "make a new one"),
    (410, "channel_is_archived", OutcomeKind.PERMANENT, "archived"),
    (410, "", OutcomeKind.PERMANENT, "make a new one"),
    (429, "rate_limited", OutcomeKind.PAUSE, "too many"),
    (500, "rollup_error", OutcomeKind.RETRY, "a problem"),
]


def answered(status, body):
    response = Response(status, {}, body.encode(), "hooks.slack.com")
    return classify_response(SLACK, response, PLAIN, 0.0)


@pytest.mark.parametrize(("status", "body", "kind", "hint"), ANSWERS)
def test_what_slack_answers(status, body, kind, hint):
    outcome = answered(status, body)
    assert outcome.kind is kind
    assert hint in outcome.message


@pytest.mark.parametrize("name", SLACK.hints)
def test_each_of_slacks_errors_has_its_hint(name):
    assert SLACK.hints[name] in answered(403, name).message


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("https://hooks.slack.com/services/T0/B0/x", True),
        ("https://hooks.slack.com/workflows/T0/A0/1/x", True),
        ("https://hooks.slack.com/services/YOUR/WEBHOOK/URL", False),
        ("https://hooks.slack.com/", False),
        ("https://mattermost.example/hooks/x", True),
    ],
)
def test_a_url_that_cannot_be_right(url, right):
    assert (SLACK.form(url) is None) is right
