"""The journey of one event, step by step: load, resolve, match, plan, cooldown, deliver, settle, record.

Every step can be taken again: an event that has to wait is parked, and when it is woken it decides anew from what is
configured then. Only `_deliver` has effects outside, and what it did is recorded before anything else happens.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import structlog

from pipebell.core.cooldown import Sent
from pipebell.core.errors import NotReady, Unavailable
from pipebell.core.settle import Verdicts, summarise
from pipebell.core.shards import ALL_SHARDS, shard_of
from pipebell.core.status import Delivery, clip, epoch, rfc3339
from pipebell.core.triggers import Match, Skip, match_trigger
from pipebell.core.vocabulary import Phase, ProviderName, Reason
from pipebell.engine import plan
from pipebell.engine.deliver import Deliverer, Ready
from pipebell.engine.journey import Journey, drop, next_attempt
from pipebell.engine.ledger import CooldownKey, CooldownLedger, Go, Held, Wait, key_for
from pipebell.engine.pauses import EndpointPauses
from pipebell.engine.queue import FairQueue
from pipebell.engine.roster import Roster
from pipebell.engine.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pipebell.core.event import Event
    from pipebell.engine.observer import Observer
    from pipebell.engine.ports import Clock, Notices, Ownership, Provider
    from pipebell.engine.recorder import Recorder
    from pipebell.engine.resolver import Resolver

ANNOUNCE_AFTER: Final = 2.0  # seconds that an event waits for another one before its status says so
PARTIAL_AFTER: Final = 3.0  # seconds that a success waits for slower destinations before it is recorded by itself

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
        self._resolver, self._recorder, self._ledger = resolver, recorder, ledger
        self._clock, self._notices, self._observer = clock, notices, observer
        self._ownership, self._max_age = ownership, max_age
        self._roster = Roster()
        self._for_ledger: list[str] = []
        self._for_lease: list[str] = []
        self._running: Counter[int] = Counter()
        self.queue: FairQueue[Journey] = FairQueue(self._work)
        self.timers = Timers(clock)
        self.pauses = EndpointPauses(clock, self.wake)
        self._deliverer = Deliverer(resolver, providers, self.pauses, clock, observer, ownership, self._told)
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
        if self.knows(event.uid):
            return
        if event.status.phase is not None and event.status.phase.final:
            return
        journey = Journey.of(event)
        journey.queued, journey.stale = True, stale
        self._roster.add(journey)
        self.queue.put(journey.org, journey, urgent=journey.attempted)

    def forget(self, uid: str) -> None:
        """The event was deleted, or is finished and not watched any more."""
        journey = self._roster.get(uid)
        if journey is None:
            if not self._ledger.folding:  # the watch will not speak of it again; but a list under way may still show it
                self._roster.last_word(uid)
            return
        journey.gone = True
        if not journey.running and not journey.queued:
            self._end(journey)

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
        self.queue.put(journey.org, journey, urgent=True)

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
        waiting, self._for_ledger = self._for_ledger, []
        for uid in waiting:
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
        self._for_lease = [uid for uid in self._for_lease if self._roster.get(uid)]
        self._for_ledger = [uid for uid in self._for_ledger if self._roster.get(uid)]

    def resumed(self) -> None:
        """This replica may send again."""
        waiting, self._for_lease = self._for_lease, []
        for uid in waiting:
            self.wake(uid)

    def _drop(self, journey: Journey) -> None:
        self._roster.discard(journey)
        self.pauses.forget(journey.uid)

    def _wait_for_lease(self, journey: Journey) -> None:
        self._for_lease.append(journey.uid)
        self._roster.park(journey)
        if self._ownership.may_send(journey.org):  # again, so nobody would wake it
            journey.again = True

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
        journey.running, journey.again = True, False
        self._running[shard] += 1
        try:
            await self._travel(journey)
        except Unavailable as error:
            log.warning("event postponed", _event=self._name(journey), error=str(error))
            self.timers.at(self._clock.now() + 1.0, lambda: self.wake(journey.uid))
            self._roster.park(journey)
        except Exception as error:  # noqa: BLE001  (one event's trouble must not become everybody's)
            await self._end_by_error(journey, error)
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
            self._end(journey)
        elif journey.again:
            self.wake(journey.uid)

    async def _travel(self, journey: Journey) -> None:
        event = await self._load(journey)
        if event is None:
            return
        now = self._clock.now()
        if now - journey.created > self._max_age and await self._expire(journey):
            return
        self._roster.await_config(journey)  # before it is read: what changes meanwhile must wake this event
        try:
            resolved = await self._resolver.resolve(event.namespace, journey.org)
        except NotReady as error:
            await self._wait_for_config(journey, error)
            return
        if isinstance(resolved, Skip):
            await self._skip(journey, resolved)
            return
        match = match_trigger(resolved.layers, event.spec)
        if isinstance(match, Skip):
            journey.config = journey.config or resolved.reference
            await self._skip(journey, match)
            return
        journey.config, journey.severity = resolved.reference, match.severity
        plan.choose_destinations(journey, match)
        ready = plan.prepare(journey, resolved, match)
        if not ready.blocked:
            self._roster.needs_no_config(journey)
        if not journey.open():
            await self._settle(journey)
        elif not ready.targets and not journey.attempted:
            self._observer.not_ready(resolved, next(iter(ready.blocked.values())))
            await self._wait_for_config(journey, next(iter(ready.blocked.values())))
        elif await self._may_send(journey, event, match):
            await self._deliver(journey, event, ready)

    async def _expire(self, journey: Journey) -> bool:
        """End what is too old. True when that was all there was to do."""
        verdicts = plan.expire(journey, self._max_age)
        if verdicts is not None:
            await self._finish(journey, verdicts)
        elif not journey.open():
            await self._settle(journey)
        else:
            return False
        return True

    async def _load(self, journey: Journey) -> Event | None:
        """The event to work on: read again where it was dropped from memory or has waited for a retry."""
        if journey.gone:
            return None
        if not self._ownership.may_send(journey.org):
            self._wait_for_lease(journey)
            return None
        if journey.event is None or journey.stale:
            if await self._recorder.reread(journey) is None:
                journey.gone = True
                return None
            journey.stale = False
            if journey.status.phase is not None and journey.status.phase.final:
                self._end(journey)
                return None
        return journey.event

    # ------------------------------------------------------------------ cooldown

    async def _may_send(self, journey: Journey, event: Event, match: Match) -> bool:
        """Whether this event is sent now. If not, it has been parked or finished."""
        if event.spec.test or event.spec.replay_of is not None:
            return True
        assert journey.config is not None  # noqa: S101  (set right before; tells mypy)
        if journey.key is None or not journey.attempted:
            self._release_other(journey, key_for(journey.config, event))
            journey.key = key_for(journey.config, event)
        if match.cooldown == 0 or journey.attempted:
            return True
        if not self._ledger.opened(journey.org):
            self._for_ledger.append(journey.uid)
            self._roster.park(journey)
            return False
        now = self._clock.now()
        decision = self._ledger.enter(journey.key, journey.uid, match.cooldown, now)
        match decision:
            case Go(suppressed):
                journey.suppressed = suppressed
                return True
            case Held(until, by):
                journey.deliveries.clear()
                name = by.named_from(journey.namespace)
                verdicts = Verdicts(
                    Phase.SUPPRESSED,
                    Reason.COOLDOWN,
                    f"held back by the cooldown until {rfc3339(until)}; {name} was sent instead",
                )
                await self._finish(journey, verdicts, {"suppressedUntil": rfc3339(until), "suppressedBy": name})
            case Wait(sender):
                await self._wait_for_sender(journey, sender, now)
        return False

    def _release_other(self, journey: Journey, key: CooldownKey) -> None:
        """Another configuration may have come to count since this event waited: then it gives up its old cooldown."""
        if journey.key not in (None, key):
            self._release(journey)

    def _release(self, journey: Journey) -> None:
        """This event is no sender any more, and waits for none: the next one's turn."""
        if journey.key is not None and (turn := self._ledger.released(journey.key, journey.uid)) is not None:
            self.wake(turn)

    async def _wait_for_sender(self, journey: Journey, sender: str, now: float) -> None:
        if journey.waits_since is None:
            journey.waits_since = now
            self.timers.at(now + ANNOUNCE_AFTER, lambda: self.wake(journey.uid))
        elif now - journey.waits_since >= ANNOUNCE_AFTER:
            other = self._roster.get(sender)
            name = other.name if other is not None and other.namespace == journey.namespace else "another event"
            deliveries, journey.deliveries = journey.deliveries, {}
            await self._record(
                journey, Verdicts(Phase.PENDING, Reason.WAITING_FOR_SENDER, f"waits for the outcome of {name}")
            )
            journey.deliveries = deliveries
        self._roster.park(journey)

    # ------------------------------------------------------------------ delivery

    async def _deliver(self, journey: Journey, event: Event, ready: Ready) -> None:
        """Attempt every destination that is due, all at once, and record what came of it."""
        slow = await self._deliverer.attempt(journey, event, ready, PARTIAL_AFTER)
        if slow:
            if journey.told:
                await self._record(journey, summarise(list(journey.deliveries.values())))
            await self._deliverer.complete(slow)
        if ready.blocked:
            self._roster.await_config(journey)
        for error in ready.blocked.values():
            self._observer.not_ready(ready.resolved, error)
        fenced, journey.fenced = journey.fenced, False
        if journey.tried or not fenced:
            await self._settle(journey)
        if fenced:
            self._wait_for_lease(journey)

    def _told(self, journey: Journey, delivery: Delivery) -> None:
        """The first destination has it: the cooldown starts, and whoever waited for that is held back at once."""
        if journey.key is None or delivery.delivered_time is None:
            return
        others = (item for item in journey.deliveries.values() if item.destination != delivery.destination)
        if any(item.delivered_time for item in others):
            return  # the window runs from the first
        sent = Sent(epoch(delivery.delivered_time), journey.namespace, journey.name)
        for uid in self._ledger.succeeded(journey.key, journey.uid, sent):
            self.wake(uid)

    async def _settle(self, journey: Journey) -> None:
        """Record where the deliveries stand; finish the event, or park it until its next step is due."""
        verdicts = summarise(list(journey.deliveries.values()))
        if verdicts.phase.final:
            await self._finish(journey, verdicts)
            return
        if not await self._record(journey, verdicts):
            return
        for delivery in journey.open():
            if delivery.reason == Reason.RETRYING:
                self.timers.at(next_attempt(delivery), lambda: self.wake(journey.uid))
        journey.stale = True
        self._roster.park(journey)

    # ------------------------------------------------------------------ waiting and ending

    async def _wait_for_config(self, journey: Journey, error: NotReady) -> None:
        verdicts = Verdicts(Phase.PENDING, Reason.CONFIG_NOT_READY, clip(f"{error.reason}: {error.message}"))
        if journey.attempted:
            verdicts = Verdicts(Phase.DELIVERING if journey.told else Phase.PENDING, verdicts.reason, verdicts.message)
        else:
            journey.deliveries.clear()
        self._roster.await_config(journey)
        if await self._record(journey, verdicts):
            journey.stale = True
            self._roster.park(journey)

    async def _skip(self, journey: Journey, skip: Skip) -> None:
        if not journey.attempted:
            journey.deliveries.clear()
            await self._finish(journey, Verdicts(Phase.SKIPPED, skip.reason, skip.message))
            return
        for delivery in journey.open():
            drop(journey, delivery, Reason.CONFIG_CHANGED, skip.message)
        await self._settle(journey)

    def _overdue_soon(self) -> None:
        """From time to time, have events that got too old while they waited decide anew: they expire then."""
        now = self._clock.now()
        for journey in self._roster.overdue(now, self._max_age):
            self.wake(journey.uid)
        self.timers.at(now + min(60.0, self._max_age / 4 + 0.5), self._overdue_soon)

    async def _record(self, journey: Journey, verdicts: Verdicts, extra: dict[str, Any] | None = None) -> bool:
        """Write the status; False when that ended the journey, for the event is gone or finished by another."""
        if await self._recorder.record(journey, verdicts, extra):
            return True
        self._end(journey)
        return False

    async def _finish(self, journey: Journey, verdicts: Verdicts, extra: dict[str, Any] | None = None) -> None:
        if not await self._record(journey, verdicts, extra):
            return
        self._end(journey)
        self._observer.finished(journey, verdicts, self._clock.now())
        if verdicts.phase in (Phase.FAILED, Phase.PARTIALLY_DELIVERED):
            reason = verdicts.reason.value if verdicts.reason else verdicts.phase.value
            self._notices.warn("PipelineEvent", journey.namespace, journey.name, journey.uid, reason, verdicts.message)

    def _end(self, journey: Journey) -> None:
        """The journey is over: give back whatever it held."""
        self._roster.remove(journey, forget_oldest=not self._ledger.folding)
        self.pauses.forget(journey.uid)
        self._release(journey)

    async def _end_by_error(self, journey: Journey, error: Exception) -> None:
        """An exception that nobody expected ends this event, recorded, and nothing else."""
        log.error("event failed by an internal error", _event=self._name(journey), exc_info=error)
        verdicts = Verdicts(
            Phase.FAILED, Reason.INTERNAL_ERROR, f"internal error: {type(error).__name__}; see the operator's log"
        )
        for delivery in journey.open():
            update = {"phase": Phase.FAILED, "reason": Reason.INTERNAL_ERROR, "next_attempt_time": None}
            journey.deliveries[delivery.destination] = delivery.model_copy(update=update)
        if journey.told:
            verdicts = Verdicts(Phase.PARTIALLY_DELIVERED, verdicts.reason, verdicts.message)
        try:
            await self._finish(journey, verdicts)
        except Exception:
            log.exception("internal error could not be recorded", _event=self._name(journey))
            self._end(journey)

    @staticmethod
    def _name(journey: Journey) -> str:
        return f"{journey.namespace}/{journey.name}"
