"""Writes the generated CustomResourceDefinitions, docs/reference.md and the tables of kinds, or checks those here.

`python -m pipebell.cli.generate [--check] [DIRECTORY…]`: for Pipebell's developers (`make generate`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click
import yaml

from pipebell.cli.kind_tables import Unwritten, tables
from pipebell.core import crds
from pipebell.core.reference import reference
from pipebell.core.vocabulary import GROUP

_HEADER = "# Generated from operator/pipebell/core/models.py and status.py by `make generate`: edit those.\n"
_LABELS: Final = "  labels:\n    app.kubernetes.io/name: pipebell\n"
_COMPLETE: Final = '{{- include "pipebell.complete" . -}}\n'
_CHART_METADATA: Final = """\
  labels:
    {{- include "pipebell.labels" . | nindent 4 }}
  {{- if .Values.crds.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
"""


CHART: Final = Path("charts/pipebell/templates/crds")
# kustomize reads nothing outside of its folder, and `kubectl apply -f crds` wants resources only: hence two, and a
# chart has its own.
DIRECTORIES: Final = (Path("crds"), Path("manifests/crds"), CHART)


REFERENCE: Final = Path("docs/reference.md")


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


def templates() -> dict[str, str]:
    """The same as templates of the Helm chart: with its labels, switched by values, and kept at an uninstall."""
    return {name: _template(text) for name, text in files().items()}


def _template(text: str) -> str:
    if "{{" in text:
        raise ValueError("the definition holds what Helm would take for a template")
    head, found, tail = text.partition(_LABELS)
    if not found:
        raise ValueError(f"the definition has no {_LABELS!r} to be replaced")
    return f"{_COMPLETE}{{{{- if .Values.crds.enabled -}}}}\n{head}{_CHART_METADATA}{tail}{{{{- end }}}}\n"


def _texts(directory: Path) -> dict[str, str]:
    """What belongs into a directory: templates where the path ends as the chart's does."""
    return templates() if directory.parts[-2:] == CHART.parts[-2:] else files()


def drifted(directory: Path) -> list[str]:
    """Names of the generated files that `directory` lacks or holds with another text."""
    return [name for name, text in _texts(directory).items() if not _holds(directory / name, text)]


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when a file is not what would be written.")
@click.argument("directories", nargs=-1, type=click.Path(file_okay=False, path_type=Path))
def generate(directories: tuple[Path, ...], *, check: bool) -> None:
    """Write the CustomResourceDefinitions into DIRECTORIES [default: wherever the repository has them]."""
    if not directories:
        _pages(check=check)
    for directory in directories or DIRECTORIES:
        stale = drifted(directory)
        if check and stale:
            names = ", ".join(stale)
            raise click.ClickException(f"{names} in {directory}: not what the models say; run `make generate`")
        if check:
            continue
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in _texts(directory).items():
            (directory / name).write_text(text, encoding="utf-8")
            click.echo(directory / name)


def _pages(*, check: bool) -> None:
    """docs/reference.md, and the tables of kinds: they say the same to people."""
    try:
        pages = {REFERENCE: reference(), **tables(REFERENCE.parent, strict=check)}
    except Unwritten as error:
        raise click.ClickException(str(error)) from None
    for page, text in pages.items():
        if _holds(page, text):
            continue
        if check:
            raise click.ClickException(f"{page}: not what the models and kinds say; run `make generate`")
        page.write_text(text, encoding="utf-8")
        click.echo(page)


if __name__ == "__main__":
    generate()
