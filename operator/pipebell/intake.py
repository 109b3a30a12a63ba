"""What the watches tell, parsed and handed to whom it concerns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from pipebell.core.errors import ApiError, InvalidEvent
from pipebell.core.vocabulary import FINAL_PHASES, Phase, Reason
from pipebell.kube.parse import parse_config, parse_event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.background import Background
    from pipebell.engine.configs.lister import ConfigLister
    from pipebell.engine.configs.store import ConfigStore
    from pipebell.engine.events.engine import Engine
    from pipebell.engine.ports import Ports
    from pipebell.engine.upkeep.recovery import Recovery

log = structlog.get_logger(__name__)


class Intake:
    """Takes in NotificationConfigs, and those PipelineEvents that are this replica's."""

    def __init__(
        self,
        ports: Ports,
        store: ConfigStore,
        lister: ConfigLister,
        engine: Engine,
        recovery: Recovery,
        background: Background,
    ) -> None:
        self._store, self._lister, self._engine, self._recovery = store, lister, engine, recovery
        self._ownership, self._events, self._background = ports.ownership, ports.events, background

    def listed(self, plural: str) -> None:
        """A kind is listed anew by its watch."""
        if plural == "notificationconfigs":
            self._lister.relisted()

    def config_seen(self, item: Mapping[str, Any]) -> None:
        """A NotificationConfig as it is now."""
        metadata = item["metadata"]
        if not self._store.knows((metadata["namespace"], metadata["name"]), metadata["resourceVersion"]):
            self._store.put(parse_config(item))

    def config_deleted(self, item: Mapping[str, Any]) -> None:
        """A NotificationConfig is gone."""
        metadata = item["metadata"]
        self._store.remove((metadata["namespace"], metadata["name"]), metadata["uid"])

    def event_seen(self, item: Mapping[str, Any]) -> None:
        """A PipelineEvent as it is now. Another replica's is dropped here, before anything is done for it.

        So is one for which there is no room, unless something was sent for it before: it is listed again later.
        """
        metadata, org = item["metadata"], item["spec"]["orgSlug"]
        if not self._ownership.owns(org) or self._engine.knows(metadata["uid"]):
            return
        tried = (item.get("status") or {}).get("deliveries")
        if not tried and not self._engine.has_room(metadata["namespace"], org):
            return
        try:
            event = parse_event(item)
        except InvalidEvent as error:
            self.invalid(error)
        else:
            self._recovery.add(event)

    def event_gone(self, item: Mapping[str, Any]) -> None:
        """A PipelineEvent was deleted, or left the watch because it is finished."""
        self._engine.forget(item["metadata"]["uid"])

    def invalid(self, error: InvalidEvent) -> None:
        """An event that breaks the rules (stored before they were tightened): say so on it, once."""
        if error.phase not in {phase.value for phase in FINAL_PHASES}:
            self._background.once(self._mark(error))

    async def _mark(self, error: InvalidEvent) -> None:
        status = {"phase": Phase.FAILED.value, "reason": Reason.INTERNAL_ERROR.value, "message": str(error)[:1024]}
        try:
            await self._events.patch_status(error.namespace, error.name, error.uid, error.resource_version, status)
        except ApiError as failure:
            log.warning("invalid_event_not_marked", namespace=error.namespace, name=error.name, error=str(failure))
