"""In which order an organisation's failures and successes are decided: that of their creation.

What delays one of them (a Secret that is read, an API that answers late) must not let a later one go first: a failure
would be counted in the wrong incident, and a success would find nothing to end.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, NamedTuple

from pipebell.core.incidents.keys import IncidentKey
from pipebell.core.incidents.resource import IncidentClass
from pipebell.core.incidents.rules import CLASSES
from pipebell.core.shards import shard_of
from pipebell.core.versions import as_number
from pipebell.core.vocabulary import EventType
from pipebell.engine.events.keys import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pipebell.core.event import Event
    from pipebell.engine.events.keys import Key


class _Position(NamedTuple):
    """Events of one second are told apart by when they say that they occurred, then by when they were stored."""

    created: float
    occurred: float
    version: int


class _Place:
    """The undecided events of one organisation in one namespace; `kept_back` says that one of them waits for others."""

    __slots__ = ("_first", "kept_back", "positions")

    def __init__(self) -> None:
        self.positions: dict[str, _Position] = {}
        self._first: list[tuple[_Position, str]] = []  # a heap; some in it have been decided by now
        self.kept_back = False

    def add(self, uid: str, position: _Position) -> None:
        if uid not in self.positions:
            self.positions[uid] = position
            heapq.heappush(self._first, (position, uid))

    def first(self) -> str:
        """The one whose turn it is."""
        while self._first[0][1] not in self.positions:
            heapq.heappop(self._first)
        return self._first[0][1]


class Undecided:
    """Events of this replica's shards that nobody has decided yet. `wake` is told when others may go on."""

    def __init__(self, wake: Callable[[Key], None]) -> None:
        self._wake = wake
        self._places: dict[tuple[str, str], _Place] = {}

    def expect(self, event: Event) -> None:
        """An event was taken in: what was created after it waits until it is decided."""
        if event.exempt or event.status.deliveries or event.status.incident is not None:
            return
        if event.spec.event is EventType.PIPELINE_SUCCESS or event.spec.event in CLASSES:
            self._add(event)

    def _add(self, event: Event) -> _Place:
        place = self._places.get((event.namespace, event.spec.org_slug))
        if place is None:
            place = self._places[event.namespace, event.spec.org_slug] = _Place()
        place.add(event.uid, _Position(event.created, event.occurred, as_number(event.resource_version)))
        return place

    def overtakes(self, event: Event) -> bool:
        """Whether events that were created before this one, which nobody has decided yet, wait to be decided."""
        place = self._add(event)
        early = place.first() != event.uid
        place.kept_back = place.kept_back or early
        return early

    def decided(self, namespace: str, org: str, uid: str) -> None:
        """It keeps nobody waiting any more."""
        place = self._places.get((namespace, org))
        if place is None or place.positions.pop(uid, None) is None:
            return
        if not place.positions:
            del self._places[namespace, org]
        if place.kept_back:
            place.kept_back = False
            self._wake(order_key(namespace, org))

    def release(self, shards: Collection[int]) -> None:
        """These organisations are another replica's now, or are about to be read anew."""
        for place in [place for place in self._places if shard_of(place[1]) in shards]:
            del self._places[place]


def order_key(namespace: str, org: str) -> Outcome:
    """What whoever overtakes others waits for."""
    return Outcome(IncidentKey(namespace, org, IncidentClass.RUN, ""))
