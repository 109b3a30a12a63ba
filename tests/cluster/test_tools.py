import sys

import pytest

from pipebell.cluster import ClusterError, Progress, packages, tools


@pytest.fixture(autouse=True)
def fresh():
    tools.kubectl.cache_clear()
    yield
    tools.kubectl.cache_clear()


@pytest.fixture
def path(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("answer", "taken"),
    [
        ('{"clientVersion": {"major": "1", "minor": "30"}}', True),
        ('{"clientVersion": {"major": "1", "minor": "33+"}}', True),
        ('{"clientVersion": {"major": "1", "minor": "29"}}', False),
        ("{}", False),
        ("no JSON", False),
    ],
)
def test_a_recent_kubectl_of_the_machine_is_taken(path, monkeypatch, tmp_path, answer, taken):
    other = tmp_path / "pypi"
    monkeypatch.setattr(packages, "program", lambda *_, **__: other)
    script(path / "kubectl", f"echo '{answer}'")
    assert tools.kubectl() == (path / "kubectl" if taken else other)


@pytest.fixture
def pip(path, monkeypatch):
    """A pip that installs `bin/tool` where it is told; or fails."""
    script(
        path / "pip",
        'while [ "$1" != --target ]; do shift; done\n'
        '[ "$3" = broken==1 ] && { echo "ERROR: no such package"; exit 1; }\n'
        'mkdir -p "$2/bin"; echo "$3" > "$2/bin/tool"; echo called >> "$0.calls"',
    )
    script(path / "uv", "exit 9")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    (path / "uv").unlink()
    return path / "pip.calls"


def test_a_package_is_installed_once_and_outside_of_everything(pip, tmp_path):
    for _ in range(2):
        program = packages.program("good==1", "bin/tool", hint="do it", report=Progress.silent())
    assert program == tmp_path / "cache" / "pipebell" / "packages" / "good-1" / "bin" / "tool"
    assert program.read_text() == "good==1\n"
    assert pip.read_text() == "called\n"


def test_a_package_that_cannot_be_had_tells_the_mend(pip):
    with pytest.raises(ClusterError, match=r"could not install broken==1 \(ERROR: no such package; log: .*\): do it"):
        packages.program("broken==1", "bin/tool", hint="do it", report=Progress.silent())


def test_this_pythons_own_pip_comes_first(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    assert packages._installer("")[:3] == [sys.executable, "-m", "pip"]


def test_without_any_pip_the_mend_is_told(path, monkeypatch):
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ClusterError, match="has no pip: install it yourself"):
        packages.program("x==1", "bin/x", hint="install it yourself", report=Progress.silent())
