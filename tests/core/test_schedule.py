"""Schedules: what is none is refused with what to write, and the next moment is the clock's where people live."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from pipebell.core.schedule import check, next_moment, words


def at(text, zone="UTC"):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize("schedule", ["* * * * *", "0 8 * * 1-5", "*/15 6-18 * * MON,WED", "0 0 29 2 *", "0 8 L * *"])
def test_a_schedule_is_taken(schedule):
    check(schedule)


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("0 8 * *", "five fields"),
        ("0 0 8 * * 1", "five fields"),
        ("@daily", "five fields"),
        ("61 * * * *", "bad minute"),
        ("0 8 * * MOONDAY", "bad day-of-week"),
        ("0 8 0 * *", "bad day-of-month"),
        ("0 0 31 2 *", "never comes"),
        ("0 0 31 4,6,9,11 *", "never comes"),
    ],
)
def test_what_is_none_or_never_comes_is_refused(schedule, said):
    with pytest.raises(ValueError, match=said):
        check(schedule)


def test_the_next_moment_is_after_this_one_never_this_one():
    assert next_moment("0 8 * * *", "UTC", at("2026-11-25T07:59:59.900")) == at("2026-11-25T08:00")
    assert next_moment("0 8 * * *", "UTC", at("2026-11-25T08:00")) == at("2026-11-26T08:00")
    assert next_moment("0 8 * * *", "UTC", at("2026-11-25T08:00:00.001")) == at("2026-11-26T08:00")


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_the_moment_is_by_the_zones_clock_before_and_after_its_changes(zone):
    for day in ("2026-03-07", "2026-03-28", "2026-10-24", "2026-10-31"):
        following = next_moment("0 8 * * *", zone, at(f"{day}T09:00", zone))
        assert datetime.fromtimestamp(following, ZoneInfo(zone)).strftime("%H:%M") == "08:00"
        assert 82_000 <= following - at(f"{day}T08:00", zone) <= 91_000


def test_what_the_change_skips_comes_at_its_end_and_what_comes_twice_comes_once():
    berlin = ZoneInfo("Europe/Berlin")
    skipped = next_moment("30 2 * * *", "Europe/Berlin", at("2026-03-29T01:00", "Europe/Berlin"))
    assert datetime.fromtimestamp(skipped, berlin).isoformat() == "2026-03-29T03:00:00+02:00"
    once = next_moment("30 2 * * *", "Europe/Berlin", at("2026-10-25T00:00", "Europe/Berlin"))
    assert next_moment("30 2 * * *", "Europe/Berlin", once) - once > 86_400


def test_in_words():
    assert words("0 8 * * 1-5", "Europe/Berlin") == "at 08:00 on Monday through Friday (Europe/Berlin)"
