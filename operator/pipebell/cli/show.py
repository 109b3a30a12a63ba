"""Words and tables for people: coloured on a terminal, plain when piped."""

from __future__ import annotations

import re
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from pipebell.cli.terminal import delivery, phase, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Period", "age", "delivery", "phase", "summary", "table"]

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


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns. On a terminal by rich, which folds what is too wide; piped, aligned like kubectl's."""
    if sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415  (60 ms that a pipe need not pay)
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        grid = Table(*headers, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            grid.add_row(*(Text.from_ansi(cell) for cell in row))
        Console().print(grid)
        return
    plain = [[click.unstyle(cell) for cell in row] for row in (headers, *rows)]
    widths = [max(len(row[column]) for row in plain) for column in range(len(headers))]
    for row in plain:
        click.echo("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


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
