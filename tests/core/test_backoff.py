"""When a failed delivery is tried again: the seed's schedule, and as many attempts as fit."""

from pipebell.core.backoff import RetryPolicy


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
