"""Quiet hours: when they run, until when, for whom; across midnight and over changes of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipebell.core.silences.quiet import LONGEST, QuietHours, quiet_now
from pipebell.core.vocabulary import CatchUpMode, Severity


def at(text):
    return datetime.fromisoformat(text).timestamp()


def hours(*rules):
    return [QuietHours.model_validate({"from": "22:00", "to": "07:00", **rule}) for rule in rules]


def until(rules, text, severity=Severity.ERROR):
    found = quiet_now(hours(*rules), severity, at(text))
    return None if found is None else datetime.fromtimestamp(found.until, UTC).isoformat()


BERLIN, NEW_YORK = {"timezone": "Europe/Berlin"}, {"timezone": "America/New_York"}


@pytest.mark.parametrize(
    ("rule", "now", "end"),
    [
        # across midnight, in UTC
        ({}, "2026-01-31T21:59:59+00:00", None),
        ({}, "2026-01-31T22:00:00+00:00", "2026-02-01T07:00:00+00:00"),
        ({}, "2026-02-01T06:59:59+00:00", "2026-02-01T07:00:00+00:00"),
        ({}, "2026-02-01T07:00:00+00:00", None),
        # within a day, and up to midnight
        ({"from": "12:00", "to": "13:30"}, "2026-02-01T13:00:00+00:00", "2026-02-01T13:30:00+00:00"),
        ({"from": "22:00", "to": "24:00"}, "2026-02-01T23:59:00+00:00", "2026-02-02T00:00:00+00:00"),
        ({"from": "22:00", "to": "00:00"}, "2026-02-01T23:59:00+00:00", "2026-02-02T00:00:00+00:00"),
        # a day is the one on which it begins: the night after Friday
        ({"days": ["fri"]}, "2026-01-30T23:00:00+00:00", "2026-01-31T07:00:00+00:00"),
        ({"days": ["fri"]}, "2026-01-31T06:00:00+00:00", "2026-01-31T07:00:00+00:00"),
        ({"days": ["fri"]}, "2026-01-31T23:00:00+00:00", None),
        ({"days": []}, "2026-01-31T23:00:00+00:00", None),
        # a winter and a summer night in Berlin and New York
        (BERLIN, "2026-01-31T21:00:00+00:00", "2026-02-01T06:00:00+00:00"),
        (BERLIN, "2026-07-01T20:00:00+00:00", "2026-07-02T05:00:00+00:00"),
        (NEW_YORK, "2026-01-31T22:00:00-05:00", "2026-02-01T12:00:00+00:00"),
        (NEW_YORK, "2026-07-01T22:00:00-04:00", "2026-07-02T11:00:00+00:00"),
        # the nights in which the clocks change: 07:00 is 07:00 by the new time
        (BERLIN, "2026-03-28T22:00:00+01:00", "2026-03-29T05:00:00+00:00"),
        (BERLIN, "2026-03-28T21:59:59+01:00", None),
        (BERLIN, "2026-10-24T22:00:00+02:00", "2026-10-25T06:00:00+00:00"),
        (BERLIN, "2026-10-25T06:59:00+01:00", "2026-10-25T06:00:00+00:00"),
        (NEW_YORK, "2026-03-07T22:00:00-05:00", "2026-03-08T11:00:00+00:00"),
        (NEW_YORK, "2026-10-31T22:00:00-04:00", "2026-11-01T12:00:00+00:00"),
        # an end that comes twice is the second one; one that is left out is when the clocks change
        (BERLIN | {"to": "02:30"}, "2026-10-25T02:45:00+02:00", "2026-10-25T01:30:00+00:00"),
        (BERLIN | {"to": "02:30"}, "2026-03-29T01:59:00+01:00", "2026-03-29T01:00:00+00:00"),
        (BERLIN | {"to": "02:30"}, "2026-03-29T03:00:00+02:00", None),
        (NEW_YORK | {"to": "02:30"}, "2026-03-08T01:59:00-05:00", "2026-03-08T07:00:00+00:00"),
        # a beginning that comes twice is the first one; one that is left out is when the clocks change
        (BERLIN | {"from": "02:30"}, "2026-10-25T02:30:00+02:00", "2026-10-25T06:00:00+00:00"),
        (BERLIN | {"from": "02:30"}, "2026-03-29T03:00:00+02:00", "2026-03-29T05:00:00+00:00"),
        # where the clocks change at midnight, and by half an hour
        ({"timezone": "America/Asuncion"}, "2024-10-05T23:00:00-04:00", "2024-10-06T10:00:00+00:00"),
        ({"timezone": "Australia/Lord_Howe"}, "2026-04-04T22:00:00+11:00", "2026-04-04T20:30:00+00:00"),
    ],
)  # fmt: skip
def test_when_it_runs_and_until_when(rule, now, end):
    assert until([rule], now) == end


def test_times_that_touch_or_overlap_are_one():
    weekend = [
        {"days": ["fri"], "from": "18:00", "to": "24:00"},
        {"days": ["sat", "sun"], "from": "00:00", "to": "24:00"},
        {"days": ["mon"], "from": "00:00", "to": "07:00"},
    ]
    assert until(weekend, "2026-01-30T19:00:00+00:00") == "2026-02-02T07:00:00+00:00"
    assert until([{}, {"from": "06:00", "to": "08:00"}], "2026-01-31T23:00:00+00:00") == "2026-02-01T08:00:00+00:00"


def test_the_first_rule_that_runs_says_what_is_told():
    rules = hours({"catchUp": "None", "days": ["mon"]}, {"catchUp": "StillFailing"}, {})
    found = quiet_now(rules, Severity.ERROR, at("2026-01-31T23:00:00+00:00"))
    assert found.rule.mode is CatchUpMode.STILL_FAILING


def test_quiet_hours_without_an_end_are_caught_up_with_now_and_then():
    now = "2026-01-31T23:00:00+00:00"
    found = quiet_now(hours({"from": "00:00", "to": "24:00"}), Severity.ERROR, at(now))
    assert found.until == at(now) + LONGEST.total_seconds()


@pytest.mark.parametrize(
    ("given_", "severity", "held"),
    [(None, "critical", False), (None, "error", True), ("error", "error", False), ("WARNING", "info", True)],
)
def test_the_severe_go_out(given_, severity, held):
    rule = {"exceptSeverity": given_} if given_ else {}
    assert (until([rule], "2026-01-31T23:00:00+00:00", Severity(severity)) is not None) is held


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"from": "22:00", "to": "22:00"}, "needs two different times"),
        ({"from": "24:00"}, "from"),
        ({"from": "9:00"}, "from"),
        ({"to": "07:60"}, "to"),
        ({"days": ["mon", "mon"]}, "names mon twice"),
        ({"days": ["monday"]}, "days"),
        ({"timezone": "Europe/Nowhere"}, "IANA"),
        ({"exceptSeverity": "loud"}, "exceptSeverity"),
        ({"catchUp": "all"}, "catchUp"),
    ],
)
def test_what_cannot_be_meant_is_refused(rule, said):
    with pytest.raises(ValidationError, match=said):
        hours(rule)


def test_in_words():
    (rule,) = hours(BERLIN | {"days": ["mon", "tue"]})
    assert str(rule) == "22:00 to 07:00 Europe/Berlin, mon tue"


@given(
    st.integers(1_577_836_800, 2_051_222_400),  # 2020 to 2035
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"]),
    st.integers(0, 23 * 60 + 59),
    st.integers(0, 24 * 60),
)
def test_an_end_is_later_than_now_and_nothing_is_held_at_it(now, zone, first, last):
    start, end = (f"{minute // 60:02}:{minute % 60:02}" for minute in (first, last))
    if start == end or (start, end) == ("00:00", "24:00"):
        return
    rules = hours({"from": start, "to": end, "timezone": zone})
    found = quiet_now(rules, Severity.ERROR, now)
    if found is not None:
        assert now < found.until <= now + LONGEST.total_seconds()
        after = quiet_now(rules, Severity.ERROR, found.until)
        assert after is None or found.until > now + LONGEST.total_seconds() - 60
