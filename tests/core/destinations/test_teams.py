"""Teams' own: cards that the published schema accepts, 26,000 bytes at most, nobody mentioned by an event's text."""

import json
import re
from importlib.resources import files

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.core.messages import CASES, make

from pipebell.core.destinations.http import Response, classify_response
from pipebell.core.destinations.teams import LIMIT, TEAMS, MentionedUser, TeamsTarget, escape, request
from pipebell.core.errors import NotReady
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import NotificationConfigSpec, RootSpec
from pipebell.core.outcome import Attempt, OutcomeKind
from pipebell.core.placeholders import Environment, OrgSecrets
from pipebell.core.vocabulary import Severity

URL = TEAMS.example["webhookUrl"]
ANA, BEN = MentionedUser(id="ana@example.com", name="Ana Lima"), MentionedUser(id="0f1e-2d", name="Ben “B” Ørsted")
PLAIN = TeamsTarget(URL)
LOUD = TeamsTarget(URL, mention_users=(ANA, BEN), mention_min_severity=Severity.ERROR)
SCHEMA = json.loads((files("adaptive_cards") / "schemas" / "schema-1.4.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.validators.validator_for(SCHEMA)(SCHEMA)


def card(message, target=PLAIN):
    """The card, once the schema that its makers publish has accepted it."""
    made = request(message, target, Attempt("0b54.teams"))
    assert len(made.body) <= LIMIT
    document = json.loads(made.body)
    (attachment,) = document["attachments"]
    assert document["type"] == "message"
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    content = attachment["content"]
    VALIDATOR.validate({name: part for name, part in content.items() if name != "msteams"})  # which is Teams' own
    return content


def texts(made):
    """Every text that Teams reads Markdown in."""
    for part in made["body"]:
        if part["type"] == "TextBlock":
            yield part["text"]
        for fact in part.get("facts", ()):
            yield fact["title"]
            yield fact["value"]


def literal(made):
    return [run["text"] for part in made["body"] for run in part.get("inlines", ())]


@pytest.mark.parametrize("target", [PLAIN, LOUD], ids=["plain", "loud"])
@pytest.mark.parametrize("case", CASES)
def test_the_published_schema_accepts_every_card(case, target):
    made = card(make(**CASES[case]), target)
    assert made["version"] == "1.4"
    assert all(action["type"] == "Action.OpenUrl" for action in made.get("actions", ()))


def test_the_schema_is_a_judge():
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate({"type": "AdaptiveCard", "version": "1.4", "body": [{"type": "TextBlok", "text": 3}]})


# ---------------------------------------------------------------------------- mentions


def test_a_mention_stands_in_the_text_letter_by_letter(notify):
    made = card(notify(), LOUD)
    entities = made["msteams"]["entities"]
    assert [entity["mentioned"] for entity in entities] == [user.model_dump() for user in (ANA, BEN)]
    assert any(text == " ".join(entity["text"] for entity in entities) for text in texts(made))
    assert entities[0]["text"] == "<at>Ana Lima</at>"


@pytest.mark.parametrize(("severity", "mentioned"), [("warning", 0), ("error", 2), ("critical", 2)])
def test_mentions_begin_at_a_severity(notify, severity, mentioned):
    assert len(card(notify(severity=Severity(severity)), LOUD)["msteams"]["entities"]) == mentioned
    assert card(notify(severity=Severity(severity), test=True), LOUD)["msteams"]["entities"] == []


@pytest.mark.parametrize("text", ["<at>Ana Lima</at>", "<AT>Ana Lima</AT>", "< at>x</ at>", "<<at>at>x", "</at><at>"])
def test_an_events_text_mentions_nobody(notify, text):
    made = card(
        notify(
            severity=Severity.CRITICAL,
            pipeline_id=text,
            pipeline_logging_id=text,
            error_message=text,
            details={text: text},
            owner=text,
            labels={"team": text},
            links=[{"title": text, "url": f"https://x/{text.replace(' ', '')}"}] * 10,
        ),
        LOUD,
    )
    shown = [*texts(made), *literal(made), *(action["title"] for action in made["actions"])]
    mentions = " ".join(entity["text"] for entity in made["msteams"]["entities"])
    assert shown.count(mentions) == 1
    assert not any(re.search(r"<\s*/?\s*at", part, re.IGNORECASE) for part in shown if part != mentions)


# ---------------------------------------------------------------------------- markup


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("load_orders_*_[x](y)", r"load\_orders\_\*\_\[x\](y)"),
        ("`x` ~y~ \\", r"\`x\` \~y\~ \\"),
        ("- item", r"\- item"),
        ("+ item", r"\+ item"),
        ("1. item", r"1\. item"),
        ("10 items", "10 items"),
        ("a - b", "a - b"),
        ("{{DATE(2026-01-01T00:00:00Z)}}", "{\u2060{DATE(2026-01-01T00:00:00Z)}}"),
        ("{{{DATE(2026-01-01T00:00:00Z)}}", "{\u2060{\u2060{DATE(2026-01-01T00:00:00Z)}}"),
    ],
)
def test_markdown_is_escaped(text, escaped):
    assert escape(text) == escaped


@pytest.mark.parametrize(
    "text", ["{{DATE(x)}}", "{{{DATE(x)}}", "{\x00{DATE(x)}}", "{\u2060{DATE(x)}}", "<\u2060at>Ana</at>"]
)
def test_nothing_is_reckoned_and_nobody_is_mentioned_after_invisible_signs_are_gone(notify, text):
    links = [{"title": text, "url": "https://x/{{DATE(x)}}"}] * 10
    made = card(notify(pipeline_id=text, error_message=text, details={text: text}, links=links), LOUD)
    shown = [*texts(made), *literal(made), *(action["title"] for action in made["actions"])]
    for part in shown:
        assert "{{" not in part
        assert not re.search(r"<\s*/?\s*at", part) or part == " ".join(e["text"] for e in made["msteams"]["entities"])


HOSTILE = [
    "*",
    "_",
    "[",
    "](",
    "`",
    "~",
    "<at>",
    "</at>",
    "{{",
    "\\",
    "\n",
    "\r",
    "\x00",
    "\x1b[31m",
    "\u202e",
    "😀",
    '"',
]


@settings(deadline=None, max_examples=60)
@given(text=st.lists(st.sampled_from(HOSTILE) | st.text(max_size=9), max_size=30).map("".join))
@example(text="{{{{{")
def test_hostile_text_stays_text(notify, raw, text):
    made = card(
        notify(pipeline_id=raw(text), pipeline_logging_id=raw(text), error_message=raw(text), details={text: [text]})
    )
    for part in [*texts(made), *literal(made)]:
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", part)
        assert "{{" not in part
    for part in texts(made):
        assert not re.search(r"(?<!\\)(?:\\\\)*[*_`\[\]~]", part), part


# ---------------------------------------------------------------------------- size


@pytest.mark.parametrize("unit", ["😀", "é", "x", '"', "\\", "漢", "\n"])
def test_the_limit_is_kept_to_the_byte_and_cut_in_the_middle(notify, unit):
    text = "BEGIN" + unit * 30_000 + "END"
    made = request(notify(error_message=text, details=None), LOUD, Attempt("x"))
    assert LIMIT - 2 * len(json.dumps(unit, ensure_ascii=False).encode()) <= len(made.body) <= LIMIT
    (shown,) = literal(card(notify(error_message=text, details=None), LOUD))
    assert shown.startswith("BEGIN")
    assert shown.endswith("END")
    assert re.search(r"\n… \(cut off: [\d,]+ characters\) …\n", shown)


def test_what_just_fits_is_whole(notify):
    empty = len(request(notify(error_message="x", details=None), PLAIN, Attempt("x")).body)
    for size in (LIMIT - empty + 1, LIMIT - empty + 2):
        (shown,) = literal(card(notify(error_message="x" * size, details=None)))
        assert ("cut off" in shown) is (size > LIMIT - empty + 1)


def test_everything_at_its_longest_fits(notify):
    face = "😀"
    crowd = tuple(MentionedUser(id="a" * 128, name=face * 60) for _ in range(20))
    message = notify(
        severity=Severity.CRITICAL,
        suppressed=10**9,
        org_slug="a" * 63,
        pipeline_id=face * 512,
        pipeline_logging_id="*" * 512,
        owner=face * 256,
        labels={f"{number:02}" + face * 61: face * 256 for number in range(32)},
        attempt=999_999,
        max_attempts=1_000_000,
        error_message=face * 32_768,
        details={face * 200: face * 9_000},
        replay_of={"name": "a" * 253},
        links=[{"title": face * 200, "url": "https://x/" + '"' * 2_030}] * 10,
    )
    made = card(message, TeamsTarget(URL, mention_users=crowd))
    assert 0 < len(made["msteams"]["entities"]) < 20
    assert any(re.search(r"cut off: \d+ more links", text) for text in texts(made))
    assert all("cut off: " in text for text in literal(made))


def test_links_beyond_the_buttons_are_listed(notify):
    links = [{"title": f"link_{number}", "url": f"https://x/{number}?(a)=<b>"} for number in range(10)]
    made = card(notify(links=links))
    assert [action["url"] for action in made["actions"]] == [link["url"] for link in links[:4]]
    listed = next(text for text in texts(made) if "link\\_4" in text)
    assert "[link\\_4](https://x/4?%28a%29=%3Cb%3E)" in listed.split("\n\n")
    assert len(listed.split("\n\n")) == 6


# ---------------------------------------------------------------------------- configuration and answers


@pytest.mark.parametrize(
    "url",
    [
        "https://acme.webhook.office.com/webhookb2/x@y/IncomingWebhook/z/w",
        "https://ACME.WEBHOOK.OFFICE.COM/webhookb2/x",
        "https://outlook.office.com/webhook/x",
        "https://outlook.office365.com/webhook/x",
    ],
)
def test_a_retired_connector_is_refused_with_the_way_out(url):
    org = Layer(
        NotificationConfigSpec.model_validate({"orgSlug": "acme", "teams": {"webhookUrl": url}}), OrgSecrets(None, {})
    )
    root = Layer(RootSpec.model_validate({"teams": {"webhook_url": url}}), Environment({}), root=True)
    for layers in (Layers(org, None), Layers(None, root)):
        with pytest.raises(
            NotReady, match=r"teams\.webhookUrl is an Office 365 connector.*Send webhook alerts"
        ) as caught:
            layers.target("teams")
        assert url not in caught.value.message


@pytest.mark.parametrize(
    ("status", "text", "kind", "words"),
    [
        (202, "", OutcomeKind.DELIVERED, ""),
        (200, "", OutcomeKind.DELIVERED, ""),
        (
            400,
            '{"error":{"code":"InvalidRequest","message":"c2lnbmF0dXJl"}}',
            OutcomeKind.PERMANENT,
            "refuses the card",
        ),
        (
            400,
            '{"error":{"code":"WorkflowTriggerIsNotEnabled","message":"x"}}',
            OutcomeKind.PERMANENT,
            "turned off: turn",
        ),
        (401, '{"error":{"code":"DirectApiAuthorizationRequired"}}', OutcomeKind.PERMANENT, "anyone"),
        (403, "", OutcomeKind.PERMANENT, "signature"),
        (404, '{"error":{"code":"WorkflowNotFound"}}', OutcomeKind.PERMANENT, "owner"),
        (410, "", OutcomeKind.PERMANENT, "owner"),
        (413, "", OutcomeKind.PERMANENT, "too large"),
        (429, "", OutcomeKind.PAUSE, "too many"),
        (408, "", OutcomeKind.RETRY, "in time"),
        (500, "", OutcomeKind.RETRY, "problem"),
        (502, '{"error":{"code":"NoResponse"}}', OutcomeKind.RETRY, "NoResponse"),
        (504, "", OutcomeKind.RETRY, "problem"),
    ],
)
def test_what_its_answers_mean(status, text, kind, words):
    outcome = classify_response(TEAMS, Response(status, {}, text.encode()), PLAIN, 0.0)
    assert outcome.kind is kind
    assert words in outcome.message
    assert "c2lnbmF0dXJl" not in outcome.message
    if kind is OutcomeKind.PAUSE:
        assert outcome.first_pause == 5.0
