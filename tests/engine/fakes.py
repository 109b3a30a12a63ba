"""Stand-ins for the engine's ports. Each remembers what it was asked; time moves only by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipebell.core.config import ConfigObject
from pipebell.core.errors import Conflict, Fenced, NotFound, NotReady, Unavailable
from pipebell.core.event import Event, EventPage, PipelineEventSpec
from pipebell.core.finding import Finding
from pipebell.core.incidents.resource import Incident, IncidentSpec, IncidentStatus
from pipebell.core.message import Message
from pipebell.core.models import NotificationConfigSpec, NotificationSpec
from pipebell.core.outcome import Attempt, Outcome, OutcomeKind
from pipebell.core.shards import ALL_SHARDS
from pipebell.core.silences.resource import Silence, SilenceSpec, SilenceStatus
from pipebell.core.status import EventStatus, NotificationConfigStatus
from pipebell.engine.configs.follower import ConfigFollower
from pipebell.engine.configs.resolver import Resolver
from pipebell.engine.configs.root import RootStore
from pipebell.engine.configs.store import ConfigStore
from pipebell.engine.events.bounds import Bounds
from pipebell.engine.events.engine import Engine
from pipebell.engine.events.ledger import CooldownLedger
from pipebell.engine.events.observer import Observer
from pipebell.engine.ports import BuiltInTexts, Ports, Templates
from pipebell.engine.upkeep.digests import Digests
from pipebell.engine.upkeep.incidents.keeper import IncidentKeeper
from pipebell.engine.upkeep.incidents.notices import NOTICE_KINDS, IncidentJudge
from pipebell.engine.upkeep.notices import NoticeMaker
from pipebell.engine.upkeep.recovery import Recovery
from pipebell.engine.upkeep.retention import Retention

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Generator, Mapping, Sequence

    from pipebell.core.message import Message
    from pipebell.core.vocabulary import Phase

START = 1_750_000_000.0


class FakeClock:
    """Time that stands still until `advance`."""

    def __init__(self) -> None:
        self._now = START
        self.trusted = True
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Let so much time pass, waking sleepers in order, those of one moment together, as a real loop does."""
        end = self._now + seconds
        await settle_down()
        sleepers, ready = self._sleepers, asyncio.get_running_loop()._ready
        while sleepers and sleepers[0][0] <= end:
            when, _, future = heapq.heappop(sleepers)
            if not future.done():
                self._now = max(self._now, when)
                future.set_result(None)
                if sleepers and sleepers[0][0] == when:
                    continue
            if ready:
                await settle_down()
        self._now = end
        await settle_down()

    async def leap(self, seconds: float) -> None:
        """So much time passes, of which everybody sees half a minute in each hour only: what days cost little in.

        Whoever sleeps is woken late, as on a machine that is suspended.
        """
        hours, rest = divmod(seconds, 3600)
        for _ in range(int(hours)):
            self._now += 3570
            await self.advance(30)
        await self.advance(rest)


class _Turn:
    """`asyncio.sleep(0)`, of which there are millions, without what it looks for first."""

    def __await__(self) -> Generator[None, None, None]:
        yield


async def settle_down(turns: int = 100_000) -> None:
    """Let everything run that can run without time passing: until nobody has anything to do."""
    ready = asyncio.get_running_loop()._ready  # whatever is to run in the loop's next turn
    turn = _Turn()
    for _ in range(turns):
        await turn
        if not ready:
            return
    raise AssertionError(f"still busy after {turns} turns")


@dataclass
class FakeEvents:
    """The API's PipelineEvents: resourceVersions, uids, conflicts, and a count of writes."""

    store: dict[tuple[str, str], Event] = field(default_factory=dict)
    writes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    away: bool = False
    versions: Any = field(default_factory=lambda: itertools.count(100))
    before_patch: Callable[[str], None] | None = None
    created: list[tuple[str, str]] = field(default_factory=list)
    refusal: Exception | None = None
    clock: Callable[[], float] | None = None
    on_created: Callable[[Event], object] | None = None

    def add(self, event: Event) -> Event:
        event = replace(event, resource_version=str(next(self.versions)))
        self.store[event.namespace, event.name] = event
        return event

    async def get(self, namespace: str, name: str) -> Event:
        self.reads.append(name)
        self._reachable()
        if (namespace, name) not in self.store:
            raise NotFound(name)
        return self.store[namespace, name]

    async def patch_status(self, namespace: str, name: str, uid: str, resource_version: str, status: Any) -> str:
        if self.before_patch is not None:
            self.before_patch(name)
        self._reachable()
        event = self.store.get((namespace, name))
        if event is None:
            raise NotFound(name)
        if event.uid != uid or event.resource_version != resource_version:
            raise Conflict(name)
        return self.force_status(namespace, name, status)

    def force_status(self, namespace: str, name: str, status: Mapping[str, Any]) -> str:
        event = self.store[namespace, name]
        self.writes.append((name, dict(status)))
        merged = event.status.model_dump(by_alias=True, exclude_none=True, mode="json") | dict(status)
        version = str(next(self.versions))
        kept = EventStatus.model_validate({key: value for key, value in merged.items() if value is not None})
        self.store[namespace, name] = replace(event, status=kept, resource_version=version)
        return version

    async def scan(
        self, phases_excluded: Sequence[str] = (), wanted: Callable[[str, str, bool], bool] = lambda *_: True
    ) -> AsyncIterator[EventPage]:
        self._reachable()
        version = str(next(self.versions))
        found = [
            event
            for event in self.store.values()
            if event.status.phase not in phases_excluded
            and wanted(event.namespace, event.spec.org_slug, not (event.status.finished or event.status.deliveries))
        ]
        yield EventPage(None, version, found)

    async def unfinished(self, namespace: str, known: Callable[[str], bool]) -> AsyncIterator[list[Event]]:
        self.lists.append(namespace)
        self._reachable()
        found = [e for e in self.store.values() if e.namespace == namespace and not e.status.finished]
        for start in range(0, len(found), 20):
            yield [event for event in found[start : start + 20] if not known(event.uid)]

    async def ended(self, namespace: str, phase: Phase) -> AsyncIterator[list[Event]]:
        self.lists.append(namespace)
        self._reachable()
        yield [e for e in self.store.values() if e.namespace == namespace and e.status.phase is phase]

    async def create(self, namespace: str, name: str, spec: Mapping[str, Any]) -> None:
        self._reachable()
        if self.refusal is not None:
            raise self.refusal
        if (namespace, name) in self.store:
            raise Conflict(name)
        self.created.append((namespace, name))
        number = next(self.versions)
        event = Event(
            namespace=namespace,
            name=name,
            uid=f"uid-{name}-{number}",
            resource_version=str(number),
            generation=1,
            created=self.clock() if self.clock else START,
            spec=PipelineEventSpec.model_validate(dict(spec)),
            status=EventStatus(),
        )
        self.store[namespace, name] = event
        if self.on_created is not None:
            self.on_created(event)

    async def delete(self, namespace: str, name: str, uid: str) -> None:
        if self.store[namespace, name].uid != uid:
            raise Conflict(name)
        del self.store[namespace, name]

    def _reachable(self) -> None:
        if self.away:
            raise Unavailable("away")


@dataclass
class FakeIncidents:
    """The API's Incidents: resourceVersions, uids, generations, and a count of writes. `on_change` is the watch."""

    store: dict[tuple[str, str], Incident] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    writes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    versions: Any = field(default_factory=lambda: itertools.count(100))
    away: bool = False
    refusal: Exception | None = None
    now: Callable[[], float] = lambda: START
    on_change: Callable[[Incident], object] | None = None
    on_gone: Callable[[str, str, str], object] | None = None

    async def get(self, namespace: str, name: str) -> Incident:
        self._reachable()
        if (namespace, name) not in self.store:
            raise NotFound(name)
        return self.store[namespace, name]

    async def scan(self, *, org_slug: Any = None, phases_excluded: Any = ()) -> AsyncIterator[list[Incident]]:
        self._reachable()
        yield list(self.store.values())

    async def create(self, namespace: str, name: str, spec: IncidentSpec) -> Incident:
        self._reachable()
        if self.refusal is not None:
            raise self.refusal
        if (namespace, name) in self.store:
            raise Conflict(name)
        number = next(self.versions)
        made = Incident(namespace, name, f"uid-{name}-{number}", str(number), 1, self.now(), spec, IncidentStatus())
        self.store[namespace, name] = made
        self.created.append(name)
        return made

    async def patch_status(self, incident: Incident, status: Mapping[str, Any]) -> str:
        self._reachable()
        known = self.store.get((incident.namespace, incident.name))
        if known is None:
            raise NotFound(incident.name)
        if (known.uid, known.resource_version) != (incident.uid, incident.resource_version):
            raise Conflict(incident.name)
        self.writes.append((incident.name, dict(status)))
        merged = known.status.model_dump(by_alias=True, exclude_none=True, mode="json") | dict(status)
        kept = IncidentStatus.model_validate({key: value for key, value in merged.items() if value is not None})
        return self._put(replace(known, status=kept)).resource_version

    async def delete(self, namespace: str, name: str, uid: str) -> None:
        if self.store[namespace, name].uid != uid:
            raise Conflict(name)
        self.remove(namespace, name)

    def say(self, namespace: str, name: str, **spec: Any) -> Incident:
        """Somebody patches its spec."""
        known = self.store[namespace, name]
        said = known.spec.model_dump(by_alias=True, exclude_none=True, mode="json") | spec
        parsed = IncidentSpec.model_validate({key: value for key, value in said.items() if value is not None})
        return self._put(replace(known, spec=parsed, generation=known.generation + 1))

    def remove(self, namespace: str, name: str) -> None:
        known = self.store.pop((namespace, name))
        self.deleted.append(name)
        if self.on_gone is not None:
            self.on_gone(namespace, name, known.uid)

    def _put(self, incident: Incident) -> Incident:
        changed = replace(incident, resource_version=str(next(self.versions)))
        self.store[incident.namespace, incident.name] = changed
        if self.on_change is not None and not changed.status.resolved:
            self.on_change(changed)
        return changed

    def _reachable(self) -> None:
        if self.away:
            raise Unavailable("away")


@dataclass
class FakeConfigs:
    """The API's NotificationConfigs."""

    store: dict[tuple[str, str], ConfigObject] = field(default_factory=dict)
    lists: list[str] = field(default_factory=list)
    patches: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    namespaces: list[tuple[str, ...]] = field(default_factory=list)
    gate: asyncio.Event | None = None
    refuses: Exception | None = None

    async def of_org(self, org_slug: str, namespaces: Sequence[str]) -> list[ConfigObject]:
        self.lists.append(org_slug)
        self.namespaces.append(tuple(namespaces))
        if self.gate is not None:
            await self.gate.wait()
        return [c for c in self.store.values() if c.org_slug == org_slug and c.namespace in namespaces]

    async def scan(self) -> AsyncIterator[list[ConfigObject]]:
        yield list(self.store.values())

    async def patch_status(
        self,
        config: ConfigObject,
        status: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
        allowed: Callable[[], bool] = lambda: True,
    ) -> None:
        if not allowed():
            raise Fenced(config.name)
        if self.refuses is not None:
            raise self.refuses
        self.patches.append((config.name, dict(status() if callable(status) else status)))


@dataclass
class FakeSecrets:
    """Secrets by (namespace, name)."""

    store: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    asked: list[tuple[str, str, bool]] = field(default_factory=list)

    async def read(self, namespace: str, name: str, *, fresh: bool = False) -> Mapping[str, str] | None:
        self.asked.append((namespace, name, fresh))
        return self.store.get((namespace, name))


@dataclass
class FakeNamespaces:
    store: dict[str, dict[str, str]] = field(default_factory=dict)

    async def labels(self, namespace: str) -> Mapping[str, str]:
        return self.store.get(namespace, {})


@dataclass
class FakeNotices:
    posted: list[tuple[str, str, str]] = field(default_factory=list)

    def warn(self, kind: str, namespace: str, name: str, uid: str, reason: str, message: str) -> None:
        self.posted.append((kind, f"{namespace}/{name}", reason))


class FakeProvider:
    """Answers by script: outcomes for the next attempts, then always delivered.

    `before` holds attempts up before anything is sent, `gate` after that.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.sent: list[tuple[float, Message, Any, Attempt]] = []
        self.script: list[Outcome | Exception] = []
        self.gate: asyncio.Event | None = None
        self.before: asyncio.Event | None = None
        self.barred: NotReady | None = None
        self.probed: list[tuple[float, Any, str]] = []
        self.trials: list[Outcome] = []
        self.busy_for: set[str] = set()
        self.verified: list[tuple[Any, str]] = []
        self.findings: Sequence[Finding] | Exception = [Finding("login", True, "user name and password are right")]
        self.verify_gate: asyncio.Event | None = None
        self.silent_for: str | None = None  # only this namespace's targets wait for the gate

    @property
    def names(self) -> list[str]:
        return [notification.event.name for _, notification, _, _ in self.sent]

    async def send(self, notification: Message, target: Any, attempt: Attempt) -> Outcome:
        if self.before is not None:
            await self.before.wait()
        if not attempt.allowed():
            raise Fenced("not allowed")
        self.sent.append((self._clock.now(), notification, target, attempt))
        if self.gate is not None:
            await self.gate.wait()
        if notification.event.name in self.busy_for:
            return Outcome(OutcomeKind.PAUSE, "Smtp421", "not this one")
        answer = self.script.pop(0) if self.script else Outcome(OutcomeKind.DELIVERED)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def check(self, target: Any, namespace: str = "") -> None:
        if self.barred is not None:
            raise self.barred

    async def verify(self, target: Any, namespace: str = "") -> Sequence[Finding]:
        self.verified.append((target, namespace))
        if self.verify_gate is not None and self.silent_for in (None, namespace):
            await self.verify_gate.wait()
        if isinstance(self.findings, Exception):
            raise self.findings
        return self.findings

    async def probe(self, target: Any, namespace: str = "") -> Outcome:
        self.probed.append((self._clock.now(), target, namespace))
        return self.trials.pop(0) if self.trials else Outcome(OutcomeKind.DELIVERED)

    async def close(self) -> None:
        pass


class Recording(Observer, ConfigFollower):
    """An observer that remembers."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, str, str]] = []
        self.unready: list[str] = []
        self.attempts = 0

    def on_attempt(self, state: Any, provider: Any, outcome: Any, seconds: float) -> None:
        self.attempts += 1

    def on_finished(self, state: Any, summary: Any, now: float) -> None:
        self.ended.append((state.name, summary.phase.value, summary.reason.value if summary.reason else ""))

    def on_config_refused(self, config: Any, error: NotReady) -> None:
        self.unready.append(error.reason.value)


@dataclass
class FakeOwnership:
    """Everything is ours, until a test says otherwise. `answers` come first, each once."""

    lost: set[str] = field(default_factory=set)
    fresh: bool = True
    answers: list[bool] = field(default_factory=list)

    def owns(self, org_slug: str) -> bool:
        return org_slug not in self.lost

    def may_send(self, org_slug: str) -> bool:
        if self.answers:
            return self.answers.pop(0)
        return self.fresh and self.owns(org_slug)


EMAIL = {"smtpHost": "smtp.example.com", "fromEmail": "from@example.com", "toEmails": ["to@example.com"]}


class House:
    """An engine with fakes around it."""

    def __init__(
        self, *, max_age: float = 86_400.0, environ: dict[str, str] | None = None, bounds: Bounds | None = None
    ) -> None:
        self.clock = FakeClock()
        self.events, self.configs = FakeEvents(), FakeConfigs()
        self.incidents, self.pagerduty = FakeIncidents(now=self.clock.now), FakeProvider(self.clock)
        self.secrets, self.namespaces, self.notices = FakeSecrets(), FakeNamespaces(), FakeNotices()
        self.email, self.slack = FakeProvider(self.clock), FakeProvider(self.clock)
        self.book, self.observer, self.ownership = ConfigStore(), Recording(), FakeOwnership()
        self.templates: Templates = BuiltInTexts()
        self.max_age, self.environ = max_age, environ or {}
        self.bounds = bounds or Bounds()
        self.met: Callable[[Event], None] = lambda _: None
        self._uids = itertools.count(1)
        self.root = RootStore("ops", "pipebell-root", self.clock, self.notices, _no_yaml)
        self.start()

    def start(self) -> None:
        """A new engine on the same API: what a restart is."""
        self.ports = Ports(
            clock=self.clock,
            events=self.events,
            configs=self.configs,
            secrets=self.secrets,
            namespaces=self.namespaces,
            notices=self.notices,
            ownership=self.ownership,
            providers={"email": self.email, "slack": self.slack, "pagerduty": self.pagerduty},
            installation=lambda: "4f1c-uid",
            incidents=self.incidents,
            templates=self.templates,
        )
        self.ledger = CooldownLedger()
        self.resolver = Resolver(
            self.book,
            self.root,
            self.ports,
            environ=self.environ,
            shared_namespaces=("shared",),
        )
        self.engine = Engine(self.ports, self.resolver, self.ledger, self.max_age, self.bounds.same_anew())
        self.engine.endpoints._jitter = lambda: 0.0
        self.events.clock, self.events.on_created = self.clock.now, self.engine.submit
        self.engine.observers.subscribe(self.observer)
        self.digests = Digests(
            self.ports, self.resolver, self.ledger, self.engine, NoticeMaker(self.ports, self.max_age)
        )
        self.resolver.subscribe(self.observer)
        self.keeper = IncidentKeeper(self.ports, self.engine, self.resolver, NoticeMaker(self.ports, self.max_age))
        judge = IncidentJudge(self.engine.books.incidents)
        for kind in NOTICE_KINDS:
            self.engine.books.judges.subscribe(kind, judge)
        self.incidents.on_change, self.incidents.on_gone = self.keeper.on_incident, self.keeper.on_incident_gone
        self.keeping: asyncio.Task[None] | None = None

    def keep(self) -> None:
        """Have incidents stored from now on."""
        self.keeping = asyncio.create_task(self.keeper.run())

    async def restart(self) -> None:
        """Kill the engine as SIGKILL would, and start another from what the API holds."""
        await self.close()
        self.start()
        self.keep()
        for event in list(self.events.store.values()):  # the watch tells first, in the order of the list
            self.engine.submit(event)
        await self.recover()

    def silence(self, seconds: float) -> list[Silence]:
        """Everything in the namespace team is silent for so long; whoever empties the list ends it."""
        ends = datetime.fromtimestamp(self.clock.now() + seconds, UTC).isoformat()
        spec = SilenceSpec.model_validate({"endsAt": ends, "reason": "migration"})
        found = [Silence("team", "migration", "uid-s", "1", self.clock.now(), spec, SilenceStatus(), False)]
        self.engine.books.holds.silences = lambda _namespace, _now: found
        return found

    async def close(self) -> None:
        """End as a killed process does."""
        await self.engine.close(0)
        if self.keeping is not None:
            await asyncio.sleep(0)  # a task that never ran would leave a coroutine that was never awaited
            self.keeping.cancel()
            await asyncio.gather(self.keeping, return_exceptions=True)
            self.keeping = None

    async def recover(self, shards: Collection[int] = ALL_SHARDS) -> None:
        """Shards are gained: one pass for all of them."""
        recovery = Recovery(self.ports, self.ledger, self.engine, self.met, self.keeper)
        recovery.on_shards_acquired(shards)
        task = asyncio.create_task(recovery.run())
        await settle_down()
        task.cancel()

    def sweeper(self, *, cooldown: float = 300.0, ttl_delivered: float = 60.0) -> Retention:
        """Told of what the engine finishes and of what a pass (`recover`) meets."""
        retention = Retention(
            self.ports,
            self.ledger,
            lambda *_: cooldown,
            ttl_delivered=ttl_delivered,
            ttl_failed=600.0,
            max_age=self.max_age,
            covered=self.keeper.covers,
        )
        retention.subscribe(self.digests)
        self.met = retention.on_event
        self.engine.observers.subscribe(retention)
        return retention

    def no_root(self) -> None:
        self.root.update(None, "")
        self.ledger.finish_fold()

    def with_root(self, document: str) -> None:
        self.root.update({"config.json": document}, "1")
        self.ledger.finish_fold()

    def config(self, org: str = "acme", namespace: str = "team", name: str = "config", **spec: Any) -> ConfigObject:
        """Put a configuration into the API and the book."""
        spec.setdefault("email", EMAIL)
        spec.setdefault("retryConfig", {"maxAttempts": 3})
        config = config_object(org, namespace, name, str(next(self.events.versions)), spec)
        self.configs.store[config.key] = config
        self.book.put(config)
        return config

    def event(
        self, name: str = "", namespace: str = "team", org: str = "acme", stored_bytes: int = 0, **spec: Any
    ) -> Event:
        number = next(self._uids)
        spec = {"orgSlug": org, "event": "pipeline_failure", "pipelineId": "p", **spec}
        event = Event(
            namespace=namespace,
            name=name or f"event-{number}",
            uid=f"uid-{number}",
            resource_version="1",
            generation=1,
            created=self.clock.now(),
            spec=PipelineEventSpec.model_validate(spec),
            status=EventStatus(),
            stored_bytes=stored_bytes,
        )
        return self.events.add(event)

    async def submit(self, *events: Event) -> None:
        for event in events:
            self.engine.submit(event)
        await settle_down()

    def status(self, event: Event) -> EventStatus:
        return self.events.store[event.namespace, event.name].status


def config_object(org: str, namespace: str, name: str, version: str, spec: Mapping[str, Any]) -> ConfigObject:
    parsed: NotificationSpec = NotificationConfigSpec.model_validate({"orgSlug": org, **spec})
    return ConfigObject(
        namespace=namespace,
        name=name,
        uid=f"uid-{namespace}-{name}",
        resource_version=version,
        generation=int(version),
        created=START,
        org_slug=org,
        spec=parsed,
        problems=(),
        status=NotificationConfigStatus(),
    )


def _no_yaml(text: str) -> Any:
    raise ValueError(text)
