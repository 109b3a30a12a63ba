"""One environment per product and version, kept in the user's cache folder, with the wheel of this checkout beside it.

Made with uv where there is one, else with venv and pip. `python environments.py` makes them all and says what it does.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser(), "pipebell", "integrations")

PRODUCTS = {
    "dbt": ("dbt-core==1.11.16", "dbt-duckdb==1.11.1"),
    "airflow-3": ("apache-airflow==3.3.2",),
    "airflow-2.10": ("apache-airflow==2.10.5",),
    "prefect": ("prefect==3.9.1",),
    "dagster": ("dagster==1.13.28",),
    "airflow-2.11": ("apache-airflow==2.11.0",),
    # The newest of what it stands on do not work with it, as its constraints say.
    "airflow-3.0": (
        "apache-airflow==3.0.6",
        "cadwyn==5.4.4",
        "fastapi==0.116.1",
        "pydantic==2.11.7",
        "pyjwt==2.10.1",
        "starlette==0.47.3",
    ),
    "kubernetes-28": ("kubernetes==28.1.0",),
    "kubernetes-33": ("kubernetes==33.1.0",),
    "kubernetes-37": ("kubernetes==37.0.2",),
    "nothing": (),
}


@dataclass(frozen=True)
class Environment:
    folder: Path
    upgraded: dict[str, tuple[str | None, str | None]]
    check: str

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def environ(self, **more: str) -> dict[str, str]:
        """Variables for a program in it: nothing of the virtual environment that the tests run in."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PIPEBELL_", "AIRFLOW", "KUBE"))
        }
        path = f"{self.folder / 'bin'}{os.pathsep}{kept.get('PATH', '')}"
        return {key: value for key, value in kept.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")} | {
            "PATH": path,
            **more,
        }


def environment(product: str, wheel: Path) -> Environment:
    """The product's environment with the wheel in it, what its installation changed besides, and `pip check`."""
    folder = _product(product)
    python = folder / "bin" / "python"
    _pip(python, "uninstall", "pipebell")
    before = _freeze(python)
    _pip(python, "install", str(wheel))
    after = _freeze(python)
    changed = {
        name: (before.get(name), after.get(name))
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name) and name != "pipebell"
    }
    check = subprocess.run([python, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    return Environment(folder, changed, check.stdout + check.stderr if check.returncode else "")


def build_wheel(folder: Path) -> Path:
    """This checkout's wheel."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    return next(folder.glob("*.whl"))


def _product(product: str) -> Path:
    """Make the environment of a product, unless it is there. Others that make it at the same time do no harm."""
    packages = PRODUCTS[product]
    version = f"py{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:8]
    folder = CACHE / f"{product}-{version}-{digest}"
    if (folder / ".ready").exists():
        return folder
    _say(f"environment for {product}: installing {', '.join(packages)} into {folder}")
    CACHE.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    if packages:
        _pip(folder / "bin" / "python", "install", *packages)
    (folder / ".ready").touch()
    _say(f"environment for {product}: ready")
    return folder


def _pip(python: Path, verb: str, *packages: str) -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv:
        command = [uv, "pip", verb, "--quiet", "--python", str(python), *packages]
    else:
        command = [str(python), "-m", "pip", verb, "--quiet", "--disable-pip-version-check", *packages]
    if verb == "uninstall":
        command = [str(python), "-m", "pip", verb, "--quiet", "--disable-pip-version-check", "--yes", *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")


def _freeze(python: Path) -> dict[str, str]:
    done = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(line.split("==", 1) for line in done.stdout.split() if "==" in line)


def _say(line: str) -> None:
    print(f"==> {line}", file=sys.__stderr__, flush=True)


if __name__ == "__main__":
    for name in PRODUCTS:
        _product(name)
    with tempfile.TemporaryDirectory() as temporary:
        _say(f"wheel: {build_wheel(Path(temporary)).name}")
