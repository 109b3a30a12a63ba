"""The Incidents' watch: those that are not resolved, as people change them. Our own writes are heard of as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from pipebell.core.errors import InvalidIncident
from pipebell.core.incidents.resource import IncidentPhase
from pipebell.kube.follow import Follow
from pipebell.kube.parse import parse_incident
from pipebell.kube.paths import custom

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipebell.core.incidents.resource import Incident
    from pipebell.core.ports import Clock
    from pipebell.kube.client import ApiClient

UNRESOLVED: Final = f"status.phase!={IncidentPhase.RESOLVED.value}"
_PATIENCE: Final = 30.0  # seconds

_log = structlog.get_logger(__name__)


class IncidentWatch:
    """Follows the Incidents of one namespace, or (None) of all.

    `on_incident` gets each as it is now; `on_gone(namespace, name, uid)` hears of those that were deleted, or are
    resolved. Where the definition or the right is missing, it waits for that, and everything else goes on.
    """

    def __init__(
        self,
        client: ApiClient,
        clock: Clock,
        namespace: str | None,
        *,
        on_incident: Callable[[Incident], None],
        on_gone: Callable[[str, str, str], None],
    ) -> None:
        self._on_incident, self._on_gone = on_incident, on_gone
        self._follow = Follow(
            client,
            clock,
            custom("Incident", namespace),
            self,
            params={"fieldSelector": UNRESOLVED},
            hint="allow get, list and watch on incidents to the operator's ServiceAccount (RBAC of the manifests)",
            patience=_PATIENCE,
        )

    @property
    def trouble(self) -> str | None:
        """Why Incidents cannot be seen; None when they can."""
        return self._follow.trouble

    async def run(self) -> None:
        """Follow them until cancelled."""
        await self._follow.run()

    def list_begins(self) -> None:
        """See `Listener`."""

    def happened(self, kind: str, item: Mapping[str, Any]) -> None:
        """See `Listener`."""
        metadata = item["metadata"]
        if kind == "DELETED":
            self._on_gone(metadata["namespace"], metadata["name"], metadata["uid"])
            return
        try:
            self._on_incident(parse_incident(item))
        except InvalidIncident as error:
            _log.warning("incident_unreadable", namespace=error.namespace, name=error.name, problems=str(error))

    def list_ends(self, version: str) -> None:
        """See `Listener`."""
