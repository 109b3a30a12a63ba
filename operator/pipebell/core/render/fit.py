"""Requests that a receiver takes only up to a number of bytes: texts are cut in their middle, with a visible mark.

Where a message is long, its first lines say what was going on and its last ones what went wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def cut_middle(text: str, limit: int) -> str:
    """The text if it has at most `limit` characters, else its beginning and its end and how many are missing.

    The mark is kept even where there is room for nothing else: the result may then be longer than `limit`, by the mark.
    """
    if len(text) <= limit:
        return text
    room = max(limit - len(_mark(len(text))), 0)
    head, tail = room - room // 2, room // 2
    return text[:head] + _mark(len(text) - room) + text[len(text) - tail :]


def _mark(missing: int) -> str:
    return f"\n… (cut off: {missing:,} characters) …\n"


def longest_fit(build: Callable[[int], bytes], limit: int, longest: int) -> bytes:
    """The largest of `build(0)` … `build(longest)` that has at most `limit` bytes; `build(0)` if none has.

    `build` makes a request whose texts have at most so many characters each; more characters never make fewer bytes.
    """
    made = build(longest)
    if len(made) <= limit:
        return made
    low, high = 0, longest  # high is too many
    best = build(0)
    while high - low > 1:
        middle = (low + high) // 2
        made = build(middle)
        if len(made) <= limit:
            low, best = middle, made
        else:
            high = middle
    return best
