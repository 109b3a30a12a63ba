"""Requests that a receiver takes only up to a number of bytes: texts are cut in their middle, with a visible mark.

Where a message is long, its first lines say what was going on and its last ones what went wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pipebell.core.event import MAX_ERROR_MESSAGE
from pipebell.core.render.text import cleaned, pretty

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_WHOLE: Final = 1 << 24  # characters or bytes: more than any event has


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

    `build` makes a request whose texts have at most this many characters each; more characters never make fewer bytes.
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


def with_details(build: Callable[[Any, int], bytes], details: Mapping[str, Any] | None, limit: int) -> bytes:
    """A request of at most `limit` bytes for receivers that take details as JSON.

    `build` makes it from the details and the most characters that each of its texts may have. The details are the
    object itself where everything fits, else their JSON as a text that is cut in its middle like the others.
    """
    if not details:
        return longest_fit(lambda longest: build(None, longest), limit, _WHOLE)
    try:
        whole = build(cleaned(details), _WHOLE)
    except (ValueError, TypeError, RecursionError):
        pass  # what JSON has no word for: `pretty` says it as well as it can be said
    else:
        if len(whole) <= limit:
            return whole
    text = pretty(dict(details), _WHOLE)
    longest = max(len(text), MAX_ERROR_MESSAGE)
    return longest_fit(lambda longest: build(cut_middle(text, longest), longest), limit, longest)
