"""Each rendering, letter by letter. `PIPEBELL_WRITE_GOLDEN=1 pytest …` writes them anew: read the diff."""

import json
import os
from pathlib import Path

import pytest

from pipebell.core.render import email_content, slack_payload
from pipebell.core.targets import EmailTarget, SlackTarget
from pipebell.core.vocabulary import EventType, Severity

GOLDEN = Path(__file__).parent / "golden"
EMAIL = EmailTarget(
    "smtp.example.com", 587, True, True, "noreply@cloudact.io", None, ("a@example.com",), subject_prefix="[CloudAct]"
)
SLACK = SlackTarget(
    "https://hooks.slack.com/services/T/B/X",
    channel="#pipeline-alerts",
    username="CloudAct Bot",
    icon_emoji=":robot_face:",
    mention_users=("U123456", "W234567", "S345678"),
    mention_channel=True,
)

CASES = {
    "pipeline_failure": {},
    "pipeline_success": {
        "event": "pipeline_success",
        "severity": Severity.INFO,
        "error_message": None,
        "details": None,
    },
    "pipeline_started": {"event": "pipeline_started", "severity": Severity.INFO, "error_message": None, "links": None},
    "data_quality_failure": {"event": "data_quality_failure", "severity": Severity.WARNING, "suppressed": 1},
    "data_quality_warning": {"event": "data_quality_warning", "severity": Severity.WARNING, "pipeline_id": None},
    "rate_limit_exceeded": {"event": "rate_limit_exceeded", "severity": Severity.WARNING, "suppressed": 49},
    "system_error": {"event": "system_error", "severity": Severity.CRITICAL},
    "test": {"severity": Severity.CRITICAL, "test": True},
    "replay": {"replay_of": {"name": "acme-41c"}},
    "hostile": {
        "severity": Severity.CRITICAL,
        "pipeline_id": "a\r\nBcc: x@example.com\r\n\r\n<!channel> @here `x`",
        "error_message": "\x1b[31m</script><!channel> <@U999> & ```\n*bold*\x00\u202egpj.exe\u200b ```` \U0001f600 خطأ",
        "details": {"</pre>": "<img src=x onerror=alert(1)>", "`": "```"},
        "links": [{"title": "<b>|>", "url": 'https://e.example/?a=1&b="><script>|x'}],
    },
}


def compare(name, text):
    file = GOLDEN / name
    if os.environ.get("PIPEBELL_WRITE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES)
def test_email(case, notify):
    content = email_content(notify(**CASES[case]), EMAIL)
    compare(f"{case}.txt", f"Subject: {content.subject}\n\n{content.text}")
    compare(f"{case}.html", content.html)


@pytest.mark.parametrize("case", CASES)
def test_slack(case, notify):
    payload = slack_payload(notify(**CASES[case]), SLACK)
    compare(f"{case}.slack.json", json.dumps(payload, indent=2, ensure_ascii=False) + "\n")


def test_every_type_of_event_has_its_golden_files():
    assert set(CASES) >= set(EventType)
