"""What `preview` and `why` say of digests and hourly limits."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import yaml
from click.testing import CliRunner
from tests.core.policy.test_decide import config, event, situation
from tests.engine.fakes import START

from pipebell.cli import effective, observe, preview, why
from pipebell.cli.preview import command
from pipebell.core.event import PipelineEventSpec
from pipebell.core.silences.resource import Silence, SilenceSpec, SilenceStatus
from pipebell.core.status import BatchRecord, DecisionRecord, Delivery, EventStatus, rfc3339
from pipebell.core.vocabulary import Phase, Reason

SPEC = {
    "orgSlug": "acme",
    "email": {"smtpHost": "smtp.example.com", "fromEmail": "a@example.com", "toEmails": ["b@example.com"]},
    "slack": {"webhookUrl": "https://hooks.slack.com/services/T/B/X"},
    "eventTriggers": [
        {
            "event": "pipeline_failure",
            "providers": ["email", "slack"],
            "digest": {"schedule": "0 8 * * 1-5", "timezone": "Europe/Berlin", "destinations": ["email"]},
        },
        {"event": "system_error", "digest": {"everySeconds": 3600}},
    ],
}


def previewed(tmp_path, kind, **more):
    documents = {
        "config": {"kind": "NotificationConfig", "metadata": {"name": "acme"}, "spec": SPEC | more},
        "event": {"kind": "PipelineEvent", "metadata": {"name": "e"}, "spec": {"orgSlug": "acme", "event": kind}},
    }
    for name, document in documents.items():
        text = yaml.safe_dump({"apiVersion": "pipebell.io/v1alpha1", **document})
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    files = ["-f", str(tmp_path / "event.yaml"), "--config", str(tmp_path / "config.yaml")]
    plain = CliRunner().invoke(command, files, catch_exceptions=False)
    return json.loads(CliRunner().invoke(command, [*files, "-o", "json"], catch_exceptions=False).stdout), plain.stdout


def test_preview_says_what_waits_until_when(tmp_path):
    shown, text = previewed(tmp_path, "pipeline_failure")
    assert shown["decision"] == "would be sent"
    assert shown["digest"] == "at 08:00 on Monday through Friday (Europe/Berlin)"
    assert shown["destinations"]["email"]["later"].startswith("email is told by digest-")
    assert "body" in shown["destinations"]["slack"]
    assert "pipeline_failure → slack, email" in text


def test_preview_of_what_is_told_by_digests_alone(tmp_path):
    shown, text = previewed(tmp_path, "system_error")
    assert shown["decision"].startswith("Suppressed/Batched: email is told by digest-")
    assert shown["digest"] == "3600 s after the first event"
    assert list(shown["destinations"]) == ["email"]
    assert "none holds back what a digest tells" in text


def test_why_names_what_waits():
    status = EventStatus(
        phase=Phase.SUPPRESSED,
        reason=Reason.BATCHED,
        batch=[BatchRecord(destination="email", digest="digest-x", due="2026-01-31T08:00:00.000Z")],
    )
    this = replace(event(), status=status)
    said = why.make(this, situation(this), "a configuration")
    assert "email is told of it by digest-x, due 2026-01-31T08:00:00.000Z" in said.notes


@pytest.mark.parametrize("stage", ["digest", "budget"])
@pytest.mark.parametrize("edited", [False, True])
def test_preview_of_a_finished_one_names_the_digest_that_its_status_names(stage, edited):
    """Also when the configuration, or the time when it was decided, would make another one of it."""
    name = "digest-20250615-160640-0123456789abcdef"
    record = BatchRecord(destination="email", digest=name, due=rfc3339(START + 7000))
    decision = DecisionRecord(stage=stage, matched="eventTriggers[pipeline_failure]")
    status = EventStatus(phase=Phase.SUPPRESSED, reason=Reason.BATCHED, batch=[record], decision=decision)
    this = replace(event(), status=status)
    trigger = {"event": "pipeline_failure"} | ({} if edited else {"digest": {"everySeconds": 3600}})
    resolved = config(eventTriggers=[trigger])
    found = effective.Effective(resolved.layers, "NotificationConfig team/acme", resolved.reference)
    shown, html = preview.make(this, found, [], START + 8000)
    assert shown.destinations == {"email": {"later": f"email is told by {name} at {rfc3339(START + 7000)}"}}
    assert html is None


def test_preview_says_that_quiet_hours_will_hold_a_digest_back(tmp_path, monkeypatch):
    noon = datetime(2026, 1, 14, 12, tzinfo=UTC).timestamp()  # at other hours they hold back what is previewed itself
    monkeypatch.setattr(preview, "time", SimpleNamespace(time=lambda: noon))
    hours = [{"from": "07:00", "to": "09:30", "timezone": "Europe/Berlin"}]
    shown, text = previewed(tmp_path, "pipeline_failure", quietHours=hours)
    (note,) = [note for note in shown["notes"] if note.startswith("digest-")]
    assert "is held back by quiet hours (" in note
    assert "2026-01-15T08:30:00.000Z" in note
    assert note in text
    severe, _ = previewed(tmp_path, "system_error", quietHours=[{"from": "00:00", "to": "24:00"}])
    assert not [note for note in severe["notes"] if note.startswith("digest-")], "what is critical comes when due"


@pytest.mark.parametrize("finished", [True, False])
def test_why_says_that_quiet_hours_or_a_silence_will_hold_a_digest_back(finished):
    due = START + 3600
    name = "digest-20250615-160640-0123456789abcdef"
    record = BatchRecord(destination="email", digest=name, due=rfc3339(due))
    status = EventStatus(phase=Phase.SUPPRESSED if finished else Phase.PENDING, reason=Reason.BATCHED, batch=[record])
    this = replace(event(), status=status)
    triggers = [{"event": "pipeline_failure", "digest": {"everySeconds": 3600}}]
    quiet = config(eventTriggers=triggers, quietHours=[{"from": "16:00", "to": "18:00"}])
    seen = observe.situation(this, quiet, [], START + 5)
    notes = why.make(this, seen, "c").notes
    assert [note for note in notes if note.startswith(f"{name} is held back") and "T18:00:00.000Z" in note], notes
    ends = datetime.fromtimestamp(due + 60, UTC).isoformat()
    spec = SilenceSpec.model_validate({"endsAt": ends, "reason": "the warehouse moves"})
    silence = Silence("team", "night", "uid-s", "1", START, spec, SilenceStatus(), platform=False)
    around = observe.Around([silence])
    noisy = config(eventTriggers=triggers)
    notes = why.make(this, observe.situation(this, noisy, [], START + 5, around=around), "c").notes
    assert [note for note in notes if note.startswith(f"{name} is silenced by silence/night until ")]
    made = replace(
        event(),
        name=name,
        uid="made",
        created=due,
        status=EventStatus(phase=Phase.DELIVERED),
        spec=PipelineEventSpec.model_validate(
            {
                "orgSlug": "acme",
                "event": "pipeline_failure",
                "notice": {"kind": "Digest", "destination": "email", "due": rfc3339(due)},
            }
        ),
    )
    told = why.make(this, observe.situation(this, quiet, [made], due + 60), "c").notes
    assert not [note for note in told if "quiet hours" in note], "it was made"


def test_an_override_that_changes_the_digest_says_so():
    rules = [{"pipelines": ["*"], "digest": {"everySeconds": 60}}]
    given = situation(configuration=config(pipelineOverrides=rules))
    rows = {row.stage: row for row in why.make(given.event, given, "a configuration").stages}
    assert rows["override"].matched == "pipelineOverrides[0]: digest none → 60 s after the first event"
    assert rows["digest"].answer == "Suppressed/Batched"


def test_an_open_digest_and_the_hours_count_are_known_from_the_other_events():
    now = time.time()
    resolved = config(
        maxNotificationsPerHour=1, eventTriggers=[{"event": "pipeline_failure", "digest": {"everySeconds": 3600}}]
    )
    first = observe.situation(event(), resolved, [], now)
    due = first.now + 1800
    name = "digest-20260131-080000-0123456789abcdef"
    record = BatchRecord(destination="email", digest=name, due=rfc3339(due))
    other = replace(event(), uid="other", status=EventStatus(phase=Phase.SUPPRESSED, batch=[record]))
    told = [Delivery(destination="email", phase=Phase.DELIVERED, delivered_time=rfc3339(now))]
    sent = replace(event(), uid="sent", status=EventStatus(phase=Phase.DELIVERED, deliveries=told))
    found = observe.situation(event(), resolved, [other, sent], now)
    assert [digest.name for digest in found.batches.open["email"]] == [name]
    assert found.budget.own == (1, 1)
    assert first.budget.own == (1, 0)
