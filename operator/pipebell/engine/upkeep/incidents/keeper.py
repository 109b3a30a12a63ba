"""Keeps the Incidents of this replica's shards: found at a takeover, stored on change, ended by time or people."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from pipebell.core.errors import ApiError, Forbidden, NotFound, NotReady, Unavailable
from pipebell.core.incidents import reducer
from pipebell.core.incidents.keys import reaches
from pipebell.core.incidents.resource import IncidentClass, IncidentPhase
from pipebell.core.incidents.state import Acknowledgement
from pipebell.core.outcome import Action
from pipebell.core.policy.decision import Skip
from pipebell.core.policy.match import Match
from pipebell.core.policy.override import find_override
from pipebell.core.policy.triggers import match_trigger
from pipebell.core.shards import shard_of
from pipebell.core.silences.hold import held_by_quiet_hours, held_by_silence
from pipebell.core.vocabulary import NoticeKind, Severity
from pipebell.engine.configs.follower import ConfigFollower
from pipebell.engine.shards.follower import ShardFollower
from pipebell.engine.timers import Deadlines
from pipebell.engine.upkeep.incidents import notices
from pipebell.engine.upkeep.incidents.fold import FAILED, retries
from pipebell.engine.upkeep.incidents.past import NOTHING_SAID, Pass, spoken
from pipebell.engine.upkeep.incidents.writer import IncidentWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping

    from pipebell.core.config import ConfigObject
    from pipebell.core.event import Event
    from pipebell.core.incidents.book import Entry
    from pipebell.core.incidents.resource import Incident as Resource
    from pipebell.core.incidents.rules import IncidentRules
    from pipebell.core.incidents.state import Incident
    from pipebell.core.layers import Layers
    from pipebell.core.policy.situation import Resolved
    from pipebell.engine.configs.resolver import Resolver
    from pipebell.engine.events.engine import Engine
    from pipebell.engine.events.part import Stored
    from pipebell.engine.ports import Ports
    from pipebell.engine.upkeep.notices import NoticeMaker

GRACE: Final = 30.0  # seconds after a configuration's change: what replaces it may come a moment later
STAGGER: Final = 0.01  # seconds between looks at incidents that a change concerns all at once
SOON, LATER = 5.0, 60.0  # seconds until something is tried again that could not be done
ON_ITS_WAY: Final = 1.0  # seconds between two looks whether first messages have arrived, or this replica may go on
MOST_SINGLY: Final = 5  # reminders and openings of an organisation after a silence; more are told in one digest
_CHANGES: Final = {NoticeKind.RESOLVED: Action.RESOLVE, NoticeKind.ACKNOWLEDGED: Action.ACKNOWLEDGE}

log = structlog.get_logger(__name__)


class IncidentKeeper(ShardFollower, ConfigFollower):
    """Everything about incidents that is not on an event's way, but for the deletion of what is over."""

    def __init__(self, ports: Ports, engine: Engine, resolver: Resolver, maker: NoticeMaker) -> None:
        assert ports.incidents is not None  # noqa: S101  (wired only then; tells mypy)
        self._api, self._clock, self._ownership = ports.incidents, ports.clock, ports.ownership
        incidents = engine.books.incidents
        self._incidents, self._holds = incidents, engine.books.holds
        self._resolver, self._maker = resolver, maker
        self._book = incidents.book
        self._writer = IncidentWriter(self._api, self._clock, self._ownership, self._known, self._seen, self.gone)
        self._deadlines = Deadlines(self._clock, self._due)
        self._tasks: set[asyncio.Task[None]] = set()
        self._pass = Pass(self._book, self._clock.now)
        self._counted_at, self._together = 0.0, Counter[tuple[str, str]]()
        self.trouble: str | None = None
        incidents.on_change = self._changed
        incidents.on_recovered = self._recovered
        incidents.on_ended_elsewhere = self._fold_late
        self._on_acknowledged: Callable[[Incident], None] = lambda _: None

    def subscribe(self, on_acknowledged: Callable[[Incident], None], on_ended: Callable[[Incident], None]) -> None:
        """Tell these of incidents that were acknowledged, and of those that are over."""
        self._on_acknowledged, self._book.on_ended = on_acknowledged, on_ended

    # ------------------------------------------------------------------ life

    async def run(self) -> None:
        """Store what changes, until cancelled."""
        try:
            await self._writer.run()
        finally:
            self._deadlines.close()
            for task in self._tasks:
                task.cancel()

    def _once(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _known(self, entry: Entry) -> bool:
        """Whether it is remembered. What an event says that was under way when its shard was lost comes too late."""
        return self._book.named(entry.incident.key.namespace, entry.incident.name) is entry

    def _changed(self, entry: Entry, urgent: bool) -> None:
        if self._known(entry):
            self._writer.add(entry, urgent=urgent)
            self._arm(entry)

    def _arm(self, entry: Entry, at: float | None = None) -> None:
        """Have time's next effect on it looked at when it is due, or at this moment."""
        incident = entry.incident
        when = at if at is not None else reducer.next_look(incident, entry.extra.rules)
        check = entry.extra.check
        if check is not None and incident.open:
            when = check if when is None else min(when, check)
        self._deadlines.set(f"{incident.key.namespace}/{incident.name}", when)

    def covers(self, event: Event) -> bool:
        """Whether nothing of a finished event is needed any more, because its incident's resource says it."""
        record = event.status.incident
        entry = self._book.recorded(event.namespace, record)
        if record is None or entry is None or entry.extra.refused:
            return True
        if entry.incident.phase is IncidentPhase.PENDING and event.name == entry.incident.last_event:
            return False  # where it is told, if nothing else comes, depends on all that this says
        if retries(event):
            return (event.spec.pipeline_logging_id or "") not in entry.incident.retries
        if record.action not in FAILED:
            return True
        return bool(record.failures <= (entry.extra.written.get("failures") or 0))

    # ------------------------------------------------------------------ configurations

    def on_config_change(self, old: ConfigObject | None, new: ConfigObject | None) -> None:
        """See `ConfigFollower`."""
        orgs = {config.org_slug for config in (old, new) if config is not None}
        self._check([entry for entry in self._book if entry.incident.key.org in orgs])

    def on_root_change(self) -> None:
        """See `ConfigFollower`."""
        self._check(list(self._book))

    def _check(self, entries: Collection[Entry]) -> None:
        """Look soon whether events can still reach these, and what time brings by the rules of now."""
        soon = self._clock.now() + GRACE
        for position, entry in enumerate(entries):
            if entry.extra.check is None:
                entry.extra.check = soon + position * STAGGER
                self._arm(entry)

    def on_silence_change(self, namespace: str | None = None) -> None:
        """A silence of a namespace, or of all, has come, changed or gone: what it holds back may be due now."""
        held = [entry for entry in self._book if entry.extra.held is not None]
        concerned = [entry for entry in held if namespace in (None, entry.incident.key.namespace)]
        for position, entry in enumerate(concerned):
            entry.extra.check = self._clock.now() + position * STAGGER
            self._arm(entry)

    # ------------------------------------------------------------------ shards

    def on_shards_acquired(self, shards: Collection[int]) -> None:
        """See `ShardFollower`. Nothing that was expected when they were ours before is waited for."""
        self._incidents.release(shards)

    def on_shards_released(self, shards: Collection[int]) -> None:
        """See `ShardFollower`."""
        self._forget(shards)
        self._incidents.release(shards)

    def _forget(self, shards: Collection[int]) -> None:
        for entry in [entry for entry in self._book.all() if shard_of(entry.incident.key.org) in shards]:
            self._writer.forget(entry)
            self._deadlines.set(f"{entry.incident.key.namespace}/{entry.incident.name}", None)
        self._book.forget(lambda key: shard_of(key.org) in shards)

    async def load(self, shards: Collection[int]) -> None:
        """Find these shards' incidents, before their events are folded in. Raises ApiErrors.

        Without the definition, or the right to list it, there are none.
        """
        self._forget(shards)
        self._pass = Pass(self._book, self._clock.now)
        try:
            async for page in self._api.scan():
                for resource in page:
                    if shard_of(resource.spec.org_slug) in shards:
                        self._pass.found(resource)
        except (NotFound, Forbidden) as error:
            self.trouble = str(error)
            log.warning("incidents_not_listed", error=str(error))
        else:
            self.trouble = None

    def expect(self, event: Event) -> None:
        """An event of the past that is not finished is to be decided before those that were created after it."""
        self._incidents.expect(event)

    def fold(self, event: Event) -> None:
        """An event of the past says what its incident may not say yet."""
        self._pass.fold(event)

    def loaded(self, shards: Collection[int]) -> None:
        """All events were folded in: complete what their incidents say, and look at what time has brought.

        Of what the pass was for, only these `shards` are still this replica's.
        """
        ended, self._pass = self._pass, Pass(self._book, self._clock.now)
        entries = ended.complete()
        self._forget({shard_of(entry.incident.key.org) for entry in entries}.difference(shards))
        self._take(entries, ended.recoveries)

    def _fold_late(self, event: Event) -> None:
        """Another replica has ended an event after the pass over all events had met it."""
        record = event.status.incident
        entry = self._book.recorded(event.namespace, record)
        if entry is None or entry in self._pass:
            self.fold(event)
            return
        late = Pass(self._book, self._clock.now)
        late.take(entry)
        late.fold(event)
        late.complete_one()
        self._book.finished(entry, event.uid)
        self._take((entry,), late.recoveries)

    def _take(self, entries: Collection[Entry], recoveries: Mapping[Entry, bool]) -> None:
        for entry in entries:
            if self._known(entry):
                self._writer.add(entry, urgent=False)
                if entry.incident.open:
                    self._arm(entry, self._clock.now())
        for entry, announced in recoveries.items():  # whoever recorded its end died before that
            if self._known(entry):
                self._recovered(entry, announced)

    # ------------------------------------------------------------------ time

    def _due(self, ref: str) -> None:
        namespace, _, name = ref.partition("/")
        entry = self._book.named(namespace, name)
        if entry is not None and entry.incident.open:
            self._once(self._tick(entry))

    async def _tick(self, entry: Entry) -> None:
        try:
            await self._look(entry)
        except (ApiError, NotReady) as error:
            log.info("incident_looked_at_later", name=entry.incident.name, error=str(error))
            self._arm(entry, self._clock.now() + (SOON if isinstance(error, Unavailable) else LATER))
        except Exception:
            log.exception("incident_failed_by_internal_error", name=entry.incident.name)
            self._arm(entry, self._clock.now() + LATER)

    async def _look(self, entry: Entry) -> None:
        key, stored = entry.incident.key, entry.extra
        if not (self._ownership.may_send(key.org) and self._incidents.known(key.org)):
            self._arm(entry, self._clock.now() + 1.0)
            return
        resolved = await self._resolver.resolve(key.namespace, key.org)
        if not entry.incident.open:
            return
        stored.looked, stored.check = True, None
        rules = None if isinstance(resolved, Skip) else resolved.layers.incidents
        if isinstance(resolved, Skip) or rules is None or not reaches(entry.incident.key, rules):
            self._end(entry, "ConfigChanged")
            return
        cooldown = _cooldown(entry.incident, resolved.layers, self._clock.now())
        stored.rules = _completed(entry, rules, cooldown, self._clock.now())
        if stored.seen == () and stored.resource is not None and spoken(stored.resource) != NOTHING_SAID:
            self._seen(entry, stored.resource)
        now = self._clock.now()
        caught_up = self._end_hold(entry, resolved, now)
        before, opening = entry.incident, self._book.past(key).opening
        cooled = None if opening is None else opening + cooldown
        after, due = reducer.tick(before, rules, now, cooled, caught_up=caught_up > 0)
        until = self._held_until(before, resolved, now) if due and after.open else None
        if until is not None:  # a silence or quiet hours move what is due
            stored.held = until
            self._arm(entry, until)
            return
        entry.incident = after
        told = [notices.name_of(after.name, each.kind, each.step) for each in due]
        steps = [(each.step, each.due) for each in due if each.kind is NoticeKind.ESCALATION]
        stored.escalated = max(steps, default=stored.escalated)
        stored.together = frozenset(told if caught_up > MOST_SINGLY else ())
        await self._brought(entry, before, due)

    async def _brought(self, entry: Entry, before: Incident, due: Collection[reducer.Notice]) -> None:
        """Store what time has brought, and make the notices of it."""
        for ordinal in range(before.failures + 1, entry.incident.failures + 1):  # of no event
            entry.confirm(ordinal)
        if not entry.incident.open:
            self._book.ended(entry)
        if entry.incident != before:
            await self._make(entry, due)
            self._writer.add(entry, urgent=True)
        if entry.incident.open:
            self._arm(entry)

    def _end_hold(self, entry: Entry, resolved: Resolved, now: float) -> int:
        """What was moved to the end of a silence is due now, where that was ended before its time.

        Of how many of the organisation's incidents this is so, 0 for none.
        """
        held, incident = entry.extra.held, entry.incident
        if held is None or self._held_until(incident, resolved, now) is not None:
            return 0
        entry.extra.held = None
        number = self._caught_up(entry, held)
        if incident.due == held:
            incident = replace(incident, due=min(held, now))
        if incident.next_reminder == held:
            incident = replace(incident, next_reminder=min(held, now))
        entry.incident = incident
        return number

    def _caught_up(self, entry: Entry, held: float) -> int:
        """How many incidents of this one's organisation were held until the same moment: counted for all at once."""
        if held != self._counted_at:
            keys = (each.incident.key for each in self._book if each is entry or each.extra.held == held)
            self._counted_at, self._together = held, Counter((key.namespace, key.org) for key in keys)
        return self._together[entry.incident.key.namespace, entry.incident.key.org]

    def _held_until(self, incident: Incident, resolved: Resolved, now: float) -> float | None:
        """When what holds its failures back now is over; None when nothing does."""
        silences, hours = self._holds.silences(incident.key.namespace, now), resolved.layers.quiet_hours
        severity = incident.severity or Severity.ERROR
        hold = held_by_silence(silences, notices.as_event(incident, now), severity, now) if silences else None
        if hold is None and hours and silences is not None:
            hold = held_by_quiet_hours(hours, severity, now)
        return hold.until if hold is not None else None

    async def _make(self, entry: Entry, due: Collection[reducer.Notice]) -> None:
        """Make notices. Until they are there, nothing is written that says so."""
        entry.extra.making += 1
        try:
            for notice in due:
                await self._notify(entry, notice)
        finally:
            entry.extra.making -= 1

    async def _notify(self, entry: Entry, notice: reducer.Notice) -> None:
        incident = entry.incident
        name = notices.name_of(incident.name, notice.kind, notice.step)
        action = _CHANGES.get(notice.kind)
        if action is not None and not any(notices.way_to_change(item, action) for item in incident.notified.values()):
            return
        while self._known(entry):
            if not self._ownership.may_send(incident.key.org):  # if that lasts, it is another replica's to make
                await self._clock.sleep(ON_ITS_WAY)
                continue
            spec = notices.spec_of(incident, notice, self._clock.now())
            try:
                current = notice.kind in (NoticeKind.OPENING, NoticeKind.RESOLVED)  # however long nobody could make it
                moment = self._clock.now() if current else notice.due
                await self._maker.make(incident.key.namespace, name, spec, moment)
            except Unavailable:
                await self._clock.sleep(SOON)
            else:
                return

    # ------------------------------------------------------------------ people

    def on_incident(self, resource: Resource) -> None:
        """An Incident as it is now, as the watch tells of it."""
        entry = self._book.named(resource.namespace, resource.name)
        if entry is not None and entry.incident.uid in ("", resource.uid):
            self._seen(entry, resource)

    def on_incident_gone(self, namespace: str, name: str, uid: str) -> None:
        """An Incident was deleted, or is resolved and not watched any more."""
        entry = self._book.named(namespace, name)
        if entry is not None and entry.incident.uid == uid and entry.incident.open:
            self.gone(entry)

    def gone(self, entry: Entry) -> None:
        """Somebody deleted it: what fails from now on opens another one."""
        log.info("incident_deleted", namespace=entry.incident.key.namespace, name=entry.incident.name)
        self._writer.forget(entry)
        self._deadlines.set(f"{entry.incident.key.namespace}/{entry.incident.name}", None)
        self._book.remove(entry)
        self._book.forget_opening(entry.incident.key)

    def _seen(self, entry: Entry, resource: Resource) -> None:
        stored: Stored = entry.extra
        if stored.resource is not None and not _as_new(resource, stored.resource):
            return
        known = stored.resource.generation if stored.resource is not None else resource.generation
        stored.resource = resource
        if not entry.incident.uid:  # the watch is sooner than the answer to what created it, which may be lost
            entry.incident = replace(entry.incident, uid=resource.uid)
        said = spoken(resource)
        # Taken away and given again before anybody looked, an acknowledgement that was outlived counts anew.
        anew = resource.generation > known and said[0] is not None and entry.incident.acknowledgement is None
        if (said == (stored.seen or NOTHING_SAID) and not anew) or not entry.incident.open:
            return
        snoozes_alone = resource.generation == known + 1 and stored.seen and stored.seen[0] == said[0] is not None
        stored.seen = said
        if resource.spec.resolution is not None:
            self._end(entry, resource.spec.resolution.by, by_hand=True)
            return
        spec = resource.spec.acknowledgement
        given = Acknowledgement(spec.by, spec.note or "") if spec is not None else None
        snoozed = resource.spec.snoozed_until.timestamp() if resource.spec.snoozed_until is not None else None
        before, now = entry.incident, self._clock.now()
        if snoozes_alone:  # what was outlived is not given anew by that
            given = before.acknowledgement
        entry.incident = reducer.acknowledge(before, given, snoozed, now)
        newly = given is not None and before.acknowledgement is None and before.notified
        if newly:
            self._on_acknowledged(entry.incident)
        if newly:
            step = resource.generation
            self._once(self._announce(entry, reducer.Notice(NoticeKind.ACKNOWLEDGED, step, now)))
        else:
            self._changed(entry, True)
        self._arm(entry)

    async def _announce(self, entry: Entry, notice: reducer.Notice) -> None:
        await self._make(entry, (notice,))
        self._changed(entry, True)

    def _recovered(self, entry: Entry, announced: bool) -> None:
        """A success has ended it. Where that is sent by itself, first messages are changed; else alerts are closed too.

        A run's alerts are closed by the success's own message, and others by this.

        A silence holds new messages back, but nobody is kept awake by an alert that is over. What is still on its way
        cannot be changed before it has arrived.
        """
        if entry.incident.under_way:
            self._changed(entry, True)
            self._once(self._recovered_later(entry, announced))
            return
        edits = any(
            notices.way_to_change(item, Action.RESOLVE) is Action.EDIT for item in entry.incident.notified.values()
        )
        all_of_it = not announced or entry.incident.key.kind is not IncidentClass.RUN
        if edits or all_of_it:
            step = 1 if all_of_it else notices.FIRST_MESSAGES
            self._once(self._announce(entry, reducer.Notice(NoticeKind.RESOLVED, step, self._clock.now())))
        else:
            self._changed(entry, True)

    async def _recovered_later(self, entry: Entry, announced: bool) -> None:
        while self._known(entry):
            if not entry.incident.under_way:
                self._recovered(entry, announced)
                return
            await self._clock.sleep(ON_ITS_WAY)

    def _end(self, entry: Entry, by: str, *, by_hand: bool = False) -> None:
        """Somebody, or the configuration, ends it: alerts on call are closed, and nobody gets a new message."""
        now = self._clock.now()
        self._book.end(entry, by, now, by_hand=by_hand)
        self._once(self._announce(entry, reducer.Notice(NoticeKind.RESOLVED, 1, now)))


def _as_new(resource: Resource, known: Resource) -> bool:
    try:
        return int(resource.resource_version) >= int(known.resource_version)
    except ValueError:
        return True


def _cooldown(incident: Incident, layers: Layers, now: float) -> float:
    """Seconds for which its key's last opening holds this one back."""
    if incident.phase is not IncidentPhase.PENDING:
        return 0.0
    spec = notices.as_event(incident, now).spec
    match = match_trigger(layers, spec, find_override(layers, spec))
    return match.cooldown if isinstance(match, Match) else 0.0


def _completed(entry: Entry, rules: IncidentRules, cooldown: float, now: float) -> IncidentRules:
    """After a takeover: times that follow from what events said and the resource did not say yet, or said wrongly."""
    incident = entry.incident
    if incident.open and incident.opened is not None:
        if incident.next_reminder is None and incident.reminders == 0 and rules.remind_after:
            entry.incident = replace(incident, next_reminder=incident.opened + rules.reminder(1))
        if incident.next_escalation is None and incident.step == 0 and rules.escalation:
            entry.incident = replace(entry.incident, next_escalation=incident.opened + rules.escalation[0].after)
    if incident.open:
        entry.incident = reducer.by_rules(entry.incident, rules, now, cooldown)
    return rules
