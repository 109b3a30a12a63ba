"""Text that somebody means ill with, and JSON of it."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.core.destinations.huge import PIECES

MORE = [
    *("@everyone", "<!here>", "<!subteam^S1>", "<at>Ana Lima</at>", "< at>", "</at>", "tg://user?id=1", "@channel "),
    *("\r\nBcc: x@example.com\r\n\r\n", "\nX-Evil: 1", "\n.\n", "=?utf-8?q?=0D=0ABcc:_x?=", "--=_pipebell--", "\u2028"),
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "]]>", "{{", "}}", "{%", "${HOME}", "$(id)", "%s%n"),
    *(
        "javascript:alert(1)",
        "//e.example",
        "\x1b]8;;x\x07",
        "\x1b[2J",
        "\x9b31m",
        "\u200b",
        "\ufeff",
        "\u0000",
        "\x7f",
    ),
    *("---", "-" * 40, "a@" * 20, "((((", "\\\\", "'", '"', "-----BEGIN PRIVATE KEY-----", "password=x", "e\u0301" * 9),
    *("\ud800", "\udfff", "\U0010ffff", "\u0300" * 30, "\t", " ", "1e999", "null", "true", "-0", "٣", "ß", "İ"),
]
piece = st.sampled_from([*PIECES, *MORE])
short = st.lists(piece | st.text(max_size=8), max_size=6).map("".join)
word = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", min_size=1, max_size=12)


def _repeated(given):
    what, times = given
    return (what * times)[:32_768]


long = st.tuples(piece | st.text(min_size=1, max_size=3), st.sampled_from([40, 300, 4_000, 32_768])).map(_repeated)


def hostile(most, long_ones=True):
    """Hostile text of at most so many characters; now and then as long as that."""
    text = st.one_of(short, short, short, long) if long_ones and most > 100 else short
    return text.map(lambda value: value[:most])


def line(most):
    """The same without control characters."""
    return hostile(most).map(lambda value: "".join(sign for sign in value if sign >= " " and sign != "\x7f"))


def sound(value):
    """Without lone surrogates, which the API server's JSON has none of."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


number = st.integers() | st.floats() | st.sampled_from([-1, 0, 1, 2**31, 2**63, 10**400, 1e308])
scalar = st.none() | st.booleans() | number | short
json_value = st.recursive(
    scalar,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(short, inner, max_size=3),
    max_leaves=6,
)


def _nested(given):
    depth, sign = given
    return ("[" * depth + "]" * depth) if sign else ('{"a":' * depth + "1" + "}" * depth)


deep = st.tuples(st.sampled_from([50, 101, 900, 3_000, 9_999]), st.booleans()).map(_nested)
less_deep = st.tuples(st.sampled_from([50, 101, 900]), st.booleans()).map(_nested)  # for PyYAML, which is slow
