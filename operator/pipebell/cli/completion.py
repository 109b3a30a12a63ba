"""`pipebell completion`: the script that a shell sources; and what a shell may propose for a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem, get_completion_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipebell.cli.client import Client

_PATIENCE: Final = 3.0  # seconds for one request: somebody has pressed a key and waits
_MOST: Final = 200  # proposals


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script: `source <(pipebell completion bash)`.

    kubectl completes `kubectl pipebell` by itself, with the program kubectl_complete-pipebell on the PATH.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  (click knows the three shells of the choice)
    click.echo(kind(ctx.find_root().command, {}, "pipebell", "_PIPEBELL_COMPLETE").source())


def organisations(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Slugs that configurations of the namespace name, and those of its events."""

    def names(client: Client) -> Iterable[str]:
        from pipebell.cli.client import CONFIGS, EVENTS  # noqa: PLC0415  (completing a command's name needs none)

        for resource in (CONFIGS, EVENTS):
            yield from (str(item["spec"].get("orgSlug")) for item in client.list(resource))

    return _proposed(ctx, incomplete, names)


def events(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the namespace's events."""

    def names(client: Client) -> Iterable[str]:
        from pipebell.cli.client import EVENTS  # noqa: PLC0415  (completing a command's name needs none)

        return (str(item["metadata"]["name"]) for item in client.list(EVENTS))

    return _proposed(ctx, incomplete, names)


def events_or_organisations(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What `replay` takes: organisations after `--failed`, else an event."""
    return (organisations if ctx.params.get("failed") else events)(ctx, parameter, incomplete)


def incidents(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the namespace's incidents that are not resolved."""

    def names(client: Client) -> Iterable[str]:
        from pipebell.cli.client import INCIDENTS  # noqa: PLC0415  (completing a command's name needs none)

        found = client.list(INCIDENTS, unlike={"status.phase": "Resolved"})
        return (str(item["metadata"]["name"]) for item in found)

    return _proposed(ctx, incomplete, names)


def silences(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the namespace's silences."""

    def names(client: Client) -> Iterable[str]:
        from pipebell.cli.client import SILENCES  # noqa: PLC0415  (completing a command's name needs none)

        return (str(item["metadata"]["name"]) for item in client.list(SILENCES))

    return _proposed(ctx, incomplete, names)


def namespaces(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Namespaces, for who may list them."""
    return _proposed(ctx, incomplete, lambda client: client.namespaces())


def contexts(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Contexts of the kubeconfig."""
    import os  # noqa: PLC0415  (completing a command's name needs none)

    from pipebell.core.errors import PipebellError  # noqa: PLC0415
    from pipebell.kubeconfig.context import names  # noqa: PLC0415
    from pipebell.sdk.access import place  # noqa: PLC0415

    try:
        files = place(_given(ctx, "kubeconfig"), None, os.environ).kubeconfig
        return _items(names(files) if files else (), incomplete)
    except (PipebellError, OSError):
        return []


def _proposed(ctx: click.Context, incomplete: str, names: Callable[[Client], Iterable[str]]) -> list[CompletionItem]:
    """Nothing at all when the cluster cannot be asked: whoever completes a word wants no error message."""
    from pipebell.cli.access import Access  # noqa: PLC0415  (completing a command's name needs none)
    from pipebell.cli.client import Client  # noqa: PLC0415
    from pipebell.core.errors import PipebellError  # noqa: PLC0415

    access = Access(_given(ctx, "kubeconfig"), _given(ctx, "context_name"), _given(ctx, "namespace"))
    try:
        with Client(access, _PATIENCE) as client:
            return _items(names(client), incomplete)
    except (PipebellError, OSError):
        return []


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    found = sorted({name for name in names if name.startswith(incomplete)})
    return [CompletionItem(name) for name in found[:_MOST]]


def _given(ctx: click.Context | None, name: str) -> str | None:
    """An option of the command or, as it may stand there too, of the one above it."""
    while ctx is not None:
        value: Any = ctx.params.get(name)
        if value:
            return str(value)
        ctx = ctx.parent
    return None
