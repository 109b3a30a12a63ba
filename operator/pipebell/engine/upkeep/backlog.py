"""Brings in the events that were left in the API for want of room, as soon as there is room for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from pipebell.core.errors import ApiError
from pipebell.engine.events.bounds import ANY

if TYPE_CHECKING:
    from pipebell.engine.events.engine import Engine
    from pipebell.engine.events.ledger import CooldownLedger
    from pipebell.engine.ports import Ports

EVERY: Final = 1.0  # seconds between two looks
PATIENCE: Final = 60.0  # seconds after which a namespace is listed for less than a worthwhile number of events
_WORTHWHILE: Final = 8  # the part of a namespace's bound that makes a list worth its cost
_DEARER: Final = 20.0  # a list for few events may take a twentieth of the time

log = structlog.get_logger(__name__)


class Backlog:
    """Lists a namespace again when there is room for what was left of it, and takes in as much as fits.

    The order is the list's: a namespace that makes more events than can be delivered has no claim to any.
    """

    def __init__(self, ports: Ports, ledger: CooldownLedger, engine: Engine) -> None:
        self._events, self._ownership, self._clock = ports.events, ports.ownership, ports.clock
        self._ledger, self._engine = ledger, engine
        self._not_before: dict[str, float] = {}

    async def run(self) -> None:
        """Look and list until cancelled."""
        while True:
            await self._clock.sleep(EVERY)
            if self._ledger.folding:  # the pass reads all of them anyway, and comes first
                continue
            for namespace in self._due():
                await self._list(namespace)

    def _due(self) -> list[str]:
        bounds, now = self._engine.bounds, self._clock.now()
        behind = list(bounds.behind)
        self._not_before = {namespace: self._not_before.get(namespace, now + PATIENCE) for namespace in behind}
        due = []
        for namespace in behind:
            room = bounds.room_for_rest(namespace)
            if room >= bounds.per_namespace // _WORTHWHILE or (room and now >= self._not_before[namespace]):
                due.append(namespace)
        return due

    async def _list(self, namespace: str) -> None:
        bounds, began = self._engine.bounds, self._clock.now()
        bounds.catch_up(namespace)
        taken = 0
        try:
            async for events in self._events.unfinished(namespace, self._engine.knows):
                for event in events:
                    org = event.spec.org_slug
                    if not self._ownership.owns(org):
                        continue
                    if self._ledger.opened(org):
                        taken += self._engine.submit(event)
                    else:  # its shard was acquired just now
                        bounds.leave(namespace, org)
                if bounds.full(namespace):
                    bounds.leave(namespace, ANY)
                    break
        except ApiError as error:
            bounds.leave(namespace, ANY)
            log.warning("backlog_not_listed", namespace=namespace, error=str(error))
        now = self._clock.now()
        self._not_before[namespace] = now + max(PATIENCE, _DEARER * (now - began))
        log.info("backlog_listed", namespace=namespace, taken=taken, left=namespace in bounds.behind)
