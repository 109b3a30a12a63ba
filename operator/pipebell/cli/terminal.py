"""Colours and lines for people, by the standard library: coloured on a terminal, plain when piped.

Much of what is shown was written by others: events by whoever may create them, answers by mail servers. `clean` takes
from such a text whatever a terminal would obey, and `guarded` sees to it that nothing but our colours gets through.
"""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from pipebell import plain
from pipebell.plain import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["clean", "delivery", "guarded", "phase", "say", "style", "summary", "unstyle"]

_CODES: Final = {"red": 31, "green": 32, "yellow": 33, "cyan": 36, "bright_black": 90}
_ESCAPE: Final = re.compile(r"\x1b\[[0-9;]*m")
_COLOURS: Final = {
    "Delivered": "green",
    "PartiallyDelivered": "yellow",
    "Failed": "red",
    "Suppressed": "cyan",
    "Skipped": "bright_black",
    "Pending": "yellow",
    "Delivering": "yellow",
}


def style(text: str, colour: str | None) -> str:
    """`text` in a colour; `say` drops colours where nobody can see them."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if colour else text


def unstyle(text: str) -> str:
    """`text` without colours."""
    return _ESCAPE.sub("", text)


@contextmanager
def guarded() -> Iterator[None]:
    """Standard output and standard error show nothing but text and colours meanwhile, whoever wrote it."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = plain.Guarded(before[0]), plain.Guarded(before[1])
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def say(text: str, *, err: bool = False) -> None:
    """A line on standard output (or standard error), coloured only where a terminal shows it."""
    out = sys.stderr if err else sys.stdout
    out.write(f"{text if out.isatty() else unstyle(text)}\n")
    out.flush()


def phase(word: str) -> str:
    """A phase in its colour."""
    return style(clean(word), _COLOURS.get(word))


def delivery(item: dict[str, Any]) -> str:
    """One delivery in a line: where, how it stands, and what is next."""
    parts = [f"{clean(item.get('destination'))}: {phase(item.get('phase', '?'))}"]
    attempts = item.get("attempts") or 0
    if attempts:
        parts.append(f"after {attempts} attempt{'s' if attempts > 1 else ''}")
    if item.get("phase") != "Delivered" and (item.get("message") or item.get("reason")):
        parts.append(f"({clean(item.get('message') or item.get('reason'))})")
    if item.get("nextAttemptTime"):
        parts.append(f"next at {clean(item['nextAttemptTime'])}")
    if item.get("recipients"):
        parts.append(f"to {clean(item['recipients'])}")
    return " ".join(parts)


def summary(event: dict[str, Any]) -> str:
    """Where an event stands, in a line."""
    status = event.get("status") or {}
    words = [phase(status.get("phase") or "Pending")]
    if status.get("reason"):
        words.append(f"/{clean(status['reason'])}")
    if status.get("message"):
        words.append(f": {clean(status['message'])}")
    return "".join(words)


def configuration(event: dict[str, Any]) -> str:
    """The configuration that an event used; "" while it has used none."""
    used = (event.get("status") or {}).get("configRef") or {}
    if not used:
        return ""
    kind = "the root configuration" if used.get("kind") == "RootConfig" else "NotificationConfig"
    return f"{kind} {clean(used.get('namespace'))}/{clean(used.get('name'))}"
