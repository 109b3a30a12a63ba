"""SMS's alphabet, against a table that somebody else wrote."""

import gsm0338
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.destinations.huge import hostile

from pipebell.core.render.gsm7 import cut, fold, segments, septets

JUDGE = gsm0338.Codec()


def encoded(text):
    """Septets, one a byte, as the judge has them; None for a text that it has none for."""
    try:
        return JUDGE.encode(text)[0]
    except UnicodeEncodeError:
        return None


ALPHABET = "".join(chr(code) for code in range(0x3000) if encoded(chr(code)) is not None).replace("\x1b", "")
alphabet = st.text(ALPHABET, max_size=400)


def test_the_alphabet_is_theirs():
    ours = ""
    for code in range(0x3000):
        try:
            septets(chr(code))
        except ValueError:
            continue
        ours += chr(code)
    assert ours == ALPHABET
    assert len(ALPHABET) == 127 + 10  # the basic table without its escape, and the extension


@given(alphabet)
def test_septets_are_counted_as_they_count_them(text):
    assert septets(text) == len(encoded(text))


@given(alphabet)
def test_segments_part_no_escape_from_its_septet(text):
    rest = encoded(text)
    if len(rest) <= 160:
        assert segments(text) == 1
        return
    count = 0
    while rest:
        end = min(153, len(rest))
        if rest[end - 1] == 0x1B:
            end -= 1
        rest, count = rest[end:], count + 1
    assert segments(text) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        *(("", 1), ("x" * 160, 1), ("x" * 161, 2), ("x" * 306, 2), ("x" * 307, 3)),
        *(("€" * 80, 1), ("€" * 81, 2), ("€" * 152, 2), ("€" * 153, 3)),
    ],
)
def test_segments(text, count):
    assert segments(text) == count


@given(hostile | st.text())
def test_whatever_is_folded_can_be_sent(text):
    assert encoded(fold(text)) is not None


@given(alphabet)
def test_what_can_be_sent_stays_as_it_is(text):
    assert fold(text).replace(" ", "") == text.replace("\f", " ").replace(" ", "")


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Größe", "Größe"),
        ("naïve façade Çà", "naive facade Çà"),
        ("Ñandú", "Ñandu"),
        ("„quoted“ — it\u2019s…", '"quoted" - it\'s...'),
        ("a\u00a0b\tc", "a b c"),
        ("ﬁne ½ ①", "fine 1?2 1"),
        ("\U0001f600 خطأ", "? ????"[:5]),
        ("e\u0301\u200b", "e"),
        ("`x`", "'x'"),
    ],
)
def test_what_has_a_likeness_keeps_it(text, folded):
    assert fold(text) == folded


@given(alphabet, st.integers(10, 200))
def test_cut_keeps_beginning_and_end(text, limit):
    made = cut(text, limit)
    assert septets(made) <= limit
    if made != text:
        marks = [at for at in range(len(made)) if made.startswith("...", at)]  # the text may have dots of its own
        assert any(text.startswith(made[:at]) and text.endswith(made[at + 3 :]) for at in marks)
        assert septets(made) >= limit - 2


def test_a_sign_beyond_it_is_named():
    with pytest.raises(ValueError, match=r"U\+1F600"):
        septets("\U0001f600")
