"""Names with `*` (any characters) and `?` (any one): matched in linear time, whatever the pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text matches. Steps: at most the product of both lengths, never exponential."""
    at = star = 0
    resume = -1
    position = 0
    while position < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, resume = at, position
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[position]):
            at += 1
            position += 1
        elif resume >= 0:
            resume += 1
            at, position = star + 1, resume
        else:
            return False
    return all(sign == "*" for sign in pattern[at:])


def matches_any(patterns: Iterable[str], text: str) -> bool:
    """Whether one of the patterns matches."""
    return any(matches(pattern, text) for pattern in patterns)
