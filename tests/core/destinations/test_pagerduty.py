"""PagerDuty's own: one alert for a pipeline's trouble, its limits to the byte, its answers."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipebell.core.destinations.http import HttpRequest, Response, Sent, classify_response
from pipebell.core.destinations.pagerduty import LIMIT, PAGERDUTY, PagerDutyTarget, request, then
from pipebell.core.outcome import Attempt, OutcomeKind
from pipebell.core.vocabulary import EventType, Severity

KEY = "0123456789abcdef0123456789abcdef"
URL = "https://events.pagerduty.com/v2/enqueue"
TARGET = PagerDutyTarget(URL, routing_key=KEY, where="pagerduty")
ATTEMPT = Attempt("0b54.pagerduty", installation="4f1c-uid")


def body(message, target=TARGET, attempt=ATTEMPT):
    return json.loads(request(message, target, attempt).body)


def info(notify, **changes):
    return notify(event="pipeline_success", severity=Severity.INFO, error_message=None, **changes)


# ---------------------------------------------------------------------------- one alert


def test_a_success_ends_the_alert_that_failures_of_its_pipeline_share(notify):
    first, again, end = body(notify()), body(notify(error_message="other", pipeline_logging_id="2")), body(info(notify))
    assert [made["event_action"] for made in (first, again, end)] == ["trigger", "trigger", "resolve"]
    assert first["dedup_key"] == again["dedup_key"] == end["dedup_key"]
    assert len(first["dedup_key"]) == 64


def test_every_attempt_of_every_process_has_the_same_key(notify):
    attempts = [replace(ATTEMPT, now=7.0), replace(ATTEMPT, delivery_id="other.pagerduty"), ATTEMPT]
    assert len({body(notify(), attempt=attempt)["dedup_key"] for attempt in attempts}) == 1


@pytest.mark.parametrize(
    "changes",
    [{"org_slug": "other"}, {"pipeline_id": "other"}, {"pipeline_id": None}, {"event": "data_quality_failure"}],
)
def test_other_trouble_has_another_key(notify, changes):
    assert body(notify(**changes))["dedup_key"] != body(notify())["dedup_key"]


def test_other_installations_and_namespaces_have_other_keys(notify):
    there = notify()
    object.__setattr__(there.event, "namespace", "elsewhere")
    keys = {
        body(notify())["dedup_key"],
        body(there)["dedup_key"],
        body(notify(), attempt=replace(ATTEMPT, installation="another"))["dedup_key"],
    }
    assert len(keys) == 3


def test_a_test_is_an_alert_of_its_own_and_ends_none(notify):
    probe, success = body(notify(test=True)), body(info(notify, test=True))
    assert probe["event_action"] == success["event_action"] == "trigger"
    assert body(notify())["dedup_key"] not in {probe["dedup_key"], success["dedup_key"]}
    assert probe["payload"]["summary"].startswith("[TEST] ")


@pytest.mark.parametrize("event", EventType)
@pytest.mark.parametrize("severity", Severity)
def test_only_a_success_resolves(notify, event, severity):
    made = body(notify(event=event.value, severity=severity))
    if event is EventType.PIPELINE_STARTED:
        assert "event_action" not in made
    else:
        assert made["event_action"] == ("resolve" if event is EventType.PIPELINE_SUCCESS else "trigger")
        assert made["payload"]["severity"] == severity.value


# ---------------------------------------------------------------------------- changes


def following(message, target, status=202, first=True):
    made = request(message, target, ATTEMPT)
    return then(Sent(message, target, ATTEMPT, made, first), Response(status, {}, b""))


def test_a_start_is_a_change(notify):
    made = request(notify(event="pipeline_started", severity=Severity.INFO), TARGET, ATTEMPT)
    assert made.url == "https://events.pagerduty.com/v2/change/enqueue"
    assert set(json.loads(made.body)) == {"routing_key", "links", "payload"}
    assert "severity" not in json.loads(made.body)["payload"]


def test_a_success_is_a_change_too_where_that_is_wanted(notify):
    wanted = replace(TARGET, change_events=True)
    change = following(info(notify), wanted)
    assert isinstance(change, HttpRequest)
    assert change.url.endswith("/v2/change/enqueue")
    assert following(info(notify), TARGET) is None
    assert following(notify(), wanted) is None
    assert following(info(notify), wanted, status=500) is None
    assert following(info(notify), wanted, first=False) is None
    assert following(info(notify, test=True), wanted) is None


def test_a_rulesets_key_takes_no_changes(notify):
    ruleset = replace(TARGET, routing_key="R" + KEY[1:], change_events=True)
    assert following(info(notify), ruleset) is None
    assert body(notify(event="pipeline_started", severity=Severity.INFO), ruleset)["event_action"] == "trigger"


# ---------------------------------------------------------------------------- limits


def test_details_are_an_object_while_they_fit(notify):
    assert body(notify())["payload"]["custom_details"]["details"]["tables"] == ["orders", "order_items"]


@pytest.mark.parametrize("unit", ["😀", "x", '"', "é"])
def test_the_limit_is_kept_to_the_byte_and_cut_in_the_middle(notify, unit):
    text = "BEGIN" + unit * 600_000 + "END"
    for target in (TARGET, replace(TARGET, change_events=True)):
        made = request(notify(details={"log": text}, error_message="first" + "😀" * 32_000 + "last"), target, ATTEMPT)
        widest = len(json.dumps(json.dumps(unit, ensure_ascii=False), ensure_ascii=False).encode())
        assert LIMIT - 2 * widest <= len(made.body) <= LIMIT
        shown = json.loads(made.body)["payload"]["custom_details"]
        assert "BEGIN" in shown["details"]
        assert "END" in shown["details"]
        assert "… (cut off: " in shown["details"]
        assert shown["message"].startswith("first")
        assert shown["message"].endswith("last")


def test_what_just_fits_is_whole(notify):
    empty = len(request(notify(details={"log": ""}), TARGET, ATTEMPT).body)
    whole = request(notify(details={"log": "x" * (LIMIT - empty)}), TARGET, ATTEMPT)
    assert len(whole.body) == LIMIT
    assert isinstance(json.loads(whole.body)["payload"]["custom_details"]["details"], dict)
    more = request(notify(details={"log": "x" * (LIMIT - empty + 1)}), TARGET, ATTEMPT)
    assert len(more.body) <= LIMIT
    assert isinstance(json.loads(more.body)["payload"]["custom_details"]["details"], str)


def test_a_long_name_keeps_its_end(notify):
    payload = body(notify(pipeline_id="a" * 255 + "é" * 200 + "b" * 57))["payload"]
    assert len(payload["summary"]) <= 1024
    assert len(payload["source"]) == len(payload["component"]) == 255
    assert payload["source"].startswith("aaa")
    assert payload["source"].endswith("bbb")
    assert "…" in payload["source"]


@settings(deadline=None, max_examples=50)
@given(text=st.text(max_size=60), detail=st.text(max_size=20))
def test_hostile_text_can_be_read_everywhere(notify, raw, text, detail):
    made = notify(pipeline_id=raw(text), error_message=raw(text), details={detail: [detail, {detail: None}]})
    shown = json.dumps(body(made), ensure_ascii=False)
    shown.encode()
    assert not any(sign in json.loads(shown)["payload"]["summary"] for sign in "\x00\x1b\n\u202e")
    for texts in json.loads(shown)["payload"]["custom_details"].values():
        assert "\x1b" not in str(texts)


# ---------------------------------------------------------------------------- answers

PERMANENT, RETRY, PAUSE = OutcomeKind.PERMANENT, OutcomeKind.RETRY, OutcomeKind.PAUSE


@pytest.mark.parametrize(
    ("status", "text", "kind", "words"),
    [
        (202, '{"status":"success","message":"Event processed","dedup_key":"x"}', OutcomeKind.DELIVERED, ""),
        (
            400,
            '{"status":"invalid event","message":"Event object is invalid","errors":["no key"]}',
            PERMANENT,
            "no key",
        ),
        (400, "{}", PERMANENT, "routingKey"),
        (401, "", PERMANENT, "region"),
        (403, "", PERMANENT, "region"),
        (404, "", PERMANENT, "region"),
        (413, "", PERMANENT, "too large"),
        (422, "", PERMANENT, "refused"),
        (429, '{"message":"Requests for this service are arriving too quickly"}', PAUSE, "too quickly"),
        (408, "", RETRY, "in time"),
        (500, '{"message":"Internal Server Error"}', RETRY, "Internal"),
        (502, "<html>", RETRY, "problem"),
        (503, "", RETRY, "problem"),
    ],
)
def test_what_its_answers_mean(status, text, kind, words):
    outcome = classify_response(PAGERDUTY, Response(status, {}, text.encode()), TARGET, 0.0)
    assert outcome.kind is kind
    assert words in outcome.message
    if kind is PAUSE:
        assert (outcome.retry_after, outcome.first_pause) == (None, 30.0)


def test_the_key_shows_nowhere():
    outcome = classify_response(PAGERDUTY, Response(400, {}, f"bad key {KEY}".encode()), TARGET, 0.0)
    assert KEY not in outcome.message
    assert KEY not in repr(TARGET)
