import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebell.core.render.fit import cut_middle, longest_fit


def test_the_middle_is_what_is_missing():
    text = "first line\n" + "x" * 1_000 + "\nlast line"
    cut = cut_middle(text, 100)
    assert len(cut) <= 100
    assert cut.startswith("first line\n")
    assert cut.endswith("\nlast line")
    assert "x\n… (cut off: 954 characters) …\nx" in cut


@given(text=st.text(max_size=400), limit=st.integers(0, 500))
def test_it_counts_what_is_missing(text, limit):
    cut = cut_middle(text, limit)
    if len(text) <= limit:
        assert cut == text
        return
    mark = next(part for part in cut.split("\n") if part.startswith("… (cut off: ") and part.endswith(" characters) …"))
    missing = int(mark.removeprefix("… (cut off: ").removesuffix(" characters) …"))
    assert len(cut) - len(mark) - 2 + missing == len(text)
    assert len(cut) <= max(limit, len(mark) + 2)


@pytest.mark.parametrize("unit", ["x", "é", "漢", "😀", '"', "\x01", "\\"])
@pytest.mark.parametrize("limit", [200, 1_000, 1_001, 1_002, 1_003, 26_000])
def test_the_limit_is_of_encoded_bytes_and_used_up(unit, limit):
    text = unit * 30_000

    def build(longest):
        return json.dumps({"text": cut_middle(text, longest)}, ensure_ascii=False).encode()

    made = longest_fit(build, limit, len(text))
    widest = max(len(json.dumps(unit, ensure_ascii=False).encode()) - 2, 1)
    assert limit - 2 * widest - 1 <= len(made) <= limit


@pytest.mark.parametrize("excess", [0, 1])
def test_what_just_fits_is_whole(excess):
    text = "😀" * 1_000
    made = longest_fit(lambda longest: cut_middle(text, longest).encode(), 4_000 - excess, len(text))
    assert (made.decode() == text) is (excess == 0)


def test_the_least_is_what_there_is_when_nothing_fits():
    assert longest_fit(lambda longest: b"x" * (longest + 10), 5, 100) == b"x" * 10
