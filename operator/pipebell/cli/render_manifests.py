"""Renders manifests/ from the Helm chart, or checks that it is current: the two ways to install are the same thing.

`python -m pipebell.cli.render_manifests [--check]` in the repository: for Pipebell's developers (`make generate`).
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import click

from pipebell.cluster import tools

_RELEASE: Final = "pipebell"
_NAMESPACE: Final = "pipebell-system"
_KUBERNETES: Final = "1.32.0"  # the oldest that is supported
_HEADER: Final = "# Rendered from charts/pipebell by `make generate`: edit that.\n"
#: What kustomization.yaml lists; namespace.yaml is no part of a chart, and crds/ has a kustomization of its own.
TEMPLATES: Final = (
    "serviceaccount",
    "operator-rbac",
    "user-roles",
    "info-role",
    "deployment",
    "service",
    "networkpolicy",
)
#: What components add (an overlay below a base is not allowed): the templates, and the values that switch them on.
COMPONENTS: Final = {
    "components/ha": (("poddisruptionbudget",), ("podDisruptionBudget.enabled=true",)),
    "components/monitoring": (
        ("servicemonitor", "prometheusrule", "dashboard"),
        tuple(f"metrics.{name}.enabled=true" for name in ("serviceMonitor", "prometheusRule", "dashboard")),
    ),
}
# They would say that Helm manages what kubectl applied.
_OF_HELM: Final = re.compile(r"^ *(app\.kubernetes\.io/managed-by: Helm|helm\.sh/chart: .*)\n", re.MULTILINE)
_SOURCE: Final = re.compile(r"^# Source: .*\n", re.MULTILINE)


def files(chart: Path) -> dict[str, str]:
    """Name and text of each rendered file. Raises click.ClickException with what helm said."""
    rendered = {f"{name}.yaml": _HEADER + _render(chart, name) for name in TEMPLATES}
    for folder, (templates, values) in COMPONENTS.items():
        rendered |= {f"{folder}/{name}.yaml": _HEADER + _render(chart, name, *values) for name in templates}
    return rendered


def _render(chart: Path, template: str, *values: str) -> str:
    command = [tools.helm(), "template", _RELEASE, chart, "--namespace", _NAMESPACE, "--kube-version", _KUBERNETES]
    for value in values:
        command += ["--set", value]
    done = subprocess.run(  # noqa: S603  (helm, by its full path)
        [*map(str, command), "--show-only", f"templates/{template}.yaml"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise click.ClickException(done.stderr.strip())
    return _OF_HELM.sub("", _SOURCE.sub("", done.stdout)).removeprefix("---\n")


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when a file is not what would be written.")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default="manifests")
@click.option("--chart", type=click.Path(file_okay=False, path_type=Path), default="charts/pipebell", show_default=True)
def render(directory: Path, chart: Path, *, check: bool) -> None:
    """Render the chart with its default values into DIRECTORY [default: manifests]."""
    for name, text in files(chart).items():
        path = directory / name
        if check and (not path.is_file() or path.read_text(encoding="utf-8") != text):
            raise click.ClickException(f"{path} is not what the chart says; run `make generate`")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            click.echo(path)


if __name__ == "__main__":
    render()
