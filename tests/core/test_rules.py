"""Triggers, cooldown, choosing a configuration, and hosts: the small pure rules."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.engine.fakes import config_object

from pipebell.core import resolve
from pipebell.core.destinations.base import Hosts
from pipebell.core.destinations.slack import SLACK as SLACK_KIND
from pipebell.core.errors import InvalidInput
from pipebell.core.event import PipelineEventSpec
from pipebell.core.hosts import HostPolicy
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import LabelSelector, NotificationSpec
from pipebell.core.placeholders import Environment
from pipebell.core.policy.match import Match
from pipebell.core.policy.sent import Sent, suppressed_until
from pipebell.core.policy.triggers import Skip, match_trigger
from pipebell.core.root import parse_root
from pipebell.core.status import clip
from pipebell.core.vocabulary import DEFAULT_SEVERITIES, EventType, Severity


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


@pytest.mark.parametrize(("now", "until"), [(0, 300), (299.999, 300), (300, None), (301, None)])
def test_the_window_ends_to_the_moment(now, until):
    assert suppressed_until(Sent(0, "n", "e"), 300, now) == until
    assert suppressed_until(Sent(0, "n", "e"), 0, now) is None
    assert suppressed_until(None, 300, now) is None


def test_the_oldest_configuration_wins_then_the_first_by_name():
    a, b = (config_object("acme", "team", name, "1", {}) for name in "ab")
    assert resolve.own([b, a], "team") is a


@pytest.mark.parametrize(
    ("rule", "labels", "admitted"),
    [
        (None, {}, False),
        ({"from": "Same"}, {}, False),
        ({"from": "All"}, None, True),
        ({"from": "Selector", "selector": {"matchLabels": {"t": "data"}}}, {"t": "data"}, True),
        ({"from": "Selector", "selector": {"matchLabels": {"t": "data"}}}, {"t": "web"}, False),
        ({"from": "Selector", "selector": {}}, None, False),
    ],
)
def test_sharing_needs_the_platform_and_the_organisation(rule, labels, admitted):
    config = config_object("acme", "shared", "c", "1", {"eventNamespaces": rule})
    assert (resolve.shared([config], "team", labels, ["shared"]) is config) is admitted
    assert resolve.shared([config], "team", labels, ["other"]) is None


@pytest.mark.parametrize(
    ("operator", "values", "labels", "holds"),
    [
        ("In", ["a"], {"k": "a"}, True),
        ("In", ["a"], {}, False),
        ("NotIn", ["a"], {}, True),
        ("NotIn", ["a"], {"k": "a"}, False),
        ("Exists", None, {"k": ""}, True),
        ("Exists", None, {}, False),
        ("DoesNotExist", None, {}, True),
    ],
)
def test_label_requirements(operator, values, labels, holds):
    requirement = {"key": "k", "operator": operator, "values": values}
    selector = LabelSelector.model_validate({"matchExpressions": [requirement]})
    assert resolve.selects(selector, labels) is holds


def no_yaml(text):
    raise ValueError(text)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "exactly one"),
        ({"config.json": "{}", "config.yaml": "{}"}, "exactly one"),
        ({"config.json": "{"}, "line 1"),
        ({"config.json": "[]"}, "object"),
        ({"config.json": '{"enabled": true, "enabled": false}'}, "twice"),
        ({"config.json": '{"email": {"smtp_pasword": "hunter2"}}'}, "smtpPassword"),
        ({"config.json": '{"secretRef": {"name": "x"}}'}, "environment"),
        ({"config.json": '{"slack": {"webhookUrlSecretRef": {"name": "x", "key": "k"}}}'}, "slack.webhookUrlSecretRef"),
    ],
)
def test_an_invalid_root_says_what_is_wrong(data, said):
    with pytest.raises(InvalidInput) as caught:
        parse_root(data, no_yaml)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_texts_are_clipped_visibly():
    assert clip("x" * 1025).endswith(" …")
    assert len(clip("x" * 5000)) == 1024


@pytest.mark.parametrize(
    ("url", "admitted"),
    [
        ("https://hooks.slack.com/services/T/B/x", True),
        ("https://hooks.slack-gov.com/services/T/B/x", True),
        ("https://HOOKS.slack.com./x", True),
        ("https://hooks.slack.com:8443/x", False),
        ("https://hooks.slack.com.evil.example/x", False),
        ("https://evil.example/hooks.slack.com", False),
        ("https://hooks.slack.com@evil.example/x", False),
        ("http://hooks.slack.com/x", False),
        ("https://localhost:8443/x", True),
        ("https://localhost/x", False),
    ],
)
def test_webhooks_go_to_listed_hosts_only(url, admitted):
    assert HostPolicy({"slack": ("localhost:8443",)}).admits_url(SLACK_KIND, url) is admitted


@pytest.mark.parametrize(
    ("listed", "url", "admitted"),
    [
        ((), "https://tenant.example.com/x", True),
        ((), "https://example.com/x", False),
        ((), "https://a.b.example.com:443/x", True),
        ((), "https://tenant.example.com:8443/x", False),
        (("[::1]:8443",), "https://[::1]:8443/x", True),
        (("[::1]",), "https://[::1]:9/x", True),
        (("::1",), "https://[::1]:9/x", True),
    ],
)
def test_hosts_below_a_suffix_and_by_address(listed, url, admitted):
    kind = replace(SLACK_KIND, hosts=Hosts(suffixes=(".example.com",)))
    assert HostPolicy({"slack": listed, "email": ("example.com",)}).admits_url(kind, url) is admitted


@pytest.mark.parametrize(("listed", "admitted"), [((), True), (("other.example",), False), (("any.example",), True)])
def test_a_kind_that_goes_anywhere_goes_where_the_platform_says_once_it_says_anything(listed, admitted):
    kind = replace(SLACK_KIND, hosts=Hosts(anywhere=True))
    assert HostPolicy({"slack": listed}).admits_url(kind, "https://any.example/x") is admitted


PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "192.168.0.1",
    "172.16.0.1",
    "169.254.169.254",
    "::1",
    "fd00::1",
    "fe80::1%eth0",
    "0.0.0.0",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::1",
    "224.0.0.1",
    "100.64.0.1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_unless_listed(address):
    assert not HostPolicy().admits_address("smtp.example.com", address)
    assert HostPolicy(private_hosts=("smtp.example.com",)).admits_address("SMTP.example.com", address)


def test_public_addresses_and_listed_networks_are_admitted():
    assert HostPolicy().admits_address("smtp.example.com", "93.184.216.34")
    assert HostPolicy(private_hosts=("10.0.0.0/8",)).admits_address("x", "10.9.9.9")
    assert not HostPolicy(private_hosts=("10.0.0.0/8",)).admits_address("x", "192.168.1.1")
