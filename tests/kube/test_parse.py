import json
import timeit
import tracemalloc

import pytest
import structlog

from pipebell.core.batching import DigestSpec
from pipebell.core.errors import InvalidEvent
from pipebell.core.event import DETAILS_SHOWN
from pipebell.core.render.text import pretty
from pipebell.core.status import NotificationConfigStatus, epoch
from pipebell.core.vocabulary import EventType, Phase, Severity
from pipebell.core.wire import decode
from pipebell.kube import lean, newer, parse_config, parse_event


def test_an_event_is_what_the_api_says(event_item):
    item = event_item(severity="CRITICAL", occurredAt="2026-01-02T03:04:00.250Z", details={"a": [1, {"b": None}]})
    item["status"] = {
        "phase": "Delivering",
        "deliveries": [{"provider": "email", "destination": "email", "phase": "Pending", "attempts": 2}],
    }
    event = parse_event(item)
    assert (event.namespace, event.name, event.uid, event.resource_version) == ("team", "e1", "uid-e1", "7")
    assert (event.generation, event.created) == (1, epoch("2026-01-02T03:04:05Z"))
    assert event.occurred == epoch("2026-01-02T03:04:00.250Z")
    assert (event.spec.event, event.spec.severity) == (EventType.PIPELINE_FAILURE, Severity.CRITICAL)
    assert event.spec.details == {"a": [1, {"b": None}]}
    assert event.status.phase is Phase.DELIVERING
    assert event.status.deliveries is not None
    assert event.status.deliveries[0].attempts == 2


def test_an_event_without_status_has_an_empty_one(event_item):
    assert parse_event(event_item()).status.phase is None
    assert parse_event({**event_item(), "status": None}).status.phase is None


def test_an_event_that_breaks_the_rules_says_whose_it_is_and_why(event_item):
    item = {**event_item(event="pipeline_exploded", orgSlug="-"), "status": {"phase": "Pending"}}
    with pytest.raises(InvalidEvent) as caught:
        parse_event(item)
    error = caught.value
    assert (error.namespace, error.name, error.uid, error.resource_version) == ("team", "e1", "uid-e1", "7")
    assert error.phase == "Pending"
    assert {problem.path for problem in error.problems} == {"event", "orgSlug"}


@pytest.mark.parametrize("spec", [None, [], "text", 7, {}])
def test_a_spec_that_is_none_is_invalid(event_item, spec):
    with pytest.raises(InvalidEvent):
        parse_event({**event_item(), "spec": spec})


@pytest.mark.parametrize("item", [{}, {"metadata": None}, {"metadata": {"name": 7, "creationTimestamp": "yesterday"}}])
def test_an_object_that_is_none_has_a_defined_result(item):
    with pytest.raises(InvalidEvent):
        parse_event(item)
    config = parse_config(item)
    assert (config.name, config.created, config.spec) == ("", 0.0, None)
    assert config.problems


def test_fields_of_a_newer_version_do_not_keep_an_event_from_being_told(event_item):
    event = parse_event(event_item(colour="red", links=[{"title": "log", "url": "https://x.io/1", "icon": "i"}]))
    assert event.spec.org_slug == "acme"
    assert event.spec.links is not None
    assert event.spec.links[0].url == "https://x.io/1"


def test_a_status_loses_just_what_cannot_be_read(event_item):
    deliveries = [
        {"provider": "slack", "destination": "a", "phase": "Lost"},
        {"provider": "slack", "destination": "slack", "phase": "Delivered", "attempts": 1},
        {"destination": "b", "attempts": "many"},
        *({"provider": "email", "destination": f"email{n}", "phase": "Pending"} for n in range(9)),
        {"provider": "email"},
    ]
    item = event_item()
    item["status"] = {"phase": "PartiallyDelivered", "reason": "Moonlight", "deliveries": deliveries, "message": "m"}
    with structlog.testing.capture_logs() as logs:
        status = parse_event(item).status
    assert (status.phase, status.reason, status.message) == (Phase.PARTIALLY_DELIVERED, None, "m")
    assert status.deliveries is not None
    assert [delivery.destination for delivery in status.deliveries] == ["slack", *(f"email{n}" for n in range(9))]
    (line,) = logs
    assert (line["event"], line["namespace"], line["name"]) == ("status_unreadable", "team", "e1")
    assert "reason" in line["fields"]
    assert item["status"]["reason"] == "Moonlight", "what was parsed is left as it was"


@pytest.mark.parametrize("status", ["text", [1], {"deliveries": 7}, {"phase": {}, "conditions": [[]]}])
def test_a_status_that_is_none_is_empty(event_item, status):
    parsed = parse_event({**event_item(), "status": status}).status
    assert (parsed.phase, parsed.deliveries or []) == (None, [])


def test_a_config_is_what_the_api_says(config_item):
    config = parse_config(
        config_item(
            email={"toEmails": ["a@b.io", "${ADMIN}"]},
            eventTriggers=[{"event": "system_error", "providers": ["slack"], "cooldownSeconds": 60}],
            eventNamespaces={"from": "Selector", "selector": {"matchLabels": {"team": "a"}}},
        )
    )
    assert (config.key, config.uid, config.resource_version) == (("team", "c1"), "uid-c1", "8")
    assert (config.generation, config.created, config.org_slug) == (2, epoch("2026-01-02T03:04:05Z"), "acme")
    assert config.problems == ()
    assert config.spec is not None
    assert config.spec.email is not None
    assert config.spec.email.to_emails == ["a@b.io", "${ADMIN}"]
    assert config.spec.event_triggers is not None
    assert config.spec.event_triggers[0].providers == ["slack"]
    assert config.spec.event_triggers[0].cooldown_seconds == 60
    assert config.spec.event_namespaces is not None
    assert config.spec.event_namespaces.selector is not None
    assert config.spec.event_namespaces.selector.match_labels == {"team": "a"}
    assert config.status == NotificationConfigStatus()


@pytest.mark.parametrize(
    ("annotations", "token"),
    [
        ({"pipebell.io/verify": "t1", "other": "x"}, "t1"),
        ({"pipebell.io/verify": "x" * 500}, "x" * 253),
        ({"pipebell.io/verify": "a\x1b[2Jb"}, "a\ufffd[2Jb"),
        ({"pipebell.io/verify": 7}, ""),
        ({"other": "x"}, ""),
        (None, ""),
        ("text", ""),
    ],
)
def test_the_token_of_a_config_is_one_that_its_status_can_repeat(config_item, annotations, token):
    item = config_item()
    item["metadata"]["annotations"] = annotations
    assert parse_config(item).verify == token


def test_a_config_that_breaks_the_rules_still_says_whose_it_is(config_item):
    config = parse_config(config_item(email={"smtpPort": 0, "toEmails": ["nobody"]}))
    assert (config.spec, config.org_slug) == (None, "acme")
    assert {problem.path for problem in config.problems} == {"email.smtpPort", "email.toEmails[0]"}


def test_equal_parts_of_configs_are_held_once(config_item):
    triggers = [{"event": "system_error", "providers": ["slack"]}]
    one, two = (parse_config(config_item(name, eventTriggers=list(triggers))).spec for name in ("a", "b"))
    assert one is not None
    assert two is not None
    assert one.event_triggers is not None
    assert two.event_triggers is not None
    assert one.event_triggers[0] is two.event_triggers[0]
    other = parse_config(config_item("c", eventTriggers=[{"event": "system_error", "providers": ["email"]}])).spec
    assert other is not None
    assert other.event_triggers is not None
    assert other.event_triggers[0].providers == ["email"]


DIGEST = {"everySeconds": 3600, "destinations": ["email", "slack"]}


def test_parts_within_parts_are_held_once_as_well(config_item):
    triggers = [{"event": "system_error", "providers": ["slack"], "digest": DIGEST}]
    first, second = (parse_config(config_item(eventTriggers=triggers)).spec.event_triggers[0] for _ in range(2))
    other = [{"event": "system_error", "providers": ["slack"], "digest": {**DIGEST, "destinations": ["email"]}}]
    third = parse_config(config_item(eventTriggers=other)).spec.event_triggers[0]
    assert first is second
    assert first.digest.destinations == ["email", "slack"]
    assert third.digest.destinations == ["email"]


@pytest.mark.parametrize("model", sorted(lean._ALIKE, key=str))
def test_whatever_stands_in_a_part_it_can_be_looked_up(model):
    """Of each field, a value of every sort that JSON has: one that cannot be looked up would stop the operator."""
    for name in model.model_fields:
        for value in ("a", 1, True, ["a", ["b"]], {"a": ["b", {"c": []}]}, None, DigestSpec.model_validate(DIGEST)):
            part = model.model_construct(**{name: value})
            assert lean._shared_part(part) is lean._shared_part(part.model_copy())


@pytest.mark.parametrize(
    ("version", "than", "expected"),
    [("10", "9", True), ("9", "10", False), ("9", "9", False), ("x", "9", True), ("x", "x", False), ("9", "", True)],
)
def test_versions_are_compared_as_numbers(version, than, expected):
    assert newer(version, than) is expected


def test_parsing_is_cheap(event_item):
    item = event_item(pipelineId="p", errorMessage="boom " * 100, details={"a": 1}, occurredAt="2026-01-02T03:04:00Z")
    once = min(timeit.repeat(lambda: parse_event(item), number=1, repeat=1000))  # one call in a thousand is undisturbed
    assert once < 120e-6, "12 µs where this was written"


def test_of_details_only_what_a_message_can_show_is_kept(event_item):
    """Events wait in memory by the thousand, and the API server takes 1.5 MB for each."""
    details = {
        "first": "a" * 10_000,
        "list": ["b" * 50] * 1_000 + [{"c": 1}] * 10_000,
        "k" * 200_000: 1,
        "last": {"x": "y" * 500_000},
    }
    usual, large = parse_event(event_item()), parse_event(event_item(details=details))
    assert pretty(large.spec.details, DETAILS_SHOWN) == pretty(details, DETAILS_SHOWN)
    assert len(json.dumps(large.spec.details)) < 4 * DETAILS_SHOWN
    assert usual.size < large.size < 500_000
    (key,) = parse_event(event_item(details={"k" * 200_000: 1})).spec.details
    assert len(key) < 4 * DETAILS_SHOWN
    small = {"deep": {"a": [1, 2.5, None, True, "x"]}}
    assert parse_event(event_item(details=small)).spec.details == small


@pytest.mark.parametrize("entry", [[], {"a": 1}, [[]], 1, "x", {"key": "a longer value, as people write them"}])
@pytest.mark.parametrize("count", [100, 7_000, 100_000])
def test_the_size_of_an_event_is_no_less_than_what_it_takes(event_item, entry, count):
    text = json.dumps(event_item(details={"list": [entry] * count})).encode()
    tracemalloc.start()
    try:
        event = parse_event(decode(text))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert event.size >= taken / 1.5


@pytest.mark.parametrize(("sign", "bytes_each"), [("x", 1), ("<", 6), ("&", 6), ("é", 2), ("💥", 4), ('"', 2)])
def test_a_large_events_stored_bytes_are_counted_as_the_api_server_writes_them(event_item, sign, bytes_each):
    count = 400_000
    event = parse_event(event_item(details={"a": sign * count}))
    assert count * bytes_each < event.stored_bytes < count * bytes_each + 2_000
    assert parse_event(event_item(details={"a": sign})).stored_bytes == 0
