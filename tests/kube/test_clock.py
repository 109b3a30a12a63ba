"""What time it is at the API server, and whether ours can be believed."""

import pytest

from pipebell.kube.clock import TOLERANCE, ApiServerClock

DATE, AT = "Wed, 25 Nov 2026 18:00:00 GMT", 1_795_629_600.0


class Machine:
    """A machine with a clock that can be set, and one that cannot."""

    def __init__(self, now=AT):
        self.wall, self.uptime = now, 500.0

    def passes(self, seconds):
        self.wall += seconds
        self.uptime += seconds


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def clock(machine):
    return ApiServerClock(lambda: machine.wall, lambda: machine.uptime)


def answered(clock, machine, date=DATE, took=0.2):
    began = machine.uptime
    machine.passes(took)
    clock.answered(date, began)


def test_nothing_is_known_before_the_first_answer(clock):
    assert clock.skew is None
    assert clock.trusted
    assert clock.trouble is None


def test_clocks_that_agree_are_believed(clock, machine):
    answered(clock, machine)
    assert abs(clock.skew) < 1.0
    assert clock.trusted
    machine.passes(3600)
    assert abs(clock.skew) < 1.0, "the server's time goes on between answers"


@pytest.mark.parametrize("by", [8 * 86400.0, 61.5, -61.5, -86400.0])
def test_a_clock_that_is_set_wrong_is_noticed_at_once_and_when_it_is_right_again(clock, machine, by):
    answered(clock, machine)
    machine.wall += by
    assert clock.skew == pytest.approx(by, abs=1.0)
    assert not clock.trusted
    assert ("ahead of" if by > 0 else "behind") in clock.trouble
    machine.wall -= by
    assert clock.trusted
    assert clock.trouble is None


@pytest.mark.parametrize("by", [TOLERANCE - 2, 2 - TOLERANCE])
def test_a_difference_within_the_tolerance_is_none(clock, machine, by):
    machine.wall += by
    answered(clock, machine)
    assert clock.trusted


def test_a_machine_that_starts_with_a_wrong_clock_is_not_believed(clock, machine):
    machine.wall += 86400
    answered(clock, machine)
    assert not clock.trusted


def test_a_slow_answer_says_nothing(clock, machine):
    answered(clock, machine, took=120.0)
    assert clock.skew is None


@pytest.mark.parametrize(
    "date",
    [None, "", "yesterday", "Wed, 25 Nov 99999999999 18:00:00 GMT", "Wed, 25 Nov 2026 18:00:00 +99999999", "\x00"],
)
def test_what_is_no_date_says_nothing(clock, machine, date):
    answered(clock, machine, date)
    assert clock.skew is None


def test_dates_are_looked_at_once_a_second_at_most(clock, machine):
    answered(clock, machine)
    answered(clock, machine, "Thu, 26 Nov 2026 18:00:00 GMT", took=0.1)
    assert clock.trusted
    answered(clock, machine, "Thu, 26 Nov 2026 18:00:00 GMT", took=1.0)
    assert not clock.trusted
