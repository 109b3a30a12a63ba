"""Parts of the tests side by side: a pytest each, with a log, a report, a temporary folder and ports of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.parts.plan import Part

_LAST_LINE = re.compile(r"^=* ?(\d+ [a-z]+.*) in [\d.]+s", re.MULTILINE)
_NOTHING_COLLECTED = 5  # of pytest's exit codes: all of the part was left out by a marker
_LOOK = 0.2  # seconds between looks at who has ended
_MARK = "PIPEBELL_TEST_PART"
_LEAVE = 120.0  # seconds that the fixtures of an interrupted part have


@dataclass
class _Running:
    part: Part
    process: subprocess.Popen[bytes]
    slot: int
    began: float


class Runner:
    """Runs parts, so many at once. `say` gets the lines for whoever watches."""

    def __init__(self, folder: Path, jobs: int, options: Sequence[str], say: Callable[[str], None]) -> None:
        self._folder, self._jobs, self._options, self._say = folder, jobs, options, say
        self._temporary = Path(tempfile.mkdtemp(prefix="pipebell-tests-"))  # short: sockets may be in it
        self._running: list[_Running] = []
        self.failed: list[Part] = []
        self._ended = 0
        self._all = 0

    def log(self, part: Part) -> Path:
        """What its pytest says."""
        return self._folder / f"{part.name}.log"

    def run(self, parts: Sequence[Part]) -> bool:
        """Whether all passed. A part that fails leaves the others to go on; KeyboardInterrupt ends all."""
        waiting, self._all = list(parts), len(parts)
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._jobs:
                    self._start(waiting.pop(0))
                time.sleep(_LOOK)
                for one in [one for one in self._running if one.process.poll() is not None]:
                    self._running.remove(one)
                    self._tell(one)
        except BaseException:
            self._end_all()
            shutil.rmtree(self._temporary, ignore_errors=True)
            raise
        finally:
            with contextlib.suppress(OSError):
                self._temporary.rmdir()  # unless something of a failed part is in it
        return not self.failed

    def _start(self, part: Part) -> None:
        slot = min(set(range(self._jobs)) - {one.slot for one in self._running})
        command = [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *self._options),
            *("--basetemp", str(self._temporary / part.name), "--junitxml", str(self._folder / f"{part.name}.xml")),
            *("-o", "junit_family=xunit1"),  # what tests record of themselves (`record_property`) needs it
            *part.files,
        ]
        with self.log(part).open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_compiling(os.environ) | {"PIPEBELL_TEST_SLOT": str(slot), _MARK: self._mark(part)},
                process_group=0,  # Ctrl-C is passed on by us, once, to pytest alone: its fixtures end what they began
            )
        self._running.append(_Running(part, process, slot, time.monotonic()))

    def _mark(self, part: Part) -> str:
        """What the processes that a part begins have in their environment, whoever they belong to by now."""
        return str(self._temporary / part.name)

    def _tell(self, one: _Running) -> None:
        _kill(_family(one.process.pid, self._mark(one.part)))
        code, seconds = one.process.returncode, time.monotonic() - one.began
        good = code in (0, _NOTHING_COLLECTED)
        text = self.log(one.part).read_text(encoding="utf-8", errors="replace")
        self._ended += 1
        if good:
            shutil.rmtree(self._temporary / one.part.name, ignore_errors=True)
        else:
            self.failed.append(one.part)
            self._say(f"==> {one.part.name} failed; all that it said:\n{text}")
        said = _LAST_LINE.findall(text)[-1:] or [f"exit code {code}"]
        line = f"{'passed' if good else 'FAILED'}  {one.part.name:14} {seconds:5.0f} s  {said[0]}"
        self._say(f"{line}  ({self._ended} of {self._all})")

    def _end_all(self) -> None:
        """Interrupt each pytest and wait for what its fixtures have to end; whoever is not patient kills all."""
        for one in self._running:
            with contextlib.suppress(ProcessLookupError):
                one.process.send_signal(signal.SIGINT)
        until = time.monotonic() + _LEAVE
        try:
            for one in self._running:
                one.process.wait(max(0.0, until - time.monotonic()))
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            pass
        for one in self._running:
            family = _family(one.process.pid, self._mark(one.part))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.process.pid, signal.SIGKILL)
            _kill(family)
            one.process.wait()


def _compiling(environ: Mapping[str, str]) -> dict[str, str]:
    """So that what is imported is compiled once, and not by each of the thousands of processes that tests start."""
    return {name: value for name, value in environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _family(pid: int, mark: str) -> list[int]:
    """Processes that a part began and that are still there, in sessions of their own too; where Linux shows them."""
    parents, marked = {}, {pid}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if f"{_MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                marked.add(int(folder.name))
    found: set[int] = set()
    while (more := {child for child, parent in parents.items() if child in marked or parent in found | {pid}}) != found:
        found = more
    return sorted(found - {pid})


def _kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
