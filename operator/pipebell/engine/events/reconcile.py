"""One step of an event's way: observe, decide, carry the decision out, record.

Every step can be taken again: an event that has to wait is put into the waiting room, and when it is woken it is
decided anew from what is configured then. Only attempts have effects outside, and what came of them is recorded before
anything else happens.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.errors import NotReady
from pipebell.core.policy import failover
from pipebell.core.policy.budget import counts
from pipebell.core.policy.decide import decide
from pipebell.core.policy.decision import Batch, Deliver, Skip, Suppress, Wait, WaitsFor
from pipebell.core.policy.expiry import is_overdue
from pipebell.core.policy.settle import EventSummary
from pipebell.core.policy.situation import Resolved, Situation
from pipebell.core.shards import shard_of
from pipebell.core.status import clip, epoch, rfc3339
from pipebell.core.vocabulary import Phase, Reason, StageName
from pipebell.engine.events import plan
from pipebell.engine.events.batches import Batches
from pipebell.engine.events.budgets import Budgets
from pipebell.engine.events.deliver import Deliverer
from pipebell.engine.events.holds import Holds
from pipebell.engine.events.incidents import Incidents
from pipebell.engine.events.judges import Judges
from pipebell.engine.events.keys import Config, Ledger, Outcome, Turn
from pipebell.engine.events.observe import Books, Observing
from pipebell.engine.events.order import order_key
from pipebell.engine.events.recorder import Recorder
from pipebell.engine.events.rounds import Rounds
from pipebell.engine.events.settler import Settler, catch_up_document
from pipebell.engine.events.state import Life, drop

if TYPE_CHECKING:
    from pipebell.core.destinations.base import Target
    from pipebell.core.event import Event
    from pipebell.core.policy.decision import Decision
    from pipebell.core.silences.hold import Hold
    from pipebell.core.status import Delivery
    from pipebell.engine.configs.resolver import Resolver
    from pipebell.engine.events.endpoints import Endpoints
    from pipebell.engine.events.keys import Key
    from pipebell.engine.events.observer import Observer
    from pipebell.engine.events.roster import Roster
    from pipebell.engine.events.state import EventState
    from pipebell.engine.events.turns import Turns
    from pipebell.engine.events.waiting import WaitingRoom
    from pipebell.engine.ports import Ports

LARGEST: Final = (3 << 19) - (64 << 10)  # bytes of an event: etcd's limit of 1.5 MiB, less room for its status
ANNOUNCE_AFTER: Final = 2.0  # seconds that an event waits for another one before its status says so


class Reconciler:
    """Takes an event as far as it can go now: to its end, or to where it has to wait without holding anything."""

    def __init__(
        self,
        ports: Ports,
        resolver: Resolver,
        observer: Observer,
        roster: Roster,
        room: WaitingRoom,
        turns: Turns,
        endpoints: Endpoints,
        max_age: float,
    ) -> None:
        self._clock, self._ownership = ports.clock, ports.ownership
        self._resolver, self._observer, self._max_age = resolver, observer, max_age
        self._room, self._turns = room, turns
        self.recorder = Recorder(ports.events, ports.clock, ports.ownership)
        self.books = Books(
            turns=turns,
            judges=Judges(ports.events),
            holds=Holds(),
            batches=Batches(turns.ledger),
            budgets=Budgets(turns.ledger),
            incidents=Incidents(ports, turns.knows, room.wake),
        )
        self.settler = Settler(ports, self.recorder, self.books, observer, roster, room, endpoints)
        self._observing = Observing(ports.clock, resolver, room, self.recorder, self.books, max_age)
        deliverer = Deliverer(ports, resolver, endpoints, observer, self._delivered, max_age)
        self._rounds = Rounds(ports.clock, deliverer, turns, observer, self.settler.record, max_age)

    async def reconcile(self, state: EventState) -> None:
        """Go on from wherever it is. Raises Unavailable when the API must be asked later, and whatever is a mistake."""
        if state.parked is not None:
            await self.settler.retry_parked(state, state.parked)
            return
        event = await self._load(state)
        if event is None or await self._close_overdue(state):
            return
        situation = await self._observing.observe(state, event)
        decision = decide(situation)
        self._note(state, situation, decision)
        try:
            await self._carry_out(state, situation, decision)
        finally:
            self.books.batches.abandon(state)  # of what is recorded, nothing is left to abandon

    async def _carry_out(self, state: EventState, situation: Situation, decision: Decision) -> None:
        decision = await self._with_incidents(state, situation, decision)
        match decision:
            case Deliver():
                await self._deliver(state, situation, decision)
            case Wait():
                await self._wait(state, situation, decision)
            case Suppress():
                await self._suppress(state, decision)
            case Batch():
                await self._batch(state, decision)
            case Skip():
                await self._skip(state, decision)

    async def _with_incidents(self, state: EventState, situation: Situation, decision: Decision) -> Decision:
        """What a decision means to incidents is so at once; an Incident is created before anything names it."""
        if situation.incident is not None or situation.original is not None or state.part is not None:
            decision = self.books.incidents.apply(state, situation, decision)
            if state.part is not None:  # it takes part in no other cooldown
                self._turns.release(state)
                state.key = None
                self._hear_of_outcomes(state, decision)
                await self.books.incidents.ensure(state)
        return decision

    def _hear_of_outcomes(self, state: EventState, decision: Decision) -> None:
        """What comes of earlier messages must wake an event whose end waits for that, from when it was decided so."""
        if isinstance(decision, Deliver) and decision.match.held and state.part is not None:
            for entry in state.part.entries:
                self._room.join(state, Outcome(entry.incident.key))

    def _note(self, state: EventState, situation: Situation, decision: Decision) -> None:
        """What the status says of the decision."""
        state.stage, state.matched = decision.stage, decision.matched
        resolved = situation.configuration
        if isinstance(resolved, Resolved) and (state.config is None or not isinstance(decision, Skip)):
            state.config = resolved.reference
        if not isinstance(decision, Skip) and decision.match is not None:
            state.severity = decision.match.severity
        if isinstance(decision, Skip):
            return
        if isinstance(decision, Deliver) and situation.budget is not None:
            own, root = counts(situation._replace(match=decision.match))
            self.books.budgets.claim(state, situation.event, own=own, root=root)
        new = [item for item in decision.batch if item not in state.batch]
        if new:  # what is recorded stays so, whatever is not known yet
            state.batch = (*state.batch, *new)
            self.books.batches.enter(state, new)

    # ------------------------------------------------------------------ reading

    async def _close_overdue(self, state: EventState) -> bool:
        """End what is too old to be tried for the first time. True where that has ended the event."""
        max_age = self._max_age if self._clock.trusted else math.inf  # ages are not to be believed then
        if not state.tried or not is_overdue(state.created, self._clock.now(), max_age):
            return False
        plan.close_overdue(state, max_age)
        if state.open():
            return False
        await self.settler.settle(state)
        return True

    def _delivered(self, state: EventState, delivery: Delivery, target: Target) -> None:
        """A destination has an event's message."""
        self._turns.delivered(state, delivery)
        self.books.incidents.delivered(state, delivery, target)
        if delivery.delivered_time is not None:
            self.books.budgets.delivered(state, epoch(delivery.delivered_time))

    async def _load(self, state: EventState) -> Event | None:
        """The event to work on: read again where it is not in memory, or has waited and may have changed."""
        if not self._ownership.may_send(state.org):
            self.settler.wait_for_lease(state)
            return None
        if state.event is None:
            if await self.recorder.reread(state) is None:
                state.life = Life.GONE
                return None
            if state.status.finished:
                self.settler.end_elsewhere(state)
                return None
        return state.event

    # ------------------------------------------------------------------ the ways out

    async def _deliver(self, state: EventState, situation: Situation, decision: Deliver) -> None:
        """Attempt every destination that is due, all at once, and record what came of it."""
        if not state.tried and situation.event.stored_bytes > LARGEST:
            await self._refuse(state, situation.event)
            return
        now = self._clock.now()
        plan.plan_deliveries(state, decision, situation.resolved.layers, now)
        state.suppressed = decision.suppressed
        if await self._rounds.stand_in(state, situation, decision, now) is None:
            return
        if not state.open():
            await self.settler.settle(state)
            return
        self._listen(state, decision)
        sending = await self._rounds.attempt(state, situation, decision)
        for name, error in decision.blocked.items():
            self._resolver.refused(situation.resolved, error)
            self._blocked(state, situation, name, error)
        if len(state.deliveries) > 1:
            failover.relieve(state.deliveries)
        if state.tried or not sending.fenced:
            at = self._rounds.next_failover(state, decision, self._clock.now())
            await self.settler.settle(state, blocked=bool(decision.blocked), held=bool(decision.match.held), at=at)
        if sending.fenced:
            self.settler.wait_for_lease(state)

    def _listen(self, state: EventState, decision: Deliver) -> None:
        """What comes meanwhile, and some of its destinations wait for, must wake it."""
        if decision.blocked:
            self._room.wait(state, Config(state.namespace, state.org))
        else:
            self._room.leave(state)
        self._hear_of_outcomes(state, decision)

    def _blocked(self, state: EventState, situation: Situation, name: str, error: NotReady) -> None:
        """An event waits for this destination. What is wrong with root's is for the platform team to see elsewhere."""
        found = situation.resolved.layers.destination(name)
        if found is not None and not found.block.trusted:
            self._observer.on_blocked(state, name, found.kind.name, error)

    async def _refuse(self, state: EventState, event: Event) -> None:
        """Nothing is sent whose outcome could not be recorded."""
        state.deliveries.clear()
        message = (
            f"the event has about {event.stored_bytes:,} bytes, which leaves no room for its status: "
            f"send fewer details ({LARGEST:,} bytes at most in all)"
        )
        await self.settler.finish(state, EventSummary(Phase.FAILED, Reason.TOO_LARGE, message))

    async def _wait(self, state: EventState, situation: Situation, decision: Wait) -> None:
        match decision.waits_for:
            case WaitsFor.CONFIG:
                if decision.cause is not None:
                    self._resolver.refused(situation.resolved, decision.cause)
                    for name in decision.match.destinations if decision.match is not None else ():
                        try:
                            situation.resolved.layers.target(name)
                        except NotReady as error:
                            self._blocked(state, situation, name, error)
                if not state.tried:
                    self.settler.release(state)
                await self._wait_for_config(state, decision)
            case WaitsFor.LEDGER:
                self._room.wait(state, Ledger(shard_of(state.org)))
            case WaitsFor.TURN:
                assert state.key is not None  # noqa: S101  (it waits for that key; tells mypy)
                await self._wait_for_another(state, decision, Turn(state.key))
            case WaitsFor.OUTCOME:
                await self._wait_for_another(state, decision, *_outcomes(situation))

    async def _wait_for_config(self, state: EventState, decision: Wait) -> None:
        if not state.tried:
            state.deliveries.clear()
        phase = Phase.DELIVERING if state.delivered else Phase.PENDING
        self._room.wait(state, Config(state.namespace, state.org))
        if await self.settler.record(state, EventSummary(phase, decision.reason, clip(decision.message))):
            state.event = None

    async def _wait_for_another(self, state: EventState, decision: Wait, *keys: Key) -> None:
        """Wait for the sender; after a while, the status says so."""
        now = self._clock.now()
        if state.waits_since is None:
            state.waits_since = now
        announce = state.waits_since + ANNOUNCE_AFTER
        if now < announce:
            self._room.wait(state, *keys, until=announce)
            return
        self._room.wait(state, *keys)
        deliveries, state.deliveries = state.deliveries, {}
        await self.settler.record(state, EventSummary(Phase.PENDING, decision.reason, decision.message))
        state.deliveries = deliveries

    async def _suppress(self, state: EventState, decision: Suppress) -> None:
        if state.attempted:  # whoever has it keeps it; nobody else gets it any more
            for delivery in state.open():
                drop(state, delivery, decision.reason, decision.message)
            await self.settler.settle(state)
            return
        state.deliveries.clear()
        if decision.hold is not None and decision.until is not None:
            await self._hold(state, decision, decision.hold)
            return
        extra: dict[str, Any] = {"suppressedBy": decision.by or None}
        if decision.until is not None:
            extra["suppressedUntil"] = rfc3339(decision.until)
        summary = EventSummary(Phase.SUPPRESSED, decision.reason, decision.message)
        if (
            decision.stage is not StageName.COOLDOWN or state.part is not None
        ):  # no later message of the cooldown speaks for it
            await self.settler.finish(state, summary, extra)
            return
        last = self._turns.suppress(state, decision.match.cooldown if decision.match else 0.0)
        recorded = False
        try:
            recorded = await self.settler.finish(state, summary, extra)
        finally:
            if not recorded:  # it will be decided anew, here or elsewhere, and must count once
                self._turns.unsuppress(state, last)

    async def _hold(self, state: EventState, decision: Suppress, hold: Hold) -> None:
        """A silence or quiet hours hold it back: it takes part in no cooldown, and a catch-up reports it."""
        self._turns.release(state)
        state.key = None
        state.catch_up = self.books.holds.begin(state.namespace, state.org, hold)
        extra = {
            "suppressedUntil": rfc3339(hold.until),
            "catchUp": catch_up_document(state.catch_up),
        }
        try:
            await self.settler.finish(
                state, EventSummary(Phase.SUPPRESSED, decision.reason, clip(decision.message)), extra
            )
        finally:
            self.books.holds.end(state.namespace, state.org, state.catch_up)

    async def _batch(self, state: EventState, decision: Batch) -> None:
        state.deliveries.clear()
        self._turns.release(state)
        state.key = None  # it takes part in no cooldown
        await self.settler.finish(state, EventSummary(Phase.SUPPRESSED, decision.reason, decision.message))

    async def _skip(self, state: EventState, skip: Skip) -> None:
        if not state.attempted:
            state.deliveries.clear()
            self.settler.release(state)
            state.key = None  # it takes part in no cooldown
            await self.settler.finish(state, EventSummary(Phase.SKIPPED, skip.reason, skip.message))
            return
        for delivery in state.open():
            drop(state, delivery, Reason.CONFIG_CHANGED, skip.message)
        await self.settler.settle(state)


def _outcomes(situation: Situation) -> list[Key]:
    """The incidents whose messages an event waits for."""
    facts = situation.incident
    if facts is None:
        return []
    if facts.early:
        return [order_key(situation.event.namespace, situation.event.spec.org_slug)]
    found = [facts.key] if facts.key is not None else [item.key for item in facts.recoverable]
    return [Outcome(key) for key in found]
