"""A digest in words, from a content that may be anybody's."""

import json

from tests.core.messages import CASES, MEMBERS, digest, make, member

from pipebell.core.alerts import alert_key, resolves
from pipebell.core.destinations.slack import SlackTarget, payload
from pipebell.core.outcome import Attempt
from pipebell.core.render.digest import view
from pipebell.core.render.email import email_content
from pipebell.core.vocabulary import Severity


def of(members, severity=Severity.ERROR, **options):
    return make(**digest(members, severity, **options))


def test_a_single_event_is_none():
    assert view(make()) is None
    assert view(make(notice={"kind": "Digest", "content": {"anything": "else"}})) is None


def test_the_view_groups_by_pipeline_and_says_what_is_missing():
    told = view(of([*MEMBERS, *(member(n) for n in range(20, 1030))], max_items=4))
    assert told.title == "Digest: 1,016 events"
    assert [(part.title, part.counts, len(part.rows), part.more) for part in told.sections] == [
        ("billing", "1 critical, 1 info", 1, 1),
        ("nightly-orders-load", "1,013 error", 3, 1010),
    ]
    assert told.omitted == "1,012 events without a line here"


def test_times_have_the_day_where_there_are_several():
    told = view(of([member(1), member(1441)]))
    assert [row.when for row in told.sections[0].rows] == ["2026-11-23 04:16:42", "2026-11-24 04:16:42"]
    assert told.period == "2026-11-23 04:16:42 to 2026-11-24 04:16:42 UTC"
    assert view(of([member(1)])).period == "2026-11-23 04:16:42 UTC"


def hostile(text):
    line = {
        "time": text,
        "event": text,
        "severity": "error",
        "name": text,
        "pipeline": text,
        "error": text,
        "run": text,
    }
    line["link"] = {"title": text, "url": f"https://e.example/{text}"}
    content = {"title": text, "since": text, "until": text, "total": 1, "severities": {"error": 1}, "notes": [text]}
    content |= {"groups": [{"pipeline": text, "org": text, "total": 1, "lines": [line]}], "first": line, "last": line}
    return make(**(digest([member(1)], Severity.ERROR) | {"notice": {"kind": "Digest", "content": content}}))


def test_no_part_of_a_forged_content_mentions_anybody_or_leaves_its_place():
    made = json.dumps(payload(hostile("<!channel>"), SlackTarget("https://hooks.slack.com/x")), ensure_ascii=False)
    assert "<!" not in made
    assert "`x`" not in json.dumps(payload(hostile("`x`"), SlackTarget("https://hooks.slack.com/x")))
    content = email_content(hostile("<script>"))
    assert "<script>" not in content.html
    assert content.text.count("\nBcc") == email_content(hostile("a\r\nBcc: x")).text.count("\nBcc") == 0


def test_slack_takes_a_digest_of_any_size():
    names = [f"pipeline-{number}-{'&' * 150}" for number in range(120)]
    message = of([member(n, pipeline=name, error="<>&" * 160) for n, name in enumerate(names)], max_items=120)
    blocks = payload(message, SlackTarget("https://hooks.slack.com/x"))["attachments"][0]["blocks"]
    texts = [block["text"]["text"] for block in blocks if block["type"] == "section" and "text" in block]
    assert len(blocks) <= 50
    assert max(map(len, texts)) <= 3000
    assert sum(map(len, texts)) < 9000
    assert any("cut off" in text for text in texts)


def test_a_digest_is_an_alert_of_its_own_and_ends_none():
    good = digest([member(1, event="pipeline_success", severity=Severity.INFO)], Severity.INFO)
    message = make(**good, event="pipeline_success")
    assert not resolves(message)
    assert alert_key(message, Attempt("uid-1.x")) != alert_key(message, Attempt("uid-2.x"))
    assert resolves(make(event="pipeline_success"))


def test_the_mail_has_a_table_and_the_text_the_same_lines():
    content = email_content(make(**CASES["digest"]))
    assert content.html.count("<th ") == 9
    for part in ("billing", "nightly-orders-load", "orders-quality", "data quality warning"):
        assert part in content.html
        assert part in content.text
    assert content.subject == "CRITICAL: Digest: 6 events (acme_corp)"
