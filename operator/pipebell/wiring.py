"""The composition root: from settings to a running operator."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from pipebell import strict_yaml
from pipebell.background import Background
from pipebell.clocks import SystemClock, boottime
from pipebell.core.errors import NotFound
from pipebell.core.shards import SHARDS
from pipebell.engine.configs.lister import ConfigKeeper
from pipebell.engine.configs.readiness import Readiness
from pipebell.engine.configs.resolver import Resolver
from pipebell.engine.configs.root import RootKeeper
from pipebell.engine.configs.store import ConfigBook
from pipebell.engine.events.engine import Engine
from pipebell.engine.events.ledger import CooldownLedger
from pipebell.engine.events.observer import Observer
from pipebell.engine.events.recorder import patiently
from pipebell.engine.ports import Ports
from pipebell.engine.shards.sharing import LEASE, Sharing
from pipebell.engine.upkeep.recovery import Recovery
from pipebell.engine.upkeep.retention import Retention
from pipebell.engine.upkeep.usage import Bookkeeping
from pipebell.health import HealthServer
from pipebell.identity import claim
from pipebell.intake import Intake
from pipebell.kube.client import ApiClient
from pipebell.kube.configs import NotificationConfigs
from pipebell.kube.event_watch import EventWatch
from pipebell.kube.events import PipelineEvents
from pipebell.kube.leases import KubeLeases, group_of
from pipebell.kube.namespaces import KubeNamespaces
from pipebell.kube.notices import KubeNotices
from pipebell.kube.permissions import Permissions
from pipebell.kube.root import RootWatch
from pipebell.kube.secrets import KubeSecrets
from pipebell.kube.vitals import Vitals
from pipebell.kube.watches import Watches
from pipebell.metrics import Metrics
from pipebell.providers.registry import build_providers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from pipebell.core.errors import NotReady
    from pipebell.core.policy.situation import Resolved
    from pipebell.kube.connection import Connection
    from pipebell.settings import Settings

QUEUE_STUCK: Final = 300.0  # seconds; the longest step, patience with the API included, takes a tenth of it
DRAIN: Final = 25.0  # seconds that deliveries under way may take at shutdown

log = structlog.get_logger(__name__)


class App(Observer):
    """The running operator, short of kopf: handlers feed it."""

    def __init__(self, settings: Settings, connection: Connection, environ: Mapping[str, str]) -> None:
        clock = SystemClock()
        self._settings, self._clock = settings, clock
        self._scope = settings.watch_namespaces
        config_scope = tuple(dict.fromkeys((*self._scope, *settings.shared_namespaces))) if self._scope else ()
        self._vitals = Vitals(steady=boottime)
        self.watches = Watches(on_list=lambda plural: self.intake.listed(plural))
        self._client = ApiClient(connection, vitals=self._vitals)
        # Each watch holds a connection for good.
        self._watching = ApiClient(connection, connections=0, vitals=self._vitals)
        # Leases do not queue behind events.
        self._keeping = ApiClient(connection, connections=SHARDS + 2, vitals=self._vitals)
        self._permissions = Permissions(self._client, clock, events=self._scope, configs=config_scope)
        self._events = PipelineEvents(self._client, self._scope, on_invalid=lambda error: self.intake.invalid(error))
        self._configs = NotificationConfigs(self._client, config_scope)
        self._notices = KubeNotices(self._client, clock)
        self._book = ConfigBook()
        self.root = RootKeeper(
            settings.namespace,
            settings.root_configmap,
            clock,
            self._notices,
            strict_yaml.load_one,
            lambda: self._keeper.root_changed(),
        )
        self._root_watch = RootWatch(
            self._watching,
            clock,
            namespace=settings.namespace,
            name=settings.root_configmap,
            on_change=self.root.update,
            watches=self.watches,
        )
        self._event_watches: list[EventWatch] = []
        self._background = Background()
        self._providers = build_providers(settings, clock)
        self._ledger = CooldownLedger()
        self.metrics = Metrics()
        group = group_of(settings.installation or settings.root_configmap)
        self._identity = claim(f"{connection.server} {settings.namespace} {group}")
        self.sharing = Sharing(
            KubeLeases(self._keeping, clock, namespace=settings.namespace, group=group, seconds=LEASE),
            self,
            clock,
            name=self._identity.name,
            scope=self._scope,
            boot=boottime,
        )
        ports = Ports(
            clock=clock,
            events=self._events,
            configs=self._configs,
            secrets=KubeSecrets(self._client, clock),
            namespaces=KubeNamespaces(self._client, clock),
            notices=self._notices,
            ownership=self.sharing,
            providers=self._providers,
        )
        self._resolver = Resolver(
            self._book,
            self.root,
            ports,
            environ=environ,
            shared_namespaces=settings.shared_namespaces,
            learn=lambda config: self._keeper.learn(config),
        )
        self._bookkeeping = Bookkeeping(self._book, self._configs, self._ledger, clock, self.sharing)
        self._retention = Retention(
            events=self._events,
            ledger=self._ledger,
            clock=clock,
            ttl_delivered=settings.ttl_delivered,
            ttl_failed=settings.ttl_failed,
            cooldown_of=lambda key, kind: self._keeper.cooldown_of(key, kind),
        )
        self.engine = Engine(ports, self._resolver, self._ledger, settings.event_max_age)
        self.engine.observers.subscribe(self.metrics, self._bookkeeping, self._retention, self)
        self.readiness = Readiness(
            book=self._book,
            resolver=self._resolver,
            ports=ports,
            shared_namespaces=settings.shared_namespaces,
            ready=self.engine.wake_org,
        )
        self._recovery = Recovery(self._events, self._ledger, self.engine, clock, met=self._retention.seen)
        self._keeper = ConfigKeeper(
            book=self._book,
            configs=self._configs,
            root=self.root,
            readiness=self.readiness,
            engine=self.engine,
            clock=clock,
        )
        self.intake = Intake(
            book=self._book,
            keeper=self._keeper,
            engine=self.engine,
            recovery=self._recovery,
            ownership=self.sharing,
            events=self._events,
            background=self._background,
        )
        self.metrics.watch(self.engine, self.readiness, self.root, self.watches, self.sharing)
        self._health = HealthServer(settings.http_port, self.metrics.registry, self._alive, self._ready)

    # ------------------------------------------------------------------ life

    async def start(self, on_event: Callable[[str, Mapping[str, Any]], None]) -> None:
        """Learn all configurations, then start everything that runs in the background.

        `on_event` takes what the events' watch tells; it must neither block nor raise. When the start fails, whatever
        was started is stopped again, so that it can be tried anew.
        """
        try:
            await self._start(on_event)
        except BaseException:
            await self.close()
            raise

    async def _list_configs(self) -> None:
        """The first list. Definitions that are applied at the same time as the operator may come after it."""
        while True:
            try:
                return await patiently(self._keeper.list_all, self._clock, "the first list of configurations")
            except NotFound as error:
                log.error("waiting for the CustomResourceDefinitions", error=str(error))  # noqa: TRY400  (it says all)
                await self._clock.sleep(2.0)

    async def _start(self, on_event: Callable[[str, Mapping[str, Any]], None]) -> None:
        port = await self._health.start()
        self._background.last("root", self._root_watch.run())
        self._background.last("notices", self._notices.run())
        self._background.last("permissions", self._permissions.run())
        await self._list_configs()
        self._background.last("readiness", self.readiness.run())
        self._background.last("cooldowns", self._recovery.run())
        await self.sharing.join()
        self._background.last("leases", self.sharing.run())
        self._watch_events(on_event)
        self._background.last("bookkeeping", self._bookkeeping.run())
        self._background.last("retention", self._retention.run())
        self._background.last("heal", self._keeper.run())
        log.info("started", configs=len(self._book), http_port=port, namespaces=list(self._scope) or "all")

    def _watch_events(self, on_event: Callable[[str, Mapping[str, Any]], None]) -> None:
        for namespace in self._scope or (None,):
            watch = EventWatch(
                self._watching,
                self._clock,
                self.watches,
                namespace,
                tell=on_event,
                known=self.engine.under_way,
                gone=self.engine.forget,
            )
            self._event_watches.append(watch)
            self._background.last("events", watch.run())

    async def close(self) -> None:
        """Finish what is under way, give all shards back, then stop everything."""
        began = time.monotonic()
        await self.sharing.leave(DRAIN)
        cut_off = await self.engine.close(max(0.0, DRAIN - (time.monotonic() - began)))
        if cut_off:
            log.warning("deliveries cut off at shutdown; they go on elsewhere or at the next start", count=cut_off)
        await self._background.close()
        left = await self.sharing.left()
        self.root.close()
        for provider in self._providers.values():
            await provider.close()
        await self._health.close()
        await self._client.close()
        await self._watching.close()
        await self._keeping.close()
        self._identity.close(keep=not left)
        log.info("stopped")

    # ------------------------------------------------------------------ sharing with other replicas

    def gained(self, shards: Collection[int]) -> None:
        """See `Work`."""
        self._recovery.gained(shards)
        self.readiness.gained(shards)

    def let_go(self, shards: Collection[int]) -> None:
        """See `Work`."""
        self._recovery.let_go(shards)
        self.engine.let_go(shards)
        self.readiness.let_go(shards)

    def resumed(self) -> None:
        """See `Work`."""
        self.engine.resumed()

    @property
    def busy(self) -> Collection[int]:
        """See `Work`."""
        return self.engine.busy

    def on_not_ready(self, resolved: Resolved, error: NotReady) -> None:
        """See `Observer`."""
        if resolved.config is not None:
            self.readiness.refused(resolved.config, error)

    def _alive(self) -> str | None:
        if self._background.ended:
            return f"stopped working: {', '.join(self._background.ended)}"
        # What was sent and is not recorded yet is known to this process alone: it outlives an API server that is away.
        if self.engine.queue.stuck > QUEUE_STUCK and not self.engine.unanswered:
            return f"the queue has not moved for {self.engine.queue.stuck:.0f} s"
        return self.watches.stalled()

    def _ready(self) -> str | None:
        if not self._keeper.listed:
            return "configurations have not been listed yet"
        if not self.root.listed.is_set():
            return "the root configuration has not been read yet"
        if self.sharing.trouble:
            return f"leases: {self.sharing.trouble}"
        if not self._event_watches:
            return "events are not watched yet"
        troubles = (
            *(watch.trouble for watch in self._event_watches),
            self._permissions.trouble,
            self._vitals.trouble,
            self.watches.deaf(),
        )
        return next(filter(None, troubles), None)


def build_app(settings: Settings, connection: Connection) -> App:
    """The operator for these settings on this cluster; root's `${VAR}`s come from this process' environment."""
    return App(settings, connection, dict(os.environ))
