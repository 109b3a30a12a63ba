"""Organisations' own texts in each kind's message: what an event says means nothing there, and nobody is mentioned."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from urllib.parse import parse_qs

import pytest
from tests.core.messages import CASES, make

from pipebell.core.destinations.http import HttpKind
from pipebell.core.errors import NotReady
from pipebell.core.fields import templates
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import KINDS, NotificationConfigSpec, RootSpec
from pipebell.core.outcome import Attempt
from pipebell.core.placeholders import Environment, OrgSecrets
from pipebell.core.render.email import email_content
from pipebell.core.template import Printed, assemble

HTTP = [name for name, kind in KINDS.items() if isinstance(kind, HttpKind)]
TEXTS = [name for name in HTTP if "text_template" in templates(KINDS[name].spec)]
EVIL = (
    "<!channel> <!here|here> <@U999> @here @everyone @all <users/all> <at>all</at> `x` *y* <b> [z](https://e.example)"
)

# What mentions somebody, by kind.
MENTIONS = {
    "slack": ("<!channel", "<!here", "<@U999", "@here", "@everyone"),
    "googleChat": ("<users/all", "@all"),
    "mattermost": ("<!channel", "<@U999", "@here", "@all"),
    "telegram": ("@here", "@all"),
}


def org(**spec):
    return Layer(NotificationConfigSpec.model_validate({"orgSlug": "acme", **spec}), OrgSecrets(None, {}))


def request(kind, message, **changes):
    target = Layers(org(**{kind: {**KINDS[kind].example, **changes}}), None).target(kind)
    return KINDS[kind].request(message, target, Attempt("uid-1.x", now=message.event.created + 1))


def told(kind, field, text, *values, case="pipeline_failure"):
    """The message with what a template makes of these values."""
    template = templates(KINDS[kind].spec)[field]
    return replace(make(**CASES[case]), texts={field: assemble(text, [Printed(value) for value in values], template)})


def body_of(kind, message, **changes):
    sent = request(kind, message, **changes).body.decode()
    return json.loads(sent) if sent[:1] in "{[" else {name: value[0] for name, value in parse_qs(sent).items()}


def strings(made):
    """Every text in a body, wherever it stands."""
    if isinstance(made, str):
        yield made
    for item in made.values() if isinstance(made, dict) else made if isinstance(made, list) else ():
        yield from strings(item)


def mark(number):
    return f"\0{number}\0"


@pytest.mark.parametrize("kind", TEXTS)
def test_the_text_stands_in_the_message_and_an_events_text_means_nothing_in_it(kind):
    made = body_of(kind, told(kind, "text_template", f"Own words: {mark(0)}", EVIL))
    shown = json.dumps(made, ensure_ascii=False)
    assert "Own words: " in shown
    assert not [sign for sign in MENTIONS.get(kind, ()) if sign in shown]
    if kind == "discord":
        assert made["allowed_mentions"] == {"parse": []}
        assert "\\<" in made["content"]


@pytest.mark.parametrize("kind", MENTIONS)
def test_the_template_itself_mentions_nobody_either(kind):
    shown = json.dumps(body_of(kind, told(kind, "text_template", f"{EVIL} own")), ensure_ascii=False)
    assert "own" in shown
    assert not [sign for sign in MENTIONS[kind] if sign in shown]


def test_slack_shows_the_text_alone_or_with_blocks_and_mentions_whom_the_configuration_names():
    own = told("slack", "text_template", "Own words")
    own = replace(own, severity=make(severity="critical").severity)
    made = body_of("slack", replace(own, severity=CASES["system_error"]["severity"]))
    assert made["text"] == "<@U123456> <!subteam^S345678> Own words"
    assert made["attachments"] == []
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": f"{mark(0)} {mark(1)}"}}]
    made = body_of(
        "slack", told("slack", "blocks_template", json.dumps(blocks).replace("\\u0000", "\0"), EVIL, "x" * 9000)
    )
    (block,) = made["attachments"][0]["blocks"]
    assert block["text"]["text"].startswith("&lt;!channel&gt;")
    assert "cut off" in block["text"]["text"]
    assert len(block["text"]["text"]) <= 3000
    assert "Pipeline failed" in made["text"]


def test_teams_shows_the_card_with_the_configurations_mentions():
    card = {
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "TextBlock", "text": f"{mark(0)} {{{{DATE(x)}}}}"}],
    }
    source = json.dumps({**card, "msteams": {"entities": [{"type": "mention"}]}}).replace("\\u0000", "\0")
    message = told("teams", "card_template", source, EVIL, case="system_error")
    content = body_of("teams", message)["attachments"][0]["content"]
    mentions, text = content["body"]
    assert mentions["text"] == "<at>Ana Lima</at>"
    assert [entity["text"] for entity in content["msteams"]["entities"]] == ["<at>Ana Lima</at>"]
    assert "<at>" not in text["text"]
    assert "{{" not in text["text"]
    assert "\\*y\\*" in text["text"]
    assert len(body_of("teams", told("teams", "card_template", source, EVIL))["attachments"][0]["content"]["body"]) == 1


def test_webhook_posts_the_body_signed_as_it_is():
    source = f'{{"text": "{mark(0)}", "n": {mark(1)}}}'
    message = told("webhook", "body_template", source, 'a"b\n', 5)
    sent = request("webhook", message, bodyTemplate="{}", format=None)
    assert json.loads(sent.body) == {"text": 'a"b\n', "n": 5}
    assert sent.headers["Content-Type"] == "application/json"
    built_in = request("webhook", make(), bodyTemplate="{}", format=None)
    assert json.loads(built_in.body)["type"] == "pipeline.failure"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"format": "template"}, "webhook.bodyTemplate is not set, but format is template"),
        ({"format": "standard", "bodyTemplate": "{}"}, "webhook.bodyTemplate goes with format: template"),
    ],
)
def test_webhooks_format_and_template_go_together(given, said):
    with pytest.raises(NotReady) as caught:
        Layers(org(webhook={"url": "https://h.example/", **given}), None).target("webhook")
    assert caught.value.message.startswith(said)


def test_pagerduty_takes_summary_and_details():
    message = told("pagerduty", "summary_template", f"Own {mark(0)}", "x" * 2000)
    message = replace(message, texts=message.texts | {"details_template": {"own": 1}})
    payload = body_of("pagerduty", message)["payload"]
    assert payload["summary"].startswith("Own xxx")
    assert len(payload["summary"]) <= 1024
    assert payload["custom_details"] == {"own": 1}


def test_sms_takes_one_line_in_its_alphabet_and_its_mark():
    made = body_of("sms", told("sms", "body_template", f"Ölfeld\n{mark(0)}", "日本 " + "y" * 900))
    assert made["Body"].startswith("Ölfeld ?? y")
    assert len(made["Body"]) <= 306
    assert "..." in made["Body"]
    assert body_of("sms", make())["Body"][-7:] == made["Body"][-7:]


@pytest.mark.parametrize("kind", TEXTS)
def test_a_test_and_a_replay_are_marked_in_own_texts_too(kind):
    if kind in ("jsm", "alertmanager"):
        return  # their headline stays
    for case, word in (("test", "[TEST] "), ("replay", "[REPLAY] ")):
        shown = json.dumps(body_of(kind, told(kind, "text_template", "Own words", case=case)), ensure_ascii=False)
        assert f"{word}Own words" in shown


@pytest.mark.parametrize("kind", TEXTS)
def test_what_is_too_long_is_cut_visibly(kind):
    made = body_of(kind, told(kind, "text_template", f"begin {mark(0)} end", "é" * 120_000))
    (text,) = {found for found in strings(made) if found.startswith("begin ")}
    assert text.endswith(" end")
    assert "cut off" in text
    assert len(text.encode()) <= {"slack": 26_000, "googleChat": 32_000, "discord": 2000}.get(kind, 16_384)
    assert kind != "telegram" or len(text.encode()) <= 4096


def test_emails_parts_are_the_organisations_own():
    known = make(**CASES["hostile"])
    html = f"<html><BODY class=x>{mark(0)}</BODY></html>"
    page = assemble(html, [Printed(known.event.spec.error_message)], templates(KINDS["email"].spec)["html_template"])
    own = replace(
        known, texts={"subject_template": "Own subject", "text_template": "Own <text>", "html_template": page}
    )
    made = email_content(own, "[Acme]")
    assert (made.subject, made.text) == ("[Acme] Own subject", "Own <text>")
    assert "<script>" not in made.html
    assert "&lt;!channel&gt;" in made.html
    plain = email_content(replace(known, texts={"text_template": "Own <text>\nsecond"}))
    assert "Own &lt;text&gt;\nsecond" in plain.html
    assert plain.subject.startswith("CRITICAL:")
    only = email_content(replace(known, texts={"html_template": page}))
    assert "Severity:" in only.text
    test = email_content(replace(make(test=True), texts={"html_template": page, "subject_template": "Own"}))
    assert "<BODY class=x><p><strong>[TEST]</strong></p>" in test.html
    assert test.subject == "[TEST] Own"


def test_a_subject_stays_one_header():
    template = templates(KINDS["email"].spec)["subject_template"]
    subject = assemble(f"Own\r\nBcc: {mark(0)}", [Printed("a\r\nX: y")], template)
    made = email_content(replace(make(), texts={"subject_template": subject}))
    assert made.subject == "Own Bcc: a X: y"


# ---------------------------------------------------------------------- whose they are


def test_templates_are_inherited_field_by_field():
    root = Layer(
        RootSpec.model_validate({"slack": {"text_template": "root's", "blocks_template": "[1]"}}),
        Environment({}),
        root=True,
    )
    own = org(slack={"textTemplate": "own", "webhookUrl": "https://hooks.slack.com/services/T/B/X"})
    assert Layers(own, root, "data").templates("slack") == {"text_template": "own", "blocks_template": "[1]"}
    assert Layers(None, root).templates("slack") == {"text_template": "root's", "blocks_template": "[1]"}
    assert Layers(org(), None).templates("slack") == {}
    assert Layers(org(), None).templates("nope") == {}


def test_on_roots_endpoint_an_organisation_sets_a_template_only_where_root_says_so():
    block = {"webhook_url": "https://hooks.slack.com/services/T/B/X"}
    own = org(slack={"textTemplate": "own"})

    def layers(**restrict):
        spec = RootSpec.model_validate({"slack": block, "restrict": restrict or None})
        return Layers(own, Layer(spec, Environment({}), root=True), "data")

    with pytest.raises(NotReady) as caught:
        layers().target("slack")
    assert caught.value.reason == "NotPermitted"
    assert "slack.textTemplate" in caught.value.message
    assert layers(org_may_set=["textTemplate"]).target("slack").trusted
    assert layers(org_may_set=["text_template"]).templates("slack") == {"text_template": "own"}


# Each makes a search that goes back and forth in it take seconds. The longest that a template may make, or nearly.
TRYING = {
    "an attribute without a value": "<a href=" + " " * 131_000,
    "many of them": "<a href=" * 16_000,
    "a mention that is none": "<" + " " * 131_000,
    "many of them that end at once": "</ " * 43_000,
    "bodies": "<body" * 26_000,
    "brackets": "[" * 65_000 + "](" * 30_000,
    "fences": "`" * 131_000,
    "lists": "\n - " * 32_000,
    "digits": "1" * 131_000,
    "escapes": "\x1b]" * 65_000,
}
FIELDS = [(name, field) for name, kind in KINDS.items() for field in templates(kind.spec)]


@pytest.mark.parametrize(("kind", "field"), FIELDS)
def test_no_text_takes_long(kind, field):
    language = templates(KINDS[kind].spec)[field].language
    for what, text in TRYING.items():
        began = time.process_time()
        language.code(language.escape(language.finish(text)))
        assert time.process_time() - began < 2.0, what  # a tenth of that, and a minute where it goes back and forth


@pytest.mark.parametrize("kind", HTTP)
def test_no_events_text_takes_long(kind):
    for what, text in TRYING.items():
        message = make(**CASES["pipeline_failure"])
        spec = message.event.spec.model_copy(
            update={"error_message": text[:32_768], "details": {"text": text[:16_000]}}
        )
        began = time.process_time()
        request(kind, replace(message, event=replace(message.event, spec=spec)))
        assert time.process_time() - began < 2.0, what
