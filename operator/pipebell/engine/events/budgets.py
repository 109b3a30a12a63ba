"""How many events were delivered in this clock hour, and how many are under way: what hourly limits go by.

Rebuilt from the events themselves: each one's first `deliveredTime` says in which hour it counts. Nothing is counted
where no limit is set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipebell.core.policy.budget import counted, is_good
from pipebell.core.policy.facts import BudgetFacts, Share
from pipebell.core.shards import shard_of
from pipebell.core.status import HOUR, epoch
from pipebell.core.vocabulary import IncidentAction

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pipebell.core.event import Event
    from pipebell.core.layers import Layers
    from pipebell.engine.events.ledger import CooldownLedger
    from pipebell.engine.events.state import EventState


class Purse(NamedTuple):
    """What a limit is of: an organisation's own in one namespace, or (`org` "") root's for that namespace.

    `good`: of what says that something is well, and ends no incident.
    """

    namespace: str
    org: str = ""
    good: bool = False


class Budgets:
    """Counts by uid, so that an event counts once however often it is met."""

    def __init__(self, ledger: CooldownLedger) -> None:
        self._ledger = ledger
        self._hour = 0.0
        self._delivered: dict[Purse, dict[str, int]] = {}
        self._under_way: dict[Purse, dict[str, int]] = {}
        self._purses: dict[str, tuple[Purse, ...]] = {}

    def look(self, state: EventState, event: Event, layers: Layers, now: float) -> BudgetFacts | None:
        """What is known of the limits that hold for this event; None where none does."""
        own, root = layers.max_per_hour, layers.root_max_per_hour
        if own is None and root is None:
            return None
        self._roll(now)
        return BudgetFacts(
            known=self._ledger.opened(state.org),
            own=None if own is None else Share(own, self._used(Purse(state.namespace, state.org))),
            root=None if root is None else Share(root, self._used(Purse(state.namespace, good=is_good(event)))),
            claimed=state.uid in self._purses,
        )

    def _used(self, purse: Purse) -> int:
        delivered, under_way = self._delivered.get(purse, {}), self._under_way.get(purse, {})
        return len(delivered) + len(under_way)

    def _roll(self, now: float) -> None:
        """Another hour has begun: what was delivered in the last one is forgotten."""
        hour = now // HOUR
        if hour != self._hour:
            self._hour = hour
            self._delivered.clear()

    # ------------------------------------------------------------------ one event

    def claim(self, state: EventState, event: Event, *, own: bool, root: bool) -> None:
        """It is sent now: it counts until it is delivered or comes to its end."""
        if state.delivered or state.uid in self._purses or not (own or root):
            return
        self._claim(state.uid, state.org, tuple(_purses(event, own=own, root=root)))

    def _claim(self, uid: str, org: str, purses: tuple[Purse, ...]) -> None:
        self._purses[uid] = purses
        for purse in purses:
            self._under_way.setdefault(purse, {})[uid] = shard_of(org)

    def delivered(self, state: EventState, at: float) -> None:
        """A first destination has it, since then (seconds since the epoch)."""
        for purse in self.release(state.uid):
            self._note(purse, state.uid, state.org, at)

    def _note(self, purse: Purse, uid: str, org: str, at: float) -> None:
        if at // HOUR == self._hour:
            self._delivered.setdefault(purse, {})[uid] = shard_of(org)

    def release(self, uid: str) -> tuple[Purse, ...]:
        """It is not under way any more."""
        purses = self._purses.pop(uid, ())
        for purse in purses:
            of_purse = self._under_way[purse]
            of_purse.pop(uid, None)
            if not of_purse:
                del self._under_way[purse]
        return purses

    def under_way(self) -> list[str]:
        """Uids of the events that count although they are not delivered anywhere yet."""
        return list(self._purses)

    # ------------------------------------------------------------------ the past

    def fold(self, event: Event, layers: Layers, now: float) -> None:
        """Take in an event of the past, in any order and as often as it is met. `layers` are what it used."""
        self._roll(now)
        delivered = first_delivered(event)
        if delivered is not None and delivered // HOUR != self._hour:
            return
        severity = event.status.severity or event.severity
        names = [item.destination for item in event.status.deliveries or ()]
        record = event.status.incident
        recovers = record is not None and record.action is IncidentAction.RECOVERED
        own, root = counted(event, severity, names, layers, recovers=recovers)
        purses = tuple(_purses(event, own=own, root=root))
        if delivered is not None:
            for purse in purses:
                self._note(purse, event.uid, event.spec.org_slug, delivered)
        elif purses and _under_way(event) and event.uid not in self._purses:
            self._claim(event.uid, event.spec.org_slug, purses)

    def needs(self, event: Event, now: float) -> bool:
        """Whether an event is what this hour is counted by."""
        self._roll(now)
        purses = _purses(event, own=True, root=True)
        return bool(self._delivered) and any(event.uid in self._delivered.get(purse, ()) for purse in purses)

    def forget(self, shards: Collection[int]) -> None:
        """These shards are counted elsewhere, or anew."""
        for found in (self._delivered, self._under_way):
            for purse, uids in list(found.items()):
                found[purse] = {uid: shard for uid, shard in uids.items() if shard not in shards}
                if not found[purse]:
                    del found[purse]
        self._purses = {uid: purses for uid, purses in self._purses.items() if self._counts(uid, purses)}

    def _counts(self, uid: str, purses: tuple[Purse, ...]) -> bool:
        return any(uid in self._under_way.get(purse, ()) for purse in purses)


def _under_way(event: Event) -> bool:
    """Whether something was tried for an event that has not come to its end."""
    return not event.status.finished and any(item.last_attempt_time for item in event.status.deliveries or ())


def first_delivered(event: Event) -> float | None:
    """When its first destination had an event (seconds since the epoch); None while none has. Raises ValueError."""
    times = [epoch(item.delivered_time) for item in event.status.deliveries or () if item.delivered_time]
    return min(times, default=None)


def _purses(event: Event, *, own: bool, root: bool) -> Iterator[Purse]:
    if own:
        yield Purse(event.namespace, event.spec.org_slug)
    if root:
        yield Purse(event.namespace, good=is_good(event))
