"""What is harmless is passed over early: it has to come out as by the long way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebell.core.render.mrkdwn import escape, phrase
from pipebell.core.render.text import one_line

USUAL = st.text("abcXYZ019 ,.:;/_+=@#()-`&<>*|!?é\t\n\u200b\x00", max_size=12)


def at_length(text, limit):
    """`phrase` where nothing has to be cut after escaping."""
    return escape(one_line(text, limit).replace("`", "\u02cb"))


@given(st.one_of(USUAL, st.text(max_size=12)))
def test_one_line_is_the_same_by_the_short_way(text):
    assert phrase(text, 200) == at_length(text, 200)


@pytest.mark.parametrize(
    "text", ["", " ", "a ", " a", "a b", "nightly-load", "run/1:2 (x) @here #1", "a\n", "a`b", "<a&b>"]
)
def test_spaces_line_ends_and_what_slack_reads_go_the_long_way(text):
    assert phrase(text, 200) == at_length(text, 200)


@pytest.mark.parametrize(("text", "limit", "expected"), [("abcdef", 6, "abcdef"), ("abcdefg", 6, "abcde…")])
def test_the_limit_holds(text, limit, expected):
    assert phrase(text, limit) == expected
