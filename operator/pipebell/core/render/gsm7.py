"""Texts for SMS: folded into the GSM 7-bit alphabet (3GPP TS 23.038, 6.2.1), and counted as networks count them.

A single sign beyond that alphabet would make all of a message UCS-2, and thereby more than twice as long.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_ONE: Final = frozenset(_BASIC.replace("\x1b", ""))  # septet each
_TWO: Final = frozenset("\f^{}\\[~]|€")  # an escape and a septet
_ALIKE: Final = {
    **dict.fromkeys("`\u00b4\u2018\u2019\u201a\u201b\u2032\u02cb", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u00b7\u2022", "-"),
    **dict.fromkeys("\t\f\u00a0\u2007\u202f", " "),
    "\u2026": "...",
    "\u2192": "->",
    "\u00d7": "x",
    "✅": "OK",
}
_SINGLE: Final = 160  # septets of a message that is one segment
_PART: Final = 153  # of each segment of a longer one: the rest says which segment it is


def fold(text: str) -> str:
    """The text in signs of the alphabet: letters lose accents that it does not have, what has no likeness is a "?"."""
    return "".join(sign if sign in _ONE or (sign in _TWO and sign != "\f") else _folded(sign) for sign in text)


def _folded(sign: str) -> str:
    if sign in _ALIKE:
        return _ALIKE[sign]
    plain = "".join(part for part in unicodedata.normalize("NFKD", sign) if not unicodedata.combining(part))
    if plain and plain != sign:
        return "".join(part if part in _ONE or part in _TWO else "?" for part in plain)
    return "" if unicodedata.combining(sign) or unicodedata.category(sign) in ("Cf", "Mn", "Me") else "?"


def septets(text: str) -> int:
    """How much of a message a text of the alphabet takes. Raises ValueError for any other sign."""
    return sum(map(_width, text))


def segments(text: str) -> int:
    """How many messages are sent and paid for. Raises ValueError for a sign beyond the alphabet."""
    if septets(text) <= _SINGLE:
        return 1
    count, room = 1, _PART
    for sign in text:
        width = _width(sign)
        if width > room:  # an escape is not parted from its septet
            count, room = count + 1, _PART
        room -= width
    return count


def _width(sign: str) -> int:
    if sign in _ONE:
        return 1
    if sign in _TWO:
        return 2
    raise ValueError(f"U+{ord(sign):04X} is not in the GSM 7-bit alphabet")


def cut(text: str, limit: int) -> str:
    """A text of the alphabet of at most `limit` septets; "..." stands for what is missing in its middle."""
    if septets(text) <= limit:
        return text
    room = max(limit - 3, 0)
    head, tail = _beginning(text, room - room // 2), _beginning(text[::-1], room // 2)[::-1]
    return f"{head}...{tail}"


def _beginning(text: str, limit: int) -> str:
    used = 0
    for index, sign in enumerate(text):
        used += _width(sign)
        if used > limit:
            return text[:index]
    return text
