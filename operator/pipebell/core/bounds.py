"""JSON that is nested too deeply or says too much: the API server stores 10,000 levels, and 1.5 MB.

The json module gives up at 1,000 levels; and no message shows more of an event's details than 16 KiB.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMED: Final = 20  # names that an error holds
DEEPEST: Final = 100  # levels of arrays and objects that are kept
_MARK: Final = '"…"'.encode()
_TOKENS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|\[\]|\{\}|[\[\]{}]', re.DOTALL)


def shallow(document: bytes, deepest: int = DEEPEST) -> bytes:
    """The same JSON with "…" in the place of each array and object that lies deeper than `deepest` levels.

    Strings are passed over as they are. What is left out is not looked at: whether it was JSON is not known afterwards.
    """
    kept: list[bytes] = []
    level = start = 0
    for token in _TOKENS.finditer(document):
        sign = token[0]
        if sign in (b"{", b"["):
            level += 1
            if level == deepest + 1:
                kept += (document[start : token.start()], _MARK)
        elif sign in (b"{}", b"[]"):
            if level == deepest:
                kept += (document[start : token.start()], _MARK)
                start = token.end()
        elif sign in (b"}", b"]"):
            if level == deepest + 1:
                start = token.end()
            level -= 1
    if level <= deepest:  # else it has no end, and needs none to be refused
        kept.append(document[start:])
    return b"".join(kept)


def shortened(value: dict[str, Any], characters: int) -> dict[str, Any]:
    """The beginning of a document: as much of it as `characters` allow for, keys, numbers and all."""
    short: dict[str, Any] = _Shortening(characters).of(value)
    return short


def twice(names: Iterable[str]) -> list[str]:
    """Those that stand there more than once, sorted: a few of them where there are many."""
    return sorted(name for name, number in Counter(names).items() if number > 1)[:NAMED]


class _Shortening:
    def __init__(self, characters: int) -> None:
        self._left = characters

    def of(self, value: Any) -> Any:  # noqa: ANN401  (JSON)
        if isinstance(value, str):
            return self._text(value)
        self._left -= 8
        if isinstance(value, dict):
            kept = {}
            for key, item in value.items():
                if self._left <= 0:
                    break
                name = self._text(key)  # before its value
                kept[name] = self.of(item)
            return kept
        if isinstance(value, list):
            items = []
            for item in value:
                if self._left <= 0:
                    break
                items.append(self.of(item))
            return items
        return value

    def _text(self, text: str) -> str:
        kept = text[: max(0, self._left)]
        self._left -= len(kept) + 4
        return kept
