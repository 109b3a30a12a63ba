"""The operator as a process of its own, started as a pod would start it."""

from __future__ import annotations

import http.client
import os
import sys
import time
from typing import TYPE_CHECKING, Final

from pipebell.cluster.processes import Process
from pipebell.core.errors import PipebellError
from pipebell.core.status import clip
from pipebell.free_port import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_GRACE: Final = 40.0  # seconds, as terminationGracePeriodSeconds in manifests/deployment.yaml
_POLL: Final = 0.03
_SHOWN: Final = 15  # lines of the log
_WIDTH: Final = 500  # characters of each; an exception with its frames is one line
# All that a process needs of the user's environment; PIPEBELL_*, KUBECONFIG and credentials are not for it.
_INHERITED: Final = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH")


class StageError(PipebellError):
    """Something on the stage did not work. The message says what was seen last."""


class OperatorProcess:
    """`pipebell run` for this kubeconfig. `environment` is added to the little that every process needs.

    Started again it keeps its port and goes on in the same log.
    """

    def __init__(self, kubeconfig: Path, environment: Mapping[str, str], log: Path) -> None:
        self.port = free_port()
        self.log = log
        self.process: Process | None = None
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        self._environment = {
            **inherited,
            "KUBECONFIG": str(kubeconfig),
            "TMPDIR": str(log.parent),  # as a pod's /tmp it outlives the process, and is nobody else's
            "PIPEBELL_HTTP_PORT": str(self.port),
            **environment,
        }

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.alive()

    def start(self, *, wait: float = 60.0) -> None:
        """Start it and wait until it is ready, `seconds` at most (0: do not wait). Raises StageError."""
        if self.alive:
            raise StageError("the operator runs already")
        command = [sys.executable, "-m", "pipebell.cli.main", "run"]
        self.process = Process.spawn(command, self.log, self.log.parent, self._environment)
        if wait:
            self.wait_ready(wait)

    def wait_ready(self, seconds: float = 60.0) -> None:
        """Wait until /readyz says yes. Raises StageError with the log's end."""
        deadline = time.monotonic() + seconds
        while self.get("/readyz")[0] != http.HTTPStatus.OK:
            self.must_live()
            if time.monotonic() > deadline:
                raise StageError(f"the operator was not ready within {seconds:g} s; its log ends:\n{self.last_lines()}")
            time.sleep(_POLL)

    def must_live(self) -> None:
        """Raises StageError with the log's end when the process has ended."""
        if not self.alive:
            raise StageError(f"the operator has ended; its log ends:\n{self.last_lines()}")

    def stop(self) -> None:
        """Ask it to end, and wait. Idempotent."""
        if self.process is not None:
            self.process.terminate(_GRACE)

    def kill(self) -> None:
        """SIGKILL: no time to finish anything. Idempotent."""
        if self.process is not None:
            self.process.terminate(0.0)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of its HTTP endpoint (`/healthz`, `/readyz`, `/metrics`); (0, "") when it does not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5.0)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def log_text(self) -> str:
        """Everything it logged since its first start."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def last_lines(self, count: int = _SHOWN) -> str:
        """The log's end, indented and without what is too long to read."""
        lines = self.log_text().splitlines()[-count:] or ["(nothing)"]
        return "\n".join(f"  {clip(line, _WIDTH)}" for line in lines)
