"""Colours and lines for people, by the standard library: coloured on a terminal, plain when piped.

Much of what is shown was written by others: events by whoever may create them, answers by mail servers. `clean` takes
from such a text whatever a terminal would obey, and `guarded` sees to it that nothing but our colours gets through.
"""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CODES: Final = {"red": 31, "green": 32, "yellow": 33, "cyan": 36, "bright_black": 90}
_ESCAPE: Final = re.compile(r"\x1b\[[0-9;]*m")
# C0 but tab and line feed, DEL and C1, which terminals obey; marks that turn the order of what is read around, that
# have no width, or that are a line's end to some; tags; and halves of surrogates, which cannot be written at all.
_OBEYED: Final = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f"
)
_NOT_TEXT: Final = re.compile(f"[{_OBEYED}]")
_NOT_COLOUR: Final = re.compile(rf"(\x1b\[[0-9;]*m)|[{_OBEYED}]")
_SHOWN: Final = "\N{REPLACEMENT CHARACTER}"
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


def clean(text: object) -> str:
    """A foreign text without anything that a terminal obeys, colours included; each such character shows as U+FFFD."""
    return _NOT_TEXT.sub(_SHOWN, str(text))


class _Guarded:
    """A stream that lets text and colours through; everything else of it is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever the stream has)
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write what may be shown. Raises TypeError for bytes, as any text stream does."""
        if not isinstance(text, str):
            raise TypeError("text is written here, not bytes")
        return self._stream.write(_NOT_COLOUR.sub(lambda found: found[1] or _SHOWN, text))

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)


@contextmanager
def guarded() -> Iterator[None]:
    """Standard output and standard error show nothing but text and colours meanwhile, whoever wrote it."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Guarded(before[0]), _Guarded(before[1])
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
