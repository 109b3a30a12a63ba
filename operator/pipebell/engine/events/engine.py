"""Takes events in, and gives each a round whenever it can go on; forgets those that are another replica's by now."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

import structlog

from pipebell.core.errors import Fenced, Unavailable
from pipebell.core.shards import ALL_SHARDS, shard_of
from pipebell.engine.configs.follower import ConfigFollower
from pipebell.engine.events.endpoints import Endpoints
from pipebell.engine.events.keys import LEASE, Config, Ledger
from pipebell.engine.events.observer import Observers
from pipebell.engine.events.reconcile import Reconciler
from pipebell.engine.events.roster import Roster
from pipebell.engine.events.state import EventState, Life
from pipebell.engine.events.turns import Turns
from pipebell.engine.events.waiting import WaitingRoom
from pipebell.engine.queue import FairQueue
from pipebell.engine.shards.follower import ShardFollower
from pipebell.engine.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Collection

    from pipebell.core.config import ConfigObject
    from pipebell.core.event import Event
    from pipebell.engine.configs.resolver import Resolver
    from pipebell.engine.events.bounds import Bounds
    from pipebell.engine.events.ledger import CooldownLedger
    from pipebell.engine.ports import Ports

LATE: Final = 900.0  # seconds for which a replica that has lost a shard may still record what came of an attempt

log = structlog.get_logger(__name__)


class Engine(ConfigFollower, ShardFollower):
    """Takes events in, and brings each to its final phase."""

    def __init__(
        self, ports: Ports, resolver: Resolver, ledger: CooldownLedger, max_age: float, bounds: Bounds | None = None
    ) -> None:
        self._ledger, self._clock, self._max_age = ledger, ports.clock, max_age
        self._roster, self._reach, self._resolver = Roster(bounds), resolver.reach, resolver
        self._running: Counter[int] = Counter()
        self._looked = ports.clock.now()
        self._acquired: defaultdict[int, float] = defaultdict(lambda: -math.inf)  # by shard; seconds since the epoch
        self.observers = Observers()
        self.queue: FairQueue[EventState] = FairQueue(self._work)
        self.room = WaitingRoom(ports.clock, self.wake)
        self.endpoints = Endpoints(ports.clock, self.wake)
        self._timers = Timers(ports.clock)
        self._turns = Turns(ledger, self._roster, self.room, self.wake)
        self._reconciler = Reconciler(
            ports, resolver, self.observers, self._roster, self.room, self._turns, self.endpoints, max_age
        )
        self.books = self._reconciler.books
        self.observers.subscribe(self.books.batches)
        self._look_for_overdue()

    def fold(self, event: Event) -> None:
        """A pass over all events has met this one: digests and hourly limits know of it. Raises ValueError."""
        now = self._clock.now()
        self.books.batches.fold(event, now)
        if event.status.deliveries and event.status.config_ref is not None:
            layers = self._resolver.without_secrets(event.status.config_ref)
            if not layers.singly:
                self.books.budgets.fold(event, layers, now)

    # ------------------------------------------------------------------ coming and going

    @property
    def bounds(self) -> Bounds:
        """How many events may be kept track of, and what is left in the API."""
        return self._roster.bounds

    @property
    def unfinished(self) -> int:
        """Events that have been taken in and are not finished."""
        return len(self._roster)

    def knows(self, uid: str) -> bool:
        """Whether this event is under way or finished: nothing new can be said of it."""
        return uid in self._roster

    def under_way(self, namespace: str | None) -> list[str]:
        """Uids of the events that have been taken in and are not finished: those of one namespace, or (None) all."""
        return self._roster.active(namespace)

    def submit(self, event: Event, *, stale: bool = False) -> bool:
        """Take an event in. Echoes of what is known already, and finished events, change nothing.

        A `stale` one may have come to its end already: it is read again before anything is sent. False when it was not
        taken in; if for want of room, it is listed again later (`upkeep.backlog`).
        """
        if event.status.finished:
            return False
        state = EventState.of(event)
        if stale:
            state.event = None
        if not self.admit(state):
            return False
        self.books.incidents.expect(event)
        return True

    def has_room(self, namespace: str, org: str) -> bool:
        """Whether one more event of this organisation of this namespace may come; if not, note that it was left."""
        if self.bounds.room(namespace, org):
            return True
        self.bounds.leave(namespace, org)
        return False

    def admit(self, state: EventState) -> bool:
        """The same for an unfinished event whose state has been made already; it may be without the event itself."""
        if self.knows(state.uid):
            self._roster.refresh(state)
            return False
        # What was tried goes on, come what may: its cooldown key waits for its outcome.
        if not (state.tried or self.has_room(state.namespace, state.org)):
            return False
        state.life = Life.QUEUED
        self._roster.add(state)
        self.queue.put(state.namespace, state.org, state, again=state.attempted)
        return True

    def _requeue(self, state: EventState) -> None:
        state.life = Life.QUEUED
        self._roster.charge(state)
        self.queue.put(state.namespace, state.org, state, again=True)

    def forget(self, uid: str) -> None:
        """The event was deleted, or is finished and not watched any more."""
        state = self._roster.get(uid)
        if state is None:
            if not self._ledger.folding:  # the watch will not speak of it again; but a list under way may still show it
                self._roster.last_word(uid)
        elif (
            state.life in (Life.WAITING, Life.QUEUED) and self._clock.now() < self._acquired[shard_of(state.org)] + LATE
        ):
            self._read_again(state)
        elif state.life is Life.WAITING:
            self._reconciler.settler.end(state)
        elif state.life is not Life.LOST:
            state.life = Life.GONE

    def _read_again(self, state: EventState) -> None:
        """Whoever had its shard before may have ended it: what that has recorded is to be known."""
        self._roster.release(state)
        state.event = None
        if state.life is Life.WAITING:
            self._requeue(state)
        else:
            self._roster.charge(state)

    def wake(self, uid: str) -> None:
        """Have an event decide anew, as soon as there is a slot."""
        state = self._roster.get(uid)
        if state is None:
            return
        if state.life is Life.RUNNING:
            state.life = Life.AGAIN
        elif state.life is Life.WAITING:
            self._requeue(state)

    def wake_org(self, org_slug: str | None, namespace: str | None = None) -> None:
        """A configuration changed: whoever waits for one decides anew. None: in all namespaces, all organisations."""
        if org_slug is not None and namespace is not None:
            self.room.wake(Config(namespace, org_slug))
        else:
            self.room.wake_configs(org_slug)

    def on_config_change(self, old: ConfigObject | None, new: ConfigObject | None) -> None:
        """See `ConfigFollower`."""
        for org, reach in {(config.org_slug, self._reach(config)) for config in (old, new) if config is not None}:
            self.wake_org(org, reach)

    def on_root_change(self) -> None:
        """See `ConfigFollower`."""
        self.wake_org(None)

    def on_config_ready(self, config: ConfigObject) -> None:
        """See `ConfigFollower`."""
        self.wake_org(config.org_slug, self._reach(config))

    def start_cooldowns(self, shards: Collection[int] = ALL_SHARDS) -> None:
        """The ledger knows these shards, and their unfinished events were submitted: those that waited decide now."""
        self._ledger.finish_fold(shards)
        for key, uid in self._ledger.senders():
            if self._roster.get(uid) is None:  # it ended after the pass had read it
                self._turns.release_key(key, uid)
        for uid in self.books.budgets.under_way():
            if self._roster.get(uid) is None:
                self.books.budgets.release(uid)
        for shard in sorted(shards):
            self.room.wake(Ledger(shard))

    # ------------------------------------------------------------------ sharing with other replicas

    @property
    def busy(self) -> Collection[int]:
        """See `ShardFollower`."""
        return frozenset(self._running)

    def on_shards_acquired(self, shards: Collection[int]) -> None:
        """See `ShardFollower`. What is remembered of them may be old; the pass over all events brings it anew."""
        self._acquired.update(dict.fromkeys(shards, self._clock.now()))
        self.books.batches.on_shards_acquired(shards)
        self.books.budgets.forget(shards)

    def on_shards_released(self, shards: Collection[int]) -> None:
        """See `ShardFollower`. Forget their events, those under way as soon as they come to rest."""
        self._ledger.close(shards)
        self.books.batches.on_shards_released(shards)
        self.books.budgets.forget(shards)
        for state in self._roster.of_shards(shards):
            resting = state.life in (Life.WAITING, Life.QUEUED)
            state.life = Life.LOST
            if resting:
                self._drop(state)

    def on_lease_renewed(self) -> None:
        """See `ShardFollower`."""
        self.room.wake(LEASE)

    def _drop(self, state: EventState) -> None:
        self._roster.discard(state)
        self._reconciler.settler.forget(state)
        self.books.incidents.dropped(state)

    @property
    def unanswered(self) -> int:
        """Reads and writes of events that the API has not answered yet."""
        return self._reconciler.recorder.waiting

    @property
    def unrecordable(self) -> int:
        """Events whose outcome the API refuses to have recorded; nothing more is sent for them."""
        return self._reconciler.settler.parked

    async def close(self, patience: float) -> int:
        """Take nothing more in, finish what is under way within this many seconds. Returns how many were cut off."""
        self._timers.close()
        self.room.close()
        self.endpoints.close()
        return await self.queue.close(patience)

    # ------------------------------------------------------------------ a slot

    async def _work(self, state: EventState) -> None:
        if state.life is Life.GONE:
            self._reconciler.settler.end(state)
        if state.life is not Life.QUEUED:
            return
        shard = shard_of(state.org)
        self._roster.release(state)
        state.life = Life.RUNNING
        self._running[shard] += 1
        try:
            await self._step(state)
        finally:
            self._running[shard] -= 1
            if not self._running[shard]:
                del self._running[shard]
            self._rest(state)

    async def _step(self, state: EventState) -> None:
        try:
            await self._reconciler.reconcile(state)
        except Fenced:
            self._reconciler.settler.wait_for_lease(state)
        except Unavailable as error:
            log.warning("event_postponed", namespace=state.namespace, name=state.name, error=str(error))
            self.room.wait(state, *state.waits, until=self._clock.now() + 1.0)
        except Exception as error:  # noqa: BLE001  (one event's trouble must not become everybody's)
            await self._reconciler.settler.end_by_error(state, error)

    def _rest(self, state: EventState) -> None:
        """A slot is given back: its event waits, goes on at once, or is over."""
        if self._roster.get(state.uid) is not state:
            return
        match state.life:
            case Life.LOST:
                self._drop(state)
            case Life.GONE:
                self._reconciler.settler.end(state)
            case Life.AGAIN:
                self._requeue(state)
            case _:
                state.life = Life.WAITING
                self._roster.charge(state)

    def _look_for_overdue(self) -> None:
        """From time to time, have events that got too old meanwhile decide anew: they expire then."""
        now = self._clock.now()
        if self._clock.trusted:  # else nothing expires, and what fell due meanwhile is looked at afterwards
            for uid in self._roster.created_between(self._looked - self._max_age, now - self._max_age):
                self.wake(uid)
            self._looked = now
        self._timers.at(now + min(60.0, self._max_age / 4 + 0.5), self._look_for_overdue)
