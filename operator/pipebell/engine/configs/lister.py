"""Keeps the book of configurations true, and tells everybody whom a change concerns."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from pipebell.core.errors import ApiError
from pipebell.core.policy.triggers import DEFAULT_COOLDOWN
from pipebell.engine.timers import wait_for

if TYPE_CHECKING:
    from pipebell.core.config import ConfigObject
    from pipebell.core.vocabulary import EventType
    from pipebell.engine.configs.readiness import Readiness
    from pipebell.engine.configs.root import RootKeeper
    from pipebell.engine.configs.store import ConfigBook, Key
    from pipebell.engine.events.engine import Engine
    from pipebell.engine.ports import Clock, Configs

HEAL_EVERY: Final = 300.0  # seconds between full lists
APART: Final = 10.0  # seconds between two lists at least; a relist that comes sooner is healed then, never ignored
RELIST_SHOWS: Final = 1.0  # seconds: a relist shows many objects; one list of ours afterwards is enough

log = structlog.get_logger(__name__)


class ConfigKeeper:
    """Takes in what the watch and the lists say. A watch that broke may have hidden deletions: lists heal that."""

    def __init__(
        self,
        *,
        book: ConfigBook,
        configs: Configs,
        root: RootKeeper,
        readiness: Readiness,
        engine: Engine,
        clock: Clock,
    ) -> None:
        self._book, self._configs, self._root = book, configs, root
        self._readiness, self._engine, self._clock = readiness, engine, clock
        self._relisted = asyncio.Event()
        self._listed_at: float | None = None

    def learn(self, config: ConfigObject) -> None:
        """A configuration as it is now, or was a moment ago."""
        old = self._book.put(config)
        if old is not None and old.uid == config.uid and old.generation == config.generation:
            return
        if old is None:
            self._readiness.found(config)
        else:
            for org in {config.org_slug, old.org_slug}:
                self._readiness.org_changed(org)
            self._engine.wake_org(old.org_slug)
        self._engine.wake_org(config.org_slug)

    def forget(self, key: Key, uid: str | None = None) -> None:
        """A configuration is gone (the one with this uid, if one is named)."""
        gone = self._book.remove(key, uid)
        if gone is not None:
            self._readiness.removed(gone)
            self._engine.wake_org(gone.org_slug)

    @property
    def listed(self) -> bool:
        """Whether all configurations have been seen once."""
        return self._listed_at is not None

    def relisted(self) -> None:
        """The watch lists anew, which shows what there is but not what is gone."""
        if self._listed_at is not None:
            self._relisted.set()

    def root_changed(self) -> None:
        """Everybody inherits from root."""
        self._readiness.all_changed()
        self._engine.wake_org(None)

    async def list_all(self) -> None:
        """Bring the book in line with the API. Raises ApiError."""
        before, seen = {config.key: config.uid for config in self._book}, set()
        async for page in self._configs.scan():
            for config in page:
                seen.add(config.key)
                if not self._book.knows(config.key, config.resource_version):
                    self.learn(config)
        for key in self._book.missing_from(seen, before):
            self.forget(key, before[key])
        self._listed_at = self._clock.now()

    async def run(self) -> None:
        """List again after each relist of the watch, and now and then anyway, until cancelled."""
        while True:
            await wait_for(self._relisted, self._clock, HEAL_EVERY)
            if self._relisted.is_set():
                early = (self._listed_at or 0.0) + APART - self._clock.now()
                await self._clock.sleep(max(early, RELIST_SHOWS))
            self._relisted.clear()
            try:
                await self.list_all()
            except ApiError as error:
                log.warning("configurations could not be listed", error=str(error))

    def cooldown_of(self, key: Key | None, kind: EventType) -> float:
        """The cooldown (seconds) configured now for events of this type in a configuration, or (None) in root's."""
        config = self._book.get(key) if key is not None else None
        specs = [config.spec if config is not None else None, self._root.current.spec]
        triggers = next((s.event_triggers for s in specs if s is not None and s.event_triggers is not None), None)
        for trigger in triggers or ():
            if trigger.event is kind and trigger.cooldown_seconds is not None:
                return trigger.cooldown_seconds
        return DEFAULT_COOLDOWN
