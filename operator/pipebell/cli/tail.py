"""What a command wrote last: its two streams pass through, and the end of each is remembered, in order.

Two pipes say nothing of what came first. On Linux each holds one write at a time here (packet mode, one page), and
epoll tells in which order they were filled: what a command writes alternately is read alternately. Where it writes more
than a thousand times a second, and on other systems, the order is as good as we are quick.
"""

from __future__ import annotations

import fcntl
import math
import os
import select
import threading
import time
from collections import deque
from contextlib import suppress
from itertools import count
from typing import Final, NamedTuple

WINDOW: Final = 65_536  # bytes of each stream that are remembered
_CHUNK: Final = 65_536  # more than a pipe's packet
_FLOOD: Final = 500  # writes
_FLOOD_TIME: Final = 0.5  # seconds
_LOOK_EVERY: Final = 0.1  # seconds
_PAGE: Final = 4_096
_SET_SIZE: Final = getattr(fcntl, "F_SETPIPE_SZ", 1031)


class Line(NamedTuple):
    """A line without its break. `number` orders the lines of both streams; `err`: it came by standard error."""

    number: int
    err: bool
    text: str


class Streams:
    """Pipes for a command's standard output (unless it keeps ours) and standard error: `out` and `err` are to give it.

    When nobody reads our standard output any more, the command gets to know it, as it would without us; when nobody
    reads our standard error, it goes on.
    """

    def __init__(self, *, output: bool) -> None:
        numbers: count[int] = count()
        made = [(_pipe(), number) for number in ((1, 2) if output else (2,))]
        self._ends = {number: write for (_, write, _), number in made}
        self._streams = [_Stream(read, number, numbers) for (read, _, _), number in made]
        self._threads: list[threading.Thread] = []
        self._poll = select.epoll() if all(ordered for (_, _, ordered), _ in made) else None
        if self._poll is not None:
            for stream in self._streams:
                os.set_blocking(stream.descriptor, False)
                # From the beginning, so that nothing is written before. Edge-triggered: a pipe that was read stands
                # behind those that were filled before it is again.
                self._poll.register(stream.descriptor, select.EPOLLIN | select.EPOLLET)

    @property
    def out(self) -> int | None:
        """Where the command's standard output goes; None: where ours goes."""
        return self._ends.get(1)

    @property
    def err(self) -> int:
        """Where its standard error goes."""
        return self._ends[2]

    def follow(self) -> None:
        """The command has its ends: pass on what it writes."""
        if self._poll is None:
            self._give_up_ends()
        for work in [self._in_order] if self._poll else [stream.copy for stream in self._streams]:
            thread = threading.Thread(target=work, name="pipebell-stream", daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """There is no command."""
        self._give_up_ends()
        for stream in self._streams:
            stream.close()
        if self._poll is not None:
            self._poll.close()

    def lines(self, patience: float, blocked: float = 0.0) -> list[Line]:
        """The last lines of both, when they ended or nothing came for `patience` seconds.

        While whoever reads our own output is slow to take what is there, up to `blocked` seconds longer.
        """
        self.drain(patience, blocked)
        return sorted(line for stream in self._streams for line in stream.lines())

    def drain(self, patience: float, blocked: float = math.inf) -> None:
        """Wait until all was passed on; see `lines`."""
        self._give_up_ends()
        end, longest = time.monotonic() + patience, time.monotonic() + patience + blocked
        seen: list[int] = []
        while any(thread.is_alive() for thread in self._threads):
            for thread in self._threads:
                thread.join(_LOOK_EVERY / len(self._threads))
            now, states = time.monotonic(), [stream.writes for stream in self._streams]
            if states == seen and any(state % 2 for state in states):
                end = now + patience  # the same write, all the time
            seen = states
            if now >= min(end, longest):
                return

    def _give_up_ends(self) -> None:
        """Close our copies, without which no pipe would end."""
        while self._ends:
            with suppress(KeyError):  # a flood has taken it at this moment
                os.close(self._ends.popitem()[1])

    def _in_order(self) -> None:
        assert self._poll is not None  # noqa: S101  (see `follow`)
        left = {stream.descriptor: stream for stream in self._streams}
        with self._poll as poll:
            while left:
                for descriptor, event in poll.poll():
                    stream = left[descriptor]
                    # Behind the last write no further edge comes.
                    if not stream.read(to_the_end=bool(event & select.EPOLLHUP)):
                        poll.unregister(descriptor)
                        left.pop(descriptor).close()
                    elif stream.floods():
                        self._let_flow(stream, poll)

    def _let_flow(self, stream: _Stream, poll: select.epoll) -> None:
        """From now on many writes at a time: a command that writes thousands of lines a second is not held up."""
        write = self._ends.pop(stream.out, None)
        if write is None:
            return
        poll.modify(stream.descriptor, select.EPOLLIN)
        try:
            fcntl.fcntl(write, fcntl.F_SETFL, fcntl.fcntl(write, fcntl.F_GETFL) & ~os.O_DIRECT)
            fcntl.fcntl(write, _SET_SIZE, WINDOW)
        except OSError:
            pass  # as before, then
        finally:
            os.close(write)


def _pipe() -> tuple[int, int, bool]:
    """A pipe's two ends, and whether it holds one write at a time."""
    try:
        read, write = os.pipe2(os.O_CLOEXEC | os.O_DIRECT)
    except (AttributeError, OSError):  # no Linux, or one that is imitated
        return *os.pipe(), False
    try:
        return read, write, hasattr(select, "epoll") and fcntl.fcntl(write, _SET_SIZE, _PAGE) == _PAGE
    except OSError:
        return read, write, False


class _Stream:
    """Passes one pipe on to a descriptor, and remembers its end."""

    def __init__(self, descriptor: int, out: int, numbers: count[int]) -> None:
        self.descriptor, self.out = descriptor, out
        self._numbers = numbers
        self._reads, self._since = 0, time.monotonic()
        self.writes = 0  # odd during one
        self._heard = True
        self._lines: deque[tuple[int, bytearray]] = deque()
        self._size = 0
        self._cut = False  # something before the first line is forgotten
        self._lock = threading.Lock()

    def lines(self) -> list[Line]:
        """The last lines so far."""
        with self._lock:
            found = [(number, bytes(line).decode("utf-8", "replace").rstrip("\n")) for number, line in self._lines]
        if self._cut and found:
            # Its first word is cut, and perhaps what would tell that it is secret.
            found[0] = (found[0][0], found[0][1].partition(" ")[2])
        return [Line(number, self.out != 1, text) for number, text in found]

    def copy(self) -> None:
        """All of it, in the calling thread."""
        self.read(to_the_end=True)
        self.close()

    def read(self, *, to_the_end: bool) -> bool:
        """One write of the command's, or all; false when there will be no more."""
        while True:
            try:
                chunk = os.read(self.descriptor, _CHUNK)
            except BlockingIOError:
                return True
            self._reads += 1
            if not chunk or not self._take(chunk):
                return False
            if not to_the_end:
                return True

    def floods(self) -> bool:
        """Whether more is written than one write at a time should hold up."""
        if self._reads < _FLOOD:
            return False
        now = time.monotonic()
        quick, self._since, self._reads = now - self._since < _FLOOD_TIME, now, 0
        return quick

    def close(self) -> None:
        os.close(self.descriptor)

    def _take(self, chunk: bytes) -> bool:
        """Remember and pass on; false when there is no use in more."""
        self._remember(chunk)
        if self._heard and not self._pass_on(chunk):
            self._heard = False
        return self._heard or self.out != 1

    def _pass_on(self, chunk: bytes) -> bool:
        self.writes += 1
        try:
            while chunk:
                chunk = chunk[os.write(self.out, chunk) :]
        except OSError:
            return False
        finally:
            self.writes += 1
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
                self._cut = False
            if self._size > 2 * WINDOW:  # one endless line
                line = self._lines[0][1]
                del line[:-WINDOW]
                self._size, self._cut = len(line), True


def _pieces(chunk: bytes) -> list[bytes]:
    """Lines with their breaks; `splitlines` would take a progress bar's carriage returns for breaks."""
    *lines, rest = chunk.split(b"\n")
    return [line + b"\n" for line in lines] + ([rest] if rest else [])
