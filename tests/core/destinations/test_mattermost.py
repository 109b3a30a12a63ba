import json
import re
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from tests.core.destinations.huge import HEAD, TAIL, WIDE, answer, hostile, huge, loud, sized
from tests.core.messages import make

from pipebell.core.destinations.mattermost import MATTERMOST, TEXT, MattermostTarget, form, payload
from pipebell.core.outcome import OutcomeKind

URL = "https://mattermost.example.com/hooks/hiddenhook1id2of3it"
TARGET = MattermostTarget(URL, where="mattermost")


def texts(made):
    (attachment,) = made["attachments"]
    yield from (made["text"], attachment["fallback"], attachment["footer"], attachment.get("text", ""))
    for field in attachment["fields"]:
        yield from (field["title"], field["value"])


def size(made):
    return sum(len(text.encode()) for text in texts(made))


@pytest.mark.parametrize("sign", [WIDE, "x", "`", "*", "@a", "é"])
def test_the_largest_event_fits_and_shows_its_beginning_and_end(sign):
    made = payload(huge(WIDE if len(sign) > 1 else sign), TARGET)
    assert TEXT - 200 < size(made) <= TEXT
    text = made["attachments"][0]["text"]
    assert HEAD in text
    assert text.count(TAIL) == 2
    assert re.search(r"… \(cut off: [\d,]+ characters\) …", text)


def test_it_is_cut_at_the_exact_byte():
    most = (TEXT - size(payload(sized(0), TARGET)) - len("```\n\n```")) // 4
    for length, whole in ((most, True), (most + 1, False)):
        made = payload(sized(length), TARGET)
        assert size(made) <= TEXT
        assert ("cut off" not in made["attachments"][0]["text"]) is whole
    assert size(payload(sized(most), TARGET)) > TEXT - 4


@settings(deadline=None, max_examples=80)
@given(pipeline=hostile, run=hostile, message=hostile, detail=hostile, title=hostile)
@example(pipeline="@`a", run="@`", message="@`", detail="@`", title="@`")
def test_hostile_text_neither_mentions_nor_breaks_out(pipeline, run, message, detail, title):
    made = payload(loud(pipeline, run, message, detail, title), TARGET)
    assert size(made) <= TEXT
    for text in texts(made):
        assert not re.search(r"@\w", text), "a mention, in code too"
        assert not re.search(r"<[!@#]|<\w+:", text), "Slack's markup, which the server reads before its own"
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\ud800-\udfff]", text)
    (attachment,) = made["attachments"]
    assert attachment.get("text", "").count("```") in (0, 2, 4)
    head = re.sub(r"\\[^0-9A-Za-z\s]", "", made["text"]).replace("**", "")
    assert not re.search(r"[`\[\]|~>*]", head)
    for field in attachment["fields"]:
        if field["title"] == "Links":
            assert re.fullmatch(r"\[(?:[^\[\]\\]|\\.)*\]\(https://[^<>()\s]*\)", field["value"])
        else:
            assert re.fullmatch(r"`[^`\n]+`", field["value"])


def test_looks_are_the_configurations():
    assert not {"channel", "username"} & set(payload(make(), TARGET))
    made = payload(make(), replace(TARGET, channel="town-square", username="Ops"))
    assert (made["channel"], made["username"]) == ("town-square", "Ops")
    assert (TARGET.recipients, replace(TARGET, channel="town-square").recipients) == ("", "town-square")
    json.dumps(made)


def said(status, words):
    return json.dumps({"id": "web.incoming_webhook.x", "message": words, "status_code": status})


# server/channels/web/webhook.go and app/webhook.go name the statuses
@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (200, "ok", OutcomeKind.DELIVERED, ""),
        (200, "<html>Mattermost</html>", OutcomeKind.RETRY, "no success"),
        (400, said(400, "Invalid webhook."), OutcomeKind.PERMANENT, "(Invalid webhook.)"),
        (401, "", OutcomeKind.PERMANENT, "deleted or mistyped"),
        (
            403,
            said(403, "This webhook is not permitted to post there."),
            OutcomeKind.PERMANENT,
            "channel",
        ),
        (404, said(404, "Unable to find the channel."), OutcomeKind.PERMANENT, "check webhookUrl and channel"),
        (413, "", OutcomeKind.PERMANENT, "too large"),
        (429, "limit exceeded", OutcomeKind.PAUSE, "too many"),
        (500, "", OutcomeKind.RETRY, "has a problem"),
        (
            501,
            said(501, "Incoming webhooks have been disabled."),
            OutcomeKind.PERMANENT,
            "administrator",
        ),
        (302, "", OutcomeKind.PERMANENT, "redirects"),
    ],
)
def test_what_answers_mean(status, body, kind, says):
    outcome = answer(MATTERMOST, status, body, target=TARGET)
    assert outcome.kind is kind
    assert says in outcome.message
    assert "hiddenhook" not in outcome.message


def test_urls():
    assert form(URL) is None
    assert form("https://example.com/chat/hooks/abc123") is None
    assert "/hooks/" in form("https://mattermost.example.com/acme/channels/x")
