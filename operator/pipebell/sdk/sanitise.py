"""Details as JSON, whatever a pipeline puts into them, within a size that the API server takes."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta
from typing import Any, Final

MAX_SIZE: Final = 131_072  # characters in all; the operator shows 16 KiB of them
_MAX_TEXT: Final = 32_768
_MAX_DEPTH: Final = 12
_INT64: Final = 2**63


def details(value: object, size: int = MAX_SIZE) -> dict[str, Any]:
    """A JSON object of `value`, cut visibly where it is too long or too deep. Never raises."""
    clean = _Cleaner(size).clean(value, 0, ())
    return clean if isinstance(clean, dict) else {"value": clean}


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters: beginning and end (where a traceback says what happened), with a mark between."""
    if len(text) <= limit:
        return text
    mark = f"\n… [{len(text) - limit} and more characters left out] …\n"
    head = max((limit - len(mark)) // 4, 0)
    tail = limit - len(mark) - head
    return (text[:head] + mark + text[len(text) - tail :])[:limit]


def text(value: object) -> str:
    """`str(value)`, also when that raises."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001  (foreign code)
        return f"<{type(value).__name__}>"


class _Cleaner:
    def __init__(self, size: int) -> None:
        self._left = size

    def clean(self, value: object, depth: int, above: tuple[int, ...]) -> Any:  # noqa: ANN401  (JSON)
        try:
            plain = _plain(value)
        except Exception:  # noqa: BLE001  (foreign code: isoformat, item, model_dump …)
            plain = text(value)
        if isinstance(plain, (dict, list)):
            if depth >= _MAX_DEPTH or id(value) in above:
                return "… [too deep]"
            inner = (*above, id(value))
            return (
                self._dict(plain, depth + 1, inner) if isinstance(plain, dict) else self._list(plain, depth + 1, inner)
            )
        if plain is not None and not isinstance(plain, (bool, int, float, str)):
            plain = text(plain)  # a foreign method that returned one more foreign thing
        if isinstance(plain, str):
            plain = shorten(plain, max(min(_MAX_TEXT, self._left), 100))
        self._left -= 8 + len(plain) if isinstance(plain, str) else 8
        return plain

    def _dict(self, value: dict[Any, Any], depth: int, above: tuple[int, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for count, (key, item) in enumerate(list(value.items())):
            if self._left <= 0:
                result["…"] = f"[{len(value) - count} more left out]"
                break
            name = shorten(text(key), 256)
            self._left -= len(name) + 4
            result[name] = self.clean(item, depth, above)
        return result

    def _list(self, value: list[Any], depth: int, above: tuple[int, ...]) -> list[Any]:
        result: list[Any] = []
        for count, item in enumerate(value):
            if self._left <= 0:
                result.append(f"… [{len(value) - count} more left out]")
                break
            result.append(self.clean(item, depth, above))
        return result


def _plain(value: object) -> Any:  # noqa: ANN401, PLR0911  (one line per kind of value reads best)
    """One level of `value` in JSON's terms: a dict, a list, or a scalar."""
    if value is None or isinstance(value, (bool, dict, list)):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # an enum's member is its value
    if isinstance(value, int):
        return int(value) if -_INT64 <= value < _INT64 else text(value)  # more would lose digits on its way
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else text(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, (tuple, set, frozenset)):
        return list(value)
    return _foreign(value)


def _foreign(value: object) -> Any:  # noqa: ANN401
    if isinstance(value, type):
        return value.__qualname__
    if callable(dump := getattr(value, "model_dump", None)):  # pydantic
        return dump(mode="json")
    if hasattr(value, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    if getattr(value, "shape", None) == () and callable(item := getattr(value, "item", None)):  # numpy's scalars
        return _plain(item())
    if callable(getattr(value, "keys", None)) and callable(getattr(value, "__getitem__", None)):
        return {key: value[key] for key in value.keys()}  # type: ignore[attr-defined, index]  # noqa: SIM118
    return text(value)
