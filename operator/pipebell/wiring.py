"""The composition root: from settings to a running operator."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from pipebell import strict_yaml
from pipebell.background import Background
from pipebell.clocks import SystemClock, boottime
from pipebell.core.errors import Forbidden, NotFound
from pipebell.core.shards import SHARDS
from pipebell.core.vocabulary import NoticeKind
from pipebell.engine.configs.cooldowns import ConfiguredCooldowns
from pipebell.engine.configs.group import Configs
from pipebell.engine.configs.lister import ConfigLister
from pipebell.engine.configs.readiness import Readiness
from pipebell.engine.configs.resolver import Resolver
from pipebell.engine.configs.root import RootStore
from pipebell.engine.configs.root_templates import RootTemplates
from pipebell.engine.configs.store import ConfigStore
from pipebell.engine.events.engine import Engine
from pipebell.engine.events.ledger import CooldownLedger
from pipebell.engine.ports import Ports
from pipebell.engine.shards.sharing import LEASE, Sharing
from pipebell.engine.upkeep.backlog import Backlog
from pipebell.engine.upkeep.channels import ChannelNotices, Platform
from pipebell.engine.upkeep.digests import Digests
from pipebell.engine.upkeep.health import HealthBoard
from pipebell.engine.upkeep.incidents.keeper import IncidentKeeper
from pipebell.engine.upkeep.incidents.notices import NOTICE_KINDS, IncidentJudge
from pipebell.engine.upkeep.incidents.sweeper import IncidentSweeper
from pipebell.engine.upkeep.notices import NoticeMaker
from pipebell.engine.upkeep.probing import Prober
from pipebell.engine.upkeep.recovery import Recovery
from pipebell.engine.upkeep.retention import Retention
from pipebell.engine.upkeep.usage import UsageWriter
from pipebell.engine.upkeep.verification import Verifier
from pipebell.health import Exposition, HealthServer
from pipebell.heartbeat import SHARD, Heartbeat
from pipebell.identity import claim
from pipebell.intake import Intake
from pipebell.kube.client import ApiClient
from pipebell.kube.configs import NotificationConfigs
from pipebell.kube.definitions import Definitions
from pipebell.kube.event_watch import EventWatch
from pipebell.kube.events import PipelineEvents
from pipebell.kube.incident_watch import IncidentWatch
from pipebell.kube.incidents import KubeIncidents
from pipebell.kube.installation import Installation
from pipebell.kube.leases import KubeLeases, group_of
from pipebell.kube.namespaces import KubeNamespaces
from pipebell.kube.notices import KubeNotices
from pipebell.kube.permissions import Permissions
from pipebell.kube.root import RootWatch
from pipebell.kube.secrets import KubeSecrets
from pipebell.kube.vitals import Vitals
from pipebell.kube.watches import Watches
from pipebell.metrics import Metrics
from pipebell.probes import Probes
from pipebell.providers.registry import build_providers
from pipebell.retry import retry_until_available
from pipebell.silencing import Silencing
from pipebell.templates.runner import TemplateRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipebell.core.event import Event
    from pipebell.kube.connection import Connection
    from pipebell.settings import Settings

DRAIN: Final = 25.0  # seconds that deliveries under way may take at shutdown

log = structlog.get_logger(__name__)


class App:
    """The running operator, short of kopf: handlers feed it."""

    def __init__(self, settings: Settings, connection: Connection, environ: Mapping[str, str]) -> None:
        self._vitals = Vitals(steady=boottime)
        clock = SystemClock(self._vitals.clock)
        self._settings, self._clock = settings, clock
        self._scope = settings.watch_namespaces
        config_scope = tuple(dict.fromkeys((*self._scope, *settings.shared_namespaces))) if self._scope else ()
        self.watches = Watches()
        self._client = ApiClient(connection, vitals=self._vitals)
        # Each watch holds a connection for good.
        self._watching = ApiClient(connection, connections=0, vitals=self._vitals)
        # Leases do not queue behind events.
        self._keeping = ApiClient(connection, connections=SHARDS + 2, vitals=self._vitals)
        self._permissions = Permissions(self._client, clock, events=self._scope, configs=config_scope)
        self._definitions = Definitions(self._client, clock)
        self._events = PipelineEvents(self._client, self._scope)
        self._configs = NotificationConfigs(self._client, config_scope)
        self._notices = KubeNotices(self._client, clock)
        self._store = ConfigStore()
        self.root = RootStore(
            settings.namespace,
            settings.root_configmap,
            clock,
            self._notices,
            strict_yaml.load_one,
        )
        self._root_watch = RootWatch(
            self._watching,
            clock,
            namespace=settings.namespace,
            name=settings.root_configmap,
            on_change=self.root.update,
            watches=self.watches,
        )
        self._background = Background()
        self._providers = build_providers(settings, clock)
        self._templates = TemplateRunner(clock.now, lambda why: log.warning("template_process_lost", error=why))
        self._root_templates = RootTemplates(self.root, self._templates, self._notices)
        self._ledger = CooldownLedger()
        group = group_of(settings.installation or settings.root_configmap)
        self._identity = claim(f"{connection.server} {settings.namespace} {group}")
        self.sharing = Sharing(
            KubeLeases(
                self._keeping,
                clock,
                namespace=settings.namespace,
                group=group,
                seconds=LEASE,
                root=lambda: self.root.state,
            ),
            clock,
            name=self._identity.name,
            scope=self._scope,
            boot=boottime,
        )
        self._installation = Installation(self._client, settings.namespace, settings.installation_id, clock.sleep)
        ports = Ports(
            clock=clock,
            events=self._events,
            configs=self._configs,
            secrets=KubeSecrets(self._client, clock),
            namespaces=KubeNamespaces(self._client, clock),
            notices=self._notices,
            ownership=self.sharing,
            providers=self._providers,
            installation=self._installation,
            incidents=KubeIncidents(self._client, self._scope),
            templates=self._templates,
        )
        self._resolver = Resolver(
            self._store, self.root, ports, environ=environ, shared_namespaces=settings.shared_namespaces
        )
        self.metrics = Metrics(self._resolver.names)
        self._lister = ConfigLister(ports, self._store)
        self.readiness = Readiness(ports, self._store, self._resolver, settings.shared_namespaces)
        self.engine = Engine(ports, self._resolver, self._ledger, settings.event_max_age)
        self._board = HealthBoard(ports, self._store, self.root)
        self._usage = UsageWriter(ports, self._store, self._ledger, self._board, self.readiness.conditions)
        notices = NoticeMaker(ports, settings.event_max_age)
        configs = Configs(self._store, self.root, self._resolver)
        self._prober = Prober(ports, configs, self._board, settings.platform_org)
        self._channels = ChannelNotices(
            ports,
            configs,
            self._board,
            notices,
            Platform(settings.namespace, settings.platform_org, not self._scope or settings.namespace in self._scope),
        )
        self._verifier = Verifier(ports, self._store, self._resolver, self.metrics.on_verified)
        self.incidents, self._sweeper = (
            IncidentKeeper(ports, self.engine, self._resolver, NoticeMaker(ports, settings.event_max_age)),
            IncidentSweeper(ports, ttl=settings.incident_ttl),
        )
        self._retention = Retention(
            ports,
            self._ledger,
            ConfiguredCooldowns(self._store, self.root).of,
            ttl_delivered=settings.ttl_delivered,
            ttl_failed=settings.ttl_failed,
            max_age=settings.event_max_age,
            covered=self.incidents.covers,
        )
        self._digests = Digests(ports, self._resolver, self._ledger, self.engine, notices)
        self.silencing = Silencing(
            settings,
            ports,
            (self._client, self._watching),
            self.engine,
            self._resolver,
            self._ledger,
            self._definitions,
        )
        self._recovery = Recovery(ports, self._ledger, self.engine, self._on_past_event, self.incidents)
        self._backlog = Backlog(ports, self._ledger, self.engine)
        self.intake = Intake(ports, self._store, self._lister, self.engine, self._recovery, self._background)
        self._probes = Probes(
            background=self._background,
            engine=self.engine,
            lister=self._lister,
            root=self.root,
            sharing=self.sharing,
            watches=self.watches,
            definitions=self._definitions,
            permissions=self._permissions,
            vitals=self._vitals,
            silencing=self.silencing,
        )
        self._heartbeat = (
            Heartbeat(settings, clock, self._beats, self._trouble, self.metrics.on_heartbeat)
            if settings.heartbeat_url
            else None
        )
        self._health = HealthServer(
            settings.http_port,
            Exposition(self.metrics.registry, self.metrics.refresh),
            self._probes.alive,
            self._probes.ready,
            self._probes.remarks,
        )
        self._subscribe()

    def _subscribe(self) -> None:
        """Who hears of what. In each line, the first one hears first."""
        self._store.subscribe(self._board, self._prober, self.readiness, self.engine, self._verifier, self.incidents)
        self.root.subscribe(
            *(self._board, self._prober, self.readiness, self.engine, self.incidents), self._root_templates
        )
        self._board.subscribe(self._usage.on_health)
        self.readiness.adopt(self._board.condition)
        self.readiness.subscribe(self.engine)
        self._resolver.subscribe(self.readiness)
        self.sharing.subscribe(self._board, self._recovery, self.incidents, self.engine, self.readiness, self._verifier)
        self._retention.subscribe(self._digests)
        self.engine.books.incidents.available = self._definitions.hold_incidents
        judge = IncidentJudge(self.engine.books.incidents)
        for kind in NOTICE_KINDS:
            self.engine.books.judges.subscribe(kind, judge)
        self.engine.observers.subscribe(self.metrics, self._usage, self._retention, self._board, self._channels)
        self.engine.books.judges.subscribe(NoticeKind.CHANNEL, self._channels)
        self.silencing.subscribe(self.sharing)
        self.silencing.store.subscribe(self.incidents.on_silence_change)
        self._retention.subscribe(self.engine.books.holds)
        self.watches.subscribe(self.intake.listed)
        self._events.subscribe(self.intake.invalid)
        self.metrics.watch_destinations(self._board)
        self.incidents.subscribe(self.metrics.on_incident_acknowledged, self.metrics.on_incident_ended)
        self.metrics.watch(self.engine, self.readiness, self.root, self.watches, self.sharing)
        self.metrics.watch_incidents(self.engine.books.incidents.book)
        self.metrics.watch_silences(self.silencing.store, self.engine.books.holds)

    def _on_past_event(self, event: Event) -> None:
        """The pass after a start or a takeover has met an event."""
        self._retention.on_event(event)
        self._channels.on_event(event)
        self.silencing.on_event(event)

    def _beats(self) -> bool:
        """Whether the heartbeat is this replica's: one does it for all."""
        return SHARD in self.sharing.held and self.sharing.fresh

    def _trouble(self) -> str | None:
        return self._probes.alive() or self._probes.ready()

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
                return await retry_until_available(
                    self._lister.list_all, what="list configurations", also=(Forbidden,), sleep=self._clock.sleep
                )
            except NotFound as error:
                log.error("waiting_for_crds", error=str(error))  # noqa: TRY400  (it says all)
                await self._clock.sleep(2.0)

    async def _start(self, on_event: Callable[[str, Mapping[str, Any]], None]) -> None:
        port = await self._health.start()
        self._background.run_forever("root", self._root_watch.run())
        self._background.run_forever("root templates", self._root_templates.run())
        self._background.run_forever("notices", self._notices.run())
        self._background.run_forever("permissions", self._permissions.run())
        self._background.run_forever("definitions", self._definitions.run())
        await self._list_configs()
        await self._installation.learn()
        await self.silencing.learn()
        self._background.run_forever("readiness", self.readiness.run())
        self._background.run_forever("cooldowns", self._recovery.run())
        await self.sharing.join()
        self._background.run_forever("leases", self.sharing.run())
        self._watch_events(on_event)
        self._watch_incidents()
        self._background.run_forever("incidents", self.incidents.run())
        self._background.run_forever("resolved incidents", self._sweeper.run())
        self._background.run_forever("backlog", self._backlog.run())
        self._background.run_forever("digests", self._digests.run())
        self._background.run_forever("usage", self._usage.run())
        self._background.run_forever("verification", self._verifier.run())
        self._background.run_forever("channels", self._channels.run())
        self._background.run_forever("probing", self._prober.run())
        if self._heartbeat is not None:
            self._background.run_forever("heartbeat", self._heartbeat.run())
        self._background.run_forever("retention", self._retention.run())
        self._background.run_forever("heal", self._lister.run())
        self.silencing.start(self._background)
        log.info("started", configs=len(self._store), http_port=port, namespaces=list(self._scope) or "all")

    def _watch_events(self, on_event: Callable[[str, Mapping[str, Any]], None]) -> None:
        for namespace in self._scope or (None,):
            watch = EventWatch(
                self._watching,
                self._clock,
                self.watches,
                namespace,
                on_event=on_event,
                tracked=self.engine.under_way,
                on_missing=self.engine.forget,
            )
            self._probes.event_watches.append(watch)
            self._background.run_forever("events", watch.run())

    def _watch_incidents(self) -> None:
        for namespace in self._scope or (None,):
            watch = IncidentWatch(
                self._watching,
                self._clock,
                namespace,
                on_incident=self.incidents.on_incident,
                on_gone=self.incidents.on_incident_gone,
            )
            self._probes.incident_watches.append(watch)
            self._background.run_forever("incidents' watch", watch.run())

    async def close(self) -> None:
        """Finish what is under way, give all shards back, then stop everything."""
        began = time.monotonic()
        await self.sharing.leave(DRAIN)
        cut_off = await self.engine.close(max(0.0, DRAIN - (time.monotonic() - began)))
        if cut_off:
            log.warning("deliveries_cut_off", count=cut_off)
        await self._background.close()
        left = await self.sharing.left()
        self.root.close()
        for provider in self._providers.values():
            await provider.close()
        if self._heartbeat is not None:
            await self._heartbeat.close()
        await self._templates.close()
        await self._health.close()
        await self._client.close()
        await self._watching.close()
        await self._keeping.close()
        self._identity.close(keep=not left)
        log.info("stopped")


def build_app(settings: Settings, connection: Connection) -> App:
    """The operator for these settings on this cluster; root's `${VAR}`s come from this process' environment."""
    return App(settings, connection, dict(os.environ))
