"""The cooldown ledger: per key, when a notification last went out, who is sending, who waits, how many were held back.

It lives in memory and is rebuilt from the events themselves: their status is the only record.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pipebell.core.policy.cooldown import Sent, suppressed_until
from pipebell.core.shards import ALL_SHARDS, shard_of
from pipebell.core.status import epoch
from pipebell.core.vocabulary import EventType, Phase

if TYPE_CHECKING:
    from collections.abc import Collection

    from pipebell.core.event import Event
    from pipebell.core.status import ConfigReference


class CooldownKey(NamedTuple):
    """What shares a cooldown: one configuration, one organisation, one type of event; for root also one namespace."""

    kind: str
    namespace: str
    name: str
    org: str
    event: EventType


def key_for(reference: ConfigReference, event: Event) -> CooldownKey:
    """The cooldown key of an event that uses this configuration."""
    namespace = event.namespace if reference.kind == "RootConfig" else reference.namespace
    return CooldownKey(reference.kind, namespace, reference.name, event.spec.org_slug, event.spec.event)


@dataclass(frozen=True, slots=True)
class Go:
    """Send, and say that so many were held back before."""

    suppressed: int


@dataclass(frozen=True, slots=True)
class Held:
    """The cooldown runs until then (seconds since the epoch), because of that notification."""

    until: float
    by: Sent


@dataclass(frozen=True, slots=True)
class Wait:
    """Another event of this key is being sent; its outcome decides. `sender` is its uid."""

    sender: str


@dataclass(slots=True)
class _Entry:
    last: Sent | None = None
    sender: str | None = None
    suppressed: int = 0
    waiters: OrderedDict[str, None] = field(default_factory=OrderedDict)


class CooldownLedger:
    """Decides, for each event with a cooldown, whether it goes, waits or is held back. Nothing here waits itself.

    It decides for organisations whose shards are open: their events of the past were folded in.
    """

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._folding: frozenset[int] = frozenset()
        self._entries: dict[CooldownKey, _Entry] = {}
        self._folded: dict[CooldownKey, Counter[tuple[str, str]]] = {}

    def enter(self, key: CooldownKey, uid: str, cooldown: float, now: float) -> Go | Held | Wait:
        """Decide for one event; asking again is safe. After Go, `succeeded` or `released` must follow."""
        entry = self._entries.setdefault(key, _Entry())
        if entry.sender == uid:
            return Go(entry.suppressed)
        until = suppressed_until(entry.last, cooldown, now)
        if until is not None and entry.last is not None:
            entry.waiters.pop(uid, None)
            entry.suppressed += 1
            return Held(until, entry.last)
        if entry.sender is not None:
            entry.waiters[uid] = None
            return Wait(entry.sender)
        entry.waiters.pop(uid, None)
        entry.sender = uid
        return Go(entry.suppressed)

    def succeeded(self, key: CooldownKey, uid: str, sent: Sent) -> list[str]:
        """The event reached its first destination: the window starts. Returns the uids that need not wait any more."""
        entry = self._entries.setdefault(key, _Entry())
        entry.last, entry.suppressed = sent, 0
        if entry.sender in (uid, None):
            entry.sender = None
            woken, entry.waiters = list(entry.waiters), OrderedDict()
            return woken
        return []

    def released(self, key: CooldownKey, uid: str) -> str | None:
        """The event will not be sent (failed everywhere, deleted, skipped). Returns the uid whose turn it is now."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        entry.waiters.pop(uid, None)
        if entry.sender != uid:
            return None
        entry.sender = next(iter(entry.waiters), None)
        if entry.sender is not None:
            del entry.waiters[entry.sender]
        return entry.sender

    def last(self, key: CooldownKey) -> Sent | None:
        """The last notification of this key."""
        entry = self._entries.get(key)
        return entry.last if entry else None

    def held_back(self, key: CooldownKey) -> int:
        """Events held back since the last notification of this key."""
        entry = self._entries.get(key)
        return entry.suppressed if entry else 0

    def fold(self, event: Event) -> None:
        """Take in what an event's status says; in any order, between `begin_fold` and `finish_fold`."""
        status = event.status
        if status.config_ref is None or event.spec.test or event.spec.replay_of is not None:
            return
        if shard_of(event.spec.org_slug) not in self._folding:
            return
        key = key_for(status.config_ref, event)
        if status.phase is Phase.SUPPRESSED and status.suppressed_by:
            namespace, _, name = status.suppressed_by.rpartition("/")
            self._folded.setdefault(key, Counter())[namespace or event.namespace, name] += 1
            return
        deliveries = status.deliveries or []
        told = [epoch(item.delivered_time) for item in deliveries if item.delivered_time]
        entry = self._entries.setdefault(key, _Entry())
        if told:
            sent = Sent(min(told), event.namespace, event.name)
            if entry.last is None or sent.at > entry.last.at:
                entry.last = sent
        elif status.phase is not None and not status.phase.final and any(item.last_attempt_time for item in deliveries):
            entry.sender = entry.sender or event.uid

    def senders(self) -> list[tuple[CooldownKey, str]]:
        """Who is sending, by key."""
        return [(key, entry.sender) for key, entry in self._entries.items() if entry.sender is not None]

    def opened(self, org_slug: str) -> bool:
        """Whether the past of this organisation's events is known."""
        return shard_of(org_slug) in self._open

    @property
    def shards(self) -> frozenset[int]:
        """The shards that it decides for."""
        return frozenset(self._open)

    @property
    def folding(self) -> bool:
        """Whether a pass over the events of the past is under way."""
        return bool(self._folding)

    def begin_fold(self, shards: Collection[int]) -> None:
        """A pass begins, or begins anew: what is known of these shards is forgotten, for the pass brings it."""
        self.close(shards)
        self._folding = frozenset(shards)

    def finish_fold(self, shards: Collection[int] = ALL_SHARDS) -> None:
        """All events were folded: count what the last notifications have not told yet, and decide for these shards."""
        for key, counts in self._folded.items():
            entry = self._entries.setdefault(key, _Entry())
            if entry.last is not None:
                entry.suppressed = counts[entry.last.namespace, entry.last.name]
        self._folded.clear()
        self._folding = frozenset()
        self._open |= set(shards)

    def close(self, shards: Collection[int]) -> None:
        """Somebody else decides for these from now on."""
        self._open.difference_update(shards)
        self._folding = self._folding.difference(shards)
        for memory in (self._entries, self._folded):
            for key in [key for key in memory if shard_of(key.org) in shards]:
                del memory[key]

    def needs(self, event: Event, cooldown: float, now: float, *, uncounted: bool = True) -> bool:
        """Whether a finished event still carries a running cooldown or (if that is asked) an uncounted suppression."""
        if event.status.config_ref is None or event.spec.test or event.spec.replay_of is not None:
            return False
        key = key_for(event.status.config_ref, event)
        entry = self._entries.get(key)
        if entry is None or entry.last is None:
            return False
        if event.status.phase is Phase.SUPPRESSED:
            return uncounted and event.status.suppressed_by == entry.last.named_from(event.namespace)
        is_last = (entry.last.namespace, entry.last.name) == (event.namespace, event.name)
        running = suppressed_until(entry.last, cooldown, now) is not None
        return is_last and (running or (uncounted and entry.suppressed > 0))
