"""What the operator knows of an event's incidents, observed with a person's rights."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pipebell.cli.client import INCIDENTS
from pipebell.core.errors import InvalidInput, NotFound, Rejected
from pipebell.core.incidents.book import Book, Entry
from pipebell.core.incidents.record import incident_of, success_that_ended
from pipebell.core.incidents.rules import CLASSES
from pipebell.core.policy.situation import IncidentFacts, Resolved
from pipebell.core.vocabulary import EventType
from pipebell.kube.parse import parse_incident

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipebell.cli.client import Client
    from pipebell.core.errors import NotReady
    from pipebell.core.event import Event
    from pipebell.core.incidents.resource import Incident
    from pipebell.core.incidents.rules import IncidentRules
    from pipebell.core.policy.decision import Skip


def incidents_like(client: Client, event: Event, configuration: Resolved | Skip | NotReady) -> list[Incident]:
    """Incidents that an event may concern; none where they are off, or may not be read."""
    if rules_of(event, configuration) is None:
        return []
    found = []
    try:
        for item in client.list(INCIDENTS, event.namespace, fields={"spec.orgSlug": event.spec.org_slug}):
            with contextlib.suppress(InvalidInput):  # the operator cannot read it either
                found.append(parse_incident(item))
    except (NotFound, Rejected):
        return []
    return found


def rules_of(event: Event, configuration: Resolved | Skip | NotReady) -> IncidentRules | None:
    """How incidents are configured for an event; None where they are off, or it has nothing to do with any."""
    concerned = event.spec.event is EventType.PIPELINE_SUCCESS or event.spec.event in CLASSES
    if not isinstance(configuration, Resolved) or event.exempt or not concerned:
        return None
    return configuration.layers.incidents


def unknown(facts: IncidentFacts | None) -> IncidentFacts | None:
    """The same rules, and nothing known of any incident: as it was before the event's own was there."""
    return None if facts is None else IncidentFacts(facts.rules)


def known(
    event: Event, configuration: Resolved | Skip | NotReady, incidents: Iterable[Incident]
) -> IncidentFacts | None:
    """What the operator would know of an event's incidents, from what their resources say."""
    rules = rules_of(event, configuration)
    if rules is None:
        return None
    book = Book()
    for resource in incidents:
        incident = incident_of(resource)
        if not incident.open:
            book.found_past(incident, success_that_ended(incident))
        book.add(Entry(incident))
    record = event.status.incident
    known = book.look(event, rules, record.name if record is not None else "")
    return IncidentFacts.of(rules, known)
