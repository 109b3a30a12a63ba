"""Commands that click parses, and completion for all of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from pipebell.cli import completion, examples
from pipebell.cli.commands import COMMANDS, missing
from pipebell.cli.options import Access, cluster_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


# What may follow an option of a plain command, by the option's name.
_PROPOSED = {"org": completion.organisations, "namespace": completion.namespaces, "context": completion.contexts}


class Table(click.Group):
    """A group that knows its commands' names and help, and imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        """Names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command. Raises ClickException when its extra is not installed."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        try:
            module = import_module(entry.module)
        except ModuleNotFoundError as error:
            raise click.ClickException(missing(cmd_name, entry, error)) from None
        if entry.plain:
            return _likeness(cmd_name, entry.help, getattr(module, "parser", None))
        command: click.Command = getattr(module, "command", None) or getattr(module, cmd_name)
        return examples.attach(cmd_name, command)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names and options from the table; click's own way would import every command."""
        names = [
            CompletionItem(name, help=entry.help) for name, entry in COMMANDS.items() if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


def _likeness(name: str, summary: str, parser: Any) -> click.Command:  # noqa: ANN401  (a function that makes a parser)
    """A plain command as click's completion wants to see it; it is never called."""
    actions: Sequence[argparse.Action] = parser()._actions if parser else ()  # noqa: SLF001  (there is no other way)
    options = [
        click.Option(
            action.option_strings,
            is_flag=action.nargs == 0,
            help=action.help,
            type=click.Choice(list(action.choices)) if action.choices else None,
            shell_complete=_PROPOSED.get(action.dest),
        )
        for action in actions
        if action.option_strings and action.dest != "help"
    ]
    return click.Command(name, params=list(options), help=summary, short_help=summary)


@click.group(cls=Table, context_settings={"help_option_names": ["-h", "--help"]})
@cluster_options
@click.pass_context
def pipebell(ctx: click.Context, access: Access) -> None:
    """Tell people when their data pipelines fail."""
    ctx.obj = access


def run(args: Sequence[str], program: str) -> int:
    """Run a command; its exit code. PipebellErrors pass."""
    try:
        result: Any = pipebell.main(
            args=list(args), prog_name=program, complete_var="_PIPEBELL_COMPLETE", standalone_mode=False
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("Interrupted.", err=True)
        return 1
    return result if isinstance(result, int) else 0
