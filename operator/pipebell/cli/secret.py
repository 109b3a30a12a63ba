"""`pipebell secret`: a configuration's Secret, made of the environment file that filled it until now."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pipebell.cli import documents, dotenv, manifests, migration, rules
from pipebell.cli.client import CONFIGS, Client
from pipebell.cli.options import Access, cluster_options
from pipebell.core.errors import InvalidInput
from pipebell.core.models import NotificationConfigSpec, NotificationSpec
from pipebell.core.vocabulary import NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST: Final = 253  # RFC 1123
_ROOT: Final = "RootConfig"
_HEADER: Final = "# Written by `pipebell secret from-env`. Keep it out of Git.\n"


@click.group("secret")
def command() -> None:
    """Make the Secret that fills a configuration's ${VAR}s."""


@command.command("from-env")
@click.argument("env_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE")
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The configuration: a NotificationConfig, the root ConfigMap, or a JSON file of configs/.",
)
@click.option("--org", metavar="ORG", help="Or the NotificationConfig of this organisation in the cluster.")
@click.option("--name", metavar="NAME", help="The Secret's name [default: the one that the configuration reads].")
@click.option("--to", "target", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it there.")
@cluster_options
def from_env(
    env_file: Path, config_file: Path | None, org: str | None, name: str | None, target: Path | None, access: Access
) -> None:
    """Make a Secret of the NAME=value lines in FILE: of the variables that the configuration names, and no others.

    Quotes, `export`, comments and values of several lines are understood; `$` means nothing. Variables without a value
    are left out and named, so that applying the Secret empties nothing. It is written to standard output, for
    `kubectl apply -f -`, or to --to; never to a terminal, where others could read it.
    """
    if (config_file is None) == (org is None):
        raise click.UsageError("name the configuration by --config FILE or --org ORG")
    if name is not None and (len(name) > _LONGEST or not re.fullmatch(NAME, name)):
        raise click.BadParameter(f"{name!r} is no Secret's name: lower-case letters, digits, '-' and '.'")
    if target is None and sys.stdout.isatty():
        raise click.UsageError("this would show the values: pipe it into `kubectl apply -f -`, or give --to FILE")
    spec, kind, found_name, namespace = _from_file(config_file) if config_file else _from_cluster(str(org), access)
    namespace = access.namespace or namespace
    names = rules.variables(spec)
    values = _values(env_file, names)
    chosen = name or _name_of(spec, kind, found_name)
    if chosen is None:
        raise click.UsageError("the configuration names no Secret (spec.secretRef): give --name")
    text = _HEADER + manifests.dump([migration.secret(chosen, namespace, values)])
    if target is None:
        click.echo(text, nl=False)
        return
    try:
        manifests.write(target, text, manifests.PRIVATE)
    except OSError as error:
        raise click.ClickException(f"cannot write {target}: {error.strerror}") from None
    click.echo(f"{target}: Secret {chosen} with {', '.join(values)}", err=True)


def _values(env_file: Path, names: list[str]) -> dict[str, str]:
    if not names:
        raise click.ClickException("the configuration uses no ${VAR}: there is nothing to fill")
    try:
        env: Mapping[str, str] = dotenv.read(env_file)
    except InvalidInput as error:
        raise click.ClickException(f"{env_file}: {error}") from None
    if missing := [name for name in names if not env.get(name)]:
        click.echo(f"{env_file} has no value for {', '.join(missing)}: left out", err=True)
    values = {name: env[name] for name in names if env.get(name)}
    if not values:
        raise click.ClickException(f"{env_file} has no value for any variable of the configuration")
    return values


_Found = tuple[NotificationSpec, str, str, str | None]


def _from_file(path: Path) -> _Found:
    """Specification, kind, object's name and namespace of the only configuration in a file."""
    try:
        items = documents.load(path, text := documents.read_text(path))
    except InvalidInput as error:
        raise click.ClickException(f"{path}: {error}") from None
    found = [
        (document, item)
        for document, item in zip(rules.read(path, text), items, strict=False)
        if isinstance(document.spec, NotificationSpec)
    ]
    if len(found) != 1:
        problems = "; ".join(str(problem) for document in rules.read(path, text) for problem in document.problems)
        raise click.ClickException(f"{path} must hold exactly one configuration{f': {problems}' if problems else ''}")
    ((document, item),) = found
    metadata = item.get("metadata") if isinstance(item, dict) else None
    namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
    assert isinstance(document.spec, NotificationSpec)  # noqa: S101  (tells mypy)
    return document.spec, document.kind, document.name, str(namespace) if namespace else None


def _from_cluster(org: str, access: Access) -> _Found:
    with Client(access) as client:
        items = list(client.list(CONFIGS, fields={"spec.orgSlug": org}))
        namespace = client.namespace
    if len(items) != 1:
        raise click.ClickException(f"{org} has {len(items) or 'no'} NotificationConfig(s) in namespace {namespace}")
    (item,) = items
    spec = NotificationConfigSpec.model_validate(item["spec"])
    return spec, "NotificationConfig", str(item["metadata"]["name"]), namespace


def _name_of(spec: NotificationSpec, kind: str, name: str) -> str | None:
    """The Secret's name that the configuration reads, or that `pipebell migrate` gives it."""
    if kind == _ROOT:
        return migration.ROOT_SECRET
    if spec.secret_ref is not None:
        return spec.secret_ref.name
    return f"{migration.object_name(name)}-notifications" if kind == "organisation" else None
