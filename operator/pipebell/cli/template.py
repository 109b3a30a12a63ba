"""`pipebell template`: try an organisation's own texts before they are applied, and show the built-in ones."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from pydantic.alias_generators import to_camel, to_snake

from pipebell.cli import effective, own_texts, preview_files, rules
from pipebell.cli.documents import read_text
from pipebell.cli.options import output_option
from pipebell.cli.terminal import clean
from pipebell.core.errors import InvalidInput
from pipebell.core.fields import templates
from pipebell.core.message import Message
from pipebell.core.models import KINDS, NotificationConfigSpec, NotificationSpec
from pipebell.core.render.samples import samples
from pipebell.core.render.text import one_line
from pipebell.kube.parse import parse_event

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN: Final = 100  # characters of a value that was escaped
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(slots=True)
class Shown:
    """One template, and what it makes. `problem` says why the built-in text would go out instead."""

    template: str
    text: Any = None
    problem: str = ""
    line: int | None = None
    characters: int = 0
    sample: str = ""
    notes: list[str] = field(default_factory=list)


@click.group("template")
def command() -> None:
    """Try your own texts before they are applied; show the built-in ones to start from."""


@command.command("show")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("name", required=False, metavar="[FIELD]")
@output_option
def show(kind: str, name: str | None, output: str) -> None:
    """Print the built-in texts of KIND as templates; with FIELD, such as htmlTemplate, that one alone."""
    found = {to_camel(each): template.starter for each, template in templates(KINDS[kind].spec).items()}
    if name is not None:
        if to_camel(to_snake(name)) not in found:
            raise click.UsageError(f"{kind} has no {name}: there are {', '.join(found)}")
        click.echo(found[to_camel(to_snake(name))], nl=False)
    elif output == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        click.echo(_as_yaml(kind, found), nl=False)


def _as_yaml(kind: str, found: dict[str, str]) -> str:
    lines = [f"{kind}:"]
    for name, text in found.items():
        lines.append(f"  {name}: |")
        lines += [f"    {line}" if line else "" for line in text.rstrip("\n").split("\n")]
    return "\n".join(lines) + "\n"


@command.command("test")
@click.argument("file", type=_FILE)
@click.option(
    "--event", "event_file", type=_FILE, metavar="FILE", help="A PipelineEvent to tell of [default: a sample]."
)
@click.option(
    "--as",
    "place",
    metavar="KIND.FIELD",
    help="What a FILE that holds one template alone is for, such as email.htmlTemplate.",
)
@output_option
@click.pass_context
def test(ctx: click.Context, file: Path, event_file: Path | None, place: str | None, output: str) -> None:
    """Show what the templates of FILE make, and what would be cut or replaced.

    FILE is a configuration (manifest or JSON), or one template alone. Each template is checked as the operator checks
    it when it is applied, then rendered for the event. The exit code is 1 when the built-in text would go out for any.
    """
    message, title = _message(event_file)
    shown = list(_shown(_specification(file, place), message, title))
    if not shown:
        raise click.ClickException(f"{file} has no template")
    click.echo(
        json.dumps([asdict(each) for each in shown], indent=2, ensure_ascii=False)
    ) if output == "json" else _print(shown)
    ctx.exit(1 if any(each.problem for each in shown) else 0)


def _message(path: Path | None) -> tuple[Message, str]:
    if path is None:
        sample = samples()[0]
        return sample.message, f"the sample {sample.name}"
    event = parse_event(preview_files.event(path, None, "default", samples()[0].message.event.created))
    return Message(event, event.severity), str(path)


def _specification(path: Path, place: str | None) -> NotificationSpec:
    """The configuration in a file, or one that has this template alone. Raises ClickException and InvalidInput."""
    text = read_text(path)
    if place is None and path.suffix in (".yaml", ".yml", ".json"):
        found = rules.read(path, text)
        if problems := [problem for document in found for problem in document.problems]:
            raise InvalidInput(problems)
        specs = [document.spec for document in found if isinstance(document.spec, NotificationSpec)]
        if len(specs) != 1:
            raise click.ClickException(f"{path} must hold exactly one configuration")
        return specs[0]
    kind, _, name = (place or _guessed(path)).partition(".")
    if kind not in KINDS or to_snake(name) not in templates(KINDS[kind].spec):
        raise click.UsageError(f"say what {path.name} is for by --as KIND.FIELD, such as --as email.htmlTemplate")
    spec = {"orgSlug": "acme_corp", kind: {to_camel(to_snake(name)): text}}
    item = {"metadata": {"name": path.stem}, "spec": spec}
    config = effective.parse_config(item)
    if config.spec is None:
        raise InvalidInput(config.problems)
    return NotificationConfigSpec.model_validate(spec)


def _guessed(path: Path) -> str:
    """`email.htmlTemplate.j2` says it by its name."""
    parts = path.name.split(".")
    return ".".join(parts[:2]) if len(parts) > 1 else ""


def _shown(spec: NotificationSpec, message: Message, title: str) -> Iterator[Shown]:
    wrong = {complaint.field: complaint for complaint in own_texts.complaints(spec)}
    for place, source in spec.all_templates():
        *_, kind, name = place.split(".")
        shown = Shown(place, sample=title)
        complaint = wrong.get(place)
        if complaint is not None:
            shown.problem, shown.line = complaint.reason, complaint.line
        escaped: dict[str, list[str]] = {}
        rendered, failed = own_texts.worded(message, KINDS[kind], {to_snake(name): source}, escaped)
        shown.text = rendered.texts.get(to_snake(name))
        shown.problem = shown.problem or failed
        shown.characters = len(shown.text) if isinstance(shown.text, str) else len(json.dumps(shown.text))
        shown.notes = [
            f"escaped: {one_line(value, _SHOWN)}" for value in dict.fromkeys(escaped.get(to_snake(name), ()))
        ]
        limit = templates(KINDS[kind].spec)[to_snake(name)].limit
        if limit is not None and shown.characters > limit:
            shown.notes.append(f"cut: {limit:,} of {shown.characters:,} characters are shown")
        yield shown


def _print(shown: list[Shown]) -> None:
    for each in shown:
        click.echo(f"{click.style(f'── {each.template} ', bold=True)}{'─' * 40} for {clean(each.sample)}")
        if each.problem:
            where = f"line {each.line}: " if each.line else ""
            click.echo(f"{click.style('not usable: ', fg='red')}{clean(where + each.problem)}")
        if each.text is not None:
            text = each.text if isinstance(each.text, str) else json.dumps(each.text, indent=2, ensure_ascii=False)
            click.echo(clean(text))
            click.echo(f"({each.characters:,} characters)")
        for note in each.notes:
            click.echo(clean(note))
