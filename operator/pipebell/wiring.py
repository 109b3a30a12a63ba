"""The composition root: from settings to a running operator."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any, Final

import structlog
import yaml

from pipebell.core.errors import ApiError, InvalidEvent
from pipebell.core.triggers import DEFAULT_COOLDOWN
from pipebell.core.vocabulary import FINAL_PHASES, Phase, Reason
from pipebell.engine.book import ConfigBook
from pipebell.engine.bookkeeping import Bookkeeping
from pipebell.engine.engine import Engine
from pipebell.engine.ledger import CooldownLedger
from pipebell.engine.readiness import Readiness
from pipebell.engine.recorder import Recorder, patiently
from pipebell.engine.resolver import Resolver
from pipebell.engine.retention import Retention
from pipebell.engine.root import RootKeeper
from pipebell.health import HealthServer
from pipebell.kube.client import ApiClient
from pipebell.kube.configs import NotificationConfigs
from pipebell.kube.events import PipelineEvents
from pipebell.kube.namespaces import KubeNamespaces
from pipebell.kube.notices import KubeNotices
from pipebell.kube.parse import parse_config, parse_event
from pipebell.kube.root import RootWatch
from pipebell.kube.secrets import KubeSecrets
from pipebell.metrics import Metrics
from pipebell.providers.registry import build_providers

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from pipebell.core.config import ConfigObject
    from pipebell.core.errors import NotReady
    from pipebell.core.event import Event
    from pipebell.core.outcome import Outcome
    from pipebell.core.settle import Verdicts
    from pipebell.core.vocabulary import ProviderName
    from pipebell.engine.journey import Journey
    from pipebell.engine.resolver import Resolved
    from pipebell.kube.connection import Connection
    from pipebell.settings import Settings

HEAL_EVERY: Final = 300.0  # seconds between full lists of the configurations
DRAIN: Final = 25.0  # seconds that deliveries under way may take at shutdown

log = structlog.get_logger(__name__)


class SystemClock:
    """The real time."""

    now = staticmethod(time.time)
    sleep = staticmethod(asyncio.sleep)


class App:
    """The running operator, short of its watches: handlers feed it."""

    def __init__(self, settings: Settings, connection: Connection, environ: Mapping[str, str]) -> None:
        clock = SystemClock()
        self._settings, self._clock = settings, clock
        self._scope = settings.watch_namespaces
        config_scope = tuple(dict.fromkeys((*self._scope, *settings.shared_namespaces))) if self._scope else ()
        self._client = ApiClient(connection)
        self._events = PipelineEvents(self._client, self._scope, on_invalid=self._invalid)
        self._configs = NotificationConfigs(self._client, config_scope)
        self._notices = KubeNotices(self._client, clock)
        self._book = ConfigBook()
        self.root = RootKeeper(
            settings.namespace, settings.root_configmap, clock, self._notices, _load_yaml, self._root_changed
        )
        self._root_watch = RootWatch(
            self._client, clock, namespace=settings.namespace, name=settings.root_configmap, on_change=self.root.update
        )
        self._providers = build_providers(settings, clock)
        self._resolver = Resolver(
            self._book,
            self.root,
            self._configs,
            KubeSecrets(self._client, clock),
            KubeNamespaces(self._client, clock),
            environ=environ,
            shared_namespaces=settings.shared_namespaces,
            learn=self._learn,
        )
        self._ledger = CooldownLedger()
        self.metrics = Metrics()
        self._bookkeeping = Bookkeeping(self._book, self._configs, clock)
        self._retention = Retention(
            events=self._events,
            ledger=self._ledger,
            clock=clock,
            ttl_delivered=settings.ttl_delivered,
            ttl_failed=settings.ttl_failed,
            cooldown_of=self._cooldown_of,
        )
        self.engine = Engine(
            resolver=self._resolver,
            recorder=Recorder(self._events, clock),
            ledger=self._ledger,
            providers=self._providers,
            clock=clock,
            notices=self._notices,
            observer=self,
            max_age=settings.event_max_age,
        )
        self.readiness = Readiness(
            book=self._book,
            resolver=self._resolver,
            configs=self._configs,
            providers=self._providers,
            shared_namespaces=settings.shared_namespaces,
            clock=clock,
            timers=self.engine.timers,
            notices=self._notices,
            ready=self.engine.wake_org,
        )
        self.metrics.watch(self.engine, self.readiness, self.root)
        self._health = HealthServer(settings.http_port, self.metrics.registry, self._alive, self._ready)
        self._tasks: list[asyncio.Task[None]] = []
        self._beat = clock.now()
        self._relisted = asyncio.Event()
        self._started = 0.0

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Learn all configurations, then start everything that runs in the background."""
        port = await self._health.start()
        self._spawn("beat", self._keep_beating())
        self._spawn("root", self._root_watch.run())
        self._spawn("notices", self._notices.run())
        await patiently(self._list_configs, self._clock, "the first list of configurations")
        self._started = self._clock.now()
        self._spawn("readiness", self.readiness.run())
        self._spawn("cooldowns", self._fold())
        self._spawn("bookkeeping", self._bookkeeping.run())
        self._spawn("retention", self._retention.run())
        self._spawn("heal", self._heal())
        log.info("started", configs=len(self._book), http_port=port, namespaces=list(self._scope) or "all")

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def close(self) -> None:
        """Finish what is under way, then stop everything."""
        cut_off = await self.engine.close(DRAIN)
        if cut_off:
            log.warning("deliveries cut off at shutdown; they go on at the next start", count=cut_off)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.root.close()
        for provider in self._providers.values():
            await provider.close()
        await self._health.close()
        await self._client.close()
        log.info("stopped")

    # ------------------------------------------------------------------ what the watches tell

    def config_seen(self, item: Mapping[str, Any], *, listed: bool) -> None:
        """A NotificationConfig as it is now; `listed` when that came from a list."""
        metadata = item["metadata"]
        if listed and self._clock.now() - self._started > 10.0:  # noqa: PLR2004  (not the first list: the watch broke)
            self._relisted.set()
        if not self._book.knows((metadata["namespace"], metadata["name"]), metadata["resourceVersion"]):
            self._learn(parse_config(item))

    def config_deleted(self, item: Mapping[str, Any]) -> None:
        """A NotificationConfig is gone."""
        metadata = item["metadata"]
        self._forget_config((metadata["namespace"], metadata["name"]), metadata["uid"])

    def event_seen(self, item: Mapping[str, Any]) -> None:
        """A PipelineEvent as it is now."""
        if self.engine.knows(item["metadata"]["uid"]):
            return
        if self._scope and item["metadata"]["namespace"] not in self._scope:
            return
        try:
            event = parse_event(item)
        except InvalidEvent as error:
            self._invalid(error)
        else:
            self.engine.submit(event)

    def event_gone(self, item: Mapping[str, Any]) -> None:
        """A PipelineEvent was deleted, or left the watch because it is finished."""
        self.engine.forget(item["metadata"]["uid"])

    # ------------------------------------------------------------------ configurations

    def _learn(self, config: ConfigObject) -> None:
        old = self._book.put(config)
        if old is not None and old.uid == config.uid and old.generation == config.generation:
            return
        if old is None:
            self.readiness.found(config)
        else:
            for org in {config.org_slug, old.org_slug}:
                self.readiness.org_changed(org)
            self.engine.wake_org(old.org_slug)
        self.engine.wake_org(config.org_slug)

    def _forget_config(self, key: tuple[str, str], uid: str | None = None) -> None:
        gone = self._book.remove(key, uid)
        if gone is not None:
            self.readiness.removed(gone)
            self.engine.wake_org(gone.org_slug)

    async def _list_configs(self) -> None:
        before, seen = self._book.keys(), set()
        async for page in self._configs.scan():
            for config in page:
                seen.add(config.key)
                if not self._book.knows(config.key, config.resource_version):
                    self._learn(config)
        for key in self._book.missing_from(seen, before):
            self._forget_config(key)

    async def _heal(self) -> None:
        """A watch that broke may have hidden deletions: list again after each relist, and now and then anyway."""
        while True:
            try:
                await asyncio.wait_for(self._relisted.wait(), HEAL_EVERY)
                await self._clock.sleep(1.0)  # a relist shows many objects; one list afterwards is enough
            except TimeoutError:
                pass
            self._relisted.clear()
            try:
                await self._list_configs()
            except ApiError as error:
                log.warning("configurations could not be listed", error=str(error))

    def _root_changed(self) -> None:
        self.readiness.all_changed()
        self.engine.wake_org(None)

    def _cooldown_of(self, event: Event) -> float:
        """The cooldown that is configured now for a finished event."""
        reference = event.status.config_ref
        config = self._book.get((reference.namespace, reference.name)) if reference is not None else None
        specs = [config.spec if config is not None else None, self.root.current.spec]
        triggers = next((s.event_triggers for s in specs if s is not None and s.event_triggers is not None), None)
        for trigger in triggers or ():
            if trigger.event is event.spec.event and trigger.cooldown_seconds is not None:
                return trigger.cooldown_seconds
        return DEFAULT_COOLDOWN

    # ------------------------------------------------------------------ events

    async def _fold(self) -> None:
        """Rebuild the cooldowns from all events that there are, then take in the unfinished ones."""
        began = time.monotonic()
        count, unfinished = 0, []
        try:
            async for page in self._events.scan():
                for event in page:
                    count += 1
                    self._ledger.fold(event)
                    if event.status.phase is None or not event.status.phase.final:
                        unfinished.append(event)
        except ApiError as error:
            log.warning("cooldowns could not be rebuilt, trying again", error=str(error))
            self._ledger.start_over()
            await self._clock.sleep(1.0)
            self._spawn("cooldowns", self._fold())
            return
        self.engine.start_cooldowns()
        for event in sorted(unfinished, key=lambda item: item.created):
            self.engine.submit(event)
        log.info(
            "cooldowns rebuilt", events=count, unfinished=len(unfinished), seconds=round(time.monotonic() - began, 2)
        )

    def _invalid(self, error: InvalidEvent) -> None:
        """An event that breaks the rules (stored before they were tightened): say so on it, once."""
        if error.phase in {phase.value for phase in FINAL_PHASES}:
            return
        status = {"phase": Phase.FAILED.value, "reason": Reason.INTERNAL_ERROR.value, "message": str(error)[:1024]}
        self._spawn("invalid event", self._mark(error, status))

    async def _mark(self, error: InvalidEvent, status: Mapping[str, Any]) -> None:
        try:
            await self._events.patch_status(error.namespace, error.name, error.uid, error.resource_version, status)
        except ApiError as failure:
            log.warning("invalid event not marked", _event=f"{error.namespace}/{error.name}", error=str(failure))

    # ------------------------------------------------------------------ observing

    def attempted(self, journey: Journey, provider: ProviderName, outcome: Outcome, seconds: float) -> None:
        """See `Observer`."""
        self.metrics.attempted(journey, provider, outcome, seconds)

    def finished(self, journey: Journey, verdicts: Verdicts, now: float) -> None:
        """See `Observer`."""
        self.metrics.finished(journey, verdicts, now)
        self._bookkeeping.finished(journey, verdicts, now)
        self._retention.finished(journey, verdicts, now)

    def not_ready(self, resolved: Resolved, error: NotReady) -> None:
        """See `Observer`."""
        if resolved.config is not None:
            self.readiness.refused(resolved.config, error)

    async def _keep_beating(self) -> None:
        while True:
            self._beat = self._clock.now()
            await self._clock.sleep(1.0)

    def _alive(self) -> str | None:
        dead = [task.get_name() for task in self._tasks if task.done() and task.get_name() in _FOREVER]
        if dead:
            return f"stopped working: {', '.join(dead)}"
        return None

    def _ready(self) -> str | None:
        if not self._started:
            return "configurations have not been listed yet"
        if not self.root.listed.is_set():
            return "the root configuration has not been read yet"
        return None


_FOREVER: Final = ("root", "notices", "readiness", "bookkeeping", "retention", "heal", "beat")


def _load_yaml(text: str) -> Any:  # noqa: ANN401  (whatever the document is)
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise ValueError(f"not valid YAML: {error.problem}{where}") from None
    except yaml.YAMLError:
        raise ValueError("not valid YAML") from None


def build_app(settings: Settings, connection: Connection) -> App:
    """The operator for these settings on this cluster; root's `${VAR}`s come from this process' environment."""
    return App(settings, connection, dict(os.environ))
