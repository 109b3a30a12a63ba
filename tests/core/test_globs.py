"""Names with wildcards, one by one and many at once."""

import fnmatch
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebell.core.globs import GlobSet, matches_any

SIGNS = st.text(alphabet="ab*?.[é", max_size=8)


def by_expression(pattern, text):
    """What a pattern means, said by the standard library."""
    parts = ("[^/]*" if sign == "*" else "." if sign == "?" else re.escape(sign) for sign in pattern)
    return re.fullmatch("".join(parts).replace("[^/]*", ".*"), text, re.DOTALL) is not None


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("*", "", True),
        ("?", "", False),
        ("nightly-*", "nightly-orders", True),
        ("nightly-*", "nightly-", True),
        ("nightly-*", "weekly-orders", False),
        ("*orders*", "nightly-orders-load", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a**c", "abbc", True),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("A", "a", False),
        ("*é?", "caféß", True),
        ("x\\*", "x\\y", True),
    ],
)
def test_a_pattern_means_what_it_says(pattern, text, found):
    assert matches_any([pattern], text) is found
    assert GlobSet([[pattern]]).hits(text) == int(found)


@given(st.lists(st.lists(SIGNS, max_size=3), max_size=5), SIGNS)
def test_many_at_once_are_as_each_by_itself(groups, text):
    hits = GlobSet(groups).hits(text)
    for place, group in enumerate(groups):
        assert bool(hits >> place & 1) == any(by_expression(pattern, text) for pattern in group)


def test_patterns_beside_each_other_do_not_run_into_each_other():
    patterns = ["".join(signs) for signs in itertools.product("ab*", repeat=3)]
    together = GlobSet([[pattern] for pattern in patterns])
    for text in ("", "a", "b", "ab", "aba", "abab", "bbb"):
        expected = [fnmatch.fnmatchcase(text, pattern) for pattern in patterns]
        assert [bool(together.hits(text) >> place & 1) for place in range(len(patterns))] == expected


def test_hostile_patterns_cost_no_more_than_their_length():
    """What a matcher that goes back would work on for years: one step for each character of the text."""

    class Counted(str):
        __slots__ = ()
        steps = 0

        def __iter__(self):
            for sign in super().__iter__():
                Counted.steps += 1
                yield sign

    many = GlobSet([["*a" * 128, "?a*" * 85 + "b"]] * 64)
    assert many.hits(Counted("a" * 512)) == (1 << 64) - 1
    assert Counted.steps == 512


def test_characters_beyond_number_are_not_all_kept():
    many = GlobSet([["*"]])
    assert many.hits("".join(map(chr, range(0x4E00, 0x4E00 + 5000)))) == 1
    assert len(many._masks) <= 128
