"""Silences: which events they mean, when they hold, and what cannot be meant."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError
from tests.core.policy.test_decide import event
from tests.engine.fakes import START

from pipebell.core.silences.hold import held_by_silence
from pipebell.core.silences.resource import Silence, SilenceSpec, SilenceStatus
from pipebell.core.vocabulary import CatchUpMode, Severity, SilencePhase


def moment(seconds):
    return datetime.fromtimestamp(START + seconds, UTC).isoformat()


def silence(name="s", *, namespace="team", platform=False, ends=600, **spec):
    given = SilenceSpec.model_validate({"endsAt": moment(ends), "reason": "why", **spec})
    return Silence(namespace, name, f"uid-{name}", "1", START, given, SilenceStatus(), platform)


@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ({}, True),
        ({"orgSlug": "acme"}, True),
        ({"orgSlug": "globex"}, False),
        ({"pipelines": ["orders-*"]}, True),
        ({"pipelines": ["x", "orders-????ly"]}, True),
        ({"pipelines": ["orders"]}, False),
        ({"pipelines": ["ORDERS-*"]}, False),
        ({"events": ["pipeline_failure"]}, True),
        ({"events": ["system_error"]}, False),
        ({"labels": {"env": "prod"}}, True),
        ({"labels": {"env": "p*", "team": "*"}}, True),
        ({"labels": {"env": "prod", "tier": "*"}}, False),
        ({"labels": {"env": "stage"}}, False),
        ({"labels": {}}, True),
        ({"maxSeverity": "error"}, True),
        ({"maxSeverity": "CRITICAL"}, True),
        ({"maxSeverity": "warning"}, False),
        ({"orgSlug": "acme", "pipelines": ["orders-*"], "labels": {"env": "stage"}}, False),
    ],
)
def test_it_means_what_meets_all_that_is_set(spec, meant):
    this = event(pipelineId="orders-nightly", labels={"env": "prod", "team": "data"})
    this = this if "x" not in spec.get("pipelines", []) else event(pipelineId="orders-weekly")
    assert silence(**spec).concerns(this, Severity.ERROR) is meant


def test_of_an_event_without_a_pipeline_only_star_says_that_it_is_meant():
    assert silence(pipelines=["*"]).concerns(event(pipelineId=None), Severity.ERROR)
    assert not silence(pipelines=["?*"]).concerns(event(pipelineId=None), Severity.ERROR)


def test_no_pattern_keeps_everybody_else_waiting():
    hostile = silence(pipelines=["*" + "a" * 254 + "b"] * 32, labels={"x": "*a" * 127 + "b"})
    began = time.process_time()
    for _ in range(20):
        assert not hostile.concerns(event(pipelineId="a" * 512, labels={"x": "a" * 256}), Severity.ERROR)
    assert time.process_time() - began < 2.0  # measured: 0.01 s


def test_it_concerns_its_own_namespace_and_the_platforms_all():
    assert not silence(namespace="other").concerns(event(), Severity.ERROR)
    assert silence(namespace="ops", platform=True).concerns(event(), Severity.ERROR)


@pytest.mark.parametrize(
    ("starts", "now", "phase"),
    [
        (None, 0, "Active"), (None, 599, "Active"), (None, 600, "Expired"),
        (60, 59, "Pending"), (60, 60, "Active"), (60, 601, "Expired"),
    ],
)  # fmt: skip
def test_where_it_stands(starts, now, phase):
    given = silence(startsAt=None if starts is None else moment(starts))
    assert given.phase(START + now) is SilencePhase(phase)
    held = held_by_silence([given], event(), Severity.ERROR, START + now)
    assert (held is not None) is (phase == "Active")


def test_of_several_the_one_that_ends_last_says_until_when_and_why():
    several = [silence("a", ends=900), silence("b", ends=60, catchUp="None"), silence("c", ends=900, reason="big one")]
    held = held_by_silence(several, event(), Severity.ERROR, START)
    assert (held.by, held.until, held.mode) == ("silence/c", START + 900, CatchUpMode.STILL_FAILING)
    assert held.message == "silenced by silence/c until 2025-06-15T15:21:40.000Z: big one"


def test_of_two_that_end_together_its_own_counts_rather_than_the_platforms():
    several = [silence("z", namespace="ops", platform=True), silence("a")]
    assert held_by_silence(several, event(), Severity.ERROR, START).by == "silence/a"
    assert held_by_silence(several[:1], event(), Severity.ERROR, START).by == "platform/z"


def test_the_ticket_stands_with_the_reason():
    held = held_by_silence([silence(ticket="OPS-7")], event(), Severity.ERROR, START)
    assert held.message.endswith(": why (OPS-7)")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"endsAt": None}, "endsAt"),
        ({"endsAt": "tomorrow"}, "must be a time with its zone"),
        ({"endsAt": moment(5), "startsAt": moment(5)}, "a silence ends after it begins"),
        ({"endsAt": moment(5), "startsAt": moment(6)}, "a silence ends after it begins"),
        ({"reason": ""}, "reason"),
        ({"reason": "  "}, "reason"),
        ({"reason": None}, "reason"),
        ({"reason": "two\nlines"}, "reason"),
        ({"pipelines": []}, "pipelines"),
        ({"events": []}, "events"),
        ({"events": ["boom"]}, "events"),
        ({"catchUp": "Later"}, "catchUp"),
        ({"until": "x"}, "until"),
    ],
)
def test_what_cannot_be_meant_is_refused(spec, said):
    with pytest.raises(ValidationError, match=said):
        SilenceSpec.model_validate({"endsAt": moment(600), "reason": "why", **spec})
