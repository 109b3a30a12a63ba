"""What is written on resources."""

from __future__ import annotations

import pytest

from pipebell.core.status import clip, epoch, rfc3339


def test_texts_are_clipped_visibly():
    assert clip("x" * 1025).endswith(" …")
    assert len(clip("x" * 5000)) == 1024


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("9999-12-31T23:59:59-05:00", "9999-12-31T23:59:59.000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.000Z"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00.000Z"),
    ],
)
def test_a_time_that_is_of_no_year_in_utc_can_be_written_all_the_same(text, written):
    assert rfc3339(epoch(text)) == written
