import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pipebell.cluster import processes
from pipebell.cluster.processes import Process

SLEEP = "import time; time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); {SLEEP}"


@pytest.fixture
def spawn(tmp_path):
    started = []

    def start(code):
        started.append(Process.spawn([sys.executable, "-c", code], tmp_path / "log", tmp_path))
        return started[-1]

    yield start
    for process in started:
        process.terminate(0.0)


def test_a_process_is_known_by_pid_and_start_time(spawn):
    process = spawn(SLEEP)
    assert process.alive()
    impostor = replace(process, started="another time")
    assert not impostor.alive()
    impostor.terminate(0.0)
    assert process.alive()


def test_what_another_process_started_is_known_too():
    child = subprocess.Popen([sys.executable, "-c", SLEEP])
    try:
        found = Process(child.pid, processes._start_time(child.pid))
        assert found.alive()
        found._send(9)
        assert found.wait(50.0)  # a zombie until somebody reaps it, which is as good as gone
        assert Path(f"/proc/{child.pid}").exists() or sys.platform != "linux"
    finally:
        child.kill()
        child.wait()
    assert not found.alive()


def test_one_that_ends_by_itself_is_gone(spawn):
    process = spawn("pass")
    assert process.wait(50.0)
    assert not process.alive()


def test_waiting_in_vain_says_so(spawn):
    assert not spawn(SLEEP).wait(0.0)


def test_one_that_ignores_sigterm_is_killed_after_its_grace(spawn, tmp_path):
    process = spawn(STUBBORN)
    deadline = time.monotonic() + 50.0
    while "ready" not in (tmp_path / "log").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.terminate(0.05)
    assert not process.alive()


def test_terminating_twice_is_once(spawn):
    process = spawn(SLEEP)
    process.terminate(5.0)
    process.terminate(5.0)
    assert not process.alive()


def test_it_has_a_session_of_its_own(spawn):
    assert os.getsid(spawn(SLEEP).pid) != os.getsid(0)


def test_where_there_is_no_proc_ps_is_asked():
    me = processes._start_time_by_ps(os.getpid())
    assert me
    assert me == processes._start_time_by_ps(os.getpid())
    assert processes._start_time_by_ps(2**22 + 1) is None
