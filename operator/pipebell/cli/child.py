"""A command under supervision: its output passes through, its last words are remembered, signals reach it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

# A process group of its own. (Nothing but this call happens in the child of Python 3.10, where threads may run.)
_GROUP: Final[dict[str, Any]] = {"process_group": 0} if sys.version_info >= (3, 11) else {"preexec_fn": os.setpgrp}
_TAIL: Final = 65_536  # bytes
_FORWARDED: Final = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
_FROM_TERMINAL: Final = (signal.SIGINT, getattr(signal, "SIGQUIT", signal.SIGINT))
_STRAGGLERS: Final = 1.0  # seconds that processes left by the command may hold its standard error open

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
TIMED_OUT: Final = 124  # as timeout(1) of the GNU coreutils
_KILLED: Final = 128  # plus the signal's number, as shells and container runtimes report it


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended. `code` is what to exit with; `tail` the end of its standard error; times in seconds."""

    code: int
    seconds: float
    tail: str = ""
    signal: str | None = None
    timed_out: bool = False
    not_started: str | None = None


def supervise(command: Sequence[str], *, timeout: float | None = None, grace: float = 10.0) -> Ending:
    """Run a command to its end; after `timeout` seconds with SIGTERM, and SIGKILL `grace` seconds later.

    Must be called in the main thread: it takes the signals over and passes them on.
    """
    began = time.monotonic()
    # At a terminal the command stays in its foreground group; elsewhere it gets one, so that all of it can be ended.
    interactive = sys.stdin is not None and sys.stdin.isatty()
    relay = _Relay(interactive)
    with relay:
        try:
            child = subprocess.Popen(  # noqa: S603  (running the user's command is what this is for)
                list(command), stderr=subprocess.PIPE, **({} if interactive else _GROUP)
            )
        except FileNotFoundError:
            return Ending(NOT_FOUND, 0.0, not_started=f"{command[0]}: command not found")
        except OSError as error:
            return Ending(NOT_EXECUTABLE, 0.0, not_started=f"{command[0]}: {error.strerror}")
        relay.attach(child)
        tail = _Tee(child.stderr)
        timed_out = _wait(child, relay, timeout, grace)
        text = tail.text(_STRAGGLERS)
    code = child.returncode
    killed_by = signal.Signals(-code).name if code < 0 else None
    return Ending(
        code=TIMED_OUT if timed_out else _KILLED - code if code < 0 else code,
        seconds=time.monotonic() - began,
        tail=text,
        signal=killed_by,
        timed_out=timed_out,
    )


def _wait(child: subprocess.Popen[bytes], relay: _Relay, timeout: float | None, grace: float) -> bool:
    """Wait for the end; whether it had to be forced."""
    ended = threading.Event()
    threading.Thread(target=lambda: (child.wait(), ended.set()), name="pipebell-child", daemon=True).start()  # type: ignore[func-returns-value]
    if ended.wait(timeout):
        return False
    relay.send(signal.SIGTERM)
    if not ended.wait(grace):
        relay.send(getattr(signal, "SIGKILL", signal.SIGTERM))
        ended.wait()
    return True


class _Relay:
    """Passes signals on to the child; those that came before it was there, too."""

    def __init__(self, interactive: bool) -> None:
        self._interactive = interactive
        self._child: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._before: dict[int, object] = {}

    def __enter__(self) -> None:
        for number in _FORWARDED:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's SIGHUP stays ignored
                self._before[number] = signal.signal(number, self._on_signal)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # (what signal.signal gave us)

    def attach(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        for number in self._early:
            self.send(number)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._interactive and number in _FROM_TERMINAL:
            return  # the terminal has sent it to the command as well
        if self._child is None:
            self._early.append(number)
        else:
            self.send(number)

    def send(self, number: int) -> None:
        if self._child is None or self._child.poll() is not None:
            return
        try:
            if self._interactive:
                self._child.send_signal(number)
            else:
                os.killpg(self._child.pid, number)
        except ProcessLookupError:
            return  # it ended at this very moment


class _Tee:
    """Passes a stream on to standard error and remembers its end."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        assert stream is not None  # noqa: S101  (it was asked for as a pipe)
        self._stream = stream
        self._tail = bytearray()
        self._thread = threading.Thread(target=self._copy, name="pipebell-stderr", daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        descriptor, out = self._stream.fileno(), 2
        while chunk := os.read(descriptor, 65_536):
            try:
                while chunk:
                    written = os.write(out, chunk)
                    self._remember(chunk[:written])
                    chunk = chunk[written:]
            except OSError:
                self._remember(chunk)  # nobody reads our standard error: the command goes on
        self._stream.close()

    def _remember(self, chunk: bytes) -> None:
        self._tail += chunk
        del self._tail[:-_TAIL]

    def text(self, patience: float) -> str:
        """The end of the stream, when it ended or after `patience` seconds."""
        self._thread.join(patience)
        return bytes(self._tail).decode("utf-8", "replace")
