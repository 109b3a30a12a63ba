"""Incidents in the API (implements `pipebell.engine.ports.Incidents`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from pipebell.core.errors import InvalidIncident
from pipebell.core.vocabulary import API_VERSION
from pipebell.kube.client import MERGE_PATCH, METADATA_ONLY
from pipebell.kube.events import PATIENCE
from pipebell.kube.parse import parse_incident
from pipebell.kube.paths import custom, selector_value
from pipebell.retry import retry_until_available

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from pipebell.core.incidents.resource import Incident, IncidentPhase, IncidentSpec
    from pipebell.kube.client import ApiClient

_log = structlog.get_logger(__name__)
_KIND: Final = "Incident"


class KubeIncidents:
    """Incidents in the watched namespaces (empty: in all). `patience` as for `PipelineEvents`.

    A scan passes over those whose spec cannot be parsed; a line in the log says which.
    """

    def __init__(
        self, client: ApiClient, watch_namespaces: Sequence[str] = (), *, patience: float | None = PATIENCE
    ) -> None:
        self._client = client
        self._namespaces = tuple(watch_namespaces)
        self._patience = patience

    async def get(self, namespace: str, name: str) -> Incident:
        """The incident as it is now (a consistent read). Raises ApiErrors, and InvalidIncident."""
        return parse_incident(await self._ask("GET", custom(_KIND, namespace, name), "get incident"))

    async def scan(
        self, *, org_slug: str | None = None, phases_excluded: Sequence[IncidentPhase] = ()
    ) -> AsyncIterator[list[Incident]]:
        """Incidents in the watched namespaces, page by page, with a consistent first page for each namespace.

        With `org_slug`, only this organisation's. Raises ApiErrors.
        """
        chosen = [f"status.phase!={phase.value}" for phase in phases_excluded]
        if org_slug is not None:
            chosen.append(f"spec.orgSlug={selector_value(org_slug)}")
        params = {"fieldSelector": ",".join(chosen)} if chosen else None
        for namespace in self._namespaces or (None,):
            async for page in self._client.pages(custom(_KIND, namespace), params=params, patience=self._patience):
                yield _parsed(page.get("items") or ())

    async def create(self, namespace: str, name: str, spec: IncidentSpec) -> Incident:
        """A new incident; its status is another write. Raises Conflict when one of this name exists already."""
        document = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        body = {"apiVersion": API_VERSION, "kind": _KIND, "metadata": {"name": name}, "spec": document}
        return parse_incident(await self._ask("POST", custom(_KIND, namespace), "create incident", body))

    async def patch_status(self, incident: Incident, status: Mapping[str, Any]) -> str:
        """Merge-patch the status (RFC 7396), fenced by the incident's version; returns the new resourceVersion.

        Raises Conflict when it changed meanwhile, NotFound when it is gone.
        """
        metadata = {"resourceVersion": incident.resource_version, "uid": incident.uid}
        path = f"{custom(_KIND, incident.namespace, incident.name)}/status"
        body = {"metadata": metadata, "status": status}
        item = await self._ask("PATCH", path, "patch incident", body, METADATA_ONLY)
        return str(item["metadata"]["resourceVersion"])

    async def delete(self, namespace: str, name: str, uid: str) -> None:
        """Delete it if it still has this uid. Raises Conflict when it has another, NotFound when it is gone."""
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        await self._client.request("DELETE", custom(_KIND, namespace, name), body=body)

    async def _ask(
        self, method: str, path: str, what: str, body: object = None, accept: str | None = None
    ) -> dict[str, Any]:
        content = MERGE_PATCH if method == "PATCH" else "application/json"
        item: dict[str, Any] = await retry_until_available(
            lambda: self._client.request(method, path, body=body, content_type=content, accept=accept),
            what=what,
            limit=self._patience,
        )
        return item


def _parsed(items: Sequence[Mapping[str, Any]]) -> list[Incident]:
    incidents = []
    for item in items:
        try:
            incidents.append(parse_incident(item))
        except InvalidIncident as error:
            _log.error("incident_unreadable", namespace=error.namespace, name=error.name, problems=str(error))
    return incidents
