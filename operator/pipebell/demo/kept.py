"""A demo that stays: handed over to processes of their own, found again by the cluster's name, and ended."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

from pipebell.cluster import Cluster
from pipebell.cluster.processes import Process
from pipebell.demo.stage import RECEIVED, StageError, end_processes
from pipebell.sinks.outside import OWN

if TYPE_CHECKING:
    from pathlib import Path

    from pipebell.demo.stage import Stage

NAME: Final = "pipebell-demo"
_PATIENCE: Final = 20.0  # seconds


def keep(stage: Stage) -> None:
    """Have everything go on without us: the sinks on their ports as a process, with an operator that trusts it."""
    stage.operator.stop()
    stage.stop_sinks()
    ready, log = stage.folder / "sinks.json", stage.folder / "sinks.log"
    command: list[str | Path] = [sys.executable, "-m", "pipebell.sinks", "--ready-file", ready]
    command += ["--record", stage.folder / RECEIVED]
    command += ["--tls-directory", stage.folder]  # a new authority, in the same file
    command += ["--smtp-port", str(stage.smtp.port), "--slack-port", str(stage.slack.port)]
    command += ["--proxy-port", str(stage.outside.port)]
    for kind in OWN:
        command += [f"--{kind}-port", str(stage.outside.sinks[kind].port)]
    for name, password in stage.users.items():
        command += ["--user", f"{name}:{password}"]
    sinks = Process.spawn(command, log, stage.folder)
    stage.note_processes(sinks)
    deadline = time.monotonic() + _PATIENCE
    while not ready.exists():
        if not sinks.alive() or time.monotonic() > deadline:
            raise StageError(f"the mail server and Slack did not start:\n{log.read_text(encoding='utf-8')}")
        time.sleep(0.05)
    stage.operator.start(wait=0.0)
    stage.note_processes(sinks)
    stage.operator.wait_ready()
    stage.leave()


def kept() -> Cluster | None:
    """The cluster of a demo that was left running."""
    return Cluster.find(NAME)


def stop() -> bool:
    """End a demo that was left running, and remove all of it. False when there is none."""
    cluster = kept()
    if cluster is None:
        return False
    end_processes(cluster.directory)
    cluster.delete()
    return True
