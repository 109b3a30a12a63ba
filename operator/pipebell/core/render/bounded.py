"""Texts for receivers that count encoded bytes, and give text a meaning: both are looked after together.

Text is cut before it is escaped, so that no escape is cut apart; its size is measured afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipebell.core.render.fit import cut_middle, longest_fit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipebell.core.render.facts import Link

TICK: Final = "\u02cb"  # looks like a backtick and does nothing
JOINER: Final = "\u2060"  # takes no room; what it stands in is no mention and no link


def size(text: str) -> int:
    """Bytes of UTF-8."""
    return len(text.encode())


def _as_it_is(text: str) -> str:
    return text


def block(text: str, limit: int, escape: Callable[[str], str] = _as_it_is) -> str:
    """Several lines, escaped, of at most `limit` bytes: beginning and end, and between them how much is missing.

    `limit` leaves room for that mark.
    """
    return longest_fit(lambda n: escape(cut_middle(text, n)).encode(), limit, min(len(text), limit)).decode()


def line(text: str, limit: int, escape: Callable[[str], str] = _as_it_is) -> str:
    """One line, escaped, of at most `limit` bytes; "…" stands for what is missing in its middle."""
    return longest_fit(lambda n: escape(_cut_line(text, n)).encode(), limit, min(len(text), limit)).decode()


def _cut_line(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    room = max(limit - 1, 0)
    return text[: room - room // 2] + "…" + text[len(text) - room // 2 :]


def listed(links: Iterable[Link], limit: int, show: Callable[[Link], str]) -> str:
    """As many links as there is room for in `limit` bytes, one a line; then how many are missing."""
    lines: list[str] = []
    room, missing = limit - 40, 0  # for that mark
    for link in links:
        shown = show(link)
        if size(shown) < room:
            lines.append(shown)
            room -= size(shown) + 1
        else:
            missing += 1
    if missing:
        lines.append(f"… (cut off: {missing} more {'link' if missing == 1 else 'links'})")
    return "\n".join(lines)


def shares(message: str, details: str, room: int) -> tuple[int, int]:
    """How many of `room` bytes the message and the details get: a third is the details', and what is left over."""
    wanted, other = size(message), size(details)
    mine = min(wanted, max(room - other, room * 2 // 3))
    return mine, min(other, room - mine)
