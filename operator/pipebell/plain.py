"""Text of others as plain text: events are written by whoever may create them, answers by any mail server.

A terminal obeys some characters, be it that of a command's user or of whoever reads the log.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TextIO

from pipebell.core.characters import INVISIBLE

if TYPE_CHECKING:
    from collections.abc import Iterable

# C0 but tab and line feed, DEL and C1, which terminals obey; marks that turn the order of what is read around, that
# have no width, or that are a line's end to some; tags; and halves of surrogates, which cannot be written at all.
_OBEYED: Final = rf"\x00-\x08\x0b-\x1f\x7f-\x9f{INVISIBLE}\u2028\u2029\ud800-\udfff\U000e0000-\U000e007f"
_NOT_TEXT: Final = re.compile(f"[{_OBEYED}]")
_NOT_COLOUR: Final = re.compile(rf"(\x1b\[[0-9;]*m)|[{_OBEYED}]")
_SHOWN: Final = "\N{REPLACEMENT CHARACTER}"


def clean(text: object) -> str:
    """A foreign text without anything that a terminal obeys, colours included; each such character shows as U+FFFD."""
    return _NOT_TEXT.sub(_SHOWN, str(text))


class Guarded:
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
