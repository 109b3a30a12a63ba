"""Deletes the Incidents of this replica's shards that were resolved long ago."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from pipebell.core.errors import ApiError, Conflict, NotFound, Rejected
from pipebell.core.status import epoch

if TYPE_CHECKING:
    from pipebell.core.incidents.resource import Incident
    from pipebell.engine.ports import Ports

MOST_RESOLVED: Final = 1_000  # of one namespace
EVERY: Final = 3600.0  # seconds between two looks for what is to be deleted

log = structlog.get_logger(__name__)


class IncidentSweeper:
    """Looks through all of them every hour. `ttl` is seconds that a resolved one is kept."""

    def __init__(self, ports: Ports, *, ttl: float) -> None:
        assert ports.incidents is not None  # noqa: S101  (wired only then; tells mypy)
        self._api, self._clock, self._ownership, self._ttl = ports.incidents, ports.clock, ports.ownership, ttl

    async def run(self) -> None:
        """Delete what was resolved long ago, and of a namespace the oldest beyond a bound, until cancelled."""
        while True:
            await self._clock.sleep(EVERY)
            if not self._clock.trusted:
                continue
            try:
                await self._sweep(self._clock.now())
            except ApiError as error:
                log.warning("incidents_not_swept", error=str(error))

    async def _sweep(self, now: float) -> None:
        resolved: dict[str, list[Incident]] = {}
        async for page in self._api.scan():
            for item in page:
                if item.status.resolved:
                    resolved.setdefault(item.namespace, []).append(item)
        for items in resolved.values():
            items.sort(key=_resolved_at, reverse=True)
            for number, item in enumerate(items):
                late = number >= MOST_RESOLVED or _resolved_at(item) + self._ttl <= now
                if late and self._ownership.may_send(item.spec.org_slug):
                    await self._delete(item)

    async def _delete(self, item: Incident) -> None:
        try:
            await self._api.delete(item.namespace, item.name, item.uid)
        except (NotFound, Conflict):
            return
        except Rejected as error:
            log.warning("incident_not_deleted", namespace=item.namespace, name=item.name, error=str(error))


def _resolved_at(item: Incident) -> float:
    try:
        return epoch(item.status.resolved_time) if item.status.resolved_time else item.created
    except ValueError:
        return item.created
