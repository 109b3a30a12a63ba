"""A notice is only a claim: what the operator's own state says of it decides."""

from __future__ import annotations

import pytest
from tests.core.policy.test_decide import MISSING, SLACK, config, event, situation

from pipebell.core.policy.decide import decide, explain
from pipebell.core.policy.decision import Deliver, Skip, Suppress, Wait
from pipebell.core.policy.facts import Claim
from pipebell.core.policy.hints import hint
from pipebell.core.vocabulary import Reason, Severity, StageName

DUE = Claim(due=True, stage=StageName.INCIDENT, destinations=("email",), title="incident nightly")
OVER = Claim(due=False, stage=StageName.INCIDENT, message="acknowledged", reason=Reason.SUPERSEDED, by="nightly")
EARLY = Claim(due=False, stage=StageName.DIGEST, message="this digest is not due")


def notice(claim=None, *, spec=None, **more):
    made = event(event="pipeline_started", notice={"kind": "Reminder", "incident": "nightly", **(spec or {})})
    return situation(made, **more)._replace(claim=claim)


def test_what_nothing_calls_for_is_skipped():
    decision = decide(notice())
    assert isinstance(decision, Skip)
    assert decision.reason is Reason.NOT_DUE


def test_what_is_due_goes_where_the_state_says_without_trigger_and_without_cooldown():
    decision = decide(notice(DUE, configuration=config(slack=SLACK)))
    assert isinstance(decision, Deliver)
    assert list(decision.targets) == ["email"]
    assert (decision.match.cooldown, decision.match.severity) == (0, Severity.INFO)
    assert decision.matched == "incident nightly"


def test_the_severity_is_that_of_what_it_is_about():
    decision = decide(notice(Claim(True, StageName.DIGEST, "", ("email",), Severity.CRITICAL)))
    assert decision.match.severity is Severity.CRITICAL


@pytest.mark.parametrize(
    ("claim", "kind", "stage", "reason"),
    [
        (OVER, Suppress, StageName.INCIDENT, Reason.SUPERSEDED),
        (EARLY, Skip, StageName.DIGEST, Reason.NOT_DUE),
        (Claim(True, StageName.DIGEST), Skip, StageName.DIGEST, Reason.NO_PROVIDER_ENABLED),
    ],
)
def test_what_is_not_due_any_more_ends_by_its_reason(claim, kind, stage, reason):
    decision = decide(notice(claim))
    assert isinstance(decision, kind)
    assert (decision.stage, decision.reason) == (stage, reason)


def test_a_disabled_destination_gets_no_notice():
    claim = Claim(True, StageName.DIGEST, "", ("email", "slack"))
    decision = decide(notice(claim, configuration=config(slack={**SLACK, "enabled": False})))
    assert list(decision.targets) == ["email"]


def test_it_waits_for_its_configuration_and_expires_as_everything_else():
    assert isinstance(decide(notice(DUE, configuration=MISSING)), Wait)
    assert decide(notice(DUE, age=1e6)).reason is Reason.EXPIRED


def test_an_ordinary_event_has_no_claim():
    assert isinstance(decide(situation()._replace(claim=EARLY)), Deliver)


def test_why_shows_the_few_stages_that_a_notice_passes():
    answers = explain(notice(OVER))
    assert [answer.stage for answer in answers] == ["expired", "configured", "trigger", "budget", "deliver"]
    assert hint(answers[2].decision, notice().event)
