import io
import sys

from pipebell.cluster import Progress, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_has_one_moving_line(monkeypatch):
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    screen = Terminal()
    report = Progress(screen)
    report.tick("building", 35.0)
    report.tick("too soon", 35.0)
    now = 101.0
    report.tick("still building", 35.0)
    report.say("built")
    assert screen.getvalue() == "\r\x1b[Kbuilding (1:05)\r\x1b[Kstill building (1:06)\r\x1b[Kbuilt\n"


def test_elsewhere_there_is_a_plain_line_now_and_then(monkeypatch):
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    file = io.StringIO()
    report = Progress(file)
    for now in (100.0, 101.0, 104.9, 105.0):  # noqa: B007  (the clock)
        report.tick("building", 100.0)
    assert file.getvalue() == "building (0:00)\nbuilding (0:05)\n"


def test_silence_is_silent(capsys):
    report = Progress.silent()
    report.tick("a", 0.0)
    report.say("b")
    assert capsys.readouterr() == ("", "")


def test_a_commands_lines_are_described_kept_and_logged(tmp_path):
    seen = []
    code, lines = progress.run(
        [sys.executable, "-c", "import sys; print('one'); print('two', file=sys.stderr); sys.exit(3)"],
        log=tmp_path / "log",
        describe=lambda line: seen.append(line) or "",
        progress=Progress.silent(),
    )
    assert code == 3
    assert sorted(lines) == ["one", "two"]
    assert sorted(line for line in seen if line) == ["one", "two"]
    assert {"one", "two"} <= set((tmp_path / "log").read_text().splitlines())
