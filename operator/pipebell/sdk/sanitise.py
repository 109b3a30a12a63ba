"""Details as JSON, whatever a pipeline puts into them, within a size that the API server takes.

Objects of other people's classes are asked for their text or their fields, which runs their code and may take any time;
with `foreign=False` they are named by their type instead.
"""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_SIZE: Final = 131_072  # characters in all; the operator shows 16 KiB of them
_MAX_TEXT: Final = 32_768
_MAX_DEPTH: Final = 12
_INT64: Final = 2**63
_SCALARS: Final = frozenset({type(None), bool, int, float, str, datetime, date, time, timedelta, bytes})
_CONTAINERS: Final = frozenset({dict, list, tuple, set, frozenset})
# Whose text is quickly written: by module, of the standard library.
_HARMLESS: Final = frozenset({"uuid", "pathlib", "decimal", "fractions", "ipaddress", "zoneinfo"})
_LOOKED_AT: Final = 1_000  # values; whether more are plain is not worth finding out


def details(value: object, size: int = MAX_SIZE, *, foreign: bool = True) -> dict[str, Any]:
    """A JSON object of `value`, cut visibly where it is too long or too deep. Never raises."""
    clean = _Cleaner(size, foreign).clean(value, 0, ())
    return clean if isinstance(clean, dict) else {"value": clean}


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters: beginning and end (where a traceback says what happened), with a mark between."""
    if len(text) <= limit:
        return text
    mark = f"\n… [{len(text) - limit} and more characters left out] …\n"
    head = max((limit - len(mark)) // 4, 0)
    tail = limit - len(mark) - head
    return (text[:head] + mark + text[len(text) - tail :])[:limit]


def text(value: object, *, foreign: bool = True) -> str:
    """`str(value)`, also when that raises."""
    if isinstance(value, str):
        return str.__str__(value)  # an enum's member is its value
    if not foreign and not is_plain(value):
        return unread(value)
    try:
        return str.__str__(str(value))
    except Exception:  # noqa: BLE001  (foreign code)
        return f"<{type(value).__name__}>"


def unread(value: object) -> str:
    """What stands for an object that was not asked, for want of time."""
    return f"<{type(value).__name__}: its text took too long>"


def is_plain(value: object) -> bool:
    """Whether nobody else's code is needed to read it."""
    waiting: list[object] = [value]
    for _ in range(_LOOKED_AT):
        if not waiting:
            return True
        item = waiting.pop()
        try:
            inside = _inside(item)
        except RuntimeError:
            return False  # somebody else changes it meanwhile
        if inside is None and not _is_plain_scalar(item):
            return False
        waiting.extend(inside or ())
    return not waiting


def _inside(value: object) -> list[object] | None:
    """What a container of Python's own holds, as much as is worth looking at; None for everything else."""
    kind = type(value)
    if kind is dict:
        pairs: Iterable[tuple[object, object]] = islice(dict.items(value), _LOOKED_AT)  # type: ignore[arg-type]
        return [part for pair in pairs for part in pair]
    if kind in _CONTAINERS:
        return list(islice(value, _LOOKED_AT))  # type: ignore[call-overload]
    if isinstance(value, BaseException) and kind.__module__ == "builtins":
        return list(value.args)
    return None


def _is_plain_scalar(value: object) -> bool:
    kind = type(value)
    if isinstance(value, (datetime, time)) and kind in _SCALARS:
        return value.tzinfo is None or type(value.tzinfo).__module__ in ("datetime", *_HARMLESS)
    if kind is int:
        return -_INT64 <= value < _INT64  # type: ignore[operator]  # longer texts are slow
    return kind in _SCALARS or isinstance(value, str) or kind.__module__ in _HARMLESS


class _Cleaner:
    def __init__(self, size: int, foreign: bool) -> None:
        self._left, self._foreign = size, foreign

    def clean(self, value: object, depth: int, above: tuple[int, ...]) -> Any:  # noqa: ANN401  (JSON)
        try:
            plain = self._plain(value)
            if isinstance(plain, (dict, list)):
                if depth >= _MAX_DEPTH or id(value) in above:
                    return "… [too deep]"
                inner = (*above, id(value))
                self._left -= 8  # else a thousand empty lists in each of a thousand would cost nothing
                if isinstance(plain, dict):
                    return self._dict(plain, depth + 1, inner)
                return self._list(plain, depth + 1, inner)
        except Exception:  # noqa: BLE001  (foreign code: isoformat, item, model_dump …; a dict that others change)
            plain = self._text(value)
        if plain is not None and not isinstance(plain, (bool, int, float, str)):
            plain = self._text(plain)  # a foreign method that returned one more foreign thing
        if isinstance(plain, str):
            plain = shorten(plain, max(min(_MAX_TEXT, self._left), 100))
        self._left -= 8 + len(plain) if isinstance(plain, str) else 8
        return plain

    def _text(self, value: object) -> str:
        return text(value, foreign=self._foreign)

    def _dict(self, value: dict[Any, Any], depth: int, above: tuple[int, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for count, (key, item) in enumerate(self._enough(dict.items(value))):
            if self._left <= 0:
                result["…"] = f"[{len(value) - count} more left out]"
                break
            name = shorten(self._text(key), 256)
            self._left -= len(name) + 4
            result[name] = self.clean(item, depth, above)
        return result

    def _list(self, value: list[Any], depth: int, above: tuple[int, ...]) -> list[Any]:
        result: list[Any] = []
        for count, item in enumerate(self._enough(list.__iter__(value))):
            if self._left <= 0:
                result.append(f"… [{len(value) - count} more left out]")
                break
            result.append(self.clean(item, depth, above))
        return result

    def _enough(self, items: Iterable[Any]) -> list[Any]:
        """As many as could fit, and one more; copied, since others may change them meanwhile."""
        return list(islice(items, max(self._left, 0) // 8 + 2))

    def _plain(self, value: object) -> Any:  # noqa: ANN401, C901, PLR0911  (one line per kind of value reads best)
        """One level of `value` in JSON's terms: a dict, a list, or a scalar."""
        if value is None or isinstance(value, (bool, dict, list)):
            return value
        if isinstance(value, str):
            return str.__str__(value)  # an enum's member is its value
        if isinstance(value, int):
            return int(value) if -_INT64 <= value < _INT64 else _digits(value)  # more would lose digits on its way
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else float.__repr__(value)
        if isinstance(value, (tuple, set, frozenset)):
            return [*self._enough(value), *[f"… [{len(value)} in all]"] * (len(value) > max(self._left, 0) // 8 + 2)]
        if isinstance(value, (bytes, bytearray)):
            return bytes(value[:_MAX_TEXT]).decode("utf-8", "backslashreplace")
        if not self._foreign and not is_plain(value):
            return unread(value)
        if isinstance(value, (datetime, date, time)):
            return value.isoformat()
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, BaseException):
            return f"{type(value).__name__}: {value}"
        return _foreign(value)


def _digits(value: int) -> str:
    """An integer that JSON's readers would round; one of thousands of digits takes seconds to write."""
    return str(int(value)) if value.bit_length() < 4_096 else f"<an integer of {value.bit_length()} bits>"  # noqa: PLR2004


def _foreign(value: object) -> Any:  # noqa: ANN401, PLR0911  (the same)
    if isinstance(value, memoryview):
        return value[:_MAX_TEXT].tobytes().decode("utf-8", "backslashreplace")
    if isinstance(value, type):
        return value.__qualname__
    if callable(dump := getattr(value, "model_dump", None)):  # pydantic
        return dump(mode="json")
    if hasattr(value, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    if getattr(value, "shape", None) == () and callable(item := getattr(value, "item", None)):  # numpy's scalars
        return item()
    if callable(getattr(value, "keys", None)) and callable(getattr(value, "__getitem__", None)):
        return {key: value[key] for key in islice(value.keys(), _MAX_TEXT)}  # type: ignore[attr-defined, index]
    return text(value)
