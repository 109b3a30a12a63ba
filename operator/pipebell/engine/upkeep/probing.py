"""Tries endpoints now and then without sending anything, for those who ask for that (`channelHealth.probe`)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import structlog

from pipebell.core.errors import ApiError, NotReady
from pipebell.core.health import HealthState, evidence, login_refused
from pipebell.core.layers import channel_health
from pipebell.core.policy.triggers import destinations_in_use
from pipebell.engine.configs.follower import ConfigFollower
from pipebell.engine.queue import FairQueue
from pipebell.engine.upkeep.health import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipebell.core.config import ConfigObject
    from pipebell.core.destinations.base import Target
    from pipebell.core.layers import Layers
    from pipebell.engine.configs.group import Configs
    from pipebell.engine.configs.store import Key
    from pipebell.engine.ports import Ports
    from pipebell.engine.upkeep.health import HealthBoard

EVERY: Final = 900.0  # seconds between two looks at one endpoint
LOOK: Final = 15.0  # seconds between looks for whose turn it is
AT_ONCE: Final = 8  # configurations whose endpoints are tried at the same time; of one namespace a quarter of them

log = structlog.get_logger(__name__)


class Prober(ConfigFollower):
    """Tries each distinct endpoint of those who want it every 15 minutes, unless a message has just got through.

    After a refused login none is tried before the credentials, or anything else of the endpoint, have changed. Root's
    are tried by whoever serves the platform's organisation. `jitter` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        ports: Ports,
        configs: Configs,
        board: HealthBoard,
        platform_org: str,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock, self._ownership, self._providers = ports.clock, ports.ownership, ports.providers
        self._store, self._root, self._resolver = configs
        self._board, self._platform_org, self._jitter = board, platform_org, jitter
        self._due: dict[Key, float] = {}  # of those who want it
        self._queue: FairQueue[Key] = FairQueue(self._work, slots=AT_ONCE, per_namespace=AT_ONCE // 4)
        self._waiting: set[Key] = set()

    def on_config_change(self, old: ConfigObject | None, new: ConfigObject | None) -> None:
        """See `ConfigFollower`."""
        if new is not None:
            self._note(new)
        elif old is not None:
            self._due.pop(old.key, None)

    def on_root_change(self) -> None:
        """See `ConfigFollower`: whoever says nothing of it inherits this."""
        for config in self._store:
            self._note(config)
        self._want(ROOT, wanted=channel_health(self._root.current.spec).probe)

    async def run(self) -> None:
        """Try what is due, until cancelled."""
        try:
            while True:
                await self._clock.sleep(LOOK)
                now = self._clock.now()
                for key, due in list(self._due.items()):
                    if key in self._waiting or (now < due <= now + EVERY):  # further away: a clock was set back
                        continue
                    self._due[key] = now + EVERY
                    org = self._org(key)
                    if org is not None and self._ownership.may_send(org):
                        self._waiting.add(key)
                        self._queue.put(key[0], org, key)
        finally:
            await self._queue.close(0)

    def _note(self, config: ConfigObject) -> None:
        enabled = config.spec is not None and config.spec.enabled is not False
        self._want(config.key, wanted=enabled and channel_health(config.spec, self._root.current.spec).probe)

    def _want(self, key: Key, *, wanted: bool) -> None:
        if not wanted:
            self._due.pop(key, None)
        elif key not in self._due:  # not all at once
            self._due[key] = self._clock.now() + self._jitter() * EVERY

    def _org(self, key: Key) -> str | None:
        if key == ROOT:
            return self._platform_org
        config = self._store.get(key)
        return config.org_slug if config is not None else None

    async def _work(self, key: Key) -> None:
        try:
            await self._try_all(key)
        except (ApiError, NotReady) as error:
            log.info("endpoints_not_probed", namespace=key[0], name=key[1], error=str(error))
        except Exception:
            log.exception("endpoints_not_probed", namespace=key[0], name=key[1])
        finally:
            self._waiting.discard(key)

    async def _try_all(self, key: Key) -> None:
        config = self._store.get(key)
        if key == ROOT:
            layers = self._resolver.platform()
        else:
            layers = await self._resolver.layers(config) if config is not None and config.spec is not None else None
        if layers is None:
            return
        answered: dict[tuple[str, int], list[str]] = {}
        for name, target in _own(layers, of_root=key == ROOT):
            answered.setdefault((target.kind, hash(target.endpoint)), []).append(name)
        for (_, endpoint), names in answered.items():
            if self._wanted(key, names, endpoint):
                await self._try(key, names, layers.target(names[0]), endpoint)

    def _wanted(self, key: Key, names: list[str], endpoint: int) -> bool:
        """Whether anything would be learned, and no harm done, by trying this endpoint."""
        now = self._clock.now()
        for name in names:
            channel = self._board.get(key, name)
            if channel is None:
                continue
            health = channel.health
            success = health.last_success
            if health.state is HealthState.HEALTHY and success is not None and 0 <= now - success < EVERY:
                return False
            if health.state is HealthState.FAILING and login_refused(health.reason):
                if channel.endpoint is None:  # as it was before a restart, as far as anybody knows
                    channel.endpoint = endpoint
                if channel.endpoint == endpoint:
                    return False
        return True

    async def _try(self, key: Key, names: list[str], target: Target, endpoint: int) -> None:
        outcome = await self._providers[target.kind].probe(target, key[0])
        seen = evidence(outcome)
        if seen is not None:
            for name in names:
                self._board.observe_probe(key, name, target.kind, seen, endpoint)


def _own(layers: Layers, *, of_root: bool) -> Iterator[tuple[str, Target]]:
    """Destinations with an endpoint of the owner's, as far as they can be used: first those that triggers use."""
    for name in dict.fromkeys((*destinations_in_use(layers), *layers.names())):
        found = layers.destination(name)
        if found is None or found.block.trusted != of_root or not layers.enabled(name):
            continue
        try:
            yield name, layers.target(name)
        except NotReady:
            continue
