"""Words and tables for people: coloured on a terminal, plain when piped."""

from __future__ import annotations

import json
import re
import shutil
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from pipebell.cli.terminal import delivery, phase, summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Period", "age", "delivery", "fitting", "for_scripts", "phase", "summary", "table"]

_GAP: Final = "  "
_SHORTEST: Final = 16  # characters of a shortened cell that still say something
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def age(timestamp: str | None, now: float | None = None) -> str:
    """How long ago, as kubectl says it: 45s, 12m, 3h, 4d."""
    if not timestamp:
        return "?"
    seconds = max((time.time() if now is None else now) - datetime.fromisoformat(timestamp).timestamp(), 0)
    for unit, size, until in (("s", 1, 120), ("m", 60, 7200), ("h", 3600, 172_800)):
        if seconds < until:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds // 86_400)}d"


def fitting(headers: Sequence[str], rows: Sequence[dict[str, str]], drop: Sequence[str], *, cut: str) -> list[str]:
    """The columns that fit the terminal's width: those in `drop` go first, one by one, and no cell of them is cut.

    Only the column `cut`, which holds words and no names, is shortened (in `rows` themselves) where that is enough.
    """
    room = shutil.get_terminal_size().columns
    kept = list(headers)
    gone = iter(drop)
    while (over := _width(kept, rows) - room) > 0:
        widest = max((len(click.unstyle(row[cut])) for row in rows), default=0) if cut in kept else 0
        if widest - over >= _SHORTEST:
            for row in rows:
                _shorten(row, cut, widest - over)
            break
        name = next(gone, None)
        if name is None:
            break
        if name in kept:
            kept.remove(name)
    return kept


def _width(headers: Sequence[str], rows: Sequence[Mapping[str, str]]) -> int:
    widths = [max(len(name), *(len(click.unstyle(row[name])) for row in rows)) for name in headers]
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _shorten(row: dict[str, str], name: str, room: int) -> None:
    if len(row[name]) > room:
        row[name] = row[name][: room - 1] + "…"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns, aligned like kubectl's; colours only where a terminal shows them."""
    lines = [list(headers), *map(list, rows)]
    widths = [max(len(click.unstyle(line[column])) for line in lines) for column in range(len(headers))]
    for line in lines:
        cells = (cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(line, widths, strict=True))
        click.echo(_GAP.join(cells).rstrip())


def for_scripts(output: str, kind: str, items: Iterable[Mapping[str, Any]]) -> bool:
    """What `-o json` and `-o name` print of objects: a List, or a name a line. False for any other output."""
    if output == "json":
        click.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)}, indent=2))
    elif output == "name":
        for item in items:
            click.echo(f"{kind}/{item['metadata']['name']}")
    return output in ("json", "name")


class Period(click.ParamType):  # type: ignore[type-arg]  # (click's older versions know no argument)
    """A length of time such as 90s, 30m, 12h or 7d, in seconds."""

    name = "period"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Parse it."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", str(value))
        if match is None:
            self.fail(f"{value!r} is not a period such as 30m, 12h or 7d", param, ctx)
        return float(match[1]) * _UNITS[match[2]]
