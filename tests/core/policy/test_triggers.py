"""Whether an event notifies, where to, and how often."""

from __future__ import annotations

import pytest

from pipebell.core.event import PipelineEventSpec
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import NotificationSpec
from pipebell.core.placeholders import Environment
from pipebell.core.policy.match import Match
from pipebell.core.policy.triggers import MAX_DELIVERIES, Skip, match_trigger
from pipebell.core.vocabulary import DEFAULT_SEVERITIES, EventType, Reason, Severity


def match(config, event="pipeline_failure", **spec):
    layers = Layers(None, Layer(NotificationSpec.model_validate(config), Environment({}), root=True))
    return match_trigger(layers, PipelineEventSpec.model_validate({"orgSlug": "acme", "event": event, **spec}))


@pytest.mark.parametrize("event", list(EventType))
def test_every_type_has_its_default_severity(event):
    triggers = [{"event": event.value}]
    assert match({"event_triggers": triggers}, event=event.value).severity is DEFAULT_SEVERITIES[event]


def test_severity_is_the_events_then_the_triggers():
    config = {"event_triggers": [{"event": "pipeline_failure", "severity": "WARNING"}]}
    assert match(config).severity is Severity.WARNING
    assert match(config, severity="Critical").severity is Severity.CRITICAL


@pytest.mark.parametrize(
    ("event", "sent"),
    [
        ("pipeline_failure", True),
        ("data_quality_failure", True),
        ("system_error", True),
        ("pipeline_success", False),
        ("pipeline_started", False),
        ("data_quality_warning", False),
        ("rate_limit_exceeded", False),
    ],
)
def test_without_triggers_three_types_notify(event, sent):
    assert isinstance(match({}, event=event), Match if sent else Skip)


def test_empty_providers_mean_the_default_one():
    triggers = [{"event": "pipeline_failure", "providers": []}]
    assert match({"event_triggers": triggers, "default_provider": "slack"}).destinations == ("slack",)


def test_disabled_providers_are_left_out():
    triggers = [{"event": "pipeline_failure", "providers": ["email", "slack"]}]
    config = {"event_triggers": triggers, "slack": {"enabled": False}}
    assert match(config).destinations == ("email",)


def test_a_replay_goes_to_the_destinations_that_it_names():
    triggers = [{"event": "pipeline_failure", "providers": ["email", "slack"]}]
    replay = {"name": "x", "destinations": ["slack"]}
    assert match({"event_triggers": triggers}, replayOf=replay).destinations == ("slack",)


@pytest.mark.parametrize(
    ("named", "planned"),
    [
        (["slak"], ("slak",)),
        (["slak", "email"], ("email", "slak")),
        (["phones/2", "slack"], ("slack", "phones/2")),
        (["sms", "email"], ("email",)),
    ],
)
def test_an_unknown_name_in_a_replay_waits_as_everywhere_and_the_others_go_out(named, planned):
    triggers = [{"event": "pipeline_failure", "providers": ["email", "slack"]}]
    replay = {"name": "x", "destinations": named}
    assert match({"event_triggers": triggers}, replayOf=replay).destinations == planned


def test_a_replay_plans_no_more_than_a_status_holds():
    numbers = [f"+49151{number:07}" for number in range(10)]
    replay = {"name": "x", "destinations": ["sms", *(f"no-{number}" for number in range(31))]}
    sms = {"account_sid": "AC" + "0a" * 16, "auth_token": "t", "from_number": "+15005550006", "to_numbers": numbers}
    found = match({"sms": sms, "default_provider": "sms"}, replayOf=replay).destinations
    assert (len(found), found[9]) == (MAX_DELIVERIES, "sms/10")


def test_a_replay_of_what_the_trigger_does_not_name_says_what_there_is():
    triggers = [{"event": "pipeline_failure", "providers": ["email", "slack"]}]
    skip = match({"event_triggers": triggers}, replayOf={"name": "x", "destinations": ["sms"]})
    assert skip.reason is Reason.NO_PROVIDER_ENABLED
    assert skip.message == (
        "replayOf.destinations names no destination of the trigger for pipeline_failure; there are: email, slack"
    )
