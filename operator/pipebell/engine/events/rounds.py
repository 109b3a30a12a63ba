"""Rounds of attempts, in which other destinations stand in for those that fail or are late."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from pipebell.core.policy import failover
from pipebell.core.policy.expiry import is_overdue
from pipebell.core.policy.settle import EventSummary, summarise
from pipebell.engine.events import plan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pipebell.core.policy.decision import Deliver
    from pipebell.core.policy.situation import Situation
    from pipebell.core.ports import Clock
    from pipebell.engine.events.deliver import Deliverer, Sending
    from pipebell.engine.events.observer import Observer
    from pipebell.engine.events.state import EventState
    from pipebell.engine.events.turns import Turns


class Rounds:
    """Makes rounds of attempts. `record` writes where an event stands, and says whether its way goes on here."""

    def __init__(
        self,
        clock: Clock,
        deliverer: Deliverer,
        turns: Turns,
        observer: Observer,
        record: Callable[[EventState, EventSummary], Awaitable[bool]],
        max_age: float,
    ) -> None:
        self._clock, self._deliverer, self._turns = clock, deliverer, turns
        self._observer, self._record, self._max_age = observer, record, max_age

    async def attempt(self, state: EventState, situation: Situation, decision: Deliver) -> Sending:
        """Attempt what is due, and have others stand in: while an attempt goes on, or because of what came of it."""
        self._claim(state, situation, decision)
        sending = await self._deliverer.attempt(state, situation, decision)
        try:
            if sending.slow and state.delivered:
                await self._record(state, summarise(list(state.deliveries.values())))
            while True:
                now = self._clock.now()
                at = None if sending.fenced or sending.over else self.next_failover(state, decision, now)
                if at is None or at > now:
                    if not sending.slow:
                        return sending
                    await sending.complete(self._clock, at)
                    continue
                made = await self.stand_in(state, situation, decision, now)
                if made is None:
                    sending.over = True
                else:
                    self._claim(state, situation, decision)
                    self._deliverer.join(state, sending, made)
        except asyncio.CancelledError:
            sending.cancel()
            raise
        except Exception:
            await sending.complete(self._clock)  # what they do belongs to the record of this event as well
            raise

    def next_failover(self, state: EventState, decision: Deliver, now: float) -> float | None:
        """When others stand in next (seconds since the epoch); None if nobody has to, or the event is too old."""
        if not decision.fallbacks:
            return None
        max_age = self._max_age if self._clock.trusted else math.inf  # ages are not to be believed then
        if is_overdue(state.created, now, max_age):
            return None
        return failover.next_due(state.deliveries, decision.fallbacks, now)

    async def stand_in(
        self, state: EventState, situation: Situation, decision: Deliver, now: float
    ) -> list[str] | None:
        """Have others stand in for what has failed, or is late: recorded before anything is sent to them.

        Returns which; None when that could not be recorded, and the event's way has ended here.
        """
        at = self.next_failover(state, decision, now)
        if at is None or at > now:
            return []
        made = plan.stand_in(state, decision, situation.resolved.layers, now)
        if not await self._record(state, summarise(list(state.deliveries.values()))):
            return None
        for name in made:
            self._observer.on_failover(state, state.deliveries[name])
        return made

    def _claim(self, state: EventState, situation: Situation, decision: Deliver) -> None:
        """It is this event's turn from here on, if anything of it is sent."""
        if not (decision.targets or state.tried):
            self._turns.release(state)
        elif decision.match.cooldown and not situation.progress.attempted:
            self._turns.claim(state, decision.match.cooldown)
