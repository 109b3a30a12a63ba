"""From an attempt's outcome to the state of a delivery, and from the deliveries to that of the event."""

import pytest

from pipebell.core.backoff import RetryPolicy
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.policy.settle import Refusal, settle, summarise
from pipebell.core.status import Delivery, rfc3339
from pipebell.core.vocabulary import Phase, Reason

EMAIL = Delivery(provider="email", destination="email", phase=Phase.PENDING)
SLACK = Delivery(provider="slack", destination="slack", phase=Phase.PENDING)


def test_the_next_attempt_counts_from_the_end_of_the_failed_one_rounded_up():
    settled = settle(EMAIL, Outcome(OutcomeKind.RETRY, "Timeout"), RetryPolicy(), 1000.0, 1030.00049)
    assert settled.next_attempt_time == rfc3339(1035.001)
    assert settled.last_attempt_time == rfc3339(1000)


def test_a_busy_endpoint_uses_up_no_attempt():
    busy = Outcome(OutcomeKind.PAUSE, "Smtp421", "later")
    settled = settle(EMAIL, busy, RetryPolicy(max_attempts=1), 0, 1, Refusal(61.0, 2))
    assert (settled.phase, settled.reason, settled.attempts) == (Phase.PENDING, Reason.RATE_LIMITED, 0)
    assert (settled.first_attempt_time, settled.last_attempt_time) == (None, rfc3339(0))
    assert (settled.next_attempt_time, settled.refusals) == (rfc3339(61), 2)


def test_who_was_not_heard_was_not_attempted():
    settled = settle(EMAIL, Outcome(OutcomeKind.PAUSE, "Smtp421", untried=True), RetryPolicy(), 0, 1, Refusal(61.0))
    assert (settled.last_attempt_time, settled.reason) == (None, Reason.RATE_LIMITED)


def test_a_refusal_that_counts_is_an_attempt():
    busy = Outcome(OutcomeKind.PAUSE, "Smtp421", "later")
    settled = settle(EMAIL, busy, RetryPolicy(max_attempts=2), 0, 1, Refusal(1.0, 5, counts=True))
    assert (settled.phase, settled.reason, settled.attempts) == (Phase.PENDING, Reason.RETRYING, 1)
    settled = settle(settled, busy, RetryPolicy(max_attempts=2), 6, 7, Refusal(7.0, 6, counts=True))
    assert (settled.phase, settled.reason, settled.attempts) == (Phase.FAILED, Reason.RETRIES_EXHAUSTED, 2)


def test_a_pause_keeps_what_was_found_out():
    busy = Outcome(
        OutcomeKind.PAUSE, "Smtp421", retry_recipients=("c",), refused=("a", "b"), accepted=True, message_id="<i>"
    )
    settled = settle(EMAIL, busy, RetryPolicy(), 0, 1, Refusal(6.0))
    assert (settled.retry_recipients, settled.refused_recipients) == (["c"], ["a", "b"])
    assert (settled.delivered_time, settled.message_id) == (rfc3339(1), "<i>")
    ended = settle(settled, Outcome(OutcomeKind.DELIVERED, message_id="<i>"), RetryPolicy(), 6, 7)
    assert (ended.phase, ended.reason) == (Phase.PARTIALLY_DELIVERED, Reason.PERMANENT_ERROR)
    assert (ended.refused_recipients, ended.retry_recipients) == (["a", "b"], None)
    assert ended.message == "2 recipients not served: a, b"


def test_time_runs_from_the_first_counted_attempt():
    policy, busy = RetryPolicy(max_elapsed_seconds=60), Outcome(OutcomeKind.PAUSE, "Smtp421")
    settled = settle(EMAIL, busy, policy, 0, 1, Refusal(5000.0))
    for began in (5000, 5010, 5040):
        assert settled.phase is Phase.PENDING
        settled = settle(settled, Outcome(OutcomeKind.RETRY, "Timeout"), policy, began, began + 1)
        assert settled.first_attempt_time == rfc3339(5000)
    assert (settled.phase, settled.reason) == (Phase.FAILED, Reason.RETRIES_EXHAUSTED)


def test_exhausted_after_some_recipients_were_reached_is_partly_delivered():
    policy = RetryPolicy(max_attempts=2)
    once = settle(EMAIL, Outcome(OutcomeKind.RETRY, accepted=True, retry_recipients=("b",)), policy, 0, 1)
    assert (once.phase, once.retry_recipients) == (Phase.PENDING, ["b"])
    twice = settle(once, Outcome(OutcomeKind.RETRY, "Smtp450", "b: 450"), policy, 6, 7)
    assert (twice.phase, twice.delivered_time) == (Phase.PARTIALLY_DELIVERED, rfc3339(1))
    assert (twice.reason, twice.refused_recipients) == (Reason.RETRIES_EXHAUSTED, ["b"])
    assert twice.message == "1 recipient not served: b; Smtp450: b: 450"


@pytest.mark.parametrize(
    ("outcome", "phase", "unserved"),
    [
        (Outcome(OutcomeKind.DELIVERED), Phase.DELIVERED, None),
        (Outcome(OutcomeKind.DELIVERED, refused=("b",)), Phase.PARTIALLY_DELIVERED, ["b"]),
        (Outcome(OutcomeKind.PERMANENT, refused=("a", "b")), Phase.FAILED, ["a", "b"]),
        (Outcome(OutcomeKind.PERMANENT, refused=("b",), accepted=True), Phase.PARTIALLY_DELIVERED, ["b"]),
    ],
)
def test_it_is_delivered_only_when_all_are_served(outcome, phase, unserved):
    settled = settle(EMAIL, outcome, RetryPolicy(), 0, 1)
    assert (settled.phase, settled.refused_recipients) == (phase, unserved)


def test_a_long_list_of_the_unserved_is_whole_in_the_status_and_short_in_the_message():
    everybody = tuple(f"r{n}@example.com" for n in range(90))
    settled = settle(EMAIL, Outcome(OutcomeKind.DELIVERED, refused=everybody), RetryPolicy(), 0, 1)
    assert settled.refused_recipients == list(everybody)
    assert settled.message.startswith("90 recipients not served: r0@example.com, ")
    assert settled.message.endswith("r9@example.com and 80 more")


def test_what_was_never_answered_may_have_arrived():
    policy = RetryPolicy(max_attempts=2)
    once = settle(EMAIL, Outcome(OutcomeKind.RETRY, "Timeout", "no answer", unanswered=True), policy, 0, 1)
    twice = settle(once, Outcome(OutcomeKind.RETRY, "ConnectionFailed", "x" * 2000), policy, 6, 7)
    assert twice.phase is Phase.FAILED
    assert twice.message.endswith("it may have arrived all the same")
    assert len(twice.message) <= 1024
    delivered = settle(once, Outcome(OutcomeKind.DELIVERED), policy, 6, 7)
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
    summary = summarise(deliveries)
    assert (summary.phase, summary.reason) == (phase, reason)


def parts(**phases):
    """Deliveries a, b … by phase; `x_for_a` stands in for a."""
    made = {}
    for key, phase in phases.items():
        name, _, original = key.partition("_for_")
        reason = {Phase.FAILED: Reason.PERMANENT_ERROR, Phase.PENDING: Reason.RETRYING}.get(phase)
        made[name] = Delivery(destination=name, phase=phase, reason=reason, failover_for=original or None)
        if original:
            made[original].failover_to = [*(made[original].failover_to or ()), name]
    return list(made.values())


FAILED, DELIVERED, PENDING, SKIPPED = Phase.FAILED, Phase.DELIVERED, Phase.PENDING, Phase.SKIPPED


@pytest.mark.parametrize(
    ("deliveries", "phase", "reason"),
    [
        (parts(a=FAILED, x_for_a=DELIVERED), DELIVERED, Reason.FAILED_OVER),
        (parts(a=FAILED, x_for_a=FAILED), FAILED, Reason.PERMANENT_ERROR),
        (parts(a=FAILED, x_for_a=FAILED, y_for_a=DELIVERED), DELIVERED, Reason.FAILED_OVER),
        (parts(a=DELIVERED, x_for_a=DELIVERED), DELIVERED, None),
        (parts(a=DELIVERED, x_for_a=FAILED), DELIVERED, None),
        (parts(a=DELIVERED, x_for_a=SKIPPED), DELIVERED, None),
        (parts(a=DELIVERED, b=FAILED, x_for_b=DELIVERED), DELIVERED, Reason.FAILED_OVER),
        (parts(a=DELIVERED, b=FAILED, x_for_b=FAILED), Phase.PARTIALLY_DELIVERED, Reason.PERMANENT_ERROR),
        (parts(a=FAILED, b=FAILED, x_for_b=DELIVERED), Phase.PARTIALLY_DELIVERED, Reason.PERMANENT_ERROR),
        (parts(a=FAILED, x_for_a=PENDING), PENDING, Reason.RETRYING),
        (parts(a=PENDING, x_for_a=DELIVERED), Phase.DELIVERING, Reason.RETRYING),
    ],
)
def test_what_failed_is_made_good_by_whoever_stood_in(deliveries, phase, reason):
    summary = summarise(deliveries)
    assert (summary.phase, summary.reason) == (phase, reason)


def test_a_stand_in_that_arrives_says_so_and_since_when_a_message_was_due_is_kept():
    instead = Delivery(destination="x", phase=Phase.PENDING, failover_for="a")
    settled = settle(instead, Outcome(OutcomeKind.DELIVERED), RetryPolicy(), 5, 6)
    assert (settled.phase, settled.reason, settled.first_due_time) == (DELIVERED, Reason.FAILED_OVER, None)
    late = settle(EMAIL, Outcome(OutcomeKind.RETRY, "Timeout"), RetryPolicy(), 5, 60)
    again = settle(late, Outcome(OutcomeKind.RETRY, "Timeout"), RetryPolicy(), 70, 80)
    assert late.first_due_time == again.first_due_time == rfc3339(5)
