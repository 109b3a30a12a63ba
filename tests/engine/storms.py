"""Two replicas on one API, with latencies, kills, hand-overs, outages and receivers that throttle: all in one process.

Everything that is drawn comes from one seed, and time is the fake clock's, so that whatever is found can be repeated.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.engine.fakes import FakeClock, FakeEvents, FakeIncidents, House, settle_down

from pipebell.core.errors import Fenced, Unavailable
from pipebell.core.event import Event, PipelineEventSpec
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.shards import shard_of
from pipebell.core.status import EventStatus
from pipebell.engine.upkeep.recovery import Recovery

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from pipebell.core.message import Message
    from pipebell.core.outcome import Attempt

LATENCIES = (0.0, 0.01, 0.05, 0.3)  # seconds, of the API and of the watch
ANSWERS = (0.01, 0.05, 0.4, 2.0, 4.0)  # seconds until a receiver has taken a message, and until it says so
VALID = 6.0  # seconds without the API after which nobody may send


class Process:
    """One replica as long as it lives, and its connection to the API."""

    def __init__(self, storm: Storm, number: int) -> None:
        self.storm, self.number, self.dead = storm, number, False
        self.house = house = House()
        house.clock, house.events, house.incidents = storm.clock, _Events(self), _Incidents(self)
        house.email, house.slack = (_Sender(self, storm.receivers[name]) for name in ("email", "slack"))
        house.ownership.lost = set(storm.orgs)
        house.start()
        house.events.on_created = None  # the watch tells of it
        house.root.update(None, "")
        for org, spec in storm.specs.items():
            house.config(org=org, name=org, **spec)
        house.incidents.on_change = house.incidents.on_gone = None
        house.keep()
        self.recovery = Recovery(house.ports, house.ledger, house.engine, lambda _: None, house.keeper)
        self.running = asyncio.create_task(self.recovery.run())
        self.told: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.watching = asyncio.create_task(self._watch())

    @property
    def held(self) -> set[str]:
        """Its organisations."""
        return set(self.storm.orgs) - self.house.ownership.lost

    async def ask(self) -> None:
        """A request is on its way."""
        await self.storm.clock.sleep(self.storm.draw.choice(LATENCIES))
        if self.dead:
            raise asyncio.CancelledError

    async def _watch(self) -> None:
        house, draw = self.house, self.storm.draw
        while True:
            what, item = await self.told.get()
            await self.storm.clock.sleep(draw.choice(LATENCIES))
            while self.storm.away:
                await self.storm.clock.sleep(0.5)
            if what == "incident":
                if item.status.resolved:
                    house.keeper.on_incident_gone(item.namespace, item.name, item.uid)
                else:
                    house.keeper.on_incident(item)
            elif item.status.finished:
                house.engine.forget(item.uid)
            elif house.ownership.owns(item.spec.org_slug) and not house.engine.knows(item.uid):
                self.recovery.add(item)

    def acquire(self, org: str) -> None:
        """An organisation is this replica's now."""
        self.house.ownership.lost.discard(org)
        for follower in (self.recovery, self.house.keeper, self.house.engine):
            follower.on_shards_acquired({shard_of(org)})

    def release(self, org: str) -> None:
        """It is to be another one's."""
        self.house.ownership.lost.add(org)
        for follower in (self.recovery, self.house.keeper, self.house.engine):
            follower.on_shards_released({shard_of(org)})

    async def kill(self) -> None:
        """It does nothing from now on."""
        self.dead = True
        for task in (self.watching, self.running):
            task.cancel()
        await self.house.close()


class _Reads:
    """Reads of one replica, which take their time."""

    _process: Process
    _storm: Storm

    async def get(self, namespace: str, name: str) -> Any:
        await self._process.ask()
        self._storm.reach()
        return await super().get(namespace, name)

    async def scan(self, *given: Any, **named: Any) -> AsyncIterator[Any]:
        await self._process.ask()
        self._storm.reach()
        async for page in super().scan(*given, **named):
            yield page
            await self._process.ask()


class _Events(_Reads, FakeEvents):
    """One replica's connection to the PipelineEvents that all share."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self._process, self._storm = process, process.storm
        self.store, self.versions = self._storm.events, self._storm.versions

    async def patch_status(self, namespace: str, name: str, uid: str, resource_version: str, status: Any) -> str:
        await self._process.ask()
        self._storm.reach()
        version = await super().patch_status(namespace, name, uid, resource_version, status)
        self._storm.tell("event", self.store[namespace, name])
        await self._storm.answer(self._process)
        return version

    async def create(self, namespace: str, name: str, spec: Mapping[str, Any]) -> None:
        await self._process.ask()
        self._storm.reach()
        await super().create(namespace, name, spec)
        self._storm.tell("event", self.store[namespace, name])
        await self._storm.answer(self._process)


class _Incidents(_Reads, FakeIncidents):
    """One replica's connection to the Incidents that all share."""

    def __init__(self, process: Process) -> None:
        super().__init__(now=process.storm.clock.now)
        self._process, self._storm = process, process.storm
        self.store, self.versions = self._storm.incidents, self._storm.versions

    async def create(self, namespace: str, name: str, spec: Any) -> Any:
        await self._process.ask()
        self._storm.reach()
        made = await super().create(namespace, name, spec)
        self._storm.tell("incident", made)
        await self._storm.answer(self._process)
        return made

    async def patch_status(self, incident: Any, status: Mapping[str, Any]) -> str:
        await self._process.ask()
        self._storm.reach()
        version = await super().patch_status(incident, status)
        self._storm.tell("incident", self.store[incident.namespace, incident.name])
        await self._storm.answer(self._process)
        return version


@dataclass
class Arrival:
    """A message that a receiver has taken: when, of which event, of which kind, and whose thread it continues."""

    at: float
    identity: str
    event: Event
    replies_to: str | None
    edits: str | None
    process: int


class _Receiver:
    """Where messages arrive."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.arrived: list[Arrival] = []
        self._numbers = itertools.count(1)

    def take(self, arrival: Arrival) -> str:
        """Its handle."""
        self.arrived.append(arrival)
        return f"<{arrival.identity}>" if self.name == "email" else f"C1/{next(self._numbers)}.0"


class _Sender:
    """One replica's connection to a receiver."""

    def __init__(self, process: Process, receiver: _Receiver) -> None:
        self._process, self._receiver = process, receiver

    async def send(self, message: Message, target: Any, attempt: Attempt) -> Outcome:
        storm, draw = self._process.storm, self._process.storm.draw
        await storm.clock.sleep(draw.choice(LATENCIES))
        if not attempt.allowed():
            raise Fenced("not allowed")
        await storm.clock.sleep(draw.choice(ANSWERS))
        what = draw.random()
        if what < storm.throttled:
            after = draw.choice((None, 1.0, 2.0))
            return Outcome(OutcomeKind.PAUSE, "Http429", "too many", retry_after=after)
        if what < storm.throttled + storm.failing:
            return Outcome(OutcomeKind.RETRY, "Timeout", "no answer")
        handle = self._receiver.take(
            Arrival(
                *(storm.clock.now(), attempt.delivery_id, message.event),
                *(attempt.replies_to, attempt.edits, self._process.number),
            )
        )
        await storm.clock.sleep(draw.choice(ANSWERS))
        if self._receiver.name == "email":
            return Outcome(OutcomeKind.DELIVERED, message_id=handle)
        return Outcome(OutcomeKind.DELIVERED, handle=attempt.edits or handle)

    async def check(self, target: Any, namespace: str = "") -> None:
        pass

    async def close(self) -> None:
        pass


class Storm:
    """The world while it rages. `specs` are the organisations' configurations."""

    def __init__(self, seed: int, specs: Mapping[str, Mapping[str, Any]], *, throttled: float, failing: float) -> None:
        self.draw, self.specs, self.orgs = random.Random(seed), specs, list(specs)
        self.throttled, self.failing = throttled, failing
        self.clock = FakeClock()
        self.events: dict[tuple[str, str], Event] = {}
        self.incidents: dict[tuple[str, str], Any] = {}
        self.versions = itertools.count(100)
        self.receivers = {name: _Receiver(name) for name in ("email", "slack")}
        self.away, self.log = False, []
        self._numbers = itertools.count(1)
        self.processes = [Process(self, next(self._numbers)) for _ in range(2)]
        self._tasks: set[asyncio.Task[None]] = set()
        self.homeless: set[str] = set()
        for number, org in enumerate(self.orgs):
            self.processes[number % 2].acquire(org)

    # ------------------------------------------------------------------ the API

    def reach(self) -> None:
        """Raises Unavailable while the API is away."""
        if self.away:
            raise Unavailable("away")

    async def answer(self, process: Process) -> None:
        """What was asked is done; the answer may not arrive."""
        await process.ask()
        if self.away or self.draw.random() < 0.02:
            raise Unavailable("no answer")

    def tell(self, what: str, item: Any) -> None:
        """All watches hear of it."""
        for process in self.processes:
            if not process.dead:
                process.told.put_nowait((what, item))

    def create(self, name: str, org: str, last: float | None, **spec: Any) -> Event:
        """An event of a pipeline; `last` is when the one before it of its key was created."""
        now = self.clock.now()
        if (last is not None and math.floor(last) == math.floor(now)) or self.draw.random() < 0.5:
            spec["occurredAt"] = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
        event = Event(
            namespace="team",
            name=name,
            uid=f"uid-{name}",
            resource_version=str(next(self.versions)),
            generation=1,
            created=float(math.floor(now)),
            spec=PipelineEventSpec.model_validate({"orgSlug": org, **spec}),
            status=EventStatus(),
        )
        self.events["team", name] = event
        self.tell("event", event)
        return event

    # ------------------------------------------------------------------ trouble

    def trouble(self) -> None:
        """Something happens now and then."""
        what = self.draw.random()
        if what < 0.04:
            self._begin(self._kill())
        elif what < 0.055 and not self.away:
            self._begin(self._outage())
        elif what < 0.085:
            self._begin(self._hand_over())

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()

    async def _kill(self) -> None:
        alive = [process for process in self.processes if not process.dead]
        if len(alive) < 2 or self.homeless:
            return
        victim = self.draw.choice(alive)
        orgs = sorted(victim.held)
        self.homeless.update(orgs)
        self.log.append((self.clock.now(), "kill", victim.number, orgs))
        await victim.kill()
        await self.clock.sleep(self.draw.choice((2.0, 9.0)))
        (other,) = (process for process in self.processes if not process.dead)
        while self.away:
            await self.clock.sleep(0.5)
        for org in orgs:
            other.acquire(org)
        self.homeless.difference_update(orgs)
        self.log.append((self.clock.now(), "acquired", other.number, orgs))
        await self.clock.sleep(self.draw.choice((0.1, 3.0)))
        fresh = Process(self, next(self._numbers))
        self.processes[self.processes.index(victim)] = fresh
        for org in self.draw.sample(sorted(other.held), len(other.held) // 2):
            self._begin(self._move(org, other, fresh))

    async def _hand_over(self) -> None:
        if self.homeless or any(process.dead for process in self.processes) or self.away:
            return
        one, other = self.draw.sample(self.processes, 2)
        if one.held:
            await self._move(self.draw.choice(sorted(one.held)), one, other)

    async def _move(self, org: str, one: Process, other: Process) -> None:
        if org not in one.held:
            return
        self.homeless.add(org)
        one.release(org)
        self.log.append((self.clock.now(), "released", one.number, org))
        until = self.clock.now() + 60.0
        while shard_of(org) in one.house.engine.busy and self.clock.now() < until and not one.dead:
            await self.clock.sleep(0.2)
        while self.away:
            await self.clock.sleep(0.5)
        taker = other if not other.dead else one
        if taker.dead:
            taker = next(process for process in self.processes if not process.dead)
        taker.acquire(org)
        self.log.append((self.clock.now(), "moved to", taker.number, org))
        self.homeless.discard(org)

    async def _outage(self) -> None:
        self.away = True
        seconds = self.draw.choice((1.0, 4.0, 15.0))
        self.log.append((self.clock.now(), "outage", seconds, None))
        await self.clock.sleep(min(seconds, VALID))
        if seconds > VALID:
            for process in self.processes:
                process.house.ownership.fresh = False
            await self.clock.sleep(seconds - VALID)
        self.away = False
        for process in self.processes:
            if not process.house.ownership.fresh and not process.dead:
                process.house.ownership.fresh = True
                process.house.engine.on_lease_renewed()

    async def calm(self) -> None:
        """Nothing happens any more, and everything is told."""
        while self._tasks:
            await self.clock.advance(5.0)
        self.throttled = self.failing = 0.0
        await self.clock.advance(1800.0)
        await settle_down()

    async def close(self) -> None:
        """End all."""
        for task in list(self._tasks):
            task.cancel()
        for process in self.processes:
            if not process.dead:
                await process.kill()


__all__ = ["Arrival", "Process", "Storm", "replace"]
