"""The operator's clock: a machine's, or an API server's, that is set wrong for a while leaves no wrong times behind."""

from email.utils import formatdate

import pytest
from tests.kube.test_clock import AT, Machine

from pipebell.clocks import SystemClock, boottime
from pipebell.kube.clock import ApiServerClock

DAYS = 8 * 86400.0


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def server(machine):
    return ApiServerClock(lambda: machine.wall, lambda: machine.uptime)


@pytest.fixture
def clock(server, machine):
    return SystemClock(server, lambda: machine.wall)


def answered(server, machine, ahead=0.0):
    """The API server answers; its clock is this much ahead of the true time, which the uptime tells."""
    began = machine.uptime
    machine.passes(1.1)
    server.answered(formatdate(AT + machine.uptime - 500.0 + ahead, usegmt=True), began)


def true(machine):
    return AT + machine.uptime - 500.0


def test_it_is_the_machines_clock(clock, server, machine):
    assert clock.now() == machine.wall
    assert clock.trusted
    answered(server, machine)
    assert clock.now() == machine.wall
    assert clock.trusted


@pytest.mark.parametrize("by", [DAYS, -DAYS, 3600.0, 70.0, -70.0])
def test_a_machine_whose_clock_is_set_wrong_goes_on_by_the_right_time(clock, server, machine, by):
    answered(server, machine)
    machine.wall += by
    for _ in range(60):
        assert clock.now() == pytest.approx(true(machine), abs=1.5)
        assert not clock.trusted
        answered(server, machine)
    machine.wall -= by
    assert clock.trusted
    assert clock.now() == machine.wall


def test_an_api_server_whose_clock_is_set_wrong_changes_nothing_either(clock, server, machine):
    answered(server, machine)
    answered(server, machine, ahead=DAYS)
    assert not clock.trusted
    machine.passes(60)
    assert clock.now() == pytest.approx(true(machine), abs=1.5)
    answered(server, machine)
    assert clock.trusted


def test_a_machine_that_starts_with_a_wrong_clock_goes_by_the_api_servers(clock, server, machine):
    machine.wall += DAYS
    answered(server, machine)
    assert not clock.trusted
    assert clock.now() == pytest.approx(true(machine), abs=1.5)


def test_without_an_api_server_there_is_one_clock_only():
    clock = SystemClock()
    assert clock.trusted
    assert clock.now() > AT - DAYS * 100


def test_the_boot_clock_goes_forward():
    first = boottime()
    assert boottime() >= first
