"""`pipebell migrate`: the file-based system's `configs/` as manifests, with a report of what had to change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import click
import yaml

from pipebell.cli import documents, migration
from pipebell.cli.options import output_option
from pipebell.core.errors import InvalidInput

_FILL_IN: Final = (
    "# Fill in the values before applying, or make the Secret another way and delete this file.\n"
    "# It stays as it is when `pipebell migrate` runs again. Keep it out of Git.\n"
)
_HEADER: Final = "# Written by `pipebell migrate` from {file}; the next run replaces it.\n"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as people do, so that the seed's JSON stays readable inside its ConfigMap."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


@click.command("migrate")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--to",
    "target",
    type=click.Path(file_okay=False, path_type=Path),
    default="manifests-migrated",
    show_default=True,
    metavar="DIR",
    help="Where to write.",
)
@click.option("-n", "--namespace", metavar="NAME", help="Namespace of the organisations' objects [default: kubectl's].")
@click.option(
    "--root-namespace", default="pipebell-system", show_default=True, metavar="NAME", help="The operator's namespace."
)
@output_option
@click.pass_context
def command(
    ctx: click.Context, /, directory: Path, target: Path, namespace: str | None, root_namespace: str, output: str
) -> None:
    """Turn DIRECTORY (the seed's configs/) into manifests that `kubectl apply -R -f` takes.

    Nothing is read but DIRECTORY and nothing is sent. Exit code 1 means that a file could not be taken over. Running it
    again writes the same; Secrets that were written before are left alone, but for keys that they lack.
    """
    sources = migration.read(_files(directory))
    if not sources:
        raise click.ClickException(
            f"{directory} holds neither {migration.ROOT_FILE} nor an organisation's notifications.json"
        )
    written = []
    try:
        for source in sources:
            for name, objects in migration.manifests(source, namespace, root_namespace).items():
                _write(target / name, objects, source)
                written.append(str(target / name))
    except OSError as error:
        raise click.ClickException(f"cannot write {error.filename}: {error.strerror}") from None
    if output == "json":
        click.echo(json.dumps(_report(sources, written), indent=2))
    else:
        _print(sources, written, target)
    ctx.exit(1 if any(source.lost for source in sources) else 0)


def _files(directory: Path) -> dict[str, str | InvalidInput]:
    paths = [directory / migration.ROOT_FILE, *directory.glob("*/notifications.json")]
    found: dict[str, str | InvalidInput] = {}
    for path in paths:
        if path.is_file():
            try:
                found[path.relative_to(directory).as_posix()] = documents.read_text(path)
            except InvalidInput as error:
                found[path.relative_to(directory).as_posix()] = error
    return found


def _write(path: Path, objects: list[dict[str, Any]], source: migration.Source) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    secret = objects[0]["kind"] == "Secret"
    if secret and path.exists():
        objects = [_merged(path, objects[0])]
    text = "---\n".join(
        yaml.dump(item, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120) for item in objects
    )
    text = (_FILL_IN if secret else _HEADER.format(file=source.file)) + text
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    path.touch(mode=0o600 if secret else 0o644)
    path.write_text(text, encoding="utf-8")


def _merged(path: Path, new: dict[str, Any]) -> dict[str, Any]:
    """The Secret that is there, with the keys that it lacks."""
    try:
        (old,) = documents.load_yaml(documents.read_text(path))
        there = {**(old.get("stringData") or {})}
        known = {*there, *(old.get("data") or {})}
    except (InvalidInput, ValueError, AttributeError, TypeError):
        raise click.ClickException(f"{path} is no Secret any more: move it away") from None
    there |= {
        key: value for key, value in new["stringData"].items() if key not in known or (value and not there.get(key))
    }
    merged: dict[str, Any] = {**old, "stringData": there}
    return merged


def _report(sources: list[migration.Source], written: list[str]) -> dict[str, Any]:
    return {
        "written": written,
        "files": [
            {
                "file": source.file,
                "org": source.org if source.kind == "organisation" else None,
                "lost": source.lost,
                "problems": [{"path": item.path, "message": item.message} for item in source.problems],
                "plainTextCredentials": source.credentials,
                "inferred": source.inferred,
                "notes": source.notes,
                "variables": source.variables,
            }
            for source in sources
        ],
    }


def _print(sources: list[migration.Source], written: list[str], target: Path) -> None:
    for source in sources:
        for problem in source.problems:
            click.echo(f"{source.file}: {click.style('lost', fg='red')}: {problem}")
        for place in source.credentials if not source.lost else ():
            click.echo(
                f"{source.file}: {click.style('plain-text credential', fg='yellow')}: {place}: moved into secret.yaml; "
                "change it, it has been in a file"
            )
        for line in source.inferred if not source.lost else ():
            click.echo(f"{source.file}: inferred: {line}")
        for line in source.notes:
            click.echo(f"{source.file}: {click.style('note', fg='yellow')}: {line}")
    good = [source for source in sources if not source.lost]
    orgs = sum(source.kind == "organisation" for source in good)
    needed = sorted({name for source in good for name in source.variables if name not in source.secret})
    click.echo(
        f"{len(good)} of {len(sources)} files taken over ({orgs} organisations): {len(written)} manifests in {target}"
    )
    if needed:
        click.echo(f"Fill in the Secrets' values ({', '.join(needed)}), then: kubectl apply -R -f {target}")
    elif good:
        click.echo(f"Next: kubectl apply -R -f {target}")
