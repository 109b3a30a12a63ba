"""Other Pythons to run the product on, each with the locked packages; a test that finds none is skipped, visibly."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).parents[1]
_LOCK = _REPOSITORY / "requirements.lock"


@functools.cache
def python(version):
    """The path of a Python of this version ("3.13") that can import pipebell; the environment is made once."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    found = interpreter(version)
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pipebell" / "test-pythons"
    home.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(_LOCK.read_bytes() + str(_REPOSITORY).encode()).hexdigest()[:12]
    folder = home / f"{version}-{key}"
    with (home / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            _make(found, folder)
    return str(folder / "bin" / "python")


def interpreter(version):
    """The path of a Python of this version, as it is installed."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    found = next(filter(None, map(_works, _candidates(version))), None)
    if found is None:
        pytest.skip(f"there is no Python {version} here (searched PATH and ~/.pyenv/versions)")
    return found


def _candidates(version):
    yield shutil.which(f"python{version}")
    yield from sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python"), reverse=True)


def _works(candidate):
    """The path, unless it is a shim of a Python that is not chosen."""
    if candidate is None:
        return None
    done = subprocess.run([candidate, "-c", "import ensurepip, venv"], capture_output=True, check=False)
    return str(candidate) if done.returncode == 0 else None


def _make(found, folder):
    shutil.rmtree(folder, ignore_errors=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    here = ["--no-deps", "--no-build-isolation", "--editable", _REPOSITORY]
    for command in ([found, "-m", "venv", folder], [*pip, "--require-hashes", "-r", _LOCK], [*pip, *here]):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            pytest.skip(f"the packages for another Python cannot be had: {said}")
    (folder / "ready").touch()
