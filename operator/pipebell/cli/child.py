"""A command under supervision: its output passes through, what it wrote last is remembered, signals reach it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pipebell.cli.tail import Line, Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

# A process group of its own. (Nothing but this call happens in the child of Python 3.10, where threads may run.)
_GROUP: Final[dict[str, Any]] = {"process_group": 0} if sys.version_info >= (3, 11) else {"preexec_fn": os.setpgrp}
# What would end this process, and is meant for the command; the real-time signals (34 to 64 on Linux) have no names.
_NAMES: Final = (
    *("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGPWR"),
    *("SIGXCPU", "SIGXFSZ", "SIGIO", "SIGSTKFLT", "SIGTRAP"),
)
_REAL_TIME: Final = range(getattr(signal, "SIGRTMIN", 0), getattr(signal, "SIGRTMAX", -1) + 1)
_FORWARDED: Final = (*(int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name)), *_REAL_TIME)
_FROM_TERMINAL: Final = (signal.SIGINT, getattr(signal, "SIGQUIT", signal.SIGINT))
_BLOCKED: Final = 10.0  # seconds that a slow reader of our output may hold up the copying
_STRAGGLERS: Final = 1.0  # seconds that processes left by the command may hold its output open

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
TIMED_OUT: Final = 124  # as timeout(1) of the GNU coreutils
_FIXES: Final = {
    errno.ENOEXEC: " (a script's first line names its interpreter, such as #!/bin/sh)",
    errno.EACCES: " (a program has to be executable: chmod +x)",
}
_KILLED: Final = 128  # plus the signal's number, as shells and container runtimes report it


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ended. `code` is what to exit with; times in seconds.

    `tail` is the end of its standard error, `lines` the ends of both streams in the order in which they came. `drain`
    waits until whoever reads our own output has taken all of the command's.
    """

    code: int
    seconds: float
    tail: str = ""
    signal: str | None = None
    timed_out: bool = False
    not_started: str | None = None
    lines: tuple[Line, ...] = ()
    drain: Callable[[], None] = lambda: None


def supervise(command: Sequence[str], *, timeout: float | None = None, grace: float = 10.0) -> Ending:
    """Run a command to its end; after `timeout` seconds with SIGTERM, and SIGKILL `grace` seconds later.

    Must be called in the main thread: it takes the signals over and passes them on.
    """
    began = time.monotonic()
    # At a terminal the command stays in its foreground group; elsewhere it gets one, so that all of it can be ended.
    interactive = sys.stdin is not None and sys.stdin.isatty()
    relay = _Relay(interactive)
    with relay:
        # A person at a terminal sees standard output as the command means it to be seen there.
        streams = Streams(output=not os.isatty(1))
        try:
            child = subprocess.Popen(  # noqa: S603  (running the user's command is what this is for)
                list(command), stdout=streams.out, stderr=streams.err, **({} if interactive else _GROUP)
            )
        except (OSError, ValueError) as error:
            streams.close()
            return _not_started(command[0], error)
        streams.follow()
        relay.attach(child)
        timed_out = _wait(child, relay, timeout, grace)
        lines = streams.lines(_STRAGGLERS, _BLOCKED)
    code = child.returncode
    return Ending(
        code=TIMED_OUT if timed_out else _KILLED - code if code < 0 else code,
        seconds=time.monotonic() - began,
        tail="".join(f"{line.text}\n" for line in lines if line.err),
        signal=_signal_name(-code) if code < 0 else None,
        timed_out=timed_out,
        lines=tuple(lines),
        drain=(lambda: None) if timed_out else lambda: streams.drain(_STRAGGLERS),
    )


def _not_started(program: str, error: Exception) -> Ending:
    if isinstance(error, FileNotFoundError):
        return Ending(NOT_FOUND, 0.0, not_started=f"{program}: command not found")
    reason = getattr(error, "strerror", None) or str(error)  # a ValueError: a NUL in an argument
    fix = _FIXES.get(getattr(error, "errno", None) or 0, "")
    return Ending(NOT_EXECUTABLE, 0.0, not_started=f"{program}: {reason}{fix}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


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
