"""The window in which one notification stands for those that follow."""

from __future__ import annotations

import pytest

from pipebell.core.policy.sent import Sent, suppressed_until

LAST = Sent(1_000, "team", "a")


@pytest.mark.parametrize(
    ("cooldown", "now", "until"),
    [(300, 1_000, 1_300), (300, 1_299.9, 1_300), (300, 1_300, None), (0, 1_000, None), (60, 1_200, None)],
)
def test_the_window_begins_with_the_first_success_and_is_as_long_as_configured_now(cooldown, now, until):
    assert suppressed_until(LAST, cooldown, now) == until


def test_without_a_notification_nothing_is_suppressed():
    assert suppressed_until(None, 300, 1_000) is None


def test_a_notification_from_the_future_mutes_for_one_window_at_most():
    assert suppressed_until(Sent(1_000_000, "team", "a"), 300, 1_000) is None
    assert suppressed_until(Sent(1_200, "team", "a"), 300, 1_000) == 1_300
