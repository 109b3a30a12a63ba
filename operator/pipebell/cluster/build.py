"""Building the control plane's program, once per source and machine: six minutes on two cores the first time."""

from __future__ import annotations

import hashlib
import platform
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipebell.cluster import folders, locks, progress, toolchain
from pipebell.cluster.errors import ClusterError

if TYPE_CHECKING:
    from pipebell.cluster.progress import Progress

_SOURCE: Final = Path(__file__).parent / "controlplane"
_FILES: Final = ("go.mod", "go.sum", "main.go")
_VERSION: Final = "k8s.io/component-base/version"
_SHOWN: Final = 5


def control_plane(report: Progress) -> Path:
    """The program, built if the cache has none of this source. Raises ClusterError that names the log."""
    shelf = folders.cache() / "control-plane"
    program = shelf / _key() / "pipebell-control-plane"
    if program.exists():
        return program
    with locks.alone(shelf, report, "a build of the control plane"):
        if not program.exists():
            program.parent.mkdir(parents=True, exist_ok=True)
            _build(program, report)
    return program


@cache
def kubernetes_version() -> str:
    """The version that go.mod asks for, such as v1.37.2."""
    found = re.search(r"^\s*k8s\.io/kubernetes (v\S+)$", (_SOURCE / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise ClusterError(f"{_SOURCE / 'go.mod'} names no version of k8s.io/kubernetes")
    return found.group(1)


def _arguments() -> list[str]:
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".", 2)
    # Without a version kubectl and helm cannot make sense of the server.
    facts = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    linker = " ".join(["-s -w", *(f"-X {_VERSION}.{name}={value}" for name, value in facts.items())])
    return ["-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", linker]


@cache
def _key() -> str:
    digest = hashlib.sha256(" ".join([platform.system(), platform.machine(), *_arguments()]).encode())
    for name in _FILES:
        digest.update((_SOURCE / name).read_bytes())
    return digest.hexdigest()[:16]


def _build(program: Path, report: Progress) -> None:
    log = program.with_name("build.log")
    log.write_text("", encoding="utf-8")
    report.say(f"building kube-apiserver {kubernetes_version()}: some minutes, the first time only (log: {log})")
    go = toolchain.go(report, minimum=_go_version(), module=_SOURCE, log=log)
    downloads, compiled = _Count("go: downloading "), _Count("")
    arguments = _arguments()
    code, lines = progress.run(
        [go.program, "list", "-mod=readonly", "-deps", "."],
        cwd=_SOURCE,
        env=go.environment,
        log=log,
        describe=lambda line: f"control plane: {downloads.see(line)} modules downloaded",
        progress=report,
    )
    packages = len([line for line in lines if not line.startswith("go: ")])
    if code == 0:
        draft = program.with_suffix(".draft")
        code, lines = progress.run(
            [go.program, "build", "-v", "-o", draft, *arguments, "."],
            cwd=_SOURCE,
            env=go.environment,
            log=log,
            describe=lambda line: f"control plane: {compiled.see(line)} of at most {packages} packages compiled",
            progress=report,
        )
    if code != 0:
        end = " / ".join(line.strip() for line in lines[-_SHOWN:])
        raise ClusterError(f"the control plane's build failed; its log is {log} and ends: {end}")
    draft.replace(program)
    report.say("control plane: built")


def _go_version() -> tuple[int, int]:
    found = re.search(r"^go (\d+)\.(\d+)", (_SOURCE / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise ClusterError(f"{_SOURCE / 'go.mod'} names no version of Go")
    return int(found.group(1)), int(found.group(2))


class _Count:
    """How many lines with this beginning have been seen."""

    def __init__(self, beginning: str) -> None:
        self._beginning = beginning
        self._count = 0

    def see(self, line: str) -> int:
        self._count += bool(line) and line.startswith(self._beginning)
        return self._count
