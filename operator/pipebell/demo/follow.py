"""Following one event as a user does: `kubectl get pe -w`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pipebell.cluster import tools
from pipebell.cluster.processes import Process
from pipebell.core.vocabulary import GROUP

if TYPE_CHECKING:
    from pathlib import Path

    from pipebell.demo.stage import Stage

_COLUMNS: Final = (
    "custom-columns=PHASE:.status.phase,REASON:.status.reason,"
    "ATTEMPTS:.status.deliveries[0].attempts,NEXT:.status.deliveries[0].nextAttemptTime"
)
_WIDTH: Final = 4


class Seen(NamedTuple):
    """What the event showed at one moment; "" where there was nothing."""

    phase: str
    reason: str
    attempts: int
    next_attempt: str


class Follower:
    """Watches a namespace that gets one event only."""

    def __init__(self, stage: Stage, namespace: str) -> None:
        self._stage, self._namespace = stage, namespace
        self._output: Path = stage.folder / f"watch-{namespace}.txt"
        self._process: Process | None = None

    def start(self) -> None:
        """Begin; returns when the API server has the watch. Raises StageError."""
        command: list[str | Path] = [tools.kubectl(), "--kubeconfig", self._stage.cluster.kubeconfig]
        command += ["get", "pe", "-w", "--no-headers", "-n", self._namespace, "-o", _COLUMNS]
        self._process = Process.spawn(command, self._output, self._stage.folder)
        self._stage.until(self._watches, f"watch of {self._namespace} by kubectl")

    def stop(self) -> list[Seen]:
        """End; all that was seen, each once. Idempotent."""
        if self._process:
            self._process.terminate(2.0)
        text = self._output.read_text(encoding="utf-8") if self._output.exists() else ""
        rows = (line.split() for line in text.splitlines())
        return list(dict.fromkeys(_seen(row) for row in rows if len(row) == _WIDTH))

    def _watches(self) -> bool:
        return any(
            entry["verb"] == "watch"
            and entry["objectRef"].get("apiGroup") == GROUP
            and entry["objectRef"].get("namespace") == self._namespace
            for entry in self._stage.cluster.audit()
        )


def _seen(row: list[str]) -> Seen:
    phase, reason, attempts, next_attempt = ("" if word == "<none>" else word for word in row)
    return Seen(phase, reason, int(attempts or 0), next_attempt)
