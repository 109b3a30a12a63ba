"""What the past says: incidents as they are stored, brought together with what their events say beyond that."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pipebell.core.incidents import reducer
from pipebell.core.incidents.book import Entry
from pipebell.core.incidents.record import incident_of, success_that_ended, written_on
from pipebell.core.incidents.resource import IncidentPhase
from pipebell.core.incidents.rules import IncidentRules
from pipebell.core.incidents.state import DIGEST, Notification
from pipebell.core.policy.failover import stood_in_for
from pipebell.core.policy.incidents import success_of
from pipebell.core.status import epoch
from pipebell.core.vocabulary import CatchUpMode, EventType, IncidentAction
from pipebell.engine.events.part import Stored
from pipebell.engine.upkeep.incidents.fold import FAILED, Fold, not_before

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.core.event import Event
    from pipebell.core.incidents.book import Book
    from pipebell.core.incidents.resource import Incident as Resource
    from pipebell.core.incidents.state import Incident

KEPT: Final = 172_800.0  # seconds for which a resolved incident is remembered by its name
NOTHING_SAID: Final = (None, None, None)
_DEFAULTS: Final = IncidentRules()


class Pass:
    """One pass over the past: first `found` of each incident, then `fold` of each event, then `complete`."""

    def __init__(self, book: Book, now: Callable[[], float]) -> None:
        self._book, self._now = book, now
        self._folds: dict[Entry, Fold] = {}
        self._recoveries: dict[Entry, bool] = {}
        self._ended_by: dict[tuple[str, str], list[Incident]] = {}  # by namespace and name of a success not met yet
        self._opened_by: dict[tuple[str, str], Entry] = {}  # open ones, by namespace and name of a failure not met yet
        self._closed: set[Entry] = set()

    def __contains__(self, entry: Entry) -> bool:
        return entry in self._folds

    @property
    def entries(self) -> list[Entry]:
        """The incidents that it is about, and that are remembered."""
        return list(self._folds)

    @property
    def recoveries(self) -> dict[Entry, bool]:
        """Incidents whose end is told by an event that was met, and whether by messages.

        Not those whose alerts and first messages another event has changed, and nobody's who was ended by hand.
        """
        found = self._recoveries.items()
        return {entry: how for entry, how in found if entry not in self._closed and not entry.incident.by_hand}

    # ------------------------------------------------------------------ incidents

    def found(self, resource: Resource) -> None:
        """An incident as it is stored."""
        incident = reducer.as_of(incident_of(resource), self._now())
        namespace = incident.key.namespace
        self._book.found_past(incident, None)
        if not incident.open:
            if success_that_ended(incident) is not None:
                self._ended_by.setdefault((namespace, incident.resolved_by), []).append(incident)
            if incident.resolved is None or incident.resolved < self._now() - KEPT:
                return
        entry = Entry(incident, confirmed=resource.status.failures)
        seen = spoken(resource) if (resource.status.observed_generation or 0) >= resource.generation else ()
        entry.extra = Stored(
            _DEFAULTS, resource, seen=seen, looked=not incident.open, written=written_on(resource)
        )  # what stands there is not written again
        self._book.add(entry)
        self.take(entry)
        if incident.open:
            self._opened_by[namespace, incident.opened_by] = entry

    def take(self, entry: Entry) -> None:
        """Events may say something of it."""
        self._folds[entry] = Fold()

    # ------------------------------------------------------------------ events

    def fold(self, event: Event) -> None:
        """An event of the past says what its incident may not say yet."""
        success = event.spec.event is EventType.PIPELINE_SUCCESS
        for incident in self._ended_by.pop((event.namespace, event.name), ()) if success else ():
            self._book.found_past(incident, success_of(event))
        opened = self._opened_by.pop((event.namespace, event.name), None)
        if opened is not None:  # even where nobody came to record that
            opened.incident = not_before(opened.incident, event)
        record = event.status.incident
        entry = self._book.recorded(event.namespace, record)
        if record is None or entry is None or entry not in self._folds:
            return
        catch_up = event.status.catch_up
        if catch_up is not None and catch_up.mode is CatchUpMode.STILL_FAILING:
            entry.extra.held = max(entry.extra.held or 0.0, epoch(catch_up.due))
        entry.incident = self._folds[entry].failed(entry.incident, event, entry.confirmed)
        if record.action is IncidentAction.RECOVERED:
            self._recovered(entry, event)
        elif record.action is not None:
            self._deliveries(entry, event, record.action)

    def _recovered(self, entry: Entry, event: Event) -> None:
        if event.spec.notice is not None:
            self._closed.add(entry)
            return
        self._recoveries[entry], entry.over = bool(event.status.deliveries), event.status.finished
        if entry.incident.open:
            self._book.end(entry, event.name, event.created)
            self._book.found_past(entry.incident, success_of(event))

    def _deliveries(self, entry: Entry, event: Event, action: IncidentAction) -> None:
        status, notified, now = event.status, dict(entry.incident.notified), self._now()
        for delivery in status.deliveries or ():
            name, at = delivery.destination, delivery.delivered_time
            if at is not None and name not in notified:
                when = min(epoch(at), now)
                notified[name] = Notification(name, delivery.provider or "", "", delivery.leads_on, action, when)
        for item in status.batch or () if action in FAILED else ():
            ended = min(epoch(status.completion_time) if status.completion_time else event.created, now)
            notified.setdefault(
                item.destination, Notification(item.destination, endpoint=DIGEST, action=action, at=ended)
            )
        incident = entry.incident
        if action in FAILED and (whom := stood_in_for(status.deliveries or ())):
            incident = replace(incident, stood_in_for=incident.stood_in_for | whom)
        if len(notified) > len(incident.notified):
            times = [item.at for item in notified.values()]
            incident = replace(
                incident,
                notified=notified,
                opened=min((t for t in (*times, incident.opened) if t is not None), default=None),
                notified_severity=reducer.worst(incident.notified_severity, status.severity),
            )
            if incident.phase is IncidentPhase.PENDING:
                incident = replace(incident, phase=IncidentPhase.OPEN, due=None)
            self._book.found_past(incident, None)
        still = [item.destination for item in status.deliveries or () if not item.phase.final]
        if still and not status.finished:
            incident = reducer.sending(incident, still, event.uid)
            if incident.open and not any(item.delivered_time for item in status.deliveries or ()):
                entry.sender, entry.sender_name = event.uid, event.name
        entry.incident = incident

    # ------------------------------------------------------------------ the end

    def complete(self) -> list[Entry]:
        """All events were met: the incidents with all that was found of them."""
        for incidents in self._ended_by.values():  # by events that are gone
            for incident in incidents:
                self._book.found_past(incident, success_that_ended(incident))
        for entry, fold in self._folds.items():
            stored, most = entry.extra.resource, max(fold.ordinals, default=0)
            said = incident_of(stored) if stored is not None else None
            entry.incident = fold.runs(entry.incident, said, self._now())
            entry.gaps = list(range(entry.confirmed + 1, most))
        return self._confirm()

    def complete_one(self) -> list[Entry]:
        """The same for an event that was ended later, of an incident that is known."""
        for entry, fold in self._folds.items():
            expected = fold.runs(entry.incident, None, self._now()).retries
            others = {run: at for run, at in entry.incident.retries.items() if run not in fold.attempts}
            entry.incident = replace(entry.incident, retries={**others, **expected})
        return self._confirm()

    def _confirm(self) -> list[Entry]:
        for entry, fold in self._folds.items():
            entry.gaps = [number for number in entry.gaps if number not in fold.ordinals]
            for number in sorted(fold.ordinals):
                entry.confirm(number)
            entry.incident = replace(entry.incident, failures=max(entry.incident.failures, *fold.ordinals, 0))
        return self.entries


def spoken(resource: Resource) -> tuple[object, ...]:
    """What people say of it."""
    spec = resource.spec
    return (spec.acknowledgement, spec.resolution, spec.snoozed_until)
