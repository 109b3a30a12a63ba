"""`pipebell demo` as people run it: a process that is interrupted, kept, and stopped."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipebell.cli.demo import demo

COMMAND = [sys.executable, "-m", "pipebell.cli.main", "demo"]


@pytest.fixture
def environment(tmp_path):
    """Clusters and temporary files of our own: what is left there was left behind by the demo."""
    (tmp_path / "tmp").mkdir()
    return os.environ | {"XDG_STATE_HOME": str(tmp_path / "state"), "TMPDIR": str(tmp_path / "tmp")}


def processes_of(folder: Path) -> list[str]:
    """Command lines of processes that work in or know of the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            where = str((process / "cwd").readlink())
        except OSError:
            continue
        if str(folder) in command or where.startswith((str(folder / "tmp"), str(folder / "state"))):
            found.append(command)
    return found


def left_behind(folder):
    return [path for part in ("tmp", "state") for path in (folder / part).rglob("*") if path.is_file()]


def test_keeping_and_stopping_at_once_is_a_mistake():
    assert CliRunner().invoke(demo, ["--keep", "--stop"]).exit_code == 2


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("number", "moment"),
    [(signal.SIGINT, "a mail server"), (signal.SIGTERM, "all are Ready"), (signal.SIGINT, None)],
)
def test_an_interrupted_demo_leaves_nothing_behind(environment, tmp_path, number, moment):
    with subprocess.Popen(
        COMMAND, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while moment is None and not processes_of(tmp_path):  # until the API server is about to start
            assert time.monotonic() < deadline
            time.sleep(0.05)
        shown = ""
        while moment and moment not in shown:
            line = process.stdout.readline()
            assert line, f"it ended before {moment!r}:\n{shown}{process.communicate()[1]}"
            shown += line
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.endswith("Interrupted.\n")
    assert processes_of(tmp_path) == []
    assert left_behind(tmp_path) == []


@pytest.mark.cluster
def test_a_kept_demo_goes_on_until_it_is_stopped(environment, tmp_path):
    def run(*arguments):
        return subprocess.run(
            [*COMMAND, *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    try:
        done = run("--keep")
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"All \d+ claims hold", done.stdout)
        kubeconfig = re.search(r"^export KUBECONFIG=(\S+)$", done.stdout, re.MULTILINE)[1]
        kubectl = ["kubectl", "--kubeconfig", kubeconfig]
        created = subprocess.run(
            [*kubectl, "create", "-f", "build/demo/event.yaml", "-o", "name"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        subprocess.run(
            [*kubectl, "wait", "-n", "globex", created, "--for=jsonpath={.status.phase}=Delivered", "--timeout=60s"],
            capture_output=True,
            check=True,
        )
        again = run("--keep")
        assert (again.returncode, again.stderr) == (
            1,
            "Error: a demo is running already: `pipebell demo --stop` ends it\n",
        )
    finally:
        stopped = run("--stop")
    assert (stopped.returncode, stopped.stderr) == (0, "the demo is gone\n")
    assert processes_of(tmp_path) == []
    assert left_behind(tmp_path) == []
    assert run("--stop").stderr == "there is no demo that runs\n"


@pytest.mark.cluster
def test_an_operator_that_dies_ends_the_demo_with_its_last_words(environment, tmp_path):
    with subprocess.Popen(
        COMMAND, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout:
            if found := re.search(r"own account and token: pid (\d+)", line):
                os.kill(int(found[1]), signal.SIGKILL)
                break
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "The demo failed: the operator has ended; its log ends:\n  {" in output
    assert '"msg": "started"' in output
    assert '"msg": "started"' in (tmp_path / "build/demo/operator.log").read_text(encoding="utf-8")
    assert processes_of(tmp_path) == []
    assert left_behind(tmp_path) == []


@pytest.mark.cluster
def test_what_a_killed_demo_left_is_cleared_away_by_the_next_one(environment, tmp_path):
    with subprocess.Popen(COMMAND, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if found := re.search(r"own account and token: pid (\d+)", line):
                break
        process.kill()
    assert Path(f"/proc/{found[1]}").exists()
    with subprocess.Popen(COMMAND, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
    assert processes_of(tmp_path) == []
    assert left_behind(tmp_path) == []
