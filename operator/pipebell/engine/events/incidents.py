"""Incidents on an event's way: what is known of them when it is decided, and what comes of it for them.

What has changed is stored by `upkeep.incidents`; here nothing waits for that, but that an Incident is created before
anything names it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from pipebell.core.errors import ApiError, Conflict, Fenced, Unavailable
from pipebell.core.incidents.book import Book, Entry
from pipebell.core.incidents.record import fingerprint, spec_of, success_that_ended
from pipebell.core.incidents.rules import CLASSES, IncidentRules
from pipebell.core.incidents.state import DIGEST, Notification
from pipebell.core.models import KINDS
from pipebell.core.outcome import Action, Thread
from pipebell.core.policy.decision import Deliver, Skip, Suppress
from pipebell.core.policy.failover import stood_in_for
from pipebell.core.policy.incidents import failure_of
from pipebell.core.policy.situation import IncidentFacts, Resolved
from pipebell.core.status import epoch
from pipebell.core.vocabulary import CatchUpMode, EventType, IncidentAction, NoticeKind, Severity
from pipebell.engine.events.keys import Outcome
from pipebell.engine.events.order import Undecided
from pipebell.engine.events.part import Part, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from pipebell.core.destinations.base import Target
    from pipebell.core.event import Event
    from pipebell.core.policy.decision import Decision
    from pipebell.core.policy.match import Mark
    from pipebell.core.policy.situation import Situation
    from pipebell.core.status import Delivery
    from pipebell.engine.events.keys import Key
    from pipebell.engine.events.state import EventState
    from pipebell.engine.ports import Ports

_ACTIONS: Final = {
    NoticeKind.OPENING: IncidentAction.OPENED,
    NoticeKind.REMINDER: IncidentAction.REMINDED,
    NoticeKind.ESCALATION: IncidentAction.ESCALATED,
    NoticeKind.ACKNOWLEDGED: IncidentAction.ACKNOWLEDGED,
    NoticeKind.RESOLVED: IncidentAction.RECOVERED,
}
_CHANGES: Final = (IncidentAction.RECOVERED, IncidentAction.ACKNOWLEDGED)
_STILL_FAILING: Final = CatchUpMode.STILL_FAILING
_NOTIFIES: Final = (IncidentAction.OPENED, IncidentAction.COUNTED, IncidentAction.WORSENED, IncidentAction.ESCALATED)

log = structlog.get_logger(__name__)


class Incidents:
    """Looks incidents up for events, and changes them by what comes of these.

    `available()` says whether the API can hold incidents at all, else they are off; `known(org)` whether an
    organisation's past is known. `on_change(entry, urgent)` hears of what is to be stored: transitions at once, counts
    when there is time; `on_recovered(entry, announced)` of one that a success has ended, and whether that goes out at
    once.
    """

    def __init__(self, ports: Ports, known: Callable[[str], bool], wake: Callable[[Key], None]) -> None:
        self._api, self._clock, self._ownership, self._notices = (
            ports.incidents,
            ports.clock,
            ports.ownership,
            ports.notices,
        )
        self._known = known
        self.book = Book(lambda key: wake(Outcome(key)))
        self._undecided = Undecided(wake)
        self.available: Callable[[], bool] = lambda: True
        self.on_change: Callable[[Entry, bool], None] = lambda _entry, _urgent: None
        self.on_recovered: Callable[[Entry, bool], None] = lambda _entry, _announced: None
        self.on_ended_elsewhere: Callable[[Event], None] = lambda _event: None

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock.now()

    def known(self, org: str) -> bool:
        """Whether an organisation's past is known."""
        return self._known(org)

    # ------------------------------------------------------------------ deciding

    def look(self, state: EventState, event: Event, resolved: Resolved) -> IncidentFacts | None:
        """What is known of the incidents that an event may concern; None where they are off, or it concerns none."""
        rules = resolved.layers.incidents
        if rules is None or self._api is None or event.exempt or not self.available():
            self._decided(state)
            return None
        if event.spec.event is not EventType.PIPELINE_SUCCESS and event.spec.event not in CLASSES:
            return None
        if not self._known(state.org):
            return IncidentFacts(rules, known=False)
        if state.part is None and not state.tried and self._undecided.overtakes(event):
            return IncidentFacts(rules, early=True)
        part = state.part
        if part is None and state.status.incident is not None:
            part = self._resume(state, rules)
        elif part is None:
            part = self._late(state, event, rules)
        if part is not None:
            part.rules = rules
        known = self.book.look(event, rules, part.entry.incident.name if part is not None else "")
        storm = known.key is not None and self.book.storms(state.namespace, state.org, rules, self._clock.now())
        return IncidentFacts.of(rules, known, storm=storm)

    def expect(self, event: Event) -> None:
        """An event was taken in: others do not overtake it."""
        self._undecided.expect(event)

    def release(self, shards: Collection[int]) -> None:
        """These organisations are another replica's now, or are about to be read anew."""
        self._undecided.release(shards)

    def dropped(self, state: EventState) -> None:
        """An event is another replica's by now, even if it was being looked at a moment ago."""
        self._decided(state)

    def _decided(self, state: EventState) -> None:
        self._undecided.decided(state.namespace, state.org, state.uid)

    def _resume(self, state: EventState, rules: IncidentRules) -> Part | None:
        """The part of an event that a process before this one has begun with; None where its incident is gone."""
        record = state.status.incident
        entry = self.book.recorded(state.namespace, record)
        if record is None or entry is None or record.action is None:
            return None
        counts = record.action in (IncidentAction.OPENED, IncidentAction.COUNTED, IncidentAction.WORSENED)
        ordinal = record.failures if counts else 0
        state.part = Part((entry,), record.action, rules, ordinal, confirmed=True)
        return state.part

    def _late(self, state: EventState, event: Event, rules: IncidentRules) -> Part | None:
        """The part of a failure whose incident has ended before anybody recorded that this event was one of it."""
        entry = self.book.late_for(event, rules)
        if entry is None:
            return None
        failure = failure_of(event, state.severity or event.severity)
        if rules.only_final_attempt and failure.retry_expected:
            return None
        opened = entry.incident.opened_by == event.name
        ordinal = self.book.count_late(entry, failure)
        nobody_knows = opened or not (entry.incident.notified or entry.incident.under_way)
        if nobody_knows and not entry.over and success_that_ended(entry.incident) is not None:
            self.book.goes_first(entry, state.uid)
            self.on_recovered(entry, True)
        state.part = Part((entry,), IncidentAction.OPENED if opened else IncidentAction.COUNTED, rules, ordinal)
        return state.part

    def apply(self, state: EventState, situation: Situation, decision: Decision) -> Decision:
        """Do at once what a decision says. Comes back with which earlier messages are followed up."""
        facts = situation.incident
        if facts is not None and facts.known and not facts.early:
            self._decided(state)
        mark = decision.mark if isinstance(decision, Skip) else decision.match.mark if decision.match else None
        if facts is not None and mark is not None:
            self._mark(state, situation.event, decision, mark, facts.rules)
        if state.part is None and situation.original is not None and isinstance(decision, Deliver):
            self._replayed(state, situation)
        if state.part is None or not isinstance(decision, Deliver):
            return decision
        incident = state.part.entry.incident
        if state.part.action in _NOTIFIES and (incident.open or state.uid in incident.under_way.values()):
            over = {item.destination for item in state.deliveries.values() if item.phase.final}
            names = [name for name in decision.match.destinations if name not in over.union(decision.match.held)]
            self.book.sending(state.part.entry, names, state.uid, state.name, self._clock.now())
        return self._threaded(state.part, decision)

    def _mark(self, state: EventState, event: Event, decision: Decision, mark: Mark, rules: IncidentRules) -> None:
        if state.part is None:
            applied = self.book.apply(event, mark, rules, self._clock.now())
            if applied.entry is None:
                return
            if applied.made:
                applied.entry.extra = Stored(rules)
            state.part = Part(applied.ended or (applied.entry,), applied.action, rules, applied.ordinal)
            for entry in applied.ended:
                self.on_recovered(entry, isinstance(decision, Deliver))
        part = state.part
        if mark.failure is None:
            part.touched = part.touched or part.action is not IncidentAction.RECOVERED
            return
        part.action, part.counts = mark.action, not mark.retry
        part.entry.extra.rules = rules
        if not part.entry.incident.open:
            return
        if isinstance(decision, Suppress) and decision.hold is not None and decision.hold.mode is _STILL_FAILING:
            self._held(part, decision.hold.until)
        elif isinstance(decision, Suppress) and mark.due is not None and not part.entry.incident.notified:
            if not mark.retry:
                self.book.hold(part.entry, mark.due)
            part.touched = part.touched or mark.due != part.entry.extra.due
            part.entry.extra.due = mark.due

    def _held(self, part: Part, until: float) -> None:
        """A silence holds a failure back: if it still fails at its end, that is sent then."""
        incident = part.entry.incident
        part.entry.extra.held = until
        if incident.notified:
            following = until if incident.next_reminder is None else min(until, incident.next_reminder)
            part.entry.incident = replace(incident, next_reminder=following)
        else:
            self.book.hold(part.entry, until)
        part.touched = True

    def _replayed(self, state: EventState, situation: Situation) -> None:
        """A failure's replay notifies of its incident, as the failure would have."""
        original, resolved = situation.original, situation.configuration
        rules = resolved.layers.incidents if isinstance(resolved, Resolved) else None
        if (
            original is None
            or rules is None
            or not (original.incident and original.same_org and self._known(state.org))
        ):
            return
        entry = self.book.named(state.namespace, original.incident)
        if entry is not None and entry.incident.open and situation.event.spec.event in CLASSES:
            action = IncidentAction.COUNTED if entry.incident.notified else IncidentAction.OPENED
            state.part = Part((entry,), action, rules)

    def _threaded(self, part: Part, decision: Deliver) -> Deliver:
        """Which message each destination got of the incident, so that this one goes on with it."""
        threads = dict(decision.match.threads)
        for name, target in decision.targets.items():
            if name in threads:
                continue
            threads[name] = self.thread(part.entries, name, target)
        return replace(decision, match=replace(decision.match, threads=threads))

    @staticmethod
    def thread(entries: Sequence[Entry], name: str, target: Target) -> Thread:
        """What a message to a destination does with the first one that it got of these incidents."""
        entry = next((item for item in entries if name in item.incident.notified), entries[0])
        notification, alert = entry.incident.notified.get(name), entry.incident.key.value
        if notification is None or notification.handle is None or notification.provider != target.kind:
            return Thread(Action.SEND, None, alert)
        same = not notification.endpoint or notification.endpoint == fingerprint(entry.incident.uid, target.endpoint)
        return Thread(Action.REPLY, notification.handle, alert) if same else Thread(Action.SEND, None, alert)

    # ------------------------------------------------------------------ before anything names it

    async def ensure(self, state: EventState) -> None:
        """Have this event's incident created. Raises Unavailable, and Fenced where another replica decides by now."""
        part = state.part
        if part is None:
            return
        stored: Stored = part.entry.extra
        if stored.resource is not None or stored.refused:
            return
        if stored.creating is None:
            if not self._ownership.may_send(state.org):
                raise Fenced("another replica decides for this organisation by now")
            stored.creating = asyncio.create_task(self._create(part.entry, stored))
        try:
            await asyncio.shield(stored.creating)
        except ApiError:
            stored.creating = None
            raise

    async def _create(self, entry: Entry, stored: Stored) -> None:
        assert self._api is not None  # noqa: S101  (there are no incidents without it; tells mypy)
        incident = entry.incident
        try:
            try:
                resource = await self._api.create(incident.key.namespace, incident.name, spec_of(incident))
            except Conflict:  # created a moment ago, and the answer was lost
                resource = await self._api.get(incident.key.namespace, incident.name)
        except Unavailable:
            raise
        except (ApiError, ValueError) as error:
            stored.refused = True
            log.error(  # noqa: TRY400  (it says all)
                "incident_not_created", namespace=incident.key.namespace, name=incident.name, error=str(error)
            )
            return
        stored.resource = resource
        entry.incident = replace(entry.incident, uid=resource.uid)

    # ------------------------------------------------------------------ what comes of it

    def begin_notice(self, state: EventState, event: Event, entry: Entry, rules: IncidentRules) -> None:
        """A notice that is due takes its part."""
        notice = event.spec.notice
        if state.part is None and notice is not None:
            state.part = Part((entry,), _ACTIONS[notice.kind], rules)

    def delivered(self, state: EventState, delivery: Delivery, target: Target) -> None:
        """A destination has an event's message."""
        part = state.part
        if part is None or delivery.delivered_time is None:
            return
        name = delivery.destination
        entry = next((item for item in part.entries if name in item.incident.notified), part.entry)
        before = entry.incident.notified.get(name)
        where = fingerprint(entry.incident.uid, target.endpoint)
        handle = delivery.leads_on
        if before is not None and before.handle is not None and before.endpoint in ("", where):
            handle = before.handle
        elif before is not None and before.endpoint not in ("", where) and part.action in _CHANGES:
            self._other_alert(state, delivery, target)
        notification = Notification(name, target.kind, where, handle, part.action, epoch(delivery.delivered_time))
        severity = state.severity or Severity.INFO
        if part.action in _NOTIFIES:
            self.book.delivered(entry, state.uid, notification, severity, part.rules)
        else:
            entry.incident = replace(entry.incident, notified={**entry.incident.notified, name: notification})
        part.touched = True

    @staticmethod
    def _other_alert(state: EventState, delivery: Delivery, target: Target) -> None:
        """On call, the first message has opened an alert that this one cannot reach: its endpoint was another one."""
        if KINDS[target.kind].capabilities.resolves:
            message = "the endpoint was changed since this alert was opened: close the old alert by hand"
            state.deliveries[delivery.destination] = delivery.model_copy(update={"message": message})

    def settled(self, state: EventState) -> None:
        """A round of attempts is over."""
        if state.part is not None and state.part.action in _NOTIFIES:
            entry, whom = state.part.entry, stood_in_for(state.deliveries.values())
            if whom - entry.incident.stood_in_for:
                entry.incident = replace(entry.incident, stood_in_for=entry.incident.stood_in_for | whom)
                state.part.touched = True

    def recorded(self, state: EventState) -> None:
        """The event's status says where it stands: now its incident may say so too."""
        part = state.part
        if part is None:
            return
        if part.action in _NOTIFIES:  # its end may follow: whoever goes on after us knows that this has arrived
            self.book.settled(part.entry, [item.destination for item in state.open()], state.uid)
        if part.ordinal and not part.confirmed:
            part.confirmed = True
            if part.entry.confirm(part.ordinal) and not part.touched:
                self.on_change(part.entry, False)
        for item in state.batch if part.action in _NOTIFIES else ():
            self._batched(state, part, item.destination)
        if part.touched:
            part.touched = False
            for entry in part.entries:
                self.on_change(entry, part.action in _NOTIFIES)

    def _batched(self, state: EventState, part: Part, name: str) -> None:
        """A destination gets a failure as a line of a digest."""
        if not part.entry.incident.open or name in part.entry.incident.notified:
            return
        notification = Notification(name, endpoint=DIGEST, action=part.action, at=self._clock.now())
        self.book.delivered(part.entry, state.uid, notification, state.severity or Severity.INFO, part.rules)
        part.touched = True

    def ended(self, state: EventState) -> None:
        """An event's way is over, or it is not sent for now."""
        self._decided(state)
        if state.part is None:
            self._gone_unsent(state)
            return
        self.book.finished(state.part.entry, state.uid)
        if state.part.action is IncidentAction.RECOVERED:
            for entry in state.part.entries:
                entry.over = True

    def _gone_unsent(self, state: EventState) -> None:
        """A process before this one was sending it, and it is not due any more: nobody waits for what comes of it."""
        entry = self.book.recorded(state.namespace, state.status.incident)
        if entry is not None:
            self.book.finished(entry, state.uid)
