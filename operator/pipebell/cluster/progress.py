"""Telling people that something long goes on: one moving line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

_MOVING: Final = 0.5  # seconds between updates of a terminal's line
_PLAIN: Final = 5.0  # seconds between lines anywhere else
_ERASE: Final = "\r\x1b[K"


class Progress:
    """Messages for people, on stderr unless another stream is given; `Progress.silent()` says nothing."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream: TextIO | None = stream or sys.stderr
        self._moving = bool(self._stream.isatty())
        self._open = False
        self._last = 0.0

    @classmethod
    def silent(cls) -> Progress:
        """For whoever does not want to hear."""
        progress = cls()
        progress._stream = None
        return progress

    def say(self, text: str) -> None:
        """One line that stays."""
        if self._stream:
            self._stream.write(f"{_ERASE if self._open else ''}{text}\n")
            self._stream.flush()
        self._open = False
        self._last = time.monotonic()

    def tick(self, text: str, since: float) -> None:
        """Where a long step is; `since` is its start on the monotonic clock. May be called as often as one likes."""
        now = time.monotonic()
        if not self._stream or now - self._last < (_MOVING if self._moving else _PLAIN):
            return
        line = f"{text} ({_elapsed(now - since)})"
        if self._moving:
            self._stream.write(_ERASE + line)
            self._stream.flush()
            self._open, self._last = True, now
        else:
            self.say(line)


def run(
    command: Sequence[str | Path],
    *,
    log: Path,
    describe: Callable[[str], str],
    progress: Progress,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> tuple[int, list[str]]:
    """Run a long command: exit code and its lines, which also go to the end of the log.

    `describe` gets each new line ("" when there was none for a while) and says where the command is.
    """
    started = time.monotonic()
    lines = []
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(map(str, command))}\n")
        process = subprocess.Popen(  # noqa: S603  (our own commands)
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=cwd,
            env=env,
        )
        try:
            for line in _lines(process):
                if line:
                    lines.append(line)
                    file.write(f"{line}\n")
                    file.flush()
                progress.tick(describe(line), started)
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
    return process.returncode, lines


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """Its output's lines, and "" twice a second while it is silent."""
    arrived: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        assert process.stdout  # noqa: S101  (it was opened with a pipe)
        with process.stdout as output:
            for line in output:
                arrived.put(line.rstrip("\n"))
        arrived.put(None)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    while True:
        try:
            line = arrived.get(timeout=_MOVING)
        except queue.Empty:
            line = ""
        if line is None:
            reader.join()
            return
        yield line


def _elapsed(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
