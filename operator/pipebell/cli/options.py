"""Options that commands share: which cluster and which namespace, as kubectl names them."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from pipebell.cli import completion
from pipebell.cli.access import Access

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Access", "cluster_options", "output_option"]


def cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--kubeconfig`, `--context` and `-n`, as one argument `access`; they may stand before the command too."""

    @click.option("--kubeconfig", metavar="FILE", help="Path of the kubeconfig file.")
    @click.option(
        "--context",
        "context_name",
        metavar="NAME",
        help="Context of the kubeconfig to use.",
        shell_complete=completion.contexts,
    )
    @click.option(
        "-n",
        "--namespace",
        metavar="NAME",
        help="Namespace [default: the context's, or the pod's].",
        shell_complete=completion.namespaces,
    )
    @functools.wraps(function)
    def wrapper(
        *args: Any,  # noqa: ANN401
        kubeconfig: str | None,
        context_name: str | None,
        namespace: str | None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        context = click.get_current_context()
        given = {"kubeconfig": kubeconfig, "context": context_name, "namespace": namespace}
        outer = context.parent.obj if context.parent and isinstance(context.parent.obj, Access) else Access()
        access = replace(outer, **{key: value for key, value in given.items() if value is not None})
        return function(*args, access=access, **kwargs)

    return wrapper


def output_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`-o json` for scripts."""
    return click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)(
        function
    )


def table_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`-o` of commands that list objects as a table."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["text", "wide", "name", "json"]),
        default="text",
        show_default=True,
        help="wide: every column; name: names alone, for other commands.",
    )(function)
