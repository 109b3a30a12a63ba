"""What a replica has to find out about shards that have become its own: cooldowns that run, events to go on with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from pipebell.core.errors import ApiError
from pipebell.core.shards import shard_of
from pipebell.core.versions import as_number
from pipebell.engine.events.state import EventState
from pipebell.engine.shards.follower import ShardFollower

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pipebell.core.event import Event
    from pipebell.engine.events.bounds import Bounds
    from pipebell.engine.events.engine import Engine
    from pipebell.engine.events.ledger import CooldownLedger
    from pipebell.engine.ports import Ports
    from pipebell.engine.upkeep.incidents.keeper import IncidentKeeper

log = structlog.get_logger(__name__)


class Recovery(ShardFollower):
    """One pass over all events for all shards that were acquired together, folded and not retained.

    The watch tells of unfinished events too, but of nothing that was created before the shard was acquired; and what it
    tells late must not start an event again that the shard's last owner has finished. So what it says of a state that
    the pass has seen counts for nothing, and what it says during the pass is read again before anything is sent.

    `on_event` gets each event of those shards, finished ones too, for whoever else would have to list them all.
    """

    def __init__(
        self,
        ports: Ports,
        ledger: CooldownLedger,
        engine: Engine,
        on_event: Callable[[Event], None],
        incidents: IncidentKeeper | None = None,
    ) -> None:
        self._events, self._clock = ports.events, ports.clock
        self._ledger, self._engine, self._on_event = ledger, engine, on_event
        self._incidents = incidents
        self._todo: set[int] = set()
        self._held: set[int] = set()
        self._seen: dict[int, dict[str | None, int]] = {}
        self._wanted = asyncio.Event()

    def on_shards_acquired(self, shards: Collection[int]) -> None:
        """See `ShardFollower`. Find out about these shards, soon."""
        self._held.update(shards)
        self._todo.update(shards)
        for shard in shards:
            self._seen.pop(shard, None)
        self._wanted.set()

    def on_shards_released(self, shards: Collection[int]) -> None:
        """See `ShardFollower`."""
        self._held.difference_update(shards)
        self._todo.difference_update(shards)

    def add(self, event: Event) -> None:
        """An event of a shard of ours, as the watch tells of it."""
        seen = self._seen.get(shard_of(event.spec.org_slug))
        if seen is None:
            self._engine.submit(event, stale=True)
        elif as_number(event.resource_version) > seen.get(event.namespace, seen.get(None, 0)):
            self._engine.submit(event)

    def _expect(self, event: Event | None) -> None:
        """It is to be decided before what was created after it."""
        if event is not None and self._incidents is not None:
            self._incidents.expect(event)

    async def run(self) -> None:
        """A pass for each gain, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            shards, self._todo = frozenset(self._todo), set()
            if shards:
                await self._pass(shards)

    async def _pass(self, shards: frozenset[int]) -> None:
        began = self._clock.now()
        while True:
            self._ledger.begin_fold(shards)
            try:
                if self._incidents is not None:
                    await self._incidents.load(shards)
                count, unfinished, seen = await self._scan(shards)
            except ApiError as error:
                log.warning("cooldowns_not_rebuilt", error=str(error))
                await self._clock.sleep(1.0)
            else:
                break
        ours = shards & self._held - self._todo  # others were lost, or lost and acquired again, meanwhile
        for shard in ours:
            self._seen[shard] = seen
        if self._incidents is not None:
            self._incidents.loaded(ours)
        for state in sorted(unfinished, key=_order):
            if shard_of(state.org) in ours and self._engine.admit(state):
                self._expect(state.event)
        self._engine.start_cooldowns(ours)
        seconds = round(self._clock.now() - began, 2)
        log.info("cooldowns_rebuilt", events=count, unfinished=len(unfinished), seconds=seconds, shards=len(ours))

    async def _scan(self, shards: Collection[int]) -> tuple[int, list[EventState], dict[str | None, int]]:
        """Fold everything. How many events there are, those not finished of these shards, and what state that shows."""
        count, bounds = 0, self._engine.bounds.same_anew()
        unfinished: list[EventState] = []
        seen: dict[str | None, int] = {}

        def wanted(namespace: str, org: str, new: bool) -> bool:
            if shard_of(org) not in shards:
                return False
            if new and not bounds.room(namespace, org):
                self._engine.bounds.leave(namespace, org)
                return False
            return True

        async for page in self._events.scan(wanted=wanted):
            seen.setdefault(page.namespace, as_number(page.version))
            count += len(page.events)
            for event in page.events:
                _fold(self._ledger, self._engine, event)
                self._on_event(event)
                if self._incidents is not None:
                    self._incidents.fold(event)
                if not event.status.finished and (state := self._state(event, bounds)) is not None:
                    unfinished.append(state)
        return count, unfinished, seen

    def _state(self, event: Event, bounds: Bounds) -> EventState | None:
        """What to remember of an unfinished event; None when there are too many already."""
        state = EventState.of(event)
        if not (state.tried or bounds.room(event.namespace, event.spec.org_slug)):
            self._engine.bounds.leave(event.namespace, event.spec.org_slug)
            return None
        bounds.add(event.namespace, event.spec.org_slug)
        if not bounds.hold(event.namespace, event.size):  # read again when its turn comes
            state.event = None
        return state


def _order(state: EventState) -> tuple[float, float, int]:
    """The order in which what is unfinished is gone on with: of creation, and of what happened in one second."""
    occurred = state.event.occurred if state.event is not None else state.created
    return state.created, occurred, as_number(state.resource_version)


def _fold(ledger: CooldownLedger, engine: Engine, event: Event) -> None:
    """One event whose status cannot be understood must not keep everybody's cooldowns from being known."""
    try:
        ledger.fold(event)
        engine.fold(event)
    except ValueError as error:
        log.warning("event_left_out_of_cooldowns", namespace=event.namespace, name=event.name, error=str(error))
