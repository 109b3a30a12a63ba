"""Writes the generated CustomResourceDefinitions, or checks that those in the repository are current.

`python -m pipebell.cli.generate [--check] [DIRECTORY…]`: for Pipebell's developers (`make generate`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import yaml

from pipebell.core import crds
from pipebell.core.vocabulary import GROUP

_HEADER = "# Generated from operator/pipebell/core/models.py and status.py by `make generate`: edit those.\n"


# kustomize reads nothing outside of its folder, and `kubectl apply -f crds` wants resources only: hence two.
DIRECTORIES = (Path("crds"), Path("manifests/crds"))


class _Dumper(yaml.SafeDumper):
    """Plain YAML: what occurs twice is written twice, no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002  (the base class's signature)
        return True


def files() -> dict[str, str]:
    """Name and text of each generated file."""
    return {
        f"{GROUP}_{resource.plural}.yaml": _HEADER
        + yaml.dump(crds.definition(resource), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
        for resource in crds.RESOURCES
    }


def drifted(directory: Path) -> list[str]:
    """Names of the generated files that `directory` lacks or holds with another text."""
    return [name for name, text in files().items() if not _holds(directory / name, text)]


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when a file is not what would be written.")
@click.argument("directories", nargs=-1, type=click.Path(file_okay=False, path_type=Path))
def generate(directories: tuple[Path, ...], *, check: bool) -> None:
    """Write the CustomResourceDefinitions into DIRECTORIES [default: crds and manifests/crds]."""
    for directory in directories or DIRECTORIES:
        stale = drifted(directory)
        if check and stale:
            names = ", ".join(stale)
            raise click.ClickException(f"{names} in {directory}: not what the models say; run `make generate`")
        if check:
            continue
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files().items():
            (directory / name).write_text(text, encoding="utf-8")
            click.echo(directory / name)


if __name__ == "__main__":
    generate()
