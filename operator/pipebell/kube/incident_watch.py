"""The Incidents' watch: those that are not resolved, as people change them. Our own writes are heard of as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from pipebell.core.errors import InvalidIncident
from pipebell.core.incidents.resource import IncidentPhase
from pipebell.kube.kind_watch import KindWatch
from pipebell.kube.parse import parse_incident

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipebell.core.incidents.resource import Incident
    from pipebell.core.ports import Clock
    from pipebell.kube.client import ApiClient

UNRESOLVED: Final = f"status.phase!={IncidentPhase.RESOLVED.value}"

_log = structlog.get_logger(__name__)


class IncidentWatch(KindWatch):
    """Follows the Incidents of one namespace, or (None) of all.

    `on_incident` gets each as it is now; `on_gone(namespace, name, uid)` hears of those that were deleted, or are
    resolved.
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
        super().__init__(client, clock, "Incident", namespace, selected=UNRESOLVED)
        self._on_incident, self._on_gone = on_incident, on_gone

    def on_event(self, kind: str, item: Mapping[str, Any]) -> None:
        """See `Listener`."""
        metadata = item["metadata"]
        if kind == "DELETED":
            self._on_gone(metadata["namespace"], metadata["name"], metadata["uid"])
            return
        try:
            self._on_incident(parse_incident(item))
        except InvalidIncident as error:
            _log.warning("incident_unreadable", namespace=error.namespace, name=error.name, problems=str(error))
