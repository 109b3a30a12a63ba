"""Deletes finished events when their time has come, and never one that a cooldown still needs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from pipebell.core.errors import ApiError, Conflict, NotFound, Rejected
from pipebell.core.status import epoch
from pipebell.core.vocabulary import Phase
from pipebell.engine.events.ledger import UNCOUNTED
from pipebell.engine.events.observer import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable

    from pipebell.core.event import Event
    from pipebell.core.policy.settle import EventSummary
    from pipebell.core.vocabulary import EventType
    from pipebell.engine.configs.store import Key
    from pipebell.engine.events.ledger import CooldownLedger
    from pipebell.engine.events.state import EventState
    from pipebell.engine.ports import Ports

AT_ONCE, PAUSE = 25, 0.1  # deletions at once, then seconds of rest: at most 250 a second
SHORTEST, LONGEST = 5.0, 3600.0  # seconds between two looks
SKEW: Final = 60.0  # seconds that clocks may differ by and be believed
LATEST_END: Final = 86_400.0  # seconds after its creation
MARGIN: Final = 3600.0  # seconds beyond the age at which nobody would make a notice again
LATENESS: Final = 0.1  # of its time to live that an event may be kept longer: each look reads all events there are

log = structlog.get_logger(__name__)


class Guard(Protocol):
    """Knows events that a notice reports: they stay until it has come to its end, and it stays until they are gone."""

    def needs(self, event: Event) -> bool:
        """Whether an event is not reported yet, or its notice is not finished."""

    def reported_with(self, event: Event) -> Collection[Hashable]:
        """Keys of what notices report an event; nothing where it is sent by itself."""

    def members(self, event: Event) -> Collection[Hashable]:
        """Keys of what a notice reports: as long as an event has one of them, the notice is kept too."""


class Retention(Observer):
    """The sweeper. It lists for itself, because the watch hides finished events.

    A look costs 0.1 ms for each event that there is, so looks are rare: when the first event is late by a tenth of its
    time to live, which makes ten looks in an event's life, and once an hour for what is not reported yet.

    An event that says what its incident does not say yet (not `covered`) stays.
    What the operator made (a notice, or of a source) is kept for `max_age` seconds and `MARGIN` at least: its name must
    be taken for as long as somebody might make it once more.
    """

    def __init__(
        self,
        ports: Ports,
        ledger: CooldownLedger,
        cooldown_of: Callable[[Key | None, EventType], float],
        *,
        ttl_delivered: float,
        ttl_failed: float,
        max_age: float,
        covered: Callable[[Event], bool] = lambda _: True,
    ) -> None:
        self._events, self._clock, self._ledger = ports.events, ports.clock, ledger
        self._ttl_delivered, self._ttl_failed, self._cooldown_of = ttl_delivered, ttl_failed, cooldown_of
        self._ttl_made, self._covered = max_age + MARGIN, covered
        self._next_look = ports.clock.now() + LONGEST
        self._guards: list[Guard] = []

    def subscribe(self, *guards: Guard) -> None:
        """Ask these as well before an event is deleted."""
        self._guards += guards

    def on_finished(self, state: EventState, summary: EventSummary, now: float) -> None:
        """Note when this event's time will come."""
        if state.event is None:
            self._note(now, self._ttl(summary.phase, None))
        else:
            self._note(now, self._ttl_of(state.event, summary.phase))

    def on_event(self, event: Event) -> None:
        """Note when the time of this event will come, if it is finished: a pass over all events has met it."""
        ended = _end_of(event, self._clock.now())
        if ended is not None:
            self._note(ended, self._ttl_of(event))

    async def run(self) -> None:
        """Sweep whenever something is late, and now and then anyway, until cancelled."""
        not_before = 0.0
        while True:
            await self._clock.sleep(SHORTEST)
            began = self._clock.now()
            if not self._clock.trusted:  # what is over by one clock may not be by the other
                continue
            self._next_look = min(self._next_look, began + LONGEST)
            self._ledger.forget(began, self._cooldown_of)
            if not self._ledger.shards or self._ledger.folding or began < max(self._next_look, not_before):
                continue
            try:
                await self._sweep(began)
            except ApiError as error:
                log.warning("finished_events_not_swept", error=str(error))
                self._next_look = began
            # A twentieth of the time at most, however soon the next event falls due.
            not_before = self._clock.now() + min(19 * (self._clock.now() - began), LONGEST)

    async def _sweep(self, now: float) -> None:
        self._next_look = now + LONGEST
        deleted = 0
        seen: set[Hashable] = set()
        notices: list[Event] = []
        async for page in self._events.scan(phases_excluded=(Phase.PENDING.value, Phase.DELIVERING.value)):
            seen.update(key for guard in self._guards for event in page.events for key in guard.reported_with(event))
            ripe = [event for event in page.events if self._ripe(event, now)]
            last = [event for event in ripe if event.spec.notice is not None and self._members(event)]
            notices += last
            deleted += await self._delete_all([event for event in ripe if event not in last])
        deleted += await self._delete_all([event for event in notices if not seen.intersection(self._members(event))])
        if deleted:
            log.info("finished_events_deleted", count=deleted)

    def _members(self, event: Event) -> list[Hashable]:
        return [key for guard in self._guards for key in guard.members(event)]

    async def _delete_all(self, events: list[Event]) -> int:
        for start in range(0, len(events), AT_ONCE):
            await asyncio.gather(*(self._delete(event) for event in events[start : start + AT_ONCE]))
            await self._clock.sleep(PAUSE)
        return len(events)

    def _ripe(self, event: Event, now: float) -> bool:
        """Whether this event may go now; if only later, that is noted."""
        ended = _end_of(event, now) if self._ledger.opened(event.spec.org_slug) else None
        if ended is None:  # not finished, or another replica's
            return False
        ttl = self._ttl_of(event)
        if ended + ttl > now:
            self._note(ended, ttl)
            return False
        return self._covered(event) and not self._needed(event, now, ended + ttl)

    def _note(self, ended: float, ttl: float) -> None:
        self._next_look = min(self._next_look, ended + ttl * (1 + LATENESS))

    def _ttl_of(self, event: Event, phase: Phase | None = None) -> float:
        spec = event.spec
        ttl = self._ttl(phase or event.status.phase, spec.ttl_seconds_after_finished)
        made = spec.notice is not None or spec.source is not None
        return max(ttl, self._ttl_made) if made else ttl

    def _ttl(self, phase: Phase | None, own: int | None) -> float:
        if own is not None:
            return float(own)
        return self._ttl_failed if phase in (Phase.FAILED, Phase.PARTIALLY_DELIVERED) else self._ttl_delivered

    def _needed(self, event: Event, now: float, due: float) -> bool:
        if any(guard.needs(event) for guard in self._guards):
            return True
        uncounted = now - due < UNCOUNTED
        reference = event.status.config_ref
        of_org = reference is not None and reference.kind == "NotificationConfig"
        key = (reference.namespace, reference.name) if reference is not None and of_org else None
        cooldown = self._cooldown_of(key, event.spec.event)
        return self._ledger.needs(event, cooldown, now, uncounted=uncounted)

    async def _delete(self, event: Event) -> None:
        try:
            await self._events.delete(event.namespace, event.name, event.uid)
        except (NotFound, Conflict):
            return
        except Rejected as error:  # one namespace's webhook or missing permission is not the others' trouble
            log.warning("finished_event_not_deleted", namespace=event.namespace, name=event.name, error=str(error))


def _end_of(event: Event, now: float) -> float | None:
    """When this event was finished (seconds since the epoch); None while it is not.

    A time before its creation, or still to come, was written by a clock that was wrong: then it counts as finished as
    late as it may have been, a day after its creation.
    """
    status = event.status
    if not status.finished:
        return None
    try:
        ended = epoch(status.completion_time) if status.completion_time else event.created
    except ValueError:  # not written by us
        return event.created
    return max(ended, event.created) if ended <= now + SKEW else min(ended, event.created + LATEST_END)
