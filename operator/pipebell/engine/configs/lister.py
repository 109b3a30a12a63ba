"""Lists all configurations: once at the start, after each relist of the watch, and now and then anyway."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from pipebell.core.errors import ApiError
from pipebell.engine.timers import wait_for

if TYPE_CHECKING:
    from pipebell.engine.configs.store import ConfigStore
    from pipebell.engine.ports import Ports

HEAL_EVERY: Final = 300.0  # seconds between full lists
BETWEEN_LISTS: Final = (
    10.0  # seconds between two lists at least; a relist that comes sooner is healed then, never ignored
)
RELIST_SHOWS: Final = 1.0  # seconds: a relist shows many objects; one list of ours afterwards is enough

log = structlog.get_logger(__name__)


class ConfigLister:
    """Keeps the store true: a watch that broke may have hidden deletions, and lists heal that."""

    def __init__(self, ports: Ports, store: ConfigStore) -> None:
        self._store, self._configs, self._clock = store, ports.configs, ports.clock
        self._relisted = asyncio.Event()
        self._listed_at: float | None = None

    @property
    def listed(self) -> bool:
        """Whether all configurations have been seen once."""
        return self._listed_at is not None

    def relisted(self) -> None:
        """The watch lists anew, which shows what there is but not what is gone."""
        if self._listed_at is not None:
            self._relisted.set()

    async def list_all(self) -> None:
        """Bring the store in line with the API. Raises ApiError."""
        before, seen = {config.key: config.uid for config in self._store}, set()
        async for page in self._configs.scan():
            for config in page:
                seen.add(config.key)
                if not self._store.knows(config.key, config.resource_version):
                    self._store.put(config)
        for key in self._store.missing_from(seen, before):
            self._store.remove(key, before[key])
        self._listed_at = self._clock.now()

    async def run(self) -> None:
        """List again after each relist of the watch, and now and then anyway, until cancelled."""
        while True:
            await wait_for(self._relisted, self._clock, HEAL_EVERY)
            if self._relisted.is_set():
                early = (self._listed_at or 0.0) + BETWEEN_LISTS - self._clock.now()
                await self._clock.sleep(max(early, RELIST_SHOWS))
            self._relisted.clear()
            try:
                await self.list_all()
            except ApiError as error:
                log.warning("configs_not_listed", error=str(error))
