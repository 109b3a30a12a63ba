"""Rules for some pipelines: which one an event meets, and what it changes."""

from __future__ import annotations

import pytest

from pipebell.core.errors import NotReady
from pipebell.core.event import Event, PipelineEventSpec
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import NotificationConfigSpec, RootSpec
from pipebell.core.placeholders import Environment, OrgSecrets
from pipebell.core.policy.decide import decide, explain
from pipebell.core.policy.decision import Deliver, Skip
from pipebell.core.policy.hints import hint
from pipebell.core.policy.override import changes, find_override
from pipebell.core.policy.situation import CooldownFacts, Progress, Resolved, Situation
from pipebell.core.policy.triggers import check_plans, destinations_in_use
from pipebell.core.status import ConfigReference, EventStatus
from pipebell.core.vocabulary import Reason, Severity, StageName

SLACK = {"webhookUrl": "https://hooks.slack.com/services/T/B/X"}
MAIL = {"smtpHost": "mail.example.com", "fromEmail": "a@example.com", "toEmails": ["b@example.com"]}
BASE = {
    "orgSlug": "acme",
    "email": MAIL,
    "slack": SLACK,
    "destinations": [{"name": "on-call", "slack": SLACK}],
    "eventTriggers": [
        {"event": "pipeline_failure", "providers": ["email"], "cooldownSeconds": 60},
        {"event": "system_error", "enabled": False},
    ],
}


def layered(overrides=None, root=None, **more):
    spec = NotificationConfigSpec.model_validate(BASE | {"pipelineOverrides": overrides} | more)
    below = Layer(RootSpec.model_validate(root), Environment({}), root=True) if root is not None else None
    return Layers(Layer(spec, OrgSecrets(None, {})), below, "data")


def spec(event="pipeline_failure", pipeline="nightly-orders", **more):
    return PipelineEventSpec.model_validate({"orgSlug": "acme", "event": event, "pipelineId": pipeline, **more})


def situation(layers, told):
    event = Event("data", "e", "u", "1", 1, 100.0, told, EventStatus())
    used = ConfigReference(kind="NotificationConfig", namespace="data", name="acme")
    return Situation(event, 100.0, 86_400.0, Resolved(layers, used, None), CooldownFacts(), Progress())


def decided(overrides, told=None, **more):
    return decide(situation(layered(overrides, **more), told or spec()))


def met(rule, told):
    return find_override(layered([{"pipelines": ["*"], "enabled": False} | rule]), told) is not None


def test_without_overrides_nothing_is_different():
    for overrides in (None, []):
        decision = decided(overrides)
        assert isinstance(decision, Deliver)
        assert (decision.match.severity, decision.match.destinations) == (Severity.ERROR, ("email",))
        assert decision.matched == "eventTriggers[pipeline_failure]"


def test_the_first_of_two_that_match_counts():
    decision = decided(
        [
            {"pipelines": ["weekly-*"], "providers": ["slack"]},
            {"pipelines": ["nightly-*"], "severity": "critical", "cooldownSeconds": 0},
            {"pipelines": ["nightly-orders"], "providers": ["on-call"]},
        ]
    )
    assert isinstance(decision, Deliver)
    assert (decision.match.severity, decision.match.destinations) == (Severity.CRITICAL, ("email",))
    assert decision.match.cooldown == 0
    assert decision.matched == "eventTriggers[pipeline_failure] under pipelineOverrides[1] (severity, cooldownSeconds)"


def test_its_list_of_destinations_replaces_the_triggers():
    decision = decided([{"pipelines": ["*"], "providers": ["email", "on-call"]}])
    assert isinstance(decision, Deliver)
    assert list(decision.targets) == ["email", "on-call"]
    assert decided([{"pipelines": ["*"], "providers": []}], defaultProvider="slack").match.destinations == ("slack",)


def test_one_that_disables_ends_the_event_at_its_stage():
    decision = decided([{"pipelines": ["nightly-*"], "enabled": False}])
    assert isinstance(decision, Skip)
    assert (decision.stage, decision.reason) == (StageName.OVERRIDE, Reason.TRIGGER_DISABLED)
    assert decision.matched == "pipelineOverrides[0]"
    assert "pipelineOverrides[0]" in hint(decision, situation(layered([]), spec()).event)


def test_one_that_enables_lies_over_a_disabled_trigger():
    told = spec("system_error")
    assert decided([], told).reason is Reason.TRIGGER_DISABLED
    assert isinstance(decided([{"pipelines": ["*"], "enabled": True}], told), Deliver)
    assert decided([{"pipelines": ["*"], "providers": ["slack"]}], told).reason is Reason.TRIGGER_DISABLED


def test_an_event_without_trigger_stays_without_unless_the_override_says_where_to():
    told = spec("pipeline_success")
    assert decided([{"pipelines": ["*"], "enabled": True, "severity": "critical"}], told).reason is Reason.NO_TRIGGER
    decision = decided([{"pipelines": ["*"], "providers": ["slack"]}], told)
    assert isinstance(decision, Deliver)
    assert (decision.match.severity, decision.match.cooldown) == (Severity.INFO, 300)
    assert decision.matched == "no trigger under pipelineOverrides[0] (providers)"


def test_its_severity_is_more_than_the_events_own():
    rule = [{"pipelines": ["*"], "severity": "WARNING"}]
    assert decided(rule, spec(severity="critical")).match.severity is Severity.WARNING


@pytest.mark.parametrize(
    ("rule", "told", "met_by_it"),
    [
        ({"pipelines": ["a", "nightly-*"]}, spec(), True),
        ({"pipelines": ["NIGHTLY-*"]}, spec(), False),
        ({"pipelines": ["*"]}, spec(pipeline=None), True),
        ({"pipelines": ["?*"]}, spec(pipeline=None), False),
        ({"events": ["system_error"]}, spec(), False),
        ({"events": ["system_error", "pipeline_failure"]}, spec(), True),
        ({"owner": "data-*"}, spec(owner="data-platform"), True),
        ({"owner": "data-*"}, spec(owner="web"), False),
        ({"owner": "*"}, spec(), False),
        ({"labels": {"env": "prod*", "team": "?"}}, spec(labels={"env": "prod-eu", "team": "a", "x": "y"}), True),
        ({"labels": {"env": "prod*", "team": "?"}}, spec(labels={"env": "prod-eu"}), False),
        ({"labels": {"env": "*"}}, spec(), False),
        ({"labels": {}}, spec(), True),
        ({"minSeverity": "error"}, spec(), True),  # its type's
        ({"minSeverity": "critical"}, spec(), False),
        ({"minSeverity": "critical"}, spec(severity="critical"), True),
        ({"minSeverity": "critical", "severity": "critical"}, spec(), False),  # before the rule
    ],
)
def test_all_conditions_have_to_hold(rule, told, met_by_it):
    assert met(rule, told) is met_by_it


def test_conditions_of_many_rules_do_not_mix():
    rules = [
        {"pipelines": ["a*"], "owner": "x"},
        {"pipelines": ["b*"], "labels": {"k": "1"}},
        {"pipelines": ["*"], "labels": {"k": "2"}, "owner": "y"},
        {"pipelines": ["*"], "minSeverity": "critical"},
    ]
    layers = layered([rule | {"enabled": False} for rule in rules])

    def first(**told):
        found = find_override(layers, spec(**told))
        return None if found is None else found.title

    assert first(pipeline="a1", owner="x") == "pipelineOverrides[0]"
    assert first(pipeline="a1", owner="y") is None
    assert first(pipeline="b1", labels={"k": "1"}) == "pipelineOverrides[1]"
    assert first(pipeline="a1", owner="y", labels={"k": "2"}) == "pipelineOverrides[2]"
    assert first(pipeline="b1", owner="y", labels={"k": "1"}, severity="critical") == "pipelineOverrides[1]"
    assert first(pipeline="c", severity="critical") == "pipelineOverrides[3]"


def test_what_is_remembered_of_a_pipeline_is_no_others():
    layers = layered([{"pipelines": ["a*"], "enabled": False}])
    for _ in range(2):
        assert find_override(layers, spec(pipeline="a1")) is not None
        assert find_override(layers, spec(pipeline="b1")) is None
    for number in range(2000):
        find_override(layers, spec(pipeline=f"b{number}"))
    rules, _ = layers.overrides
    assert len(rules._known) <= 512


def test_an_organisations_list_replaces_roots():
    root = {"pipeline_overrides": [{"pipelines": ["nightly-*"], "severity": "critical", "cooldown_seconds": 5}]}
    inherited = decided(None, root=root)
    assert (inherited.match.severity, inherited.match.cooldown) == (Severity.CRITICAL, 5)
    assert "under the root configuration's pipelineOverrides[0] (severity, cooldownSeconds)" in inherited.matched
    assert decided([], root=root).match.severity is Severity.ERROR
    assert decided([{"pipelines": ["x"], "severity": "info"}], root=root).match.severity is Severity.ERROR


def test_a_name_in_roots_overrides_admits_whoever_they_apply_to():
    platform = {"destinations": [{"name": "noc", "slack": SLACK}]}
    root = platform | {"pipeline_overrides": [{"pipelines": ["*"], "providers": ["noc"]}]}
    assert list(decided(None, root=root).targets) == ["noc"]
    own = [{"pipelines": ["*"], "providers": ["noc", "email"]}]
    decision = decided(own, root=root)  # its own list replaces root's, which names it no more
    assert list(decision.targets) == ["email"]
    assert decision.blocked["noc"].reason == "UnknownDestination"


def test_an_unknown_name_is_told_with_its_place():
    decision = decided([{"pipelines": ["*"]}, {"pipelines": ["*"], "providers": ["nope", "email"]}])
    assert isinstance(decision, Deliver)
    assert not decision.blocked
    decision = decided([{"pipelines": ["*"], "providers": ["nope", "email"]}])
    assert decision.blocked["nope"].message.startswith("pipelineOverrides[0].providers: there is no destination nope")


def test_destinations_of_overrides_are_in_use():
    layers = layered(
        [
            {"pipelines": ["*"], "providers": ["on-call"]},
            {"pipelines": ["*"], "providers": ["slack"], "enabled": False},
        ]
    )
    assert list(destinations_in_use(layers)) == ["email", "on-call"]
    revived = layered([{"pipelines": ["*"], "enabled": True}], defaultProvider="slack")
    assert list(destinations_in_use(revived)) == ["email", "slack"]
    assert list(
        destinations_in_use(layered([{"pipelines": ["*"], "enabled": True, "events": ["pipeline_failure"]}]))
    ) == ["email"]


def test_a_plan_that_no_status_could_hold_is_refused():
    sms = {
        "accountSid": "AC" + "0" * 32,
        "authToken": "x",
        "fromNumber": "+4915112345678",
        "toNumbers": [f"+491511234567{n}" for n in range(10)],
    }
    names = [{"name": f"sms-{n}", "sms": sms} for n in range(4)]
    rule = {"pipelines": ["*"], "providers": [f"sms-{n}" for n in range(4)]}
    with pytest.raises(NotReady, match=r"pipelineOverrides\[0\] makes 40 deliveries"):
        check_plans(layered([rule], destinations=names))
    check_plans(layered([rule | {"enabled": False}], destinations=names))


def test_what_it_changes_is_said():
    layers = layered([{"pipelines": ["*"], "severity": "critical", "providers": ["email", "slack"]}])
    assert changes(layers, spec()) == (
        "pipelineOverrides[0]: severity error → critical; providers email → email, slack"
    )
    assert changes(layered([{"pipelines": ["*"]}]), spec()) == "pipelineOverrides[0]: changes nothing"
    assert changes(layered([{"pipelines": ["*"], "enabled": False}]), spec()) == "pipelineOverrides[0]: enabled → false"
    assert changes(layered([{"pipelines": ["x"]}]), spec()) == ""
    assert changes(layers, spec("pipeline_success")) == "pipelineOverrides[0]: severity, providers"


def test_every_stage_answers_with_an_override():
    answers = explain(situation(layered([{"pipelines": ["*"], "enabled": False}]), spec()))
    stages = {answer.stage: answer for answer in answers}
    assert isinstance(stages[StageName.OVERRIDE].decision, Skip)
    assert isinstance(stages[StageName.DELIVER].decision, Deliver)  # if it had passed the event on
    assert not stages[StageName.DELIVER].reached
