"""Where an event stands is recorded here: it waits then without holding anything, or is over.

What the API refuses to have recorded is parked: its outcome stays in memory, and nothing more is sent for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from pipebell.core.errors import Fenced, Rejected
from pipebell.core.policy.settle import EventSummary, summarise
from pipebell.core.vocabulary import Phase, Reason
from pipebell.engine.events.keys import LEASE, Config, Outcome
from pipebell.engine.events.state import Life, Parked, next_attempt

if TYPE_CHECKING:
    from pipebell.core.status import CatchUpRecord
    from pipebell.engine.events.endpoints import Endpoints
    from pipebell.engine.events.keys import Key
    from pipebell.engine.events.observe import Books
    from pipebell.engine.events.observer import Observer
    from pipebell.engine.events.recorder import Recorder
    from pipebell.engine.events.roster import Roster
    from pipebell.engine.events.state import EventState
    from pipebell.engine.events.waiting import WaitingRoom
    from pipebell.engine.ports import Ports

FIRST_PARKED, LONGEST_PARKED = 30.0, 900.0  # seconds between two tries to record what the API refuses

log = structlog.get_logger(__name__)


class Settler:
    """Records what came of a step, and has the event wait or end."""

    def __init__(
        self,
        ports: Ports,
        recorder: Recorder,
        books: Books,
        observer: Observer,
        roster: Roster,
        room: WaitingRoom,
        endpoints: Endpoints,
    ) -> None:
        self._clock, self._ownership, self._notices = ports.clock, ports.ownership, ports.notices
        self._recorder, self._books, self._observer = recorder, books, observer
        self._roster, self._room, self._turns, self._endpoints = roster, room, books.turns, endpoints
        self._parked: dict[str, None] = {}

    @property
    def parked(self) -> int:
        """Events whose outcome the API refuses to have recorded."""
        return len(self._parked)

    # ------------------------------------------------------------------ recording

    async def settle(
        self, state: EventState, *, blocked: bool = False, held: bool = False, at: float | None = None
    ) -> None:
        """Record where the deliveries stand; finish the event, or have it wait until its next attempt is due.

        It is woken at `at` (seconds since the epoch) too.
        """
        self._books.incidents.settled(state)
        summary = summarise(list(state.deliveries.values()))
        if summary.phase.final:
            await self.finish(state, summary)
            return
        if not await self.record(state, summary):
            return
        retries = [next_attempt(item, self._clock.now()) for item in state.open() if item.reason == Reason.RETRYING]
        retries += [] if at is None else [at]
        keys: tuple[Key, ...] = (Config(state.namespace, state.org),) if blocked else ()
        if held and state.part is not None:
            keys += tuple(Outcome(entry.incident.key) for entry in state.part.entries)
        self._room.wait(state, *keys, until=min(retries, default=None))
        state.event = None

    def wait_for_lease(self, state: EventState) -> None:
        """It goes on when this replica may send for it; at once, if that is so again."""
        self._room.join(state, LEASE)
        if self._ownership.may_send(state.org) and state.life is Life.RUNNING:  # nobody would wake it
            state.life = Life.AGAIN

    async def record(self, state: EventState, summary: EventSummary, extra: dict[str, Any] | None = None) -> bool:
        """Write the status; False when that ended the event's way, for it is gone or finished by another."""
        try:
            recorded = await self._recorder.record(state, summary, extra)
        except Rejected as error:
            self._park(state, Parked(summary, extra, FIRST_PARKED), error)
            self._books.batches.recorded(state)  # it is decided: it goes out with the others
            return False
        if recorded:
            self._books.batches.recorded(state)
        if state.parked is not None:  # this reports what was refused a moment ago
            self._unpark(state)
        if recorded:
            self._books.incidents.recorded(state)
        else:
            self.end_elsewhere(state)
        return recorded

    async def finish(self, state: EventState, summary: EventSummary, extra: dict[str, Any] | None = None) -> bool:
        """Record its end; False when that could not be, or somebody else has ended it."""
        if not await self.record(state, summary, extra):
            return False
        self._finished(state, summary)
        return True

    def end_elsewhere(self, state: EventState) -> None:
        """It is gone, or another replica has ended it: incidents, digests and catch-ups have to know what it recorded.

        The pass over all events may have met it before that.
        """
        if state.event is not None and state.event.status.finished:
            self._books.batches.fold(state.event, self._clock.now())
            self._books.holds.fold(state.event, self._clock.now())
            self._books.incidents.on_ended_elsewhere(state.event)
        self.end(state)

    def _finished(self, state: EventState, summary: EventSummary) -> None:
        self.end(state)
        if state.catch_up is not None and summary.phase is Phase.SUPPRESSED:
            self._books.holds.recorded(state.namespace, state.org, state.catch_up)
        if summary.phase in (Phase.SKIPPED, Phase.SUPPRESSED):
            _log_end(state, summary)
        self._observer.on_finished(state, summary, self._clock.now())
        if summary.phase in (Phase.FAILED, Phase.PARTIALLY_DELIVERED) or summary.reason is Reason.FAILED_OVER:
            reason = summary.reason.value if summary.reason else summary.phase.value
            self._notices.warn("PipelineEvent", state.namespace, state.name, state.uid, reason, summary.message)

    # ------------------------------------------------------------------ what the API refuses

    async def retry_parked(self, state: EventState, parked: Parked) -> None:
        """Once more what the API refused; what a silence held back then is held for a later catch-up."""
        held = state.catch_up if parked.extra is not None and "catchUp" in parked.extra else None
        if held is not None and parked.extra is not None:
            state.catch_up = self._books.holds.again(state.namespace, state.org, held)
            parked = replace(parked, extra={**parked.extra, "catchUp": catch_up_document(state.catch_up)})
        try:
            await self._try_parked(state, parked)
        finally:
            if held is not None and state.catch_up is not None:
                self._books.holds.end(state.namespace, state.org, state.catch_up)

    async def _try_parked(self, state: EventState, parked: Parked) -> None:
        try:
            recorded = await self._recorder.record(state, parked.summary, parked.extra)
        except Rejected as error:
            self._park(state, replace(parked, wait=min(2 * parked.wait, LONGEST_PARKED)), error)
            return
        self._unpark(state)
        if not recorded:
            self.end_elsewhere(state)
            return
        self._books.incidents.recorded(state)
        if parked.summary.phase.final:
            self._finished(state, parked.summary)
        else:
            state.event = None
            self._room.wait(state, until=self._clock.now())

    def _park(self, state: EventState, parked: Parked, error: Rejected) -> None:
        """The API will not have it recorded: keep the outcome in memory, try again slowly, and send nothing more."""
        if state.parked is None:
            log.error("status_cannot_be_recorded", namespace=state.namespace, name=state.name, error=str(error))
        state.parked = parked
        self._parked[state.uid] = None
        self._endpoints.forget(state.uid)
        self.release(state)
        self._room.wait(state, until=self._clock.now() + parked.wait)

    def _unpark(self, state: EventState) -> None:
        self._parked.pop(state.uid, None)
        state.parked = None

    # ------------------------------------------------------------------ ending

    def end(self, state: EventState) -> None:
        """Its way is over: give back whatever it held."""
        self._roster.remove(state, forget_oldest=not self._turns.folding)
        self.forget(state)
        self.release(state)

    def release(self, state: EventState) -> None:
        """It is not sent any more, or not for now: if it was its turn, it is the next one's."""
        self._turns.release(state)
        self._books.incidents.ended(state)

    def forget(self, state: EventState) -> None:
        """It waits for nothing any more."""
        self._parked.pop(state.uid, None)
        self._room.leave(state)
        self._endpoints.forget(state.uid)
        self._books.budgets.release(state.uid)

    async def end_by_error(self, state: EventState, error: Exception) -> None:
        """An exception that nobody expected ends this event, recorded, and nothing else."""
        log.error("event_failed_by_internal_error", namespace=state.namespace, name=state.name, exc_info=error)
        summary = EventSummary(
            Phase.FAILED, Reason.INTERNAL_ERROR, f"internal error: {type(error).__name__}; see the operator's log"
        )
        for delivery in state.open():
            update = {"phase": Phase.FAILED, "reason": Reason.INTERNAL_ERROR, "next_attempt_time": None}
            state.deliveries[delivery.destination] = delivery.model_copy(update=update)
        if state.delivered:
            summary = EventSummary(Phase.PARTIALLY_DELIVERED, summary.reason, summary.message)
        try:
            await self.finish(state, summary)
        except Fenced:
            self.wait_for_lease(state)
        except Exception:
            log.exception("internal_error_not_recorded", namespace=state.namespace, name=state.name)
            self.end(state)


def catch_up_document(record: CatchUpRecord) -> dict[str, Any]:
    """What the status has of it."""
    return record.model_dump(by_alias=True, exclude_none=True, mode="json")


def _log_end(state: EventState, summary: EventSummary) -> None:
    """An event of which nobody is notified, in the words of its status."""
    log.info(
        "event_not_sent",
        namespace=state.namespace,
        name=state.name,
        org=state.org,
        phase=summary.phase.value,
        reason=summary.reason.value if summary.reason else None,
        stage=state.stage.value if state.stage else None,
        matched=state.matched,
    )
