"""Emptying and removing a namespace: the namespace controller's work, which nobody else does here.

https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/ and the finalizer `kubernetes` in a
namespace's `spec.finalizers`.
"""

from __future__ import annotations

import http
import time
from typing import TYPE_CHECKING, Any, Final

from pipebell.cluster.client import Refused
from pipebell.cluster.errors import StuckNamespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipebell.cluster.client import Client

_POLL: Final = 0.1
_SHOWN: Final = 20
_PAGE: Final = 500


def delete(client: Client, namespace: str, seconds: float) -> None:
    """Delete the namespace and all it holds. Raises StuckNamespace when objects remain after `seconds`."""
    path = f"/api/v1/namespaces/{namespace}"
    client.request("DELETE", path)
    resources = list(_deletable(client))
    deadline = time.monotonic() + seconds
    while True:
        # Again and again: whoever still works in the namespace may race with the deletion.
        for resource, verbs in resources:
            _empty(client, namespace, resource, verbs)
        remaining = [line for resource, _ in resources for line in _remaining(client, namespace, resource)]
        if not remaining:
            break
        if time.monotonic() > deadline:
            raise StuckNamespace(namespace, remaining[:_SHOWN])
        time.sleep(_POLL)
    document = client.request("GET", path)
    document["spec"]["finalizers"] = []
    client.request("PUT", f"{path}/finalize", document)


def _deletable(client: Client) -> Iterator[tuple[str, list[str]]]:
    """Path pattern and verbs of each namespaced resource that can be listed and deleted."""
    groups = client.request("GET", "/apis")["groups"]
    for version in ("/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)):
        for resource in client.request("GET", version)["resources"]:
            if resource["namespaced"] and {"list", "delete"} <= set(resource["verbs"]):
                yield f"{version}/namespaces/{{}}/{resource['name']}", resource["verbs"]


def _empty(client: Client, namespace: str, resource: str, verbs: list[str]) -> None:
    path = resource.format(namespace)
    if "deletecollection" in verbs:
        client.request("DELETE", path, seconds=120.0)
        return
    for item in _items(client, namespace, resource):
        try:
            client.request("DELETE", f"{path}/{item['metadata']['name']}")
        except Refused as error:
            if error.code != http.HTTPStatus.NOT_FOUND:
                raise


def _items(client: Client, namespace: str, resource: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.request("GET", f"{resource.format(namespace)}?limit={_PAGE}", seconds=120.0)[
        "items"
    ]
    return items


def _remaining(client: Client, namespace: str, resource: str) -> Iterator[str]:
    for item in _items(client, namespace, resource):
        finalizers = ", ".join(item["metadata"].get("finalizers") or ())
        kind = resource.rpartition("/")[2]
        yield f"{kind}/{item['metadata']['name']}" + (f" (finalizers: {finalizers})" if finalizers else "")
