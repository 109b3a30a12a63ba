"""Processes that outlive the one that started them, known by pid *and* start time: a reused pid is never ours."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_POLL: Final = 0.02
# Those that this process started: they must be reaped, or they would stay as zombies.
_children: Final[dict[Process, subprocess.Popen[bytes]]] = {}


@dataclass(frozen=True, slots=True)
class Process:
    """A process's identity. `started` is opaque: equal only for the same process."""

    pid: int
    started: str

    @classmethod
    def current(cls) -> Process:
        """This very process."""
        return cls(os.getpid(), _start_time(os.getpid()) or "")

    @classmethod
    def spawn(
        cls, command: Sequence[str | Path], log: Path, cwd: Path, env: Mapping[str, str] | None = None
    ) -> Process:
        """Start the command in a session of its own (Ctrl-C is not for it); it writes to the log.

        `env` is its whole environment; None hands down ours.
        """
        with log.open("ab") as output:
            child = subprocess.Popen(  # noqa: S603  (the command is ours)
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=env,
                start_new_session=True,
            )
        process = cls(child.pid, _start_time(child.pid) or "")
        _children[process] = child
        return process

    def alive(self) -> bool:
        """Whether this process, and not a later one of the same pid, still runs."""
        if child := _children.get(self):
            if child.poll() is None:
                return True
            del _children[self]
            return False
        return bool(self.started) and _start_time(self.pid) == self.started

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended; False when it did not within `seconds`."""
        deadline = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL)
        return True

    def terminate(self, grace: float) -> None:
        """Ask it to end (SIGTERM); after `grace` seconds, or at once when that is 0, end it (SIGKILL)."""
        if grace and self._send(signal.SIGTERM) and self.wait(grace):
            return
        self._send(signal.SIGKILL)
        self.wait(10.0)

    def _send(self, number: signal.Signals) -> bool:
        if not self.alive():
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return True


def _start_time(pid: int) -> str | None:
    """When the process began, as the system tells it; None when there is none (a zombie is none)."""
    try:
        # proc_pid_stat(5): the name in parentheses may hold anything; field 3 is the state, 20 threads, 22 the start.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() else _start_time_by_ps(pid)
    # A killed process whose first thread is a zombie already may have others that still hold its files.
    ended = fields[0] in "ZX" and int(fields[17]) <= 1
    return None if ended else f"{_boot()}:{fields[19]}"


def _boot() -> str:
    # Ticks count from boot: after a reboot the same number may come again.
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _start_time_by_ps(pid: int) -> str | None:
    answer = subprocess.run(  # noqa: S603  (the pid is a number)
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],  # noqa: S607  (POSIX puts ps on the PATH)
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    return None if not answer or answer[0].startswith("Z") else " ".join(answer[1:])
