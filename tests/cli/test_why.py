"""`pipebell why` says what the operator decided, in the words of the status, and what would change it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.core.policy.test_decide import BOTH, REFERENCE, TABLE, config, event, situation

from pipebell.cli import why
from pipebell.core.policy.decide import STAGES, decide
from pipebell.core.policy.decision import Deliver
from pipebell.core.status import DecisionRecord, EventStatus, rfc3339
from pipebell.core.vocabulary import Phase, Reason, StageName


def finished(this, phase, stage, reason=None, message="", matched="", used=REFERENCE):
    status = EventStatus(
        phase=phase,
        reason=reason,
        message=message,
        config_ref=used,
        decision=DecisionRecord(stage=stage, matched=matched or None),
        completion_time=rfc3339(this.created + 1),
    )
    return replace(this, status=status)


@pytest.mark.parametrize("row", TABLE)
def test_a_live_event_is_explained_in_the_words_of_the_decision(row):
    given = TABLE[row][0]
    said = why.make(given.event, given, "a configuration")
    decision = decide(given)
    decided = [item for item in said.stages if item.reached][-1]
    assert (decided.stage, decided.message, decided.matched) == (decision.stage, decision.message, decision.matched)
    if not isinstance(decision, Deliver):
        assert decided.answer.endswith(decision.reason or decided.answer)
        assert said.change
    assert [item.stage for item in said.stages] == [stage.name for stage in STAGES]


def test_of_a_finished_event_the_stage_that_decided_is_shown_as_recorded():
    message = "held back by the cooldown until 2025-06-15T15:11:30.000Z; earlier was sent instead"
    this = finished(event(), Phase.SUPPRESSED, StageName.COOLDOWN, Reason.COOLDOWN, message, "earlier")
    said = why.make(this, situation(this), "a configuration")
    assert (said.status, said.notes) == ("Suppressed/Cooldown", [])
    rows = {row.stage: row for row in said.stages}
    assert rows["cooldown"] == why.Row("cooldown", "Suppressed/Cooldown", message, "earlier", recorded=True)
    assert rows["trigger"].answer == why.PASSES
    assert rows["trigger"].matched == "default triggers → email"
    assert not rows["deliver"].reached


def test_of_a_notice_it_is_not_said_that_nothing_calls_for_it():
    this = event(event="channel_failing", notice={"kind": "Channel", "destination": "slack"})
    done = finished(this, Phase.DELIVERED, StageName.DELIVER, matched="channelHealth: slack")
    stages = {row.stage: row for row in why.make(done, situation(done), "a configuration").stages}
    assert (stages["trigger"].answer, stages["trigger"].reached) == ("not known", True)
    assert "the operator's own state" in stages["trigger"].message
    assert (stages["deliver"].answer, stages["deliver"].recorded) == ("Delivered", True)
    waiting = why.make(this, situation(this), "a configuration")
    assert not [row for row in waiting.stages if "NotDue" in row.answer]


def test_the_override_that_an_event_met_is_named_with_what_it_changed():
    rules = [{"pipelines": ["*"], "severity": "critical", "cooldownSeconds": 5}]
    given = situation(configuration=config(pipelineOverrides=rules))
    rows = {row.stage: row for row in why.make(given.event, given, "a configuration").stages}
    assert rows["override"].answer == why.PASSES
    assert rows["override"].matched == "pipelineOverrides[0]: severity error → critical; cooldownSeconds 300 → 5"
    assert rows["trigger"].matched == "default triggers under pipelineOverrides[0] (severity, cooldownSeconds) → email"


def test_an_expired_event_did_not_reach_what_follows():
    this = finished(event(), Phase.SKIPPED, StageName.EXPIRED, Reason.EXPIRED, "older than 86400 s", used=None)
    said = why.make(this, situation(this, age=100_000), "a configuration")
    assert [row.stage for row in said.stages if row.reached] == ["expired"]
    assert "PIPEBELL_EVENT_MAX_AGE" in said.change


def test_another_generation_of_the_configuration_is_said():
    used = REFERENCE.model_copy(update={"generation": 2})
    this = finished(event(), Phase.DELIVERED, StageName.DELIVER, message="delivered by email", used=used)
    said = why.make(this, situation(this, configuration=config(eventTriggers=BOTH)), "a configuration")
    assert "generation 2" in said.notes[0]
    assert "worked out from 3" in said.notes[0]
    other = REFERENCE.model_copy(update={"name": "older"})
    said = why.make(replace(this, status=this.status.model_copy(update={"config_ref": other})), situation(this), "c")
    assert "team/older" in said.notes[0]


def test_an_event_whose_decision_an_older_release_did_not_record_is_explained_as_of_now():
    this = replace(event(), status=EventStatus(phase=Phase.DELIVERED))
    said = why.make(this, situation(this), "a configuration")
    assert "not recorded" in said.notes[0]
    assert said.stages[-1].answer == "delivers"


# ---------------------------------------------------------------------- against the operator


def test_status_preview_and_why_say_the_same(on_stage, make_config, stage, place):
    make_config("acme", webhook="Twhy")
    names = {}
    for what, arguments in {
        "sent": [],
        "suppressed": [],
        "unwanted": ["--event", "pipeline_started"],
        "nobody's": ["--org", "nobody_at_all"],
    }.items():
        done = on_stage("send", "--org", "acme", "--wait", "-o", "json", *arguments)
        names[what] = done.json["metadata"]["name"]
    for what, stage_name, matched in (
        ("sent", "deliver", "eventTriggers[pipeline_failure]"),
        ("suppressed", "cooldown", names["sent"]),
        ("unwanted", "trigger", None),
    ):
        item = json.loads(stage.cluster.kubectl("get", "pe", names[what], "-n", place, "-o", "json").stdout)
        status = item["status"]
        assert status["decision"].get("stage") == stage_name
        assert status["decision"].get("matched") == matched
        said = on_stage("why", names[what], "-o", "json").json
        decided = next(row for row in said["stages"] if row["recorded"])
        assert decided["stage"] == stage_name
        assert decided["message"] == status["message"]
        assert decided["answer"] == "/".join(filter(None, (status["phase"], status.get("reason"))))
    said = on_stage("why", names["unwanted"])
    assert said.code == 0
    assert "Skipped/NoTrigger (recorded)" in said.out
    assert "What would change it: add an entry with event: pipeline_started to eventTriggers" in said.out
    shown = on_stage("preview", names["unwanted"], "-o", "json").json
    assert shown["decision"].startswith("Skipped/NoTrigger: no trigger for pipeline_started")


def test_an_event_that_waits_says_for_what_and_an_edit_is_noticed(on_stage, make_config, apply):
    make_config("acme", webhook="Twait")
    done = on_stage("send", "--org", "acme", "--wait", "-o", "json").json
    make_config("acme", webhook="Twait", secretRef={"name": "no-such-secret"})
    said = on_stage("why", done["metadata"]["name"], "-o", "json").json
    assert any("generation" in note for note in said["notes"])
    waiting = on_stage("send", "--org", "acme", "--event", "pipeline_failure", "-o", "json").json
    said = on_stage("why", waiting["metadata"]["name"], "-o", "json").json
    assert said["stages"][0]["answer"] == "passes"
    missing = on_stage("why", "there-is-none")
    assert (missing.code, "there is no PipelineEvent there-is-none" in missing.err) == (1, True)
