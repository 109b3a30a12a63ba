"""The cooldown ledger: per key, when a notification last went out, who is sending, how many were suppressed since.

It lives in memory and is rebuilt from the events themselves: their status is the only record. A key is forgotten once
its window is over and nothing suppressed is left to tell of. `MOST` keys are kept at once; beyond that, the namespace
that has most of them loses its oldest, so nobody's inventions cost another namespace its cooldowns.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from pipebell.core.policy.sent import Sent, suppressed_until
from pipebell.core.policy.situation import CooldownFacts
from pipebell.core.shards import ALL_SHARDS, shard_of
from pipebell.core.status import epoch
from pipebell.core.vocabulary import EventType, Phase, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from pipebell.core.event import Event
    from pipebell.core.status import ConfigReference


MOST: Final = 200_000  # keys in memory, of about 500 bytes each
KEPT: Final = 120.0  # seconds that a key is kept at least: what a configuration's status tells of is read that late
UNCOUNTED: Final = 604_800.0  # seconds: a suppression that nothing followed for a week is not waited for any longer
_SLICE: Final = 5_000  # keys that one `forget` looks at: a few milliseconds


_UNKNOWN: Final = CooldownFacts(known=False)
_NOTHING: Final = CooldownFacts()


class CooldownKey(NamedTuple):
    """What shares a cooldown: one configuration, one namespace's events, one organisation, one type of event.

    `namespace` is always the events' own, so what happens in one namespace never mutes another. `home` is the
    configuration's namespace where that is another one (a shared configuration), else "".
    """

    kind: str
    namespace: str
    name: str
    org: str
    event: EventType
    home: str = ""

    @property
    def config(self) -> tuple[str, str] | None:
        """Namespace and name of the NotificationConfig; None for the root configuration."""
        return None if self.kind == "RootConfig" else (self.home or self.namespace, self.name)


def key_for(reference: ConfigReference, event: Event) -> CooldownKey:
    """The cooldown key of an event that uses this configuration."""
    shared = reference.kind != "RootConfig" and reference.namespace != event.namespace
    home = reference.namespace if shared else ""
    return CooldownKey(reference.kind, event.namespace, reference.name, event.spec.org_slug, event.spec.event, home)


@dataclass(slots=True)
class _Entry:
    last: Sent | None = None
    sender: str | None = None
    suppressed: int = 0
    window: float = 0.0
    """The cooldown (seconds) that an event was last decided by."""

    @property
    def empty(self) -> bool:
        return self.last is None and self.sender is None and not self.suppressed

    def over(self, window: float, now: float) -> bool:
        """Whether nothing depends on it any more."""
        if self.last is None or self.sender is not None:
            return False
        age = now - self.last.at
        if age < 0:  # noted by a clock that was wrong: `suppressed_until` says for how long that counts
            return -age > window
        return age >= max(window, KEPT) and (not self.suppressed or age >= window + UNCOUNTED)


class CooldownLedger:
    """What is known of each cooldown key: the last notification, the event being sent, how many were suppressed since.

    It decides nothing. It knows organisations whose shards are open: their events of the past were folded in.
    """

    def __init__(self, *, most: int = MOST) -> None:
        self._most = most
        self._open: set[int] = set()
        self._folding: frozenset[int] = frozenset()
        self._namespaces: dict[str, dict[CooldownKey, _Entry]] = {}
        self._count = 0
        self._to_look_at: list[CooldownKey] = []
        self._folded: dict[CooldownKey, Counter[tuple[str, str]]] = {}

    def __len__(self) -> int:
        return self._count

    def _find(self, key: CooldownKey) -> _Entry | None:
        return self._namespaces.get(key.namespace, {}).get(key)

    def _entry(self, key: CooldownKey) -> _Entry:
        """The key's entry, made if there is none."""
        entries = self._namespaces.get(key.namespace)
        if entries is None:
            entries = self._namespaces[key.namespace] = {}
        entry = entries.get(key)
        if entry is None:
            if self._count >= self._most:
                self._forget_oldest()
                entries = self._namespaces.setdefault(key.namespace, entries)
            entry = entries[key] = _Entry()
            self._count += 1
        return entry

    def _remove(self, key: CooldownKey) -> None:
        entries = self._namespaces[key.namespace]
        del entries[key]
        self._count -= 1
        if not entries:
            del self._namespaces[key.namespace]

    def _forget_oldest(self) -> None:
        """Make room at the cost of the namespace that has most keys; those that are being sent for stay."""
        entries = max(self._namespaces.values(), key=len)
        oldest = next((key for key, entry in entries.items() if entry.sender is None), None)
        if oldest is not None:
            self._remove(oldest)

    def forget(self, now: float, cooldown_of: Callable[[tuple[str, str] | None, EventType], float]) -> None:
        """Forget keys on which nothing depends any more; a part of them at each call, so that none takes long.

        `cooldown_of` is the cooldown (seconds) that is configured now in a configuration, or (None) in root's.
        """
        if not self._to_look_at:
            self._to_look_at = list(self._all())
        for _ in range(min(_SLICE, len(self._to_look_at))):
            key = self._to_look_at.pop()
            entry = self._find(key)
            if entry is not None and entry.over(max(entry.window, cooldown_of(key.config, key.event)), now):
                self._remove(key)

    def _all(self) -> Iterator[CooldownKey]:
        return (key for entries in self._namespaces.values() for key in entries)

    def look(self, key: CooldownKey) -> CooldownFacts:
        """What is known of this key now."""
        if not self.opened(key.org):
            return _UNKNOWN
        entry = self._find(key)
        if entry is None:
            return _NOTHING
        return CooldownFacts(True, entry.last, entry.sender, "", entry.suppressed)

    def claim(self, key: CooldownKey, uid: str, window: float | None = None) -> None:
        """This event is being sent: `succeeded` or `released` must follow. `window` is its cooldown (seconds)."""
        entry = self._entry(key)
        entry.sender = uid
        if window is not None:
            entry.window = window

    def suppress(self, key: CooldownKey, window: float) -> None:
        """One more event is suppressed by the last notification, within so long a window (seconds)."""
        entry = self._entry(key)
        entry.window = window
        entry.suppressed += 1

    def unsuppress(self, key: CooldownKey, by: Sent | None) -> None:
        """It was not, after all; nothing to take back when another notification went out meanwhile."""
        entry = self._find(key)
        if entry is not None and entry.last == by and entry.suppressed:
            entry.suppressed -= 1

    def succeeded(self, key: CooldownKey, uid: str, sent: Sent) -> bool:
        """The event reached its first destination: the window starts. Whether the turn is nobody's now."""
        entry = self._entry(key)
        entry.last, entry.suppressed = sent, 0
        if entry.sender in (uid, None):
            entry.sender = None
            return True
        return False

    def released(self, key: CooldownKey, uid: str) -> bool:
        """The event will not be sent (failed everywhere, deleted, skipped). Whether the turn was its own."""
        entry = self._find(key)
        if entry is None or entry.sender != uid:
            return False
        entry.sender = None
        if entry.empty:
            self._remove(key)
        return True

    def last(self, key: CooldownKey) -> Sent | None:
        """The last notification of this key."""
        entry = self._find(key)
        return entry.last if entry else None

    def suppressed(self, key: CooldownKey) -> int:
        """Events suppressed since the last notification of this key."""
        entry = self._find(key)
        return entry.suppressed if entry else 0

    def fold(self, event: Event) -> None:
        """Take in what an event's status says; in any order, between `begin_fold` and `finish_fold`."""
        status = event.status
        if status.config_ref is None or event.exempt:
            return
        if shard_of(event.spec.org_slug) not in self._folding:
            return
        if status.incident is not None:  # the incident itself says what was sent
            return
        key = key_for(status.config_ref, event)
        if status.phase is Phase.SUPPRESSED and status.reason is Reason.COOLDOWN and status.suppressed_by:
            namespace, _, name = status.suppressed_by.rpartition("/")
            self._folded.setdefault(key, Counter())[namespace or event.namespace, name] += 1
            return
        deliveries = status.deliveries or []
        delivered = [epoch(item.delivered_time) for item in deliveries if item.delivered_time]
        if delivered:
            entry, sent = self._entry(key), Sent(min(delivered), event.namespace, event.name)
            if entry.last is None or sent.at > entry.last.at:
                entry.last = sent
        elif status.phase is not None and not status.phase.final and any(item.last_attempt_time for item in deliveries):
            entry = self._entry(key)
            entry.sender = entry.sender or event.uid

    def senders(self) -> list[tuple[CooldownKey, str]]:
        """Who is sending, by key."""
        found = ((key, entry.sender) for entries in self._namespaces.values() for key, entry in entries.items())
        return [(key, sender) for key, sender in found if sender is not None]

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
        """All events were folded: count what the last notifications do not mention yet, and decide for these shards."""
        for key, counts in self._folded.items():
            entry = self._find(key)
            if entry is not None and entry.last is not None:
                entry.suppressed = counts[entry.last.namespace, entry.last.name]
        self._folded.clear()
        self._folding = frozenset()
        self._open |= set(shards)

    def close(self, shards: Collection[int]) -> None:
        """Somebody else decides for these from now on."""
        self._open.difference_update(shards)
        self._folding = self._folding.difference(shards)
        for key in [key for key in self._all() if shard_of(key.org) in shards]:
            self._remove(key)
        for key in [key for key in self._folded if shard_of(key.org) in shards]:
            del self._folded[key]

    def needs(self, event: Event, cooldown: float, now: float, *, uncounted: bool = True) -> bool:
        """Whether a finished event still carries a running cooldown or (if that is asked) an uncounted suppression."""
        if event.status.config_ref is None or event.exempt:
            return False
        key = key_for(event.status.config_ref, event)
        entry = self._find(key)
        if entry is None or entry.last is None:
            return False
        if event.status.phase is Phase.SUPPRESSED:
            if event.status.reason is not Reason.COOLDOWN:
                return False
            return uncounted and event.status.suppressed_by == entry.last.name
        is_last = (entry.last.namespace, entry.last.name) == (event.namespace, event.name)
        running = suppressed_until(entry.last, cooldown, now) is not None
        return is_last and (running or (uncounted and entry.suppressed > 0))
