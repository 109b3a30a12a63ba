"""`pipebell`, also `kubectl pipebell`: the table of commands, and how every command ends.

Exit codes: 0 done, 1 failed, 2 usage. What can be expected to go wrong ends in one line on stderr, never a traceback.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click
from click.shell_completion import CompletionItem

from pipebell.cli.options import Access, cluster_options
from pipebell.core.errors import PipebellError
from pipebell.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence


class Entry(NamedTuple):
    """Where a command lives, its line in `pipebell --help`, and the extra it needs besides a plain `pip install`."""

    module: str
    help: str
    extra: str = ""
    section: str = "Commands"


_PIPELINES: Final = "For pipelines"
_PEOPLE: Final = "For people"
_CONFIGURATION: Final = "For configuration"
_PLATFORM: Final = "For the platform"

# A module's click command is called `command`, or as in the table. Nothing is imported before it is called.
COMMANDS: Final[dict[str, Entry]] = {
    "send": Entry("pipebell.cli.send", "Send an event, or what waits in the spool.", section=_PIPELINES),
    "exec": Entry("pipebell.cli.exec", "Run a command; tell when it fails or hangs.", section=_PIPELINES),
    "history": Entry("pipebell.cli.history", "Events of an organisation and what became of them.", section=_PEOPLE),
    "test": Entry("pipebell.cli.test", "Send a test event and watch its deliveries.", section=_PEOPLE),
    "replay": Entry("pipebell.cli.replay", "Send an event again where it failed.", section=_PEOPLE),
    "migrate": Entry("pipebell.cli.migrate", "Turn configs/ with JSON files into manifests.", section=_CONFIGURATION),
    "validate": Entry("pipebell.cli.validate", "Check files offline by the cluster's rules.", section=_CONFIGURATION),
    "verify": Entry("pipebell.cli.verify", "Check SMTP login and webhooks without sending.", section=_CONFIGURATION),
    "preview": Entry(
        "pipebell.cli.preview", "Show what would be sent, where, and why.", "operator", section=_CONFIGURATION
    ),
    "run": Entry("pipebell.cli.run", "Run the operator.", "operator", section=_PLATFORM),
    "cluster": Entry("pipebell.cli.cluster", "A real API server on this machine.", "local", section=_PLATFORM),
    "demo": Entry("pipebell.cli.demo", "Watch Pipebell do its job.", "operator,local", section=_PLATFORM),
    "completion": Entry("pipebell.cli.completion", "Print the shell's completion script.", section=_PLATFORM),
}


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
            raise _missing(cmd_name, entry, error) from None
        command: click.Command = getattr(module, "command", None) or getattr(module, cmd_name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names and options from the table; click's own way would import every command."""
        names = [
            CompletionItem(name, help=entry.help) for name, entry in COMMANDS.items() if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table, by section, without importing anything."""
        for section in dict.fromkeys(entry.section for entry in COMMANDS.values()):
            with formatter.section(section):
                formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items() if entry.section == section])


def _missing(name: str, entry: Entry, error: ModuleNotFoundError) -> click.ClickException:
    module = (error.name or "").partition(".")[0]
    if module == "pipebell":
        return click.ClickException(f"`{name}` is not part of this installation ({error.name} is missing)")
    extra = entry.extra or "operator"
    return click.ClickException(f"`{name}` needs the package {module}: pip install 'pipebell[{extra}]'")


@click.group(cls=Table, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
@cluster_options
@click.pass_context
def pipebell(ctx: click.Context, access: Access) -> None:
    """Tell people when their data pipelines fail."""
    ctx.obj = access


def _program() -> str:
    called = Path(sys.argv[0]).name
    return "kubectl pipebell" if called.startswith("kubectl-") else "pipebell"


def main(args: Sequence[str] | None = None) -> None:
    """The console script: run a command and exit with its code."""
    sys.exit(run(sys.argv[1:] if args is None else args))


def run(args: Sequence[str]) -> int:
    """Run a command; its exit code. Expected errors have become one line on stderr."""
    try:
        result: Any = pipebell.main(
            args=list(args), prog_name=_program(), complete_var="_PIPEBELL_COMPLETE", standalone_mode=False
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("Interrupted.", err=True)
        return 1
    except PipebellError as error:
        click.echo(f"Error: {' '.join(str(error).split())}", err=True)
        return 1
    except BrokenPipeError:
        # Whoever read our output (`| head`) has seen enough; the interpreter must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    main()
