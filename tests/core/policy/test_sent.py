"""How long a notification stands for others."""

from __future__ import annotations

import pytest

from pipebell.core.policy.sent import Sent, suppressed_until


@pytest.mark.parametrize(("now", "until"), [(0, 300), (299.999, 300), (300, None), (301, None)])
def test_the_window_ends_to_the_moment(now, until):
    assert suppressed_until(Sent(0, "n", "e"), 300, now) == until
    assert suppressed_until(Sent(0, "n", "e"), 0, now) is None
    assert suppressed_until(None, 300, now) is None
