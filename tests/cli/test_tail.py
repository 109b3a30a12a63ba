"""Two streams in the order in which a command wrote them, however quickly."""

import os
import subprocess
import sys
import time

import pytest

from pipebell.cli import tail
from pipebell.cli.tail import Streams


def told(script, *, output=True):
    """What a shell script's streams said; what passes through goes nowhere."""
    streams = Streams(output=output)
    for stream in streams._streams:
        stream._pass_on = lambda _: True
    child = subprocess.Popen(script, stdout=streams.out, stderr=streams.err)
    streams.follow()
    child.wait()
    return [(line.err, line.text) for line in streams.lines(60.0)]


ALTERNATING = "for n in range(300): os.write(1 + n % 2, b'%d\\n' % n)"
RUNS = "for n in range(300): os.write(1 + (n // 3) % 2, b'%d\\n' % n)"
ERRORS_FIRST = "os.write(2, b'0\\n'); os.write(1, b'1\\n')"
NO_ENDS = "os.write(1, b'0'); os.write(2, b'1\\n'); os.write(1, b'\\n2\\n')"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="two pipes have no order elsewhere")
@pytest.mark.parametrize("script", [ALTERNATING, RUNS, ERRORS_FIRST, NO_ENDS])
def test_the_order_is_the_commands(script):
    for _ in range(5):
        lines = told([sys.executable, "-c", f"import os\n{script}"])
        assert [text for _, text in lines] == [str(n) for n in range(len(lines))]


def test_without_such_pipes_both_are_told_all_the_same(monkeypatch):
    monkeypatch.setattr(tail, "_pipe", lambda: (*os.pipe(), False))
    lines = told([sys.executable, "-c", f"import os\n{ALTERNATING}"])
    assert sorted(int(text) for _, text in lines) == list(range(300))
    assert [text for err, text in lines if err] == [str(n) for n in range(1, 300, 2)]


def test_a_standard_output_that_the_command_keeps():
    assert told(["sh", "-c", "echo out >/dev/null; echo err >&2"], output=False) == [(True, "err")]


@pytest.mark.parametrize("size", [1, 4_095, 4_096, 4_097, 1_000_000])
def test_a_large_write_arrives_whole(size):
    script = f"import os, sys\nsys.stdout.write('x' * {size} + '\\nend\\n'); sys.stdout.flush(); os.write(2, b'last')"
    lines = told([sys.executable, "-c", script])
    assert lines[-2:] == [(False, "end"), (True, "last")]


def test_an_endless_line_is_told_from_a_word_on():
    script = "import sys\nsys.stderr.write('s3cret' * 50_000 + ' and the cause')"
    assert told([sys.executable, "-c", script]) == [(True, "and the cause")]


def test_a_flood_takes_its_time_not_ours():
    began = time.monotonic()
    lines = told(["sh", "-c", "yes 0123456789 | head -c 20000000"])
    assert time.monotonic() - began < 60
    assert len(lines) > 5_000


def test_a_slow_reader_gets_everything(tmp_path):
    """It begins to read long after the command has ended."""
    command = [sys.executable, "-m", "pipebell.cli.main", "exec", "--org", "a", "--pipeline", "p", "--"]
    script = "import sys; sys.stdout.write('x' * 200_000); sys.stdout.flush(); sys.stdout.write('y' * 3_000)"
    environ = {**os.environ, "PIPEBELL_SPOOL_DIR": str(tmp_path)}
    with subprocess.Popen([*command, sys.executable, "-c", script], env=environ, stdout=subprocess.PIPE) as child:
        head = child.stdout.read(140_000)
        time.sleep(3)
        rest = child.stdout.read()
    assert (len(head + rest), child.returncode) == (203_000, 0)


def test_one_that_the_command_left_behind_is_not_waited_for(tmp_path):
    command = [sys.executable, "-m", "pipebell.cli.main", "exec", "--org", "a", "--pipeline", "p", "--"]
    script = "(while echo noise; do sleep 0.05; done) & echo begun"  # it ends when nobody reads it any more
    subprocess.run([*command, "sh", "-c", script], capture_output=True, text=True, timeout=60, check=True)


def test_nothing_stays_open():
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  (nothing reads better)
    for _ in range(20):
        told(["true"])
        Streams(output=True).close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208  (nothing reads better)
