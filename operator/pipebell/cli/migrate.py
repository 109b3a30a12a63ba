"""`pipebell migrate`: the file-based system's `configs/` as manifests, with a report of what had to change."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pipebell.cli import documents, dotenv, manifests, migration
from pipebell.cli.options import output_option
from pipebell.cli.terminal import clean
from pipebell.core.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")  # RFC 1123
_LONGEST: Final = 63
_PRIVATE: Final = (
    "# Written by `pipebell migrate`, which leaves values that stand here alone. Keep it out of Git.\n"
    "# Apply it, or make the Secret another way and delete this file.\n"
)
_HEADER: Final = "# Written by `pipebell migrate` from {file}; the next run replaces it.\n"
#: No name that `kubectl apply -R` reads, and nothing in it that would be a value.
_TEMPLATE: Final = "variables.env.example"
_TO_FILL: Final = """\
# Variables of {file} that have no value yet. `kubectl apply -R` does not read this file, nor does anything else.
# Copy it, fill in what stands behind the signs, and give it to the next run:
#   cp {template} variables.env     (edit it; keep it out of Git)
#   pipebell migrate … --env-file variables.env
# or make the Secret {secret} from it:
#   pipebell secret from-env variables.env --config FILE{namespace} | kubectl apply -f -
{variables}"""


def _name(limit: int) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """A callback that refuses what is no name of a namespace, before anything is written."""

    def check(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
        if value is not None and (len(value) > limit or not _LABEL.fullmatch(value)):
            raise click.BadParameter(
                f"{value!r} is no namespace's name: lower-case letters, digits and '-', at most {limit}", ctx, param
            )
        return value

    return check


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
@click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Fill Secrets from NAME=value lines, such as .env.local: only with the variables that a file names.",
)
@click.option(
    "-n",
    "--namespace",
    metavar="NAME",
    callback=_name(_LONGEST),
    help="Namespace of the organisations' objects [default: kubectl's].",
)
@click.option(
    "--root-namespace",
    default="pipebell-system",
    show_default=True,
    metavar="NAME",
    callback=_name(_LONGEST),
    help="The operator's namespace.",
)
@output_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    directory: Path,
    target: Path,
    env_file: Path | None,
    namespace: str | None,
    root_namespace: str,
    output: str,
) -> None:
    """Turn DIRECTORY (the seed's configs/) into manifests that `kubectl apply -R -f` takes.

    Nothing is read but DIRECTORY and --env-file, and nothing is sent. Exit code 1 means that a file could not be taken
    over. Running it again writes the same; values in Secrets that were written before are left alone. A Secret holds
    the variables that have a value, never an empty one, so that applying it takes nothing away.
    """
    sources = migration.read(_files(directory), _env(env_file))
    if not sources:
        raise click.ClickException(
            f"{directory} holds neither {migration.ROOT_FILE} nor an organisation's notifications.json"
        )
    written = []
    try:
        for source in sources:
            written += _write_all(target, source, namespace, root_namespace)
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


def _env(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        return dotenv.read(path)
    except InvalidInput as error:
        raise click.ClickException(f"{path}: {error}") from None


def _write_all(target: Path, source: migration.Source, namespace: str | None, root_namespace: str) -> list[str]:
    """Write what became of a source; the paths of its manifests."""
    if source.lost:
        return []
    folder = target / migration.folder_of(source)
    old = _keep(folder / "secret.yaml", source)
    files = migration.manifests(source, namespace, root_namespace)
    for name, objects in files.items():
        if objects[0]["kind"] == "Secret":
            secrets = [_merged(old, item) for item in objects]
            manifests.write(target / name, _PRIVATE + manifests.dump(secrets), manifests.PRIVATE)
        else:
            text = _HEADER.format(file=source.file) + manifests.dump(objects)
            manifests.write(target / name, text, manifests.PUBLIC)
    _write_template(folder / _TEMPLATE, source, migration.secret_of(source, namespace, root_namespace))
    return [str(target / name) for name in files]


def _keep(path: Path, source: migration.Source) -> dict[str, Any]:
    """The Secret that is there; its values count. One without any value, as earlier versions wrote it, goes."""
    if not path.exists():
        return {}
    try:
        (old,) = documents.load_yaml(documents.read_text(path))
        if old["kind"] != "Secret":
            raise ValueError  # noqa: TRY301  (one way out for all that is no Secret)
        data = {key: base64.b64decode(str(value)) for key, value in (old.get("data") or {}).items() if value}
        there = {key: str(value) for key, value in (old.get("stringData") or {}).items() if value not in ("", None)}
    except (InvalidInput, ValueError, KeyError, AttributeError, TypeError):
        raise click.ClickException(f"{path} is no Secret any more: move it away") from None
    for key, value in source.secret.items():
        kept = there[key].encode() if key in there else data.get(key, value.encode())
        if kept != value.encode():
            source.notes.append(f"{path} has another value for {key} and keeps it: delete that line to change it")
    source.secret = {key: value for key, value in source.secret.items() if key not in data} | there
    source.missing = [variable for variable in source.missing if variable not in there and variable not in data]
    if not source.secret and not data:
        path.unlink()
        return {}
    return dict(old)


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The Secret that is there, with the names and values that it has now, and no empty ones."""
    merged = {**old, **new, "metadata": {**(old.get("metadata") or {}), **new["metadata"]}}
    if data := {key: value for key, value in (old.get("data") or {}).items() if value}:
        merged["data"] = data
    return merged


def _write_template(path: Path, source: migration.Source, secret: dict[str, Any]) -> None:
    """A list of the variables without a value, as comments; none when there are none."""
    if not source.missing:
        path.unlink(missing_ok=True)
        return
    metadata = secret["metadata"]
    namespace = f" -n {metadata['namespace']}" if "namespace" in metadata else ""
    text = _TO_FILL.format(
        file=source.file,
        template=_TEMPLATE,
        secret=metadata["name"],
        namespace=namespace,
        variables="".join(f"#{variable}=\n" for variable in source.missing),
    )
    manifests.write(path, text, manifests.PRIVATE)


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
                "filledFromEnvFile": source.filled,
                "missing": source.missing,
            }
            for source in sources
        ],
    }


def _print(sources: list[migration.Source], written: list[str], target: Path) -> None:
    for source in sources:
        for problem in source.problems:
            click.echo(f"{clean(source.file)}: {click.style('lost', fg='red')}: {clean(problem)}")
        for place in source.credentials if not source.lost else ():
            click.echo(
                f"{source.file}: {click.style('plain-text credential', fg='yellow')}: {place}: moved into secret.yaml; "
                "change it, it has been in a file"
            )
        for line in source.inferred if not source.lost else ():
            click.echo(clean(f"{source.file}: inferred: {line}"))
        if source.filled:
            click.echo(f"{source.file}: filled from the environment file: {', '.join(source.filled)}")
        for line in source.notes:
            click.echo(f"{clean(source.file)}: {click.style('note', fg='yellow')}: {clean(line)}")
    good = [source for source in sources if not source.lost]
    orgs = sum(source.kind == "organisation" for source in good)
    needed = sorted({name for source in good for name in source.missing})
    click.echo(
        f"{len(good)} of {len(sources)} files taken over ({orgs} organisation{'' if orgs == 1 else 's'}): "
        f"{len(written)} manifests in {target}"
    )
    if needed:
        click.echo(f"Without a value: {', '.join(needed)}. Give --env-file, or see {_TEMPLATE} beside each manifest.")
    if good:
        click.echo(f"Next: kubectl apply -R -f {target}")
