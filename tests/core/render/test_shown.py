"""What is read of a request's body: nothing but what stands in it, without the vendor's markup."""

from pipebell.core.render import shown


def test_slacks_escapes_links_and_bold_are_read_as_people_see_them():
    blocks = [
        {"type": "section", "fields": [{"text": "*Severity*\nError"}]},
        {"type": "section", "text": {"text": "<https://e.example/?a=1&amp;b=2|the &lt;log&gt;>\n2 * 3 * 4"}},
        {"type": "context", "elements": [{"text": "Pipebell"}]},
    ]
    assert shown.slack({"text": "*[TEST]* a &amp; b", "attachments": [{"blocks": blocks}]}) == [
        "[TEST] a & b",
        "│ Severity: Error",
        "│ the <log> (https://e.example/?a=1&b=2)",
        "│ 2 * 3 * 4",
        "│ Pipebell",
    ]


def test_markdown_is_read_without_its_escapes():
    fields = [{"name": "Links", "value": "[a \\] b](<https://e.example/x>)"}]
    embed = {"title": "Failed", "fields": fields, "footer": {"text": "end"}}
    assert shown.discord({"content": "**x** a\\_b", "embeds": [embed]}) == [
        "x a_b",
        "│ Failed",
        "│ Links: a ] b (https://e.example/x)",
        "│ end",
    ]


def test_alerts_say_what_becomes_of_them():
    change = {"payload": {"summary": "done", "source": "p"}}
    assert shown.pagerduty(change)[0] == "change: done"
    assert shown.jsm({"source": "s", "note": "it is over"}) == ["it is over"]
    alert = {"labels": {"alertname": "X"}, "annotations": {"summary": "a\nb"}}
    assert shown.alertmanager([alert]) == ["alertname=X", "│ summary: a", "│   b"]
