"""What a command wrote last: its two streams pass through, and the end of each is remembered, in order."""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import IO, TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from itertools import count

WINDOW: Final = 65_536  # bytes of each stream that are remembered
_CHUNK: Final = 65_536


class Line(NamedTuple):
    """A line without its break. `number` orders the lines of both streams; `err`: it came by standard error."""

    number: int
    err: bool
    text: str


class Stream:
    """Passes a pipe on to a descriptor and remembers its end, in a thread of its own: no stream waits for the other.

    `numbers` is shared by both. When nobody reads our standard output any more, the command gets to know it, as it
    would without us; when nobody reads our standard error, it goes on.
    """

    def __init__(self, pipe: IO[bytes], out: int, numbers: count[int]) -> None:
        self._pipe, self._out, self._numbers = pipe, out, numbers
        self._lines: deque[tuple[int, bytearray]] = deque()
        self._size = 0
        self._cut = False  # something before the first line is forgotten
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._copy, name=f"pipebell-stream-{out}", daemon=True)
        self._thread.start()

    def lines(self, patience: float) -> list[Line]:
        """The last lines, when the stream ended or after `patience` seconds."""
        self._thread.join(patience)
        with self._lock:
            found = [
                Line(number, self._out != 1, bytes(line).decode("utf-8", "replace")) for number, line in self._lines
            ]
        if self._cut and found:
            # The beginning of the first one is missing, and with it perhaps what would tell a secret in it.
            found[0] = found[0]._replace(text="")
        return [Line(line.number, line.err, line.text.rstrip("\n")) for line in found]

    def _copy(self) -> None:
        descriptor = self._pipe.fileno()
        heard = True
        while chunk := os.read(descriptor, _CHUNK):
            self._remember(chunk)
            if heard and not self._pass_on(chunk):
                heard = False
                if self._out == 1:
                    break
        self._pipe.close()

    def _pass_on(self, chunk: bytes) -> bool:
        try:
            while chunk:
                chunk = chunk[os.write(self._out, chunk) :]
        except OSError:
            return False
        return True

    def _remember(self, chunk: bytes) -> None:
        with self._lock:
            for piece in _pieces(chunk):
                if self._lines and not self._lines[-1][1].endswith(b"\n"):
                    self._lines[-1][1].extend(piece)
                else:
                    self._lines.append((next(self._numbers), bytearray(piece)))
                self._size += len(piece)
            while self._size > WINDOW and len(self._lines) > 1:
                self._size -= len(self._lines.popleft()[1])
            if self._size > 2 * WINDOW:  # one endless line
                line = self._lines[0][1]
                del line[:-WINDOW]
                self._size, self._cut = len(line), True


def _pieces(chunk: bytes) -> list[bytes]:
    """Lines with their breaks; `splitlines` would take a progress bar's carriage returns for breaks."""
    *lines, rest = chunk.split(b"\n")
    return [line + b"\n" for line in lines] + ([rest] if rest else [])
