"""A PipelineEvent as the engine and the renderers see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pipebell.core.models import PipelineEventSpec
    from pipebell.core.status import EventStatus
    from pipebell.core.vocabulary import Severity


@dataclass(frozen=True, slots=True)
class Event:
    """One PipelineEvent, parsed. Times are seconds since the epoch; `size` is about how many bytes it takes."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    created: float
    spec: PipelineEventSpec
    status: EventStatus
    size: int = 5_000

    @property
    def occurred(self) -> float:
        """When it happened: what the event says, else when it was created."""
        return self.created if self.spec.occurred_at is None else self.spec.occurred_at.timestamp()


@dataclass(frozen=True, slots=True)
class Notification:
    """What there is to tell: the event, how bad it is, and how many like it were held back since the last one."""

    event: Event
    severity: Severity
    suppressed: int = 0


class EventPage(NamedTuple):
    """A page of a list of events. `namespace` is None for a list of all; `version` is the state that the list shows."""

    namespace: str | None
    version: str
    events: list[Event]
