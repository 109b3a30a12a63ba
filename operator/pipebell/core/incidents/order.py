"""In which order events were created, and when they say that they occurred."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipebell.core.versions import as_number

if TYPE_CHECKING:
    from pipebell.core.event import Event


@dataclass(frozen=True, slots=True)
class Order:
    """When an event was created: in seconds since the epoch, which the API has in whole ones.

    Of one second, the state of the API that the creation made tells (`version`, 0 where it is not known any more), else
    when they say that they `occurred`: its beginning, where one does not say.
    """

    created: float
    version: int = 0
    occurred: float | None = None

    def __lt__(self, other: Order) -> bool:
        if self.created != other.created:
            return self.created < other.created
        if self.version and other.version:
            return self.version < other.version
        return self._moment < other._moment

    @property
    def _moment(self) -> float:
        return self.created if self.occurred is None else self.occurred


def order_of(event: Event) -> Order:
    """When it was created. Once something was recorded on it, its version says nothing of that any more."""
    version = as_number(event.resource_version) if event.status.phase is None else 0
    return Order(event.created, version, occurred_at(event))


def occurred_at(event: Event) -> float | None:
    """When it says that it occurred, never later than its creation (which the API has in whole seconds)."""
    if event.spec.occurred_at is None:
        return None
    return min(event.spec.occurred_at.timestamp(), event.created + 0.999)
