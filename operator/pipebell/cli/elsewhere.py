"""What somebody may have meant who looks in the wrong place: another namespace, or one that is spelt otherwise."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from pipebell.cli.client import EVENTS, bare
from pipebell.core.errors import NotFound, PipebellError

if TYPE_CHECKING:
    from pipebell.cli.client import Client

_LOOKED_AT: Final = 200  # objects of other namespaces
_NAMED: Final = 3  # namespaces


def no_namespace(client: Client, namespace: str) -> str:
    """That there is no such namespace, and which is spelt nearly so; "" when there is one, or nobody may know."""
    try:
        client.labels(namespace)
    except NotFound as error:
        return f"{error}{_nearly(client, namespace)}"
    except PipebellError:
        pass
    return ""


def _nearly(client: Client, namespace: str) -> str:
    try:
        near = get_close_matches(namespace, client.namespaces(), n=1)
    except PipebellError:
        return ""
    return f" (did you mean {near[0]}?)" if near else ""


def hint(client: Client, **fields: str) -> str:
    """Where there are events with these fields, when the client's namespace has none; "" when that is not known."""
    if wrong := no_namespace(client, client.namespace):
        return wrong
    try:
        found = islice(client.list(EVENTS, fields=fields, everywhere=True), _LOOKED_AT) if fields else ()
        places = sorted({str(item["metadata"]["namespace"]) for item in found} - {client.namespace})
    except PipebellError:  # who may not look everywhere has to know the place
        return ""
    if not places:
        return ""
    more = " and others" if len(places) > _NAMED else ""
    return f"there are some in namespace {', '.join(places[:_NAMED])}{more}: -n {places[0]}"


def event(client: Client, name: str) -> dict[str, Any]:
    """The event of this name in the client's namespace. Raises NotFound that says where there is one."""
    name = bare(name, EVENTS)
    try:
        return client.get(EVENTS, name)
    except NotFound as error:
        if more := hint(client, **{"metadata.name": name}):
            raise NotFound(f"{error}; {more.replace('there are some', 'there is one')}") from None
        raise NotFound(f"{error}; `pipebell history` lists those that there are") from None
