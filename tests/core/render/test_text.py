import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipebell.core.render.text import clean, cut, one_line, pretty


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a\r\nb\rc\u2028d\x85e", "a\nb\nc\nd\ne"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;https://x\x07link\x1b]8;;\x1b\\", "link"),
        ("\x1b]never ended", "\ufffd]never ended"),
        ("a\x00b\x7fc\x9b", "a\ufffdb\ufffdc\ufffd"),
        ("\ud83d\ude00 \ud800", "\ufffd\ufffd \ufffd"),
        ("user\u202egpj.exe\u2069\u200b\ufeff", "usergpj.exe"),
        ("👩\u200d💻 نیم\u200cرخ", "👩\u200d💻 نیم\u200cرخ"),
        ("tab\tstays", "tab\tstays"),
    ],
)
def test_clean(text, expected):
    assert clean(text) == expected


@given(st.text())
def test_clean_text_stays_as_it_is_and_can_be_encoded(text):
    once = clean(text)
    once.encode()
    assert clean(once) == once


@given(st.text(), st.integers(2, 40))
def test_one_line_is_one_short_line(text, limit):
    line = one_line(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1
    assert line == line.strip()


def test_control_characters_become_one_space():
    assert one_line("a\r\n\x00Bcc: x", 50) == "a Bcc: x"


@given(st.text(max_size=300), st.integers(60, 200))
def test_cut_says_how_much_is_missing(text, limit):
    shown = cut(text, limit)
    assert len(shown) <= limit
    if len(text) > limit:
        kept, _, mark = shown.rpartition("\n… (cut off: ")
        assert int(mark.split()[0]) == len(text) - len(kept)
    else:
        assert shown == text


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=40)
@given(st.dictionaries(st.text(), json_values), st.integers(1, 400))
def test_pretty_keeps_its_limit(details, limit):
    shown = pretty(details, limit)
    assert len(shown.partition("\n… (cut off")[0].encode()) <= limit + 3
