"""Whether anybody has configured an organisation: an unknown one is told by root, which is hardly what was meant."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

import click

from pipebell.cli.client import CONFIGS, EVENTS
from pipebell.cli.effective import Unusable
from pipebell.core.errors import NotFound, PipebellError, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.cli.client import Client
    from pipebell.cli.effective import Finder

_LOOKED_AT: Final = 500  # events, for organisations' names


def allow_root_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--allow-root`."""
    text = "Go on when no configuration names the organisation, so that root's is used."
    return click.option("--allow-root", is_flag=True, help=text)(function)


def check(client: Client, finder: Finder, org: str, namespace: str) -> str:
    """See to it that a configuration names `org` for this namespace. Raises Unusable that says what to do.

    What may not be read is no reason to stop: the answer says so then, else it is "".
    """
    try:
        if finder.configuration(org, namespace) is not None:
            return ""
        others = {str(item["spec"].get("orgSlug")) for item in client.list(CONFIGS, namespace)}
    except Rejected as error:
        return f"whether a configuration names {org} is not known: {error}"
    if finder.notes:
        return f"whether a configuration names {org} is not known: {'; '.join(finder.notes)}"
    raise Unusable(f"{_unknown(client, org, namespace, others)}. If root's is meant: --allow-root")


def stranger(client: Client, org: str) -> str:
    """That nothing here is of this organisation, whose name may be mistyped; "" where it is, or nobody may know."""
    others = _others(client, org, everywhere=False)
    if others is None:
        return ""
    near = get_close_matches(org, others, n=1)
    hint = f": did you mean {near[0]}?" if near else ""
    return f"No configuration and no event in namespace {client.namespace} is of {org}{hint}"


def meant(client: Client, org: str | None, *, everywhere: bool) -> str:
    """Which organisation was meant by one that nothing is of; "" where it exists, or none is spelt nearly so."""
    near = get_close_matches(org, _others(client, org, everywhere=everywhere) or (), n=1) if org else ()
    return f"did you mean {near[0]}?" if near else ""


def _others(client: Client, org: str, *, everywhere: bool) -> set[str] | None:
    """Organisations of which there is something when nothing is of `org`; None where it is, or nobody may know."""
    try:
        if next(client.list(EVENTS, fields={"spec.orgSlug": org}, everywhere=everywhere), None):
            return None
        some = chain(
            client.list(CONFIGS, everywhere=everywhere), islice(client.list(EVENTS, everywhere=everywhere), _LOOKED_AT)
        )
        found = {str(item["spec"].get("orgSlug")) for item in some}
    except (Rejected, NotFound):
        return None  # who may not look is not told that nothing is there
    return None if org in found else found


def _unknown(client: Client, org: str, namespace: str, others: set[str]) -> str:
    try:
        client.labels(namespace)
    except Rejected:
        pass  # who may not read namespaces knows no better
    except PipebellError as error:
        return str(error)
    near = get_close_matches(org, others, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    if others and not near:
        hint = f" (it has those of {', '.join(sorted(others)[:5])})"
    return f"no NotificationConfig names {org} for namespace {namespace}{hint}: root's recipients would be told"
