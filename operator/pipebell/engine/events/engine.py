"""Takes events in, and gives each a round whenever it can go on; forgets those that are another replica's by now."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import structlog

from pipebell.core.errors import Fenced, Unavailable
from pipebell.core.shards import ALL_SHARDS, shard_of
from pipebell.engine.events.endpoints import EndpointPauses
from pipebell.engine.events.gate import Gate
from pipebell.engine.events.queue import FairQueue
from pipebell.engine.events.reconcile import Travel
from pipebell.engine.events.roster import Roster
from pipebell.engine.events.state import Journey
from pipebell.engine.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pipebell.core.event import Event
    from pipebell.core.vocabulary import ProviderName
    from pipebell.engine.configs.resolver import Resolver
    from pipebell.engine.events.ledger import CooldownLedger
    from pipebell.engine.events.observer import Observer
    from pipebell.engine.events.recorder import Recorder
    from pipebell.engine.ports import Clock, Notices, Ownership, Provider

log = structlog.get_logger(__name__)


class Engine:
    """Takes events in, and brings each to its final phase."""

    def __init__(  # noqa: PLR0913  (the composition root names them)
        self,
        *,
        resolver: Resolver,
        recorder: Recorder,
        ledger: CooldownLedger,
        providers: Mapping[ProviderName, Provider],
        clock: Clock,
        notices: Notices,
        observer: Observer,
        ownership: Ownership,
        max_age: float,
    ) -> None:
        self._ledger, self._clock, self._max_age = ledger, clock, max_age
        self._roster = Roster()
        self._running: Counter[int] = Counter()
        self.queue: FairQueue[Journey] = FairQueue(self._work)
        self.timers = Timers(clock)
        self.pauses = EndpointPauses(clock, self.wake)
        self._travel = Travel(
            resolver=resolver,
            recorder=recorder,
            providers=providers,
            clock=clock,
            notices=notices,
            observer=observer,
            ownership=ownership,
            max_age=max_age,
            roster=self._roster,
            gate=Gate(ledger, self.wake),
            timers=self.timers,
            pauses=self.pauses,
            wake=self.wake,
        )
        self._overdue_soon()

    # ------------------------------------------------------------------ coming and going

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

    def submit(self, event: Event, *, stale: bool = False) -> None:
        """Take an event in. Echoes of what is known already, and finished events, change nothing.

        A `stale` one may have come to its end already: it is read again before anything is sent.
        """
        if not event.status.finished:
            self.admit(Journey.of(event), stale=stale)

    def admit(self, journey: Journey, *, stale: bool = False) -> None:
        """The same for an unfinished event whose journey has been made already; it may be without the event itself."""
        if self.knows(journey.uid):
            return
        journey.queued, journey.stale = True, stale
        self._roster.add(journey)
        self.queue.put(journey.namespace, journey.org, journey, again=journey.attempted)

    def forget(self, uid: str) -> None:
        """The event was deleted, or is finished and not watched any more."""
        journey = self._roster.get(uid)
        if journey is None:
            if not self._ledger.folding:  # the watch will not speak of it again; but a list under way may still show it
                self._roster.last_word(uid)
            return
        journey.gone = True
        if not journey.running and not journey.queued:
            self._travel.end(journey)

    def wake(self, uid: str) -> None:
        """Have an event decide anew, as soon as there is a slot."""
        journey = self._roster.get(uid)
        if journey is None or journey.queued:
            return
        if journey.running:
            journey.again = True
            return
        self._roster.unpark(journey)
        journey.queued = True
        self._roster.rest(journey)
        self.queue.put(journey.namespace, journey.org, journey, again=True)

    def wake_org(self, org_slug: str | None) -> None:
        """A configuration changed: whoever waits for one decides anew. None wakes all organisations."""
        for uid in self._roster.config_changed(org_slug):
            self.wake(uid)

    def start_cooldowns(self, shards: Collection[int] = ALL_SHARDS) -> None:
        """The ledger knows these shards, and their unfinished events were submitted: those that waited decide now."""
        self._ledger.finish_fold(shards)
        for key, uid in self._ledger.senders():
            if self._roster.get(uid) is None:  # it ended after the pass had read it
                self._ledger.released(key, uid)
        for uid in self._roster.ledger_opened():
            self.wake(uid)

    # ------------------------------------------------------------------ sharing with other replicas

    @property
    def busy(self) -> Collection[int]:
        """Shards for which something is under way at this moment."""
        return frozenset(self._running)

    def let_go(self, shards: Collection[int]) -> None:
        """Other replicas go on with these shards: forget their events, those under way as soon as they come to rest."""
        self._ledger.close(shards)
        for journey in self._roster.of_shards(shards):
            journey.lost = True
            if not journey.running:
                self._drop(journey)

    def resumed(self) -> None:
        """This replica may send again."""
        for uid in self._roster.lease_renewed():
            self.wake(uid)

    def _drop(self, journey: Journey) -> None:
        self._roster.discard(journey)
        self.pauses.forget(journey.uid)

    async def close(self, patience: float) -> int:
        """Take nothing more in, finish what is under way within so many seconds. Returns how many were cut off."""
        self.timers.close()
        self.pauses.close()
        return await self.queue.close(patience)

    # ------------------------------------------------------------------ one round

    async def _work(self, journey: Journey) -> None:
        journey.queued = False
        if journey.lost:
            return
        shard = shard_of(journey.org)
        self._roster.work(journey)
        journey.running, journey.again = True, False
        self._running[shard] += 1
        try:
            await self._travel.round(journey)
        except Fenced:
            self._travel.wait_for_lease(journey)
        except Unavailable as error:
            log.warning("event postponed", _event=journey.full_name, error=str(error))
            self.timers.at(self._clock.now() + 1.0, lambda: self.wake(journey.uid))
            self._roster.park(journey)
        except Exception as error:  # noqa: BLE001  (one event's trouble must not become everybody's)
            await self._travel.end_by_error(journey, error)
        finally:
            journey.running = False
            self._running[shard] -= 1
            if not self._running[shard]:
                del self._running[shard]
        if self._roster.get(journey.uid) is not journey:
            return
        if journey.lost:
            self._drop(journey)
        elif journey.gone:
            self._travel.end(journey)
        elif journey.again:
            self.wake(journey.uid)

    def _overdue_soon(self) -> None:
        """From time to time, have events that got too old while they waited decide anew: they expire then."""
        now = self._clock.now()
        for journey in self._roster.overdue(now, self._max_age):
            self.wake(journey.uid)
        self.timers.at(now + min(60.0, self._max_age / 4 + 0.5), self._overdue_soon)
