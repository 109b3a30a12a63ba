"""What attempts say of a destination, and how it stands then."""

import pytest

from pipebell.core.health import Evidence, Health, HealthState, deliverable, evidence, login_refused
from pipebell.core.outcome import REACHED, Outcome, OutcomeKind
from pipebell.core.status import DestinationStatus, rfc3339

GOOD = Evidence(HealthState.HEALTHY)
BUSY = Evidence(HealthState.PAUSED, "Http429", "429: too many")
DEAD = Evidence(HealthState.FAILING, "ConnectionFailed", "no connection")


@pytest.mark.parametrize(
    ("outcome", "shared", "state"),
    [
        (Outcome(OutcomeKind.DELIVERED), False, "Healthy"),
        (Outcome(OutcomeKind.RETRY, "Smtp450", accepted=True), False, "Healthy"),
        (Outcome(OutcomeKind.RETRY, "Timeout"), False, "Failing"),
        (Outcome(OutcomeKind.RETRY, "Timeout"), True, "Failing"),
        (Outcome(OutcomeKind.PERMANENT, "SmtpAuthFailed"), True, "Failing"),
        (Outcome(OutcomeKind.PERMANENT, "Http404"), False, "Failing"),
        (Outcome(OutcomeKind.PERMANENT, "Http400"), False, "Failing"),
        (Outcome(OutcomeKind.HOST_NOT_ALLOWED, "HostNotAllowed"), False, "Failing"),
        # Of one message: too large, or beyond the organisation's own budget.
        (Outcome(OutcomeKind.PERMANENT, "Http413"), False, None),
        (Outcome(OutcomeKind.PERMANENT, "RateLimited"), False, None),
        # A recipient or a channel that the organisation chose says nothing of an endpoint that is everybody's.
        (Outcome(OutcomeKind.PERMANENT, "Smtp550"), False, "Failing"),
        (Outcome(OutcomeKind.PERMANENT, "Smtp550"), True, None),
        (Outcome(OutcomeKind.PERMANENT, "Http404"), True, None),
        (Outcome(OutcomeKind.PAUSE, "Http429"), False, "Paused"),
        (Outcome(OutcomeKind.PAUSE, "Smtp421", untried=True), False, None),
    ],
)
def test_what_an_attempt_says_of_its_destination(outcome, shared, state):
    seen = evidence(outcome, shared=shared)
    assert (seen and seen.state) == state


def test_since_is_when_the_state_began():
    health = Health()
    assert health.observe(DEAD, 100.0)
    assert not health.observe(DEAD, 160.0)
    assert (health.state, health.since, health.failing(700.0), health.due()) == (HealthState.FAILING, 100, 600, 700)
    assert health.observe(GOOD, 800.0)
    assert (health.state, health.since, health.last_success, health.reason) == (HealthState.HEALTHY, 800, 800, "")
    assert not health.observe(GOOD, 900.0)
    assert (health.since, health.last_success) == (800.0, 900.0)


def test_a_pause_in_between_mends_nothing():
    health = Health()
    health.observe(DEAD, 100.0)
    assert health.observe(BUSY, 200.0)
    assert (health.state, health.since, health.failing(300.0)) == (HealthState.PAUSED, 200.0, 0.0)
    health.observe(DEAD, 300.0)
    assert (health.state, health.since) == (HealthState.FAILING, 100.0)
    health.observe(BUSY, 400.0)
    health.observe(GOOD, 500.0)
    health.observe(DEAD, 600.0)
    assert health.since == 600.0


def test_a_clock_that_is_set_back_makes_nothing_older():
    health = Health()
    health.observe(DEAD, 1000.0)
    health.observe(DEAD, 400.0)
    assert (health.since, health.failing(400.0)) == (400.0, 0.0)


def test_a_probe_refutes_only_what_it_has_tried():
    health = Health()
    health.observe(Evidence(HealthState.FAILING, "Http400", "the message"), 100.0)
    assert not health.probed(GOOD, 200.0)
    assert health.state is HealthState.FAILING
    health.observe(DEAD, 300.0)
    assert health.probed(GOOD, 400.0)
    assert (health.state, health.last_success) == (HealthState.HEALTHY, None)
    assert health.probed(DEAD, 500.0)
    assert health.state is HealthState.FAILING


@pytest.mark.parametrize(
    ("reason", "over"),
    [
        ("DnsFailed", True),
        ("ConnectionFailed", True),
        ("TlsCertificateInvalid", True),
        ("HostNotAllowed", True),
        ("Timeout", False),  # which the messages themselves may have met
        ("Http401", False),
        ("Http503", False),
        ("LoginRefused", False),
    ],
)
def test_a_host_that_was_reached_refutes_that_it_was_not_and_nothing_else(reason, over):
    reached = evidence(Outcome(OutcomeKind.DELIVERED, REACHED))
    health = Health()
    assert not health.probed(reached, 100.0)
    assert health.state is HealthState.UNKNOWN, "that it would take a message is not known"
    health.observe(Evidence(HealthState.FAILING, reason, "x"), 200.0)
    assert health.probed(reached, 300.0) is over
    assert (health.state is HealthState.HEALTHY) is over
    assert health.reason == ("" if over else reason)


@pytest.mark.parametrize("reason", ["Http401", "Http403", "Http404", "Http410", "SmtpAuthFailed", "SmtpAuthRequired"])
def test_a_refused_login_is_not_tried_again(reason):
    assert login_refused(reason)
    assert not login_refused("Timeout")


def test_the_status_gives_back_what_was_written():
    health = Health()
    health.observe(DEAD, 100.0)
    health.notified = 700.0
    health.last_success = 50.0
    record = health.record("on-call", "slack")
    assert (record.name, record.provider, record.state, record.since) == ("on-call", "slack", "Failing", rfc3339(100))
    assert Health.of(DestinationStatus.model_validate(record.model_dump(by_alias=True)), 800.0) == health


def test_what_a_status_says_is_capped_at_now_and_may_be_of_another_release():
    said = {"name": "slack", "state": "Wobbly", "since": rfc3339(9000.0), "lastSuccessTime": "yesterday"}
    health = Health.of(DestinationStatus.model_validate(said), 500.0)
    assert (health.state, health.since, health.last_success) == (HealthState.UNKNOWN, 500.0, None)


def test_the_condition_names_what_fails_and_since_when():
    good, dead = Health(), Health()
    assert deliverable([("email", good)]) is None
    good.observe(GOOD, 100.0)
    dead.observe(DEAD, 100.0)
    assert deliverable([("email", good)]) == (True, "Delivered", "the last message got through to email")
    status, reason, message = deliverable([("email", good), ("slack", dead)])
    assert (status, reason) == (False, "DestinationFailing")
    assert message == "slack has failed since 1970-01-01T00:01:40Z: no connection"


def test_a_condition_is_never_longer_than_the_api_takes():
    dead = Health()
    dead.observe(Evidence(HealthState.FAILING, "R" * 500, "x" * 5000), 100.0)
    assert len(deliverable([(f"name-{number}", dead) for number in range(28)]).message) <= 1024
    record = dead.record("a", "slack")
    assert (len(record.message), len(record.reason)) == (512, 64)
