"""What an event has to do with incidents, and what is kept of each incident beside itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipebell.core.status import IncidentRecord

if TYPE_CHECKING:
    import asyncio

    from pipebell.core.incidents.book import Entry
    from pipebell.core.incidents.resource import Incident as Resource
    from pipebell.core.incidents.rules import IncidentRules
    from pipebell.core.vocabulary import IncidentAction


@dataclass(slots=True)
class Stored:
    """What is kept of an incident beside itself.

    `rules` are those that it was decided by last. `resource` is it as the API has it, None until it was created, and
    for good where the API `refused` it. `written` is the status that stands there, `at` when it was written (seconds
    since the epoch). While something is `making`, a status that says it was made must not be written. `due` is when it
    was last said to be told. `seen` is what people said in its spec when that was looked at last. `looked`: what time
    and people have brought since it was found is known, so that it may be said whether something is due. `check` is
    when it is looked at although nothing is due, since its configuration has changed, or a silence. `held` is the end
    of the silence or the quiet hours that move what is due. `together` are the names of notices that are due at once
    with those of many other incidents. `escalated` is the last step of the escalation and when it was due.
    """

    rules: IncidentRules
    resource: Resource | None = None
    refused: bool = False
    creating: asyncio.Task[None] | None = None
    written: dict[str, object] = field(default_factory=dict)
    at: float = 0.0
    making: int = 0
    due: float | None = None
    seen: tuple[object, ...] = ()
    looked: bool = True
    check: float | None = None
    held: float | None = None
    together: frozenset[str] = frozenset()
    escalated: tuple[int, float] = (0, 0.0)


@dataclass(slots=True)
class Part:
    """An event's part in incidents: the first one of `entries` is its own, and a success may have ended more.

    `ordinal` is which failure of it this was, 0 for what is none. `counts`: not while the run's next attempt is
    expected. `touched`: something changed that is to be stored
    once the event's own status says so.
    """

    entries: tuple[Entry, ...]
    action: IncidentAction
    rules: IncidentRules
    ordinal: int = 0
    counts: bool = True
    confirmed: bool = False
    touched: bool = False

    @property
    def entry(self) -> Entry:
        """Its own incident."""
        return self.entries[0]

    @property
    def record(self) -> IncidentRecord | None:
        """What its status says; None where the incident could not be created."""
        stored: Stored = self.entry.extra
        if stored.resource is None:
            return None
        incident = self.entry.incident
        action = self.action if self.counts else None
        return IncidentRecord(name=incident.name, action=action, failures=self.ordinal or incident.failures)
