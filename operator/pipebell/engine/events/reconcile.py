"""One round of an event's journey: load, resolve, match, plan, cooldown, deliver, settle, record.

Every step can be taken again: an event that has to wait is parked, and when it is woken it decides anew from what is
configured then. Only `_deliver` has effects outside, and what it did is recorded before anything else happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from pipebell.core.errors import Fenced, NotReady
from pipebell.core.policy.settle import Verdicts, summarise
from pipebell.core.policy.triggers import Match, Skip, match_trigger
from pipebell.core.status import clip, rfc3339
from pipebell.core.vocabulary import Phase, ProviderName, Reason
from pipebell.engine.events import plan
from pipebell.engine.events.deliver import Deliverer, Ready
from pipebell.engine.events.ledger import Go, Held
from pipebell.engine.events.state import Journey, drop, next_attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipebell.core.event import Event
    from pipebell.engine.configs.resolver import Resolver
    from pipebell.engine.events.endpoints import EndpointPauses
    from pipebell.engine.events.gate import Gate
    from pipebell.engine.events.observer import Observer
    from pipebell.engine.events.recorder import Recorder
    from pipebell.engine.events.roster import Roster
    from pipebell.engine.ports import Clock, Notices, Ownership, Provider
    from pipebell.engine.timers import Timers

ANNOUNCE_AFTER: Final = 2.0  # seconds that an event waits for another one before its status says so
PARTIAL_AFTER: Final = 3.0  # seconds that a success waits for slower destinations before it is recorded by itself

log = structlog.get_logger(__name__)


class Travel:
    """Takes a journey as far as it can go now: to its end, or to where it has to wait without holding anything."""

    def __init__(  # noqa: PLR0913  (the engine names them)
        self,
        *,
        resolver: Resolver,
        recorder: Recorder,
        providers: Mapping[ProviderName, Provider],
        clock: Clock,
        notices: Notices,
        observer: Observer,
        ownership: Ownership,
        max_age: float,
        roster: Roster,
        gate: Gate,
        timers: Timers,
        pauses: EndpointPauses,
        wake: Callable[[str], None],
    ) -> None:
        self._resolver, self._recorder, self._ownership = resolver, recorder, ownership
        self._clock, self._notices, self._observer, self._max_age = clock, notices, observer, max_age
        self._roster, self._gate, self._timers, self._pauses = roster, gate, timers, pauses
        self._wake = wake
        self._deliverer = Deliverer(resolver, providers, pauses, clock, observer, ownership, gate.told)

    async def round(self, journey: Journey) -> None:
        """Go on from wherever it is. Raises Unavailable when the API must be asked later, and whatever is a mistake."""
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
            self.wait_for_lease(journey)
            return None
        if journey.event is None or journey.stale:
            if await self._recorder.reread(journey) is None:
                journey.gone = True
                return None
            journey.stale = False
            if journey.status.finished:
                self.end(journey)
                return None
        return journey.event

    # ------------------------------------------------------------------ cooldown

    async def _may_send(self, journey: Journey, event: Event, match: Match) -> bool:
        """Whether this event is sent now. If not, it has been parked or finished."""
        now = self._clock.now()
        decision = self._gate.decide(journey, event, match, now)
        if decision is None:
            self._roster.await_ledger(journey)
            self._roster.park(journey)
        elif isinstance(decision, Go):
            journey.suppressed = decision.suppressed
            return True
        elif isinstance(decision, Held):
            journey.deliveries.clear()
            until, name = rfc3339(decision.until), decision.by.name
            message = f"held back by the cooldown until {until}; {name} was sent instead"
            verdicts = Verdicts(Phase.SUPPRESSED, Reason.COOLDOWN, message)
            await self._finish(journey, verdicts, {"suppressedUntil": until, "suppressedBy": name})
        else:
            await self._wait_for_sender(journey, decision.sender, now)
        return False

    async def _wait_for_sender(self, journey: Journey, sender: str, now: float) -> None:
        if journey.waits_since is None:
            journey.waits_since = now
            self._timers.at(now + ANNOUNCE_AFTER, lambda: self._wake(journey.uid))
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
            self.wait_for_lease(journey)

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
                self._timers.at(next_attempt(delivery), lambda: self._wake(journey.uid))
        journey.stale = True
        self._roster.park(journey)

    # ------------------------------------------------------------------ waiting and ending

    def wait_for_lease(self, journey: Journey) -> None:
        """It goes on when this replica may send for it; at once, if that is so again."""
        self._roster.await_lease(journey)
        self._roster.park(journey)
        if self._ownership.may_send(journey.org):  # nobody would wake it
            journey.again = True

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

    async def _record(self, journey: Journey, verdicts: Verdicts, extra: dict[str, Any] | None = None) -> bool:
        """Write the status; False when that ended the journey, for the event is gone or finished by another."""
        if await self._recorder.record(journey, verdicts, extra):
            return True
        self.end(journey)
        return False

    async def _finish(self, journey: Journey, verdicts: Verdicts, extra: dict[str, Any] | None = None) -> None:
        if not await self._record(journey, verdicts, extra):
            return
        self.end(journey)
        self._observer.finished(journey, verdicts, self._clock.now())
        if verdicts.phase in (Phase.FAILED, Phase.PARTIALLY_DELIVERED):
            reason = verdicts.reason.value if verdicts.reason else verdicts.phase.value
            self._notices.warn("PipelineEvent", journey.namespace, journey.name, journey.uid, reason, verdicts.message)

    def end(self, journey: Journey) -> None:
        """The journey is over: give back whatever it held."""
        self._roster.remove(journey, forget_oldest=not self._gate.folding)
        self._pauses.forget(journey.uid)
        self._gate.release(journey)

    async def end_by_error(self, journey: Journey, error: Exception) -> None:
        """An exception that nobody expected ends this event, recorded, and nothing else."""
        log.error("event failed by an internal error", _event=journey.full_name, exc_info=error)
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
        except Fenced:
            self.wait_for_lease(journey)
        except Exception:
            log.exception("internal error could not be recorded", _event=journey.full_name)
            self.end(journey)
