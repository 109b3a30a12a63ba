"""`pipebell completion`: the script that a shell sources."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script: `source <(pipebell completion bash)`."""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  (click knows the three shells of the choice)
    click.echo(kind(ctx.find_root().command, {}, "pipebell", "_PIPEBELL_COMPLETE").source())
