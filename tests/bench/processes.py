"""Processes of the benchmark, and what the kernel says of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TICKS = os.sysconf("SC_CLK_TCK")
_POLL = 0.01
_MB = 1e6


@dataclass
class Child:
    """A process that the benchmark started; ended with SIGTERM when the block ends."""

    process: subprocess.Popen
    log: Path

    @classmethod
    def spawn(cls, command: Sequence[object], log: Path, env: Mapping[str, str] | None = None) -> Self:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        return cls(process, log)

    @property
    def pid(self) -> int:
        return self.process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self, grace: float = 30.0) -> None:
        """SIGTERM, then SIGKILL."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(grace)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def wait_for(self, ready, what: str, seconds: float = 60.0):
        """The first true answer of `ready`."""
        deadline = time.monotonic() + seconds
        while not (answer := ready()):
            if self.process.poll() is not None:
                raise RuntimeError(f"{what} ended with {self.process.returncode}; its log: {self.log}\n{self.tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what} was not ready within {seconds:.0f} s; its log: {self.log}\n{self.tail()}")
            time.sleep(_POLL)
        return answer

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-10:])


def cpu_seconds(pid: int) -> float:
    """User and system time of all of a process's threads (proc(5), stat: utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss_mb(pid: int) -> float:
    """Resident memory in MB (10⁶ bytes)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / _MB


def connections_to(pid: int, port: int) -> int:
    """Established TCP connections of a process to a port (proc(5), net/tcp: state 01)."""
    own = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(link.readlink())
            if target.startswith("socket:["):
                own.add(target[8:-1])
    count = 0
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        count += fields[3] == "01" and int(fields[2].rpartition(":")[2], 16) == port and fields[9] in own
    return count


class Meter:
    """CPU time that processes use between `start` and `stop`, in seconds by name."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._before: dict[str, float] = {}

    def start(self) -> None:
        self._before = {name: cpu_seconds(pid) for name, pid in self._pids.items()}

    def stop(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) - self._before[name] for name, pid in self._pids.items()}
