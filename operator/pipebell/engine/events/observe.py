"""Observing: everything that deciding goes by, gathered for one event at one moment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipebell.core.errors import NotReady
from pipebell.core.policy.batches import NOTHING_WAITS
from pipebell.core.policy.expiry import is_overdue
from pipebell.core.policy.situation import CooldownFacts, Original, Progress, Resolved, Situation
from pipebell.core.vocabulary import EventType
from pipebell.engine.events.keys import Config

if TYPE_CHECKING:
    from pipebell.core.event import Event
    from pipebell.core.policy.decision import Skip
    from pipebell.core.policy.facts import Claim
    from pipebell.core.ports import Clock
    from pipebell.engine.configs.resolver import Resolver
    from pipebell.engine.events.batches import Batches
    from pipebell.engine.events.budgets import Budgets
    from pipebell.engine.events.holds import Holds
    from pipebell.engine.events.incidents import Incidents
    from pipebell.engine.events.judges import Judges
    from pipebell.engine.events.recorder import Recorder
    from pipebell.engine.events.state import EventState
    from pipebell.engine.events.turns import Turns
    from pipebell.engine.events.waiting import WaitingRoom

_UNKNOWN: Final = CooldownFacts(known=False)
_NEW: Final = Progress()


@dataclass(frozen=True, slots=True)
class Books:
    """What is kept in memory of other events, by what it is about: deciding goes by it, and changes it."""

    turns: Turns
    judges: Judges
    holds: Holds
    batches: Batches
    budgets: Budgets
    incidents: Incidents


class Observing:
    """Gathers situations. What nobody has configured is not looked up. `max_age` is seconds."""

    def __init__(
        self, clock: Clock, resolver: Resolver, room: WaitingRoom, recorder: Recorder, books: Books, max_age: float
    ) -> None:
        self._clock, self._resolver, self._room = clock, resolver, room
        self._recorder, self._books, self._max_age = recorder, books, max_age

    async def observe(self, state: EventState, event: Event) -> Situation:
        """What deciding goes by. Raises ApiErrors."""
        now = self._clock.now()
        tried = state.tried
        configuration: Resolved | Skip | NotReady | None = None
        max_age = self._max_age if self._clock.trusted else math.inf  # ages are not to be believed then
        if tried or not is_overdue(state.created, now, max_age) or self._may_recover(event):
            configuration = await self._configuration(state, event)
        original = None
        if event.spec.replay_of is not None and not tried:
            original = await self._original(event, event.spec.replay_of.name)
        claim = None
        if isinstance(configuration, Resolved) and event.spec.notice is not None:
            claim = await self._books.judges.judge(event, configuration)
            self._begin_notice(state, event, claim, configuration)
        facts, incident = _UNKNOWN, None
        if isinstance(configuration, Resolved) and not event.exempt:
            incident = self._books.incidents.look(state, event, configuration)
            if incident is None or incident.key is None:
                facts = self._books.turns.look(state, event, configuration.reference)
        silences = () if event.exempt else self._books.holds.silences(event.namespace, now)
        progress = _NEW
        if state.deliveries or state.suppressed or state.batch:
            names = [item.destination for item in state.open()]
            stand_ins = [item.destination for item in state.open() if item.failover_for]
            progress = Progress(tried, state.attempted, names, state.suppressed, stand_ins, state.batch)
        situation = Situation(
            *(event, self._clock.now(), max_age, configuration, facts, progress, original),
            claim=claim,
            silences=silences,
            incident=incident,
        )
        return self._with_limits(state, situation) if isinstance(configuration, Resolved) else situation

    def _with_limits(self, state: EventState, situation: Situation) -> Situation:
        """The same with what is known of digests and hourly limits, where the configuration has any."""
        layers = situation.resolved.layers
        storm = situation.incident is not None and situation.incident.storm
        storm = storm or (situation.claim is not None and situation.claim.together > 0)
        if layers.singly and not state.batch and not storm:
            return situation
        budget = self._books.budgets.look(state, situation.event, layers, situation.now)
        if budget is None and not layers.batches and not state.batch and not storm:
            return situation
        batches = self._books.batches.look(state.namespace, state.org) if not state.tried else NOTHING_WAITS
        return situation._replace(batches=batches, budget=budget)

    def _may_recover(self, event: Event) -> bool:
        """Whether an event that is too old to be sent may end an incident all the same."""
        return event.spec.event is EventType.PIPELINE_SUCCESS and len(self._books.incidents.book) > 0

    def _begin_notice(self, state: EventState, event: Event, claim: Claim, resolved: Resolved) -> None:
        notice, rules = event.spec.notice, resolved.layers.incidents
        if claim.due and notice is not None and notice.incident is not None and rules is not None:
            entry = self._books.incidents.book.named(event.namespace, notice.incident)
            if entry is not None:
                self._books.incidents.begin_notice(state, event, entry, rules)

    async def _configuration(self, state: EventState, event: Event) -> Resolved | Skip | NotReady:
        # Before it is read: what changes meanwhile must wake this event.
        self._room.join(state, Config(state.namespace, state.org))
        try:
            return await self._resolver.resolve(event.namespace, state.org)
        except NotReady as error:
            return error

    async def _original(self, event: Event, name: str) -> Original:
        """What is there of the event that this one repeats."""
        found = await self._recorder.look_up(event.namespace, name)
        if found is None:
            return Original()
        return Original.of(found, event.spec.org_slug)
