"""PipelineEvents in the API (implements `pipebell.engine.ports.Events`)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog

from pipebell.core.errors import InvalidEvent
from pipebell.core.event import EventPage
from pipebell.core.vocabulary import API_VERSION, FINAL_PHASES
from pipebell.kube.client import MERGE_PATCH, METADATA_ONLY, PAGE_SIZE
from pipebell.kube.parse import parse_event
from pipebell.kube.paths import custom
from pipebell.retry import retry_until_available

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from pipebell.core.event import Event
    from pipebell.core.vocabulary import Phase
    from pipebell.kube.client import ApiClient

_log = structlog.get_logger(__name__)
_KIND: Final = "PipelineEvent"
PATIENCE: Final = 30.0  # seconds
_FINAL: Final = frozenset(phase.value for phase in FINAL_PHASES)
_AT_ONCE: Final = 20  # events parsed before everybody else gets a turn


def _log_invalid(error: InvalidEvent) -> None:
    _log.error("event_unreadable", namespace=error.namespace, name=error.name, problems=str(error))


class PipelineEvents:
    """PipelineEvents in the watched namespaces (empty: in all).

    `patience` is for how many seconds reads and status writes are tried again while the API is unavailable. Events
    met by a scan whose spec cannot be parsed are handed to `on_invalid`.
    """

    def __init__(
        self,
        client: ApiClient,
        watch_namespaces: Sequence[str] = (),
        *,
        patience: float | None = PATIENCE,
        on_invalid: Callable[[InvalidEvent], None] = _log_invalid,
    ) -> None:
        self._client = client
        self._namespaces = tuple(watch_namespaces)
        self._patience = patience
        self._on_invalid = on_invalid

    def subscribe(self, on_invalid: Callable[[InvalidEvent], None]) -> None:
        """Hand what cannot be parsed to this from now on."""
        self._on_invalid = on_invalid

    async def get(self, namespace: str, name: str) -> Event:
        """The event as it is now (a consistent read). Raises ApiErrors, and InvalidEvent."""
        path = custom(_KIND, namespace, name)
        item = await retry_until_available(
            lambda: self._client.request("GET", path), what="get event", limit=self._patience
        )
        return parse_event(item)

    async def patch_status(
        self, namespace: str, name: str, uid: str, resource_version: str, status: Mapping[str, Any]
    ) -> str:
        """Merge-patch the status (RFC 7396), fenced by uid and resourceVersion; returns the new resourceVersion.

        Raises Conflict when the event changed meanwhile; also when a first try did get through but its answer did
        not: then the event carries this very status.
        """
        path = custom(_KIND, namespace, name) + "/status"
        body = {"metadata": {"resourceVersion": resource_version, "uid": uid}, "status": status}
        item = await retry_until_available(
            lambda: self._client.request("PATCH", path, body=body, content_type=MERGE_PATCH, accept=METADATA_ONLY),
            what="patch event",
            limit=self._patience,
        )
        return str(item["metadata"]["resourceVersion"])

    async def scan(
        self, phases_excluded: Sequence[str] = (), wanted: Callable[[str, str, bool], bool] | None = None
    ) -> AsyncIterator[EventPage]:
        """All events in the watched namespaces but those in these phases, page by page; none held back.

        Each is asked about before it is parsed, which costs most: `wanted(namespace, org, new)`, where `new` says that
        nothing has been tried for it, and it is not finished. Guarantees are those of `ApiClient.pages`, for each
        namespace.
        """
        params = {"fieldSelector": ",".join(f"status.phase!={phase}" for phase in phases_excluded)}
        for namespace in self._namespaces or (None,):
            path = custom(_KIND, namespace)
            pages = self._client.pages(
                path, params=params if phases_excluded else None, limit=PAGE_SIZE, patience=self._patience
            )
            async for page in pages:
                items = page.get("items") or []
                if wanted is not None:
                    items = [item for item in items if wanted(*_facts(item))]
                yield EventPage(namespace, str(page["metadata"].get("resourceVersion") or ""), self._parsed(items))

    async def unfinished(self, namespace: str, known: Callable[[str], bool]) -> AsyncIterator[list[Event]]:
        """The unfinished events of one namespace but those whose uid is `known`, some at a time; as `scan` otherwise.

        Parsing goes no further than what is asked for, so whoever has enough may stop.
        """
        path = custom(_KIND, namespace)
        params = {"fieldSelector": ",".join(f"status.phase!={phase.value}" for phase in FINAL_PHASES)}
        async for page in self._client.pages(path, params=params, limit=PAGE_SIZE, patience=self._patience):
            items = page.get("items") or []
            for start in range(0, len(items), _AT_ONCE):
                part = [item for item in items[start : start + _AT_ONCE] if not known(item["metadata"]["uid"])]
                if part:
                    yield self._parsed(part)
                await asyncio.sleep(0)

    async def ended(self, namespace: str, phase: Phase) -> AsyncIterator[list[Event]]:
        """The events of one namespace that ended in this phase, page by page; guarantees as for `scan`."""
        params = {"fieldSelector": f"status.phase={phase.value}"}
        async for page in self._client.pages(
            custom(_KIND, namespace), params=params, limit=PAGE_SIZE, patience=self._patience
        ):
            items = page.get("items") or []
            for start in range(0, len(items), _AT_ONCE):
                yield self._parsed(items[start : start + _AT_ONCE])
                await asyncio.sleep(0)

    async def create(self, namespace: str, name: str, spec: Mapping[str, Any]) -> None:
        """Create an event, its spec in the API's spelling.

        Raises Conflict when there is one of this name, Rejected when it is not admitted: by a quota, a policy, a
        namespace that terminates, or definitions that lack one of its fields, which would be dropped without a word.
        """
        body = {
            "apiVersion": API_VERSION,
            "kind": _KIND,
            "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "pipebell"}},
            "spec": spec,
        }
        await self._client.request(
            "POST", custom(_KIND, namespace), params={"fieldValidation": "Strict"}, body=body, accept=METADATA_ONLY
        )

    async def delete(self, namespace: str, name: str, uid: str) -> None:
        """Delete the event if it still has this uid. Raises Conflict when it has another, NotFound when gone."""
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        await self._client.request("DELETE", custom(_KIND, namespace, name), body=body)

    def _parsed(self, items: Sequence[Mapping[str, Any]]) -> list[Event]:
        events = []
        for item in items:
            try:
                events.append(parse_event(item))
            except InvalidEvent as error:
                self._on_invalid(error)
        return events


def _facts(item: Mapping[str, Any]) -> tuple[str, str, bool]:
    """Namespace, organisation, and whether it is new, of an event that has not been parsed."""
    status = item.get("status") or {}
    new = not status.get("deliveries") and status.get("phase") not in _FINAL
    org = (item.get("spec") or {}).get("orgSlug")
    return item["metadata"]["namespace"], org if isinstance(org, str) else "", new
