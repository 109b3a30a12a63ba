"""Incidents as a replica holds them in memory: by key while they last, by name as long as somebody refers to them.

No input or output: the engine asks it, tells it what came of events, and stores what has changed.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pipebell.core.incidents import reducer
from pipebell.core.incidents.keys import REST, key_of, name_of, recovered_by
from pipebell.core.incidents.order import Order, order_of
from pipebell.core.incidents.state import GOES_FIRST, Incident, Past
from pipebell.core.remembered import Remembered
from pipebell.core.vocabulary import IncidentAction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipebell.core.event import Event
    from pipebell.core.incidents.keys import IncidentKey
    from pipebell.core.incidents.rules import IncidentRules
    from pipebell.core.incidents.state import Failure, Notification, Success
    from pipebell.core.policy.match import Mark
    from pipebell.core.status import IncidentRecord
    from pipebell.core.vocabulary import Severity

PAST_KEPT: Final = 50_000  # keys whose last success and opening are remembered
MOST_OPENINGS: Final = 1_000  # times of openings that are remembered of an organisation
UNRESOLVED_KEPT: Final = 1_000  # of one namespace, beside those of the rest
ENDED_KEPT: Final = 20_000  # resolved incidents that are remembered for the messages of their end


@dataclass(slots=True, eq=False)
class Entry:
    """An incident, and what this replica knows of it beside.

    `sender` is the event (uid) that is being sent for it, of which nothing has arrived anywhere yet. `confirmed`
    failures are on their events for good; `ahead` are ordinals beyond them that are so too. `gaps` are ordinals that
    nobody has: of events that were counted by a process before this one, and not recorded. `over`: the success that
    ended it is finished. `extra` is for whoever stores it.
    """

    incident: Incident
    sender: str | None = None
    sender_name: str = ""
    confirmed: int = 0
    ahead: set[int] = field(default_factory=set)
    gaps: list[int] = field(default_factory=list)
    over: bool = False
    extra: Any = None

    def take_ordinal(self) -> int:
        """The ordinal of one more failure."""
        return self.gaps.pop(0) if self.gaps else self.incident.failures

    def confirm(self, ordinal: int) -> bool:
        """This ordinal is on its event for good. Whether more are confirmed in a row than before."""
        before = self.confirmed
        self.ahead.add(ordinal)
        while self.confirmed + 1 in self.ahead:
            self.confirmed += 1
            self.ahead.discard(self.confirmed)
        self.ahead = {number for number in self.ahead if number > self.confirmed} if self.ahead else self.ahead
        return self.confirmed > before


class Known(NamedTuple):
    """What is known of the incidents that an event may concern."""

    key: IncidentKey | None
    entry: Entry | None
    counted: bool
    past: Past
    recoverable: tuple[Incident, ...]
    sender: str | None
    sender_name: str


class Applied(NamedTuple):
    """What an event did: to which incident, as which failure of it. `made`: it was not there before."""

    entry: Entry | None
    action: IncidentAction
    ordinal: int = 0
    made: bool = False
    ended: tuple[Entry, ...] = ()


class Book:
    """All incidents of this replica's shards that are not resolved, and some that are."""

    def __init__(self, on_outcome: Callable[[IncidentKey], None] = lambda _: None) -> None:
        self._unresolved: dict[IncidentKey, tuple[Entry, ...]] = {}
        self._counts: Counter[str] = Counter()
        self._openings: dict[tuple[str, str], deque[float]] = {}
        self._named: dict[tuple[str, str], Entry] = {}
        self._past: Remembered[IncidentKey, Past] = Remembered(PAST_KEPT)
        self._ended: Remembered[str, None] = Remembered(ENDED_KEPT)
        self._ended_by: dict[tuple[str, str], dict[Entry, None]] = {}
        self._on_outcome = on_outcome
        self.on_ended: Callable[[Incident], None] = lambda _: None

    def __len__(self) -> int:
        return len(self._unresolved)

    def __iter__(self) -> Iterator[Entry]:
        return iter([entry for entries in self._unresolved.values() for entry in entries])

    def all(self) -> list[Entry]:
        """All that are remembered, resolved ones too."""
        return list(self._named.values())

    def named(self, namespace: str, name: str) -> Entry | None:
        """The incident of this name, as long as it is remembered."""
        return self._named.get((namespace, name))

    def recorded(self, namespace: str, record: IncidentRecord | None) -> Entry | None:
        """The incident that an event's status names, as long as it is remembered."""
        return self._named.get((namespace, record.name)) if record is not None else None

    def current(self, key: IncidentKey, event: Event | None = None) -> Entry | None:
        """The incident of this key that is not resolved; of several, the one that this failure belongs to.

        There are several when a process before this one has begun the next one, and did not come to store the end of
        the one before.
        """
        entries = self._unresolved.get(key, ())
        if len(entries) < 2 or event is None:  # noqa: PLR2004  (several)
            return entries[-1] if entries else None
        own = self._named.get((key.namespace, name_of(key, event.uid)))
        order = order_of(event)
        begun = [entry for entry in entries if not order < _last(entry)]
        return own if own in entries else max(begun or entries, key=_last)

    def past(self, key: IncidentKey) -> Past:
        """What came before, of this key."""
        return self._past.get(key.namespace, key) or _NOTHING

    # ------------------------------------------------------------------ deciding

    def look(self, event: Event, rules: IncidentRules, name: str = "") -> Known:
        """What is known of an event's incidents; `name` is that of the one that it was counted in before."""
        key = key_of(event, rules)
        if key is not None:
            entry = self._named.get((event.namespace, name)) if name else None
            counted = entry is not None
            if entry is None:
                key = self._within_bounds(key)
                entry = self.current(key, event)
            sender = entry.sender if entry is not None else None
            return Known(key, entry, counted, self.past(key), (), sender, entry.sender_name if entry else "")
        entries = [entry for each in recovered_by(event, rules) for entry in self._unresolved.get(each, ())]
        entries = [*self._ended_by.get((event.namespace, event.name), ()), *entries]
        busy = next((entry for entry in entries if entry.sender not in (None, event.uid)), None)
        return Known(
            None,
            None,
            False,
            _NOTHING,
            tuple(entry.incident for entry in entries),
            busy.sender if busy else None,
            busy.sender_name if busy else "",
        )

    def late_for(self, event: Event, rules: IncidentRules) -> Entry | None:
        """The resolved incident that a failure is one of, though neither says so: nobody came to record it.

        It has opened it, or was created before the success that ended it.
        """
        key = key_of(event, rules)
        if key is None:
            return None
        past = self.past(key)
        before = past.success is not None and order_of(event) < past.success.order
        own, last = (self._named.get((event.namespace, name)) for name in (name_of(key, event.uid), past.ended))
        if own is None and last is not None and (before or last.incident.last_event == event.name):
            own = last
        return own if own is not None and not own.incident.open else None

    def count_late(self, entry: Entry, failure: Failure) -> int:
        """Count a failure that nobody recorded before its incident had ended. Which one of it that is."""
        at = failure.order.created
        if failure.name == entry.incident.opened_by:
            known = max(1, entry.incident.failures)
            entry.incident = replace(reducer.fail(entry.incident, failure, at), failures=known)
            entry.gaps = [number for number in entry.gaps if number > 1]
            return 1
        entry.incident = _failed(entry, failure, at)
        return entry.take_ordinal()

    def goes_first(self, entry: Entry, uid: str) -> None:
        """The failure that opened it is sent before its end, which waits for that."""
        entry.incident = reducer.sending(entry.incident, (GOES_FIRST,), uid)

    def apply(self, event: Event, mark: Mark, rules: IncidentRules, now: float) -> Applied:
        """Do what a decision says of an event that was not counted before."""
        if mark.success is not None:
            return self._succeed(event, mark.success, rules, now)
        assert mark.failure is not None  # noqa: S101  (one of both; tells mypy)
        key = key_of(event, rules)
        assert key is not None  # noqa: S101  (a failure has one; tells mypy)
        key = self._within_bounds(key)
        return self._fail(self.current(key, event), key, mark, mark.failure, rules, now)

    def _fail(
        self, entry: Entry | None, key: IncidentKey, mark: Mark, failure: Failure, rules: IncidentRules, now: float
    ) -> Applied:
        made, at = entry is None, reducer.happened(failure.order, now)
        if entry is None:
            entry = Entry(reducer.begin(key, name_of(key, failure.uid), failure, self.past(key).changes, at))
            self.add(entry)
        if mark.retry:
            entry.incident = reducer.expect_retry(entry.incident, failure, rules, now)
            return Applied(entry, mark.action, 0, made)
        failed = _failed(entry, failure, at)
        if not failed.notified and reducer.flaps(failed, rules, at):
            failed = reducer.flap(failed, well=False, now=at)
        entry.incident = failed
        return Applied(entry, mark.action, entry.take_ordinal(), made)

    def hold(self, entry: Entry, due: float | None) -> None:
        """Its last failure notifies nobody yet: it is opened at `due` if no other one comes."""
        entry.incident = reducer.hold(entry.incident, due)

    def _succeed(self, event: Event, success: Success, rules: IncidentRules, now: float) -> Applied:
        ended = list(self._ended_by.get((event.namespace, event.name), ()))
        flapping: Entry | None = None
        at = reducer.happened(success.order, now)
        for key in recovered_by(event, rules):
            past = self.past(key)
            self._remember(key, reducer.succeeded(past, success))
            for entry in self._unresolved.get(key, ()):
                if not reducer.recovers(entry.incident, success):
                    continue
                if entry.incident.flapping or reducer.flaps(entry.incident, rules, at, more=1):
                    entry.incident = reducer.flap(entry.incident, well=True, now=at)
                    flapping = flapping or entry
                else:
                    self._recover(entry, event.name, at)
                    ended.append(entry)
        if flapping is not None and not ended:
            return Applied(flapping, IncidentAction.COUNTED)
        return Applied(ended[0] if ended else None, IncidentAction.RECOVERED, ended=tuple(ended))

    def _recover(self, entry: Entry, by: str, now: float) -> None:
        key, changes = entry.incident.key, (*entry.incident.changes, now)[-reducer.CHANGES_KEPT :]
        entry.incident = replace(entry.incident, changes=changes)
        self.end(entry, by, now)
        self._remember(key, self.past(key)._replace(ended=entry.incident.name))

    def _within_bounds(self, key: IncidentKey) -> IncidentKey:
        """The key; that of the rest, where its namespace has too many incidents for one more."""
        if key in self._unresolved or self._counts[key.namespace] < UNRESOLVED_KEPT:
            return key
        return key._replace(value=REST)

    # ------------------------------------------------------------------ sending

    def storms(self, namespace: str, org: str, rules: IncidentRules, now: float) -> bool:
        """Whether the openings of an organisation exceed its `storm` limit, so that further ones go into a digest."""
        times = self._openings.get((namespace, org))
        if not times or not rules.storm_openings:
            return False
        while times and times[0] <= now - rules.storm_within:
            times.popleft()
        if not times:
            del self._openings[namespace, org]
        return len(times) >= rules.storm_openings

    def _opens(self, incident: Incident, at: float) -> None:
        key = (incident.key.namespace, incident.key.org)
        self._openings.setdefault(key, deque(maxlen=MOST_OPENINGS)).append(at)

    def sending(self, entry: Entry, destinations: Sequence[str], uid: str, name: str, now: float = 0.0) -> None:
        """An event is being sent to these for it: others of its key wait for what comes of that."""
        if destinations and not entry.incident.notified and uid not in entry.incident.under_way.values():
            self._opens(entry.incident, now)
        entry.incident = reducer.sending(entry.incident, destinations, uid)
        if entry.incident.open:
            entry.sender, entry.sender_name = uid, name

    def delivered(
        self, entry: Entry, uid: str, notification: Notification, severity: Severity, rules: IncidentRules
    ) -> bool:
        """A destination has an event's message. Whether it is the first one of this incident."""
        first = entry.incident.opened is None
        entry.incident = reducer.notified(entry.incident, notification, severity, rules, notification.at)
        if first and entry.incident.opened is not None:
            self._remember(entry.incident.key, self.past(entry.incident.key)._replace(opening=entry.incident.opened))
        if not self._outcome(entry, uid):
            self._on_outcome(entry.incident.key)
        return first

    def settled(self, entry: Entry, still_open: Sequence[str], uid: str) -> None:
        """Of an event's destinations these are still being tried; the others have it, or never will."""
        before = entry.incident.under_way
        entry.incident = reducer.sending(entry.incident, still_open, uid)
        if entry.incident.under_way != before:
            self._on_outcome(entry.incident.key)

    def finished(self, entry: Entry, uid: str) -> None:
        """An event is not sent any more: destinations that it did not reach are to be notified by others."""
        self.settled(entry, (), uid)
        self._outcome(entry, uid)

    def _outcome(self, entry: Entry, uid: str) -> bool:
        if entry.sender != uid:
            return False
        entry.sender, entry.sender_name = None, ""
        self._on_outcome(entry.incident.key)
        return True

    # ------------------------------------------------------------------ coming and going

    def add(self, entry: Entry) -> None:
        """An incident that has begun, or was found."""
        incident = entry.incident
        self._named[incident.key.namespace, incident.name] = entry
        if incident.opened is not None and not all(item.by_digest for item in incident.notified.values()):
            self._opens(incident, incident.opened)
        if incident.open:
            if incident.key not in self._unresolved and incident.key.value != REST:
                self._counts[incident.key.namespace] += 1
            self._unresolved[incident.key] = (*self._unresolved.get(incident.key, ()), entry)
        else:
            self._note_end(entry)

    def found_past(self, incident: Incident, success: Success | None) -> None:
        """A resolved incident of the past was found: what it says of its key."""
        past = self.past(incident.key)
        opening = max((t for t in (past.opening, incident.opened) if t is not None), default=None)
        if not incident.open and max(incident.changes, default=0.0) > max(past.changes, default=0.0):
            past = past._replace(changes=incident.changes)
        if success is not None:
            past = reducer.succeeded(past, success, "" if incident.open else incident.name)
        self._remember(incident.key, past._replace(opening=opening))

    def end(self, entry: Entry, by: str, now: float, *, by_hand: bool = False) -> None:
        """It is over. `by_hand`: a person says so."""
        entry.incident = reducer.resolve(entry.incident, by, now, by_hand=by_hand)
        key = entry.incident.key
        self._remember(key, self.past(key)._replace(changes=entry.incident.changes))
        self.ended(entry)

    def ended(self, entry: Entry) -> None:
        """It was found to be over."""
        self._close(entry)
        entry.sender = None
        self._note_end(entry)
        self._on_outcome(entry.incident.key)
        self.on_ended(entry.incident)

    def remove(self, entry: Entry) -> None:
        """Somebody deleted it, or it is another replica's now: nothing of it is remembered."""
        key = entry.incident.key
        self._close(entry)
        self._named.pop((key.namespace, entry.incident.name), None)
        self._forget_end(entry)
        self._on_outcome(key)

    def forget_opening(self, key: IncidentKey) -> None:
        """Somebody deleted its incident: no cooldown holds back what fails from now on."""
        self._remember(key, self.past(key)._replace(opening=None))

    def _close(self, entry: Entry) -> None:
        key = entry.incident.key
        entries = self._unresolved.get(key, ())
        if entry not in entries:
            return
        if len(entries) > 1:
            self._unresolved[key] = tuple(other for other in entries if other is not entry)
            return
        del self._unresolved[key]
        if key.value != REST:
            self._counts[key.namespace] -= 1
            if not self._counts[key.namespace]:
                del self._counts[key.namespace]

    def forget(self, wanted: Callable[[IncidentKey], bool]) -> None:
        """Remember nothing of these keys."""
        gone = [entry for entry in self._named.values() if wanted(entry.incident.key)]
        for entry in gone:
            self.remove(entry)
        for pair in {(entry.incident.key.namespace, entry.incident.key.org) for entry in gone}:
            self._openings.pop(pair, None)
        for namespace, key in self._past:
            if wanted(key):
                self._past.pop(namespace, key)

    def _remember(self, key: IncidentKey, past: Past) -> None:
        self._past.put(key.namespace, key, past)

    def _note_end(self, entry: Entry) -> None:
        incident = entry.incident
        if incident.resolved_by and not incident.by_hand:
            self._ended_by.setdefault((incident.key.namespace, incident.resolved_by), {})[entry] = None
        pushed_out = self._ended.put(incident.key.namespace, incident.name, None)
        oldest = self._named.pop(pushed_out, None) if pushed_out is not None else None
        if oldest is not None:
            self._forget_end(oldest)

    def _forget_end(self, entry: Entry) -> None:
        key, incident = entry.incident.key, entry.incident
        self._ended.pop(key.namespace, incident.name)
        same = self._ended_by.get((key.namespace, incident.resolved_by))
        if same is not None:
            same.pop(entry, None)
            if not same:
                del self._ended_by[key.namespace, incident.resolved_by]


def _failed(entry: Entry, failure: Failure, at: float) -> Incident:
    """Its incident with one more failure, which takes the place of one that nobody has, where there is a gap."""
    failed = reducer.fail(entry.incident, failure, at)
    return replace(failed, failures=entry.incident.failures) if entry.gaps else failed


def _last(entry: Entry) -> Order:
    """When the last failure of it was created, as far as that is known."""
    incident = entry.incident
    return incident.failed_order or Order(incident.last_failure or 0.0)


_NOTHING: Final = Past()
