"""Names with `*` (any characters) and `?` (any one): matched in linear time, whatever the pattern."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_MASKS: Final = 128  # different characters whose masks are kept


class GlobSet:
    """Groups of patterns, all matched at once: one step for each character of a text, however many patterns there are.

    A bit stands for each place in each pattern (the Shift-And algorithm of Baeza-Yates and Gonnet): set when what comes
    before that place matches the text so far.
    """

    def __init__(self, groups: Iterable[Iterable[str]]) -> None:
        starts: list[int] = []
        stays: list[int] = []
        anything: list[int] = []
        self._places: dict[str, list[int]] = {}
        self._ends: list[int] = []
        at = 0
        for group in groups:
            ends = []
            for pattern in group:
                starts.append(at)
                for sign in pattern:
                    if sign == "*":
                        stays.append(at)
                        continue
                    at += 1
                    (anything if sign == "?" else self._places.setdefault(sign, [])).append(at)
                ends.append(at)
                at += 1
            self._ends.append(_bits(ends))
        self._starts, self._stays, self._anything = _bits(starts), _bits(stays), _bits(anything)
        self._masks: dict[str, int] = {}

    def hits(self, text: str) -> int:
        """A bit for each group, the first one's the lowest: whether one of its patterns matches the whole text."""
        state, stays, masks = self._starts, self._stays, self._masks
        for sign in text:
            mask = masks.get(sign)
            if mask is None:
                mask = self._mask(sign)
            state = (state << 1) & mask | state & stays
            if not state:
                return 0
        return sum(1 << group for group, ends in enumerate(self._ends) if state & ends)

    def _mask(self, sign: str) -> int:
        """The places that this character leads to."""
        mask = self._anything | _bits(self._places.get(sign, ()))
        if len(self._masks) < _MASKS:
            self._masks[sign] = mask
        return mask


def matches_any(patterns: Iterable[str], text: str) -> bool:
    """Whether one of the patterns matches the whole text. Lists of them are few: what they mean is remembered."""
    return bool(_glob_set(tuple(patterns)).hits(text))


@lru_cache(maxsize=256)
def _glob_set(patterns: tuple[str, ...]) -> GlobSet:
    return GlobSet([patterns])


def _bits(places: Iterable[int]) -> int:
    places = tuple(places)
    made = bytearray(max(places, default=0) // 8 + 1)
    for place in places:
        made[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(made, "little")
