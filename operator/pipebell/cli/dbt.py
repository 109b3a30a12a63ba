"""`pipebell dbt`: dbt's results as events, after a dbt command or from the file that one has left."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pipebell.cli import arguments
from pipebell.cli.child import Ending, supervise
from pipebell.cli.terminal import say
from pipebell.integrations import dbt
from pipebell.integrations.events import FAILURE, Event, send
from pipebell.sdk import mask

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_ARTIFACTS: Final = ("run_results.json", "sources.json")
_NOTIFY: Final = 5.0  # seconds for each event; dbt has ended, so waiting holds up nothing but the exit
_DESCRIPTION: Final = """Run dbt, or read what it has left, and tell the organisation what went wrong.

A model that failed is a pipeline_failure, a test that failed a data_quality_failure, one that warned a
data_quality_warning, each with test, model, column and the owner that `meta` names. The exit code is dbt's own."""


class UnreadableError(Exception):
    """An artifact cannot be used; the message says which and why."""


class Artifact(NamedTuple):
    """A results file, and what distinguished it from an older one before dbt ran."""

    path: Path
    before: tuple[int, ...] | None

    @property
    def written(self) -> bool:
        """Whether it is another file than before."""
        return (now := _signature(self.path)) is not None and now != self.before


def parser() -> arguments.Parser:
    """What `pipebell dbt` understands before dbt's command."""
    parser = arguments.Parser("dbt", _DESCRIPTION, "--org SLUG [OPTIONS] (-- dbt ARG... | --results FILE)")
    add = parser.add_argument
    add("--org", metavar="SLUG", help="the organisation that the project belongs to [default: PIPEBELL_ORG]")
    add("--pipeline", metavar="ID", help="which pipeline this is [default: the dbt project's name]")
    add("--run", metavar="ID", help="which run of it [default: dbt's invocation id]")
    add(
        "--results",
        metavar="FILE",
        type=Path,
        help="run_results.json or sources.json [default: in dbt's target folder]",
    )
    add("--manifest", metavar="FILE", type=Path, help="manifest.json [default: beside the results]")
    add("--on-success", action="store_true", help="tell pipeline_success, too")
    add("--notify-timeout", type=arguments.not_negative, default=_NOTIFY, metavar="SECONDS",
        help="what each event may take [default: 5]")  # fmt: skip
    arguments.add_access(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command; dbt's exit code, or 0 done, 1 failed, 2 usage."""
    parsing = parser()
    options = parsing.parse(argv, command=True)
    options.org = options.org or os.environ.get("PIPEBELL_ORG")
    if not options.org:
        parsing.error("which organisation? Give --org SLUG, or set PIPEBELL_ORG")
    if len(options.command_line) == 1 and options.command_line[0].endswith(".json"):
        options.results, options.command_line = Path(options.command_line[0]), []  # a file is no command
    if options.command_line:
        return _run(options, options.command_line)
    if options.results is None:
        parsing.error("give dbt's command, as in `-- dbt build`, or --results FILE")
    return _read(options)


def _read(options: argparse.Namespace) -> int:
    """What an earlier dbt command has left."""
    try:
        results, manifest = _load(options.results), _manifest(options, options.results)
        events = _events(options, results, manifest)
    except UnreadableError as error:
        say(f"pipebell: {error}", err=True)
        return 1
    if not events and options.on_success:
        events = [dbt.success(results, org=options.org, pipeline=options.pipeline, run=options.run)]
    return 0 if _tell(options, events) else 1


def _run(options: argparse.Namespace, command: Sequence[str]) -> int:
    """Run dbt and tell what its files say; where it left none although it failed, how it ended."""
    artifacts = [
        Artifact(path, _signature(path))
        for path in ([options.results] if options.results else _targets(command, Path.cwd()))
    ]
    ending = supervise(command)
    if ending.not_started:
        say(f"pipebell: {ending.not_started}", err=True)
    events: list[Event] = []
    results: dict[str, Any] | None = None
    for artifact in artifacts:
        if not artifact.written:
            continue  # it tells of an earlier invocation
        try:
            results = _load(artifact.path)
            events += _events(options, results, _manifest(options, artifact.path))
        except UnreadableError as error:
            say(f"pipebell: {error}", err=True)
    if ending.code and not events:
        events = [_ended(options, ending, command)]
    elif not ending.code and options.on_success:
        events.append(dbt.success(results, org=options.org, pipeline=options.pipeline, run=options.run))
    _tell(options, events)
    return ending.code


def _ended(options: argparse.Namespace, ending: Ending, command: Sequence[str]) -> Event:
    """The end of a dbt that left no results: a project that cannot be parsed, no connection, a signal."""
    said = dbt.last_words("\n".join(line.text for line in ending.lines))
    what = ending.not_started or (f"dbt was killed by {ending.signal}" if ending.signal else "dbt wrote no results")
    message = f"{what} (exit code {ending.code})" + (f": {said}" if said else "")
    details = {
        "exit_code": ending.code,
        "signal": ending.signal,
        "command": shlex.join(mask.mask_command(command, mask.values_in(os.environ))),
    }
    project = _setting(_project(command, Path.cwd()), "name")
    return Event(options.org, FAILURE, options.pipeline or project or "dbt", options.run, message, details)


def _events(options: argparse.Namespace, results: dict[str, Any], manifest: dict[str, Any] | None) -> list[Event]:
    try:
        return dbt.events(results, manifest, org=options.org, pipeline=options.pipeline, run=options.run)
    except dbt.NotResultsError as error:
        raise UnreadableError(f"no results of dbt: {error}") from None


def _tell(options: argparse.Namespace, events: Sequence[Event]) -> bool:
    """Send them; whether none was lost. Says on standard error what became of them."""
    lost = 0
    for event in events:
        receipt = send(
            event,
            namespace=options.namespace,
            kubeconfig=options.kubeconfig,
            context=options.context,
            timeout=options.notify_timeout,
        )
        if not receipt:
            lost += 1
            say(f"pipebell: {event.event} could not be sent: {receipt.reason}", err=True)
    return not lost


def _manifest(options: argparse.Namespace, results: Path) -> dict[str, Any] | None:
    """The manifest, which may be missing: then names come from the results and nobody is the owner."""
    path: Path = options.manifest or results.with_name("manifest.json")
    if options.manifest is None and not path.is_file():
        return None
    return _load(path)


def _load(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise UnreadableError(f"{path} cannot be read: {error.strerror or type(error).__name__}") from None
    except (ValueError, RecursionError):
        raise UnreadableError(f"{path} is not JSON") from None
    if not isinstance(document, dict):
        raise UnreadableError(f"{path} is no artifact of dbt")
    return document


def _targets(command: Sequence[str], folder: Path) -> list[Path]:
    """Where a dbt command run in `folder` writes its results: as dbt itself finds out."""
    project = _project(command, folder)
    given = _option(command, "--target-path") or os.environ.get("DBT_TARGET_PATH") or _setting(project, "target-path")
    return [project / (given or "target") / name for name in _ARTIFACTS]


def _project(command: Sequence[str], folder: Path) -> Path:
    """The project's folder: the one given, else this one or the nearest above it that holds a dbt_project.yml."""
    if given := _option(command, "--project-dir") or os.environ.get("DBT_PROJECT_DIR"):
        return folder / given
    return next((path for path in (folder, *folder.parents) if (path / "dbt_project.yml").is_file()), folder)


def _option(command: Sequence[str], name: str) -> str | None:
    for index, argument in enumerate(command):
        if argument == name and index + 1 < len(command):
            return command[index + 1]
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
    return None


def _setting(project: Path, name: str) -> str | None:
    """A setting of dbt_project.yml, by a look at its lines: a YAML parser is no part of a plain installation."""
    try:
        text = (project / "dbt_project.yml").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    found = re.search(rf"""^{name}\s*:\s*(?:"([^"\n]*)"|'([^'\n]*)'|([^\s#][^\n#]*))""", text, re.MULTILINE)
    return next((group.strip() for group in found.groups() if group), None) if found else None


def _signature(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
