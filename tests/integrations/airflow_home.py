"""A whole Airflow on SQLite: its own home, database and processes, ended when the test ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from tests.integrations.conftest import wait_for

if TYPE_CHECKING:
    from pathlib import Path

_SECRET = "made-up-secret-of-a-test-made-up-secret-of-a-test-made-up-secret-of-a-test"


class Airflow:
    """`version` is (major, minor). `runs()` are the DAG runs' states, from the database."""

    def __init__(self, environment, home: Path, dags: Path, **variables: str) -> None:
        self.home, self.python = home, environment.python
        self.version = self._version()
        folder = home / "dags"
        folder.mkdir(parents=True)
        (folder / "dags.py").write_text(dags.read_text())
        port = _free_port()
        self.environ = environment.environ(
            AIRFLOW_HOME=str(home),
            AIRFLOW__CORE__DAGS_FOLDER=str(folder),
            AIRFLOW__CORE__LOAD_EXAMPLES="False",
            AIRFLOW__CORE__EXECUTOR="LocalExecutor",
            AIRFLOW__CORE__PARALLELISM="4",
            AIRFLOW__CORE__EXECUTION_API_SERVER_URL=f"http://127.0.0.1:{port}/execution/",
            AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True",
            AIRFLOW__API__PORT=str(port),
            AIRFLOW__API__HOST="127.0.0.1",
            AIRFLOW__API__WORKERS="1",
            AIRFLOW__API__SECRET_KEY=_SECRET,
            AIRFLOW__API__BASE_URL="https://airflow.example.com",
            AIRFLOW__API_AUTH__JWT_SECRET=_SECRET,
            AIRFLOW__API_AUTH__JWT_ISSUER="the-test",  # Airflow 3.0 does without, and newer PyJWTs do not
            AIRFLOW__WEBSERVER__BASE_URL="https://airflow.example.com",
            AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{home}/airflow.db?timeout=60",
            AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT="40",
            AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL="2",
            AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD="40",
            AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL="2",
            AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL="5",
            AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK="False",
            AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL="5",
            AIRFLOW__LOGGING__LOGGING_LEVEL="INFO",
            HOME=str(home),
            no_proxy="*",
            # Airflow 2 leaves SQLite to one task at a time, for fear of locks; it waits for them here.
            _AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK="1",
            **variables,
        )  # fmt: skip
        self._processes: dict[str, subprocess.Popen] = {}

    def _version(self) -> tuple[int, int]:
        script = "import importlib.metadata as m; print(m.version('apache-airflow'))"
        text = subprocess.run([self.python, "-c", script], capture_output=True, text=True, check=True).stdout
        major, minor, *_ = text.split(".")
        return int(major), int(minor)

    def run(self, *arguments: str, timeout: float = 300) -> str:
        done = subprocess.run(
            [self.python, "-m", "airflow", *arguments],
            env=self.environ, cwd=self.home, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"airflow {' '.join(arguments)}: {done.stdout[-2000:]} {done.stderr[-4000:]}"
        return done.stdout

    def python_says(self, script: str, **variables: str) -> str:
        """What a Python program in this Airflow says: its one line that begins so. Airflow logs there, too."""
        done = subprocess.run(
            [self.python, "-c", script],
            env=self.environ | variables, cwd=self.home, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
        return next(line for line in done.stdout.splitlines() if line.startswith("SAYS ")).removeprefix("SAYS ")

    def start(self) -> None:
        self.run("db", "migrate")
        for name in ("api-server", "dag-processor", "scheduler") if self.version >= (3, 0) else ("scheduler",):
            with (self.home / f"{name}.log").open("wb") as log:
                self._processes[name] = subprocess.Popen(
                    [self.python, "-m", "airflow", name],
                    env=self.environ, cwd=self.home, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip

    def stop(self) -> None:
        for process in self._processes.values():
            _signal(process, signal.SIGTERM)
        end = time.monotonic() + 20
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(end - time.monotonic(), 0.1))
            _signal(process, signal.SIGKILL)
            process.wait()

    def alive(self) -> bool:
        return all(process.poll() is None for process in self._processes.values())

    def log(self, name: str) -> str:
        return (self.home / f"{name}.log").read_text(errors="replace")

    def unpause(self, *dags: str) -> None:
        """As the button does it."""
        marks = ", ".join("?" for _ in dags)
        with closing(self._database()) as database, database:
            database.execute("pragma busy_timeout = 60000")
            database.execute(f"update dag set is_paused = 0 where dag_id in ({marks})", dags)

    def runs(self) -> dict[str, str]:
        if not (self.home / "airflow.db").exists():
            return {}
        with closing(self._database()) as database:
            try:
                return dict(database.execute("select dag_id, state from dag_run").fetchall())
            except sqlite3.OperationalError:  # locked at this moment, or no tables yet
                return {}

    def known(self) -> set[str]:
        with closing(self._database()) as database:
            try:
                return {row[0] for row in database.execute("select dag_id from dag").fetchall()}
            except sqlite3.OperationalError:
                return set()

    def _database(self) -> sqlite3.Connection:
        return sqlite3.connect(self.home / "airflow.db", timeout=60)

    def finished(self, *dags: str, seconds: float) -> dict[str, str]:
        """Wait until all of them have ended; how."""

        def ended():
            assert self.alive(), f"{ {name: process.poll() for name, process in self._processes.items()} }"
            runs = self.runs()
            return (
                {dag: runs[dag] for dag in dags}
                if all(runs.get(dag) in ("success", "failed") for dag in dags)
                else None
            )

        try:
            return wait_for(ended, seconds, "the end of all runs")
        except AssertionError as error:
            raise AssertionError(
                f"{error}\n{json.dumps(self.runs(), indent=1)}\n{self.log('scheduler')[-6000:]}"
            ) from None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def _signal(process: subprocess.Popen, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
