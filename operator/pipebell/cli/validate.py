"""`pipebell validate`: the cluster's rules on files, without a cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from pipebell.cli import documents, dotenv, own_texts, rules
from pipebell.cli.options import output_option
from pipebell.cli.terminal import clean
from pipebell.core.errors import InvalidInput, Problem
from pipebell.core.models import NotificationSpec


@click.command("validate")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Fill ${VAR}s from NAME=value lines, such as .env.local.",
)
@output_option
@click.pass_context
def command(ctx: click.Context, /, files: tuple[Path, ...], env_file: Path | None, output: str) -> None:
    """Check FILEs by the cluster's rules, without a cluster.

    A FILE is JSON or YAML, a folder with such files, or - for standard input: NotificationConfigs, PipelineEvents,
    Silences, Incidents, the root ConfigMap, and the JSON files of configs/. What the cluster would reject at `kubectl
    apply`, or could not use afterwards, is named by field. With --env-file, placeholders are filled, and every value
    has to meet the rule of its field.
    """
    env = None
    if env_file is not None:
        try:
            env = dotenv.read(env_file)
        except InvalidInput as error:
            raise click.ClickException(f"{env_file}: {error}") from None
    found = [document for path in _expanded(files) for document in _read(path)]
    results = [_result(document, found, env) for document in found]
    if output == "json":
        click.echo(rules.as_json(results))
    else:
        _print(results)
    ctx.exit(1 if any(result["problems"] for result in results) else 0)


def _expanded(files: tuple[Path, ...]) -> list[Path]:
    result = []
    for path in files:
        if _is_folder(path):
            inside = sorted(item for item in path.rglob("*") if item.suffix in (".json", ".yaml", ".yml"))
            result += [item for item in inside if item.is_file() and item.name != "org_template.json"]
        else:
            result.append(path)
    return result


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # no name that a file can have: reading it says so


def _read(path: Path) -> list[rules.Document]:
    if str(path) == "-":
        return rules.read(Path("standard input"), sys.stdin.read())
    try:
        return rules.read(path, documents.read_text(path))
    except InvalidInput as error:
        return [rules.Document(str(path), "file", path.name, problems=error.problems)]


def _result(document: rules.Document, found: list[rules.Document], env: dict[str, str] | None) -> dict[str, Any]:
    root = next(
        (item.spec for item in found if item.kind == "RootConfig" and isinstance(item.spec, NotificationSpec)), None
    )
    secrets = {item.name: item.secret for item in found if item.secret is not None}
    problems, notes = rules.usable(document, root, env, secrets)
    needs = rules.variables(document.spec) if isinstance(document.spec, NotificationSpec) else []
    if isinstance(document.spec, NotificationSpec):
        problems += [
            Problem(each.field, f"{f'line {each.line}: ' if each.line else ''}{each.reason}; the built-in text is used")
            for each in own_texts.complaints(document.spec)
        ]
    return {
        "file": document.file,
        "kind": document.kind,
        "name": document.name,
        "problems": [{"path": item.path, "message": item.message} for item in (*document.problems, *problems)],
        "notes": document.notes + notes,
        "variables": needs,
    }


def _print(results: list[dict[str, Any]]) -> None:
    for result in results:
        head = clean(f"{result['file']}: {result['kind']} {result['name']}".rstrip())
        if not result["problems"] and rules.NOT_OURS not in result["notes"]:
            needs = f" (fills {', '.join(result['variables'])})" if result["variables"] else ""
            click.echo(f"{head}: {click.style('ok', fg='green')}{needs}")
        for problem in result["problems"]:
            where = f"{problem['path']}: " if problem["path"] else ""
            click.echo(f"{head}: {click.style('wrong', fg='red')}: {clean(where + problem['message'])}")
        for note in result["notes"]:
            click.echo(f"{head}: note: {clean(note)}")
