"""How people write the parts of an event on a command line."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from pipebell.core.vocabulary import Severity


class Links(click.ParamType):  # type: ignore[type-arg]  # (click's older versions know no argument)
    """TITLE=URL as a pair."""

    name = "link"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:  # noqa: ANN401
        """Split at the first `=` before the URL."""
        if isinstance(value, tuple):
            return value
        title, mark, url = str(value).partition("=")
        if not mark or not url.startswith(("http://", "https://")):
            self.fail(f"{value!r} is not TITLE=URL with an http(s) URL", param, ctx)
        return title, url


class Details(click.ParamType):  # type: ignore[type-arg]  # (click's older versions know no argument)
    """A JSON object, or @FILE with one (@- for standard input)."""

    name = "details"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:  # noqa: ANN401
        """Parse it."""
        if isinstance(value, dict):
            return value
        try:
            text = str(value)
            if text.startswith("@"):
                text = sys.stdin.read() if text == "@-" else Path(text[1:]).read_text(encoding="utf-8")
            document = json.loads(text)
        except (OSError, ValueError) as error:
            self.fail(f"not JSON: {error}", param, ctx)
        if not isinstance(document, dict):
            self.fail("must be a JSON object, such as '{\"rows\": 0}'", param, ctx)
        return document


class Moment(click.ParamType):  # type: ignore[type-arg]  # (click's older versions know no argument)
    """A time as in RFC 3339."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:  # noqa: ANN401
        """Parse it; without a zone it is local."""
        if isinstance(value, datetime):
            return value
        try:
            return datetime.fromisoformat(str(value)).astimezone()
        except ValueError:
            self.fail(f"{value!r} is not a time such as 2026-01-31T08:00:00Z", param, ctx)


def parse_severity(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:  # noqa: ARG001
    """A severity in any case."""
    if value is None:
        return None
    if value.lower() not in list(Severity):
        raise click.BadParameter(f"{value!r} is none of {', '.join(Severity)}")
    return value.lower()
