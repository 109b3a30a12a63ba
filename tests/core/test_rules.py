"""Triggers, cooldown, backoff, settling and choosing a configuration: the small pure rules."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.engine.fakes import config_object

from pipebell.core import resolve
from pipebell.core.backoff import RetryPolicy
from pipebell.core.destinations.base import Hosts
from pipebell.core.destinations.slack import SLACK as SLACK_KIND
from pipebell.core.errors import InvalidInput
from pipebell.core.event import PipelineEventSpec
from pipebell.core.hosts import HostPolicy
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import LabelSelector, NotificationSpec
from pipebell.core.outcome import Outcome, Verdict
from pipebell.core.placeholders import Environment
from pipebell.core.policy.cooldown import Sent, suppressed_until
from pipebell.core.policy.settle import Refusal, settle, summarise
from pipebell.core.policy.triggers import Match, Skip, match_trigger
from pipebell.core.root import parse_root
from pipebell.core.status import Delivery, clip, rfc3339
from pipebell.core.vocabulary import DEFAULT_SEVERITIES, EventType, Phase, Reason, Severity


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


def test_the_seeds_schedule():
    policy = RetryPolicy(max_attempts=3)
    assert [policy.delay_after(n, 9_999) for n in (1, 2, 3)] == [5, 10, None]
    assert RetryPolicy(max_attempts=12).delay_after(11, 0) == 300
    assert RetryPolicy(max_attempts=100).delay_after(99, 0) == 300
    assert [RetryPolicy(max_attempts=9, exponential_backoff=False).delay_after(n, 0) for n in (1, 5)] == [5, 5]


def attempts_at(policy):
    """When attempts are made that take no time and fail, in seconds after the first."""
    times, elapsed = [0.0], 0.0
    while (delay := policy.delay_after(len(times), elapsed)) is not None:
        elapsed += delay
        times.append(elapsed)
    return times


def test_without_a_number_of_attempts_as_many_as_fit_into_an_hour():
    times = attempts_at(RetryPolicy())
    assert times[:8] == [0, 5, 15, 35, 75, 155, 315, 615]
    assert (times[-1], len(times)) == (3315, 17)
    assert attempts_at(RetryPolicy(max_elapsed_seconds=60)) == [0, 5, 15, 35]
    assert attempts_at(RetryPolicy(max_elapsed_seconds=0)) == [0]
    assert attempts_at(RetryPolicy(initial_delay_seconds=1800, exponential_backoff=False)) == [
        0,
        300,
        *range(600, 3601, 300),
    ]


def test_without_a_number_of_attempts_no_delay_is_none():
    at_once = {"initial_delay_seconds": 0, "max_delay_seconds": 0}
    assert attempts_at(RetryPolicy(**at_once, max_elapsed_seconds=3)) == [0, 1, 2, 3]
    assert attempts_at(RetryPolicy(**at_once, max_attempts=3)) == [0, 0, 0]


def test_beside_a_number_of_attempts_time_counts_only_if_it_is_set():
    assert attempts_at(RetryPolicy(max_attempts=20))[-1] > 3600
    assert attempts_at(RetryPolicy(max_attempts=20, max_elapsed_seconds=60)) == [0, 5, 15, 35]
    assert attempts_at(RetryPolicy(max_attempts=2, max_elapsed_seconds=60)) == [0, 5]


EMAIL = Delivery(provider="email", destination="email", phase=Phase.PENDING)
SLACK = Delivery(provider="slack", destination="slack", phase=Phase.PENDING)


def test_the_next_attempt_counts_from_the_end_of_the_failed_one_rounded_up():
    settled = settle(EMAIL, Outcome(Verdict.RETRY, "Timeout"), RetryPolicy(), 1000.0, 1030.00049)
    assert settled.next_attempt_time == rfc3339(1035.001)
    assert settled.last_attempt_time == rfc3339(1000)


def test_a_busy_endpoint_uses_up_no_attempt():
    busy = Outcome(Verdict.PAUSE, "Smtp421", "later")
    settled = settle(EMAIL, busy, RetryPolicy(max_attempts=1), 0, 1, Refusal(61.0, 2))
    assert (settled.phase, settled.reason, settled.attempts) == (Phase.PENDING, Reason.RATE_LIMITED, 0)
    assert (settled.first_attempt_time, settled.last_attempt_time) == (None, rfc3339(0))
    assert (settled.next_attempt_time, settled.refusals) == (rfc3339(61), 2)


def test_who_was_not_heard_was_not_attempted():
    settled = settle(EMAIL, Outcome(Verdict.PAUSE, "Smtp421", untried=True), RetryPolicy(), 0, 1, Refusal(61.0))
    assert (settled.last_attempt_time, settled.reason) == (None, Reason.RATE_LIMITED)


def test_a_refusal_that_counts_is_an_attempt():
    busy = Outcome(Verdict.PAUSE, "Smtp421", "later")
    settled = settle(EMAIL, busy, RetryPolicy(max_attempts=2), 0, 1, Refusal(1.0, 5, counts=True))
    assert (settled.phase, settled.reason, settled.attempts) == (Phase.PENDING, Reason.RETRYING, 1)
    settled = settle(settled, busy, RetryPolicy(max_attempts=2), 6, 7, Refusal(7.0, 6, counts=True))
    assert (settled.phase, settled.reason, settled.attempts) == (Phase.FAILED, Reason.RETRIES_EXHAUSTED, 2)


def test_a_pause_keeps_what_was_found_out():
    busy = Outcome(
        Verdict.PAUSE, "Smtp421", retry_recipients=("c",), refused=("a", "b"), accepted=True, message_id="<i>"
    )
    settled = settle(EMAIL, busy, RetryPolicy(), 0, 1, Refusal(6.0))
    assert (settled.retry_recipients, settled.refused_recipients) == (["c"], ["a", "b"])
    assert (settled.delivered_time, settled.message_id) == (rfc3339(1), "<i>")
    ended = settle(settled, Outcome(Verdict.DELIVERED, message_id="<i>"), RetryPolicy(), 6, 7)
    assert (ended.phase, ended.reason) == (Phase.PARTIALLY_DELIVERED, Reason.PERMANENT_ERROR)
    assert (ended.refused_recipients, ended.retry_recipients) == (["a", "b"], None)
    assert ended.message == "2 recipients not served: a, b"


def test_time_runs_from_the_first_counted_attempt():
    policy, busy = RetryPolicy(max_elapsed_seconds=60), Outcome(Verdict.PAUSE, "Smtp421")
    settled = settle(EMAIL, busy, policy, 0, 1, Refusal(5000.0))
    for began in (5000, 5010, 5040):
        assert settled.phase is Phase.PENDING
        settled = settle(settled, Outcome(Verdict.RETRY, "Timeout"), policy, began, began + 1)
        assert settled.first_attempt_time == rfc3339(5000)
    assert (settled.phase, settled.reason) == (Phase.FAILED, Reason.RETRIES_EXHAUSTED)


def test_exhausted_after_some_recipients_were_reached_is_partly_delivered():
    policy = RetryPolicy(max_attempts=2)
    once = settle(EMAIL, Outcome(Verdict.RETRY, accepted=True, retry_recipients=("b",)), policy, 0, 1)
    assert (once.phase, once.retry_recipients) == (Phase.PENDING, ["b"])
    twice = settle(once, Outcome(Verdict.RETRY, "Smtp450", "b: 450"), policy, 6, 7)
    assert (twice.phase, twice.delivered_time) == (Phase.PARTIALLY_DELIVERED, rfc3339(1))
    assert (twice.reason, twice.refused_recipients) == (Reason.RETRIES_EXHAUSTED, ["b"])
    assert twice.message == "1 recipient not served: b; Smtp450: b: 450"


@pytest.mark.parametrize(
    ("outcome", "phase", "unserved"),
    [
        (Outcome(Verdict.DELIVERED), Phase.DELIVERED, None),
        (Outcome(Verdict.DELIVERED, refused=("b",)), Phase.PARTIALLY_DELIVERED, ["b"]),
        (Outcome(Verdict.PERMANENT, refused=("a", "b")), Phase.FAILED, ["a", "b"]),
        (Outcome(Verdict.PERMANENT, refused=("b",), accepted=True), Phase.PARTIALLY_DELIVERED, ["b"]),
    ],
)
def test_it_is_delivered_only_when_all_are_served(outcome, phase, unserved):
    settled = settle(EMAIL, outcome, RetryPolicy(), 0, 1)
    assert (settled.phase, settled.refused_recipients) == (phase, unserved)


def test_a_long_list_of_the_unserved_is_whole_in_the_status_and_short_in_the_message():
    everybody = tuple(f"r{n}@example.com" for n in range(90))
    settled = settle(EMAIL, Outcome(Verdict.DELIVERED, refused=everybody), RetryPolicy(), 0, 1)
    assert settled.refused_recipients == list(everybody)
    assert settled.message.startswith("90 recipients not served: r0@example.com, ")
    assert settled.message.endswith("r9@example.com and 80 more")


def test_what_was_never_answered_may_have_arrived():
    policy = RetryPolicy(max_attempts=2)
    once = settle(EMAIL, Outcome(Verdict.RETRY, "Timeout", "no answer", unanswered=True), policy, 0, 1)
    twice = settle(once, Outcome(Verdict.RETRY, "ConnectionFailed", "x" * 2000), policy, 6, 7)
    assert twice.phase is Phase.FAILED
    assert twice.message.endswith("it may have arrived all the same")
    assert len(twice.message) <= 1024
    delivered = settle(once, Outcome(Verdict.DELIVERED), policy, 6, 7)
    assert (delivered.unanswered, delivered.message) == (None, None)


@pytest.mark.parametrize(
    ("email", "slack", "phase", "reason"),
    [
        (Phase.DELIVERED, Phase.DELIVERED, Phase.DELIVERED, None),
        (Phase.DELIVERED, Phase.FAILED, Phase.PARTIALLY_DELIVERED, Reason.PERMANENT_ERROR),
        (Phase.FAILED, Phase.FAILED, Phase.FAILED, Reason.PERMANENT_ERROR),
        (Phase.DELIVERED, Phase.PENDING, Phase.DELIVERING, Reason.RETRYING),
        (Phase.FAILED, Phase.PENDING, Phase.PENDING, Reason.RETRYING),
    ],
)
def test_the_event_is_the_sum_of_its_deliveries(email, slack, phase, reason):
    words = {Phase.FAILED: Reason.PERMANENT_ERROR, Phase.PENDING: Reason.RETRYING}
    deliveries = [
        EMAIL.model_copy(update={"phase": email, "reason": words.get(email)}),
        SLACK.model_copy(update={"phase": slack, "reason": words.get(slack)}),
    ]
    verdicts = summarise(deliveries)
    assert (verdicts.phase, verdicts.reason) == (phase, reason)


def test_the_oldest_configuration_wins_then_the_first_by_name():
    a, b = (config_object("acme", "team", name, "1", {}) for name in "ab")
    assert resolve.own([b, a], "team") is a
    assert resolve.conflicts_with(b, [a, b]) is a
    assert resolve.conflicts_with(a, [a, b]) is None


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
