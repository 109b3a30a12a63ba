"""Parts side by side, with small suites: what is shown, what fails, and that an interruption leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.parts.plan import REPOSITORY, Part
from tests.parts.runner import Runner

SAYS_ITS_SLOT = "import os\ndef test_it():\n    assert os.environ['PIPEBELL_TEST_SLOT'] in '01'\n"
FAILS = "def test_it(tmp_path):\n    print('the reason')\n    raise SystemError\n"
HANGS = """
import os, pathlib, time, pytest
@pytest.fixture
def thing():
    pathlib.Path({folder!r}, 'begun').write_text(str(os.getpid()))
    yield
    pathlib.Path({folder!r}, 'ended').touch()
def test_it(thing):
    time.sleep(600)
"""


@pytest.fixture
def part(tmp_path):
    """Writes a suite of one file; the part that runs it."""

    def make(name, text):
        path = tmp_path / f"test_{name}.py"
        path.write_text(text)
        return Part(name, (str(path),), 1.0)

    return make


@pytest.fixture
def runner(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    said = []
    folder = tmp_path / "logs"
    folder.mkdir()
    made = Runner(folder, 2, ["--rootdir", str(tmp_path)], said.append)
    made.said = said
    return made


BEGINS = """
import pathlib, signal, subprocess, sys, time
HERE = pathlib.Path(__file__).parent
ORPHAN = "import subprocess as s; print(s.Popen(['sleep', '600'], start_new_session=True, stdout=-3, stderr=-3).pid)"
def test_it():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sleeper = subprocess.Popen(["sleep", "600"], start_new_session=True, env={} if HANGS else None)
    orphan = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True).stdout
    (HERE / "begun.part").write_text(f"{sleeper.pid} {orphan}")
    (HERE / "begun.part").rename(HERE / "begun")
    HANGS and time.sleep(600)
"""


def gone(pid):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="whose child a process is, is read from /proc")
@pytest.mark.parametrize("hangs", [True, False])
def test_no_process_of_a_part_outlives_it_whatever_its_session(runner, part, tmp_path, monkeypatch, hangs):
    """Of one that is interrupted and does not end by itself, and of one that has ended."""
    monkeypatch.setattr("tests.parts.runner._LEAVE", 0.5)

    def look(seconds):
        time.sleep(seconds)
        if hangs and (tmp_path / "begun").exists():
            raise KeyboardInterrupt

    monkeypatch.setattr("tests.parts.runner.time", SimpleNamespace(sleep=look, monotonic=time.monotonic))
    parts = [part("begins", BEGINS.replace("HANGS", str(hangs)))]
    if hangs:
        with pytest.raises(KeyboardInterrupt):
            runner.run(parts)
    else:
        assert runner.run(parts), runner.said
    pids = [int(pid) for pid in (tmp_path / "begun").read_text().split()]
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_a_line_for_each_part_that_passes(runner, part):
    assert runner.run([part(f"p{number}", SAYS_ITS_SLOT) for number in range(3)])
    assert len(runner.said) == 3
    assert all(line.startswith("passed  p") and "1 passed" in line for line in runner.said)
    assert runner.said[-1].endswith("(3 of 3)")


def test_what_it_imports_is_compiled_once(runner, part, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert runner.run([part("compiles", "import sys\ndef test_it():\n    assert not sys.dont_write_bytecode\n")])


def test_one_that_fails_shows_its_log_and_the_others_go_on(runner, part):
    bad, good = part("bad", FAILS), part("good", SAYS_ITS_SLOT)
    assert not runner.run([bad, good])
    assert runner.failed == [bad]
    said = "\n".join(runner.said)
    assert "the reason" in said
    assert "FAILED  bad" in said
    assert "passed  good" in said


def test_one_that_is_killed_has_failed(runner, part):
    assert not runner.run([part("killed", "import os\ndef test_it():\n    os.kill(os.getpid(), 9)\n")])
    assert "exit code -9" in runner.said[-1]


WHOLE = """
import sys
from pathlib import Path
from tests.parts import __main__ as program
from tests.parts.plan import Part
folder = Path(sys.argv[1])
program.FOLDER = folder / "logs"
program.files = lambda: []
program.plan = lambda *_: [Part(path.stem, (str(path),), 1.0) for path in sorted(folder.glob("test_*.py"))]
program.main([])
"""
SKIPPED = "import pytest\n@pytest.mark.skip\ndef test_out():\n    pass\n"
KILLED = "import os\ndef test_it():\n    os.kill(os.getpid(), 9)\n"


@pytest.mark.parametrize(
    ("files", "last", "code"),
    [
        ([SAYS_ITS_SLOT, SAYS_ITS_SLOT + SKIPPED], "2 passed, 0 failed, 1 skipped", 0),
        ([SAYS_ITS_SLOT, FAILS + SAYS_ITS_SLOT.replace("test_it", "test_also")], "2 passed, 1 failed, 0 skipped", 1),
        ([SAYS_ITS_SLOT, KILLED], "1 passed, 1 failed, 0 skipped", 1),
    ],
    ids=["good", "bad", "killed"],
)
def test_the_last_line_counts_the_tests(tmp_path, files, last, code):
    for number, text in enumerate(files):
        (tmp_path / f"test_{number}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", WHOLE, tmp_path],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == last


PROGRAM = """
import signal, sys
from pathlib import Path
from tests.parts import __main__ as program
from tests.parts.plan import Part
folder = Path(sys.argv[1])
program.FOLDER = folder / "logs"
program.files = lambda: []
program.plan = lambda *_: [Part("hangs", (str(folder / "test_hangs.py"),), 1.0)]
program.main([])
"""


@pytest.mark.parametrize(
    ("number", "ignored"), [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGTERM, True)]
)
def test_an_interruption_ends_all_and_their_fixtures_clear_up(tmp_path, number, ignored):
    """Also of what a shell started in the background, where SIGINT is ignored."""
    (tmp_path / "test_hangs.py").write_text(HANGS.replace("{folder!r}", repr(str(tmp_path))))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if ignored else None
    try:
        child = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, tmp_path], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        )
    finally:
        if ignored:
            signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 120
    begun = tmp_path / "begun"
    while not (begun.exists() and begun.read_text()):
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(number)
    said, _ = child.communicate(timeout=120)
    assert child.returncode == 130
    assert "interrupted" in said
    assert (tmp_path / "ended").exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(begun.read_text()), 0)
