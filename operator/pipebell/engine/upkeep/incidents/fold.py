"""What events of the past say of an incident, in whatever order they are met."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from pipebell.core.incidents.order import occurred_at, order_of
from pipebell.core.incidents.reducer import ERROR_KEPT, RUNS_KEPT, opens_at, worst
from pipebell.core.status import epoch
from pipebell.core.vocabulary import IncidentAction, Reason

if TYPE_CHECKING:
    from pipebell.core.event import Event
    from pipebell.core.incidents.state import Incident

FAILED = (IncidentAction.OPENED, IncidentAction.COUNTED, IncidentAction.WORSENED)
_SOON = 1.0  # seconds: times on an object are rounded


class Attempt(NamedTuple):
    """A failed attempt: its order among those of its run, and until when the next one is expected."""

    created: float
    number: float
    until: float | None


@dataclass(slots=True)
class Fold:
    """Of one incident: ordinals of its failures, the last attempt of each run, the orders of the first and the last."""

    ordinals: set[int] = field(default_factory=set)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    first: tuple[float, int] | None = None
    last: tuple[float, int] | None = None

    def failed(self, incident: Incident, event: Event, confirmed: int) -> Incident:
        """The incident with what a failure of it says that its resource does not say: `confirmed` are in there."""
        record, spec = event.status.incident, event.spec
        if record is None or spec.notice is not None or not (record.action in FAILED or retries(event)):
            return incident
        self._attempted(event)
        if not retries(event):
            self.ordinals.add(record.failures)
        place, error = (event.created, record.failures), (spec.error_message or "")[:ERROR_KEPT]
        incident = replace(
            incident,
            last_failure=max(incident.last_failure or 0.0, event.created),
            severity=worst(incident.severity, event.status.severity),
        )
        if record.failures > confirmed or not incident.last_event:
            if (not incident.first_error or self.first is not None) and place < (self.first or (math.inf, 0)):
                self.first, incident = place, replace(incident, first_error=error)
            if place >= (self.last or (0.0, 0)):
                self.last, incident = place, replace(incident, last_error=error, last_event=event.name)
        if event.name == incident.last_event:
            incident = replace(incident, event=spec.event, owner=spec.owner or "", labels=spec.labels or {})
        return not_before(incident, event)

    def _attempted(self, event: Event) -> None:
        """A run's last attempt says whether another one is expected, and until when."""
        spec, until = event.spec, event.status.suppressed_until if retries(event) else None
        number = math.inf if spec.attempt is None else spec.attempt
        attempt = Attempt(event.created, number, epoch(until) if until is not None else None)
        run = spec.pipeline_logging_id or ""
        self.attempts[run] = max(attempt, self.attempts.get(run, attempt), key=lambda item: item[:2])

    def runs(self, incident: Incident, stored: Incident | None, now: float) -> Incident:
        """Which runs have failed, and of which a next attempt is expected: not where none came, and that was counted.

        `stored` is what the incident's resource says.
        """
        if not self.attempts:
            return incident
        looks = opens_at(stored) if stored is not None else None
        retries = {
            run: item.until
            for run, item in self.attempts.items()
            if item.until is not None and (item.until > now or (looks is not None and looks <= item.until + _SOON))
        }
        unknown = incident.retries.get("") if "" not in self.attempts else None
        due = unknown if incident.due is None and not retries else incident.due
        runs = sorted((run for run in self.attempts if run), key=lambda run: self.attempts[run].created)
        return replace(incident, runs=tuple(runs[-RUNS_KEPT:]), retries=retries, due=due)


def not_before(incident: Incident, event: Event) -> Incident:
    """No success that was created, or has occurred, before this failure of it ends the incident."""
    order, times = (
        order_of(event),
        [time for time in (occurred_at(event), incident.failed_occurred) if time is not None],
    )
    last = incident.failed_order
    return replace(
        incident,
        failed_order=order if last is None or last < order else last,
        failed_occurred=max(times, default=None),
    )


def retries(event: Event) -> bool:
    """Whether it is a failed attempt after which another one was expected."""
    return event.status.reason is Reason.RETRY_EXPECTED
