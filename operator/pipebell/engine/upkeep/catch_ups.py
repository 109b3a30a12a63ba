"""Tells what silences and quiet hours held back, when they are over: one event for each group of what was held.

What it reports is read from the events themselves when it is due, and is fixed in the catch-up's spec: its retries need
them no more. Its name follows from what it tells, so whoever makes it again finds that it is there.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog

from pipebell.core.digest import Tally, member_of
from pipebell.core.errors import ApiError, InvalidEvent, NotFound, NotReady, Unavailable
from pipebell.core.layers import part_of
from pipebell.core.policy.facts import Claim
from pipebell.core.policy.match import Match
from pipebell.core.policy.names import first_name
from pipebell.core.policy.override import find_override
from pipebell.core.policy.situation import Resolved
from pipebell.core.policy.triggers import match_trigger
from pipebell.core.shards import shard_of
from pipebell.core.silences.catch_up import Content, Group, content_of, group_of, merged, name_of, words
from pipebell.core.silences.hold import held_by_quiet_hours, held_by_silence
from pipebell.core.status import rfc3339
from pipebell.core.vocabulary import CatchUpMode, NoticeKind, Phase, StageName
from pipebell.engine.events.observer import Observer
from pipebell.engine.shards.follower import ShardFollower
from pipebell.engine.upkeep.notices import Made

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from pipebell.core.event import Event
    from pipebell.core.policy.settle import EventSummary
    from pipebell.core.silences.resource import Silence
    from pipebell.engine.configs.resolver import Resolver
    from pipebell.engine.configs.silences import SilenceStore
    from pipebell.engine.events.holds import Holds, Pending
    from pipebell.engine.events.ledger import CooldownLedger
    from pipebell.engine.events.state import EventState
    from pipebell.engine.ports import Ports
    from pipebell.engine.upkeep.notices import NoticeMaker

LOOK: Final = 1.0  # seconds between two looks at what is due
GRACE: Final = 10.0  # seconds after a takeover in which the last owner's writes may still arrive
REFUSED: Final = 60.0  # seconds until what was refused, or could not be sent, is tried again

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Report:
    """One catch-up in the making. `held_until` is when the last of its events would not be held back any more."""

    group: Group
    dues: tuple[float, ...]
    silence: Silence | None
    configuration: Resolved | None
    tally: Tally = field(default_factory=Tally)
    destinations: dict[str, None] = field(default_factory=dict)
    held_until: float = 0.0


class CatchUps(Observer, ShardFollower):
    """Makes catch-ups, and judges whether one is due."""

    def __init__(
        self,
        ports: Ports,
        resolver: Resolver,
        ledger: CooldownLedger,
        holds: Holds,
        silences: SilenceStore,
        maker: NoticeMaker,
    ) -> None:
        self._events, self._clock, self._ownership, self._notices = (
            *(ports.events, ports.clock),
            *(ports.ownership, ports.notices),
        )
        self._resolver, self._ledger, self._holds, self._silences, self._maker = (
            *(resolver, ledger, holds),
            *(silences, maker),
        )
        self._wanted, self._next = asyncio.Event(), 0.0
        self._postponed: dict[Group, float] = {}
        self._not_before: dict[int, float] = {}
        self._making: dict[Group, Mapping[str, Any]] = {}

    # ------------------------------------------------------------------ what it hears

    def on_hold(self) -> None:
        """Something more is held back."""
        self._next = 0.0
        self._wanted.set()

    def on_silence_change(self, namespace: str | None) -> None:
        """A silence of a namespace, or of all, has come, changed or gone: what it holds back may be due by now."""
        for group in [group for group in self._postponed if namespace in (None, group.namespace)]:
            del self._postponed[group]
        self.on_hold()

    def on_finished(self, state: EventState, summary: EventSummary, now: float) -> None:  # noqa: ARG002  (the Observer's)
        """See `Observer`. A catch-up that has ended needs what it reported no longer."""
        if state.event is None or state.event.spec.notice is not None:
            self._holds.finished(state.namespace, state.name)

    def on_shards_acquired(self, shards: Collection[int]) -> None:
        """See `ShardFollower`. The pass over all events brings what was held back."""
        self._holds.release(shards)
        self._not_before |= dict.fromkeys(shards, self._clock.now() + GRACE)
        self.on_hold()

    def on_shards_released(self, shards: Collection[int]) -> None:
        """See `ShardFollower`."""
        self._holds.release(shards)
        for group in [group for group in self._postponed if shard_of(group.org) in shards]:
            del self._postponed[group]

    # ------------------------------------------------------------------ judging

    async def judge(self, event: Event, resolved: Resolved) -> Claim:
        """See `Judge`: due is what tells of events that this replica knows to be held back no longer."""
        said = content_of(event.spec.notice.content if event.spec.notice is not None else None)
        if said is None:
            return Claim(due=False, stage=StageName.SILENCE, message="it does not say what it tells of")
        if not self._ledger.opened(event.spec.org_slug):
            raise Unavailable("what was held back before is being read")
        group = Group(event.namespace, event.spec.org_slug, said.by)
        stage = StageName.SILENCE if group.silenced else StageName.QUIET_HOURS
        if not self._due(event, group, said):
            return Claim(due=False, stage=stage, message=f"{said.by} holds nothing back of which it is time to tell")
        layers = resolved.layers
        known = [name for name in said.destinations if layers.destination(name) is not None]
        parts = dict.fromkeys(part for name in known for part in layers.deliveries(name))
        return Claim(due=True, stage=stage, destinations=tuple(parts), title=said.by)

    def _due(self, event: Event, group: Group, said: Content) -> bool:
        decision = event.status.decision
        if decision is not None and decision.stage is StageName.DELIVER:
            return True  # it was, when it was tried first
        first = min(said.dues)
        if first_name(event.name) != name_of(group, first):
            return False
        making, notice = self._making.get(group), event.spec.notice
        if self._holds.reported_in(group, first) == event.name:
            return True
        if making is not None and notice is not None and notice.content == making:
            return True
        pending, now = self._holds.pending.get(group), self._clock.now()
        if pending is not None and first in self._ripe(group, pending, now):
            raise Unavailable("whether it tells of all that was held back is being looked at")
        return False

    # ------------------------------------------------------------------ making

    async def run(self) -> None:
        """Make what is due, until cancelled."""
        while True:
            if not self._holds.pending:
                await self._wanted.wait()
            self._wanted.clear()
            await self._clock.sleep(LOOK)
            await self._look()

    async def _look(self) -> None:
        now = self._clock.now()
        if now < self._next or not self._clock.trusted:
            return
        self._next = math.inf
        due: dict[str, list[Group]] = {}
        for group, pending in self._holds.groups():
            if self._ripe(group, pending, now):
                due.setdefault(group.namespace, []).append(group)
            else:
                self._next = min(self._next, self._at(group, pending, now))
        for namespace, groups in due.items():
            ready = [group for group in groups if self._may_report(group, now)]
            if len(ready) < len(groups):
                self._next = 0.0
            try:
                if ready:
                    await self._report(namespace, ready, now)
            except ApiError as error:
                log.warning("catch_up_postponed", namespace=namespace, error=str(error))
                self._next = 0.0
            except Exception:
                log.exception("catch_ups_failed_by_internal_error", namespace=namespace)
                for group in ready:
                    self._postpone(group, now + REFUSED)

    def _may_report(self, group: Group, now: float) -> bool:
        """Whether all that belongs to it is known here, and nobody else tells it."""
        return (
            self._ledger.opened(group.org)
            and self._ownership.may_send(group.org)
            and not self._holds.busy(group)
            and now >= self._not_before.get(shard_of(group.org), 0.0)
        )

    def _at(self, group: Group, pending: Pending, now: float) -> float:
        """When something of this group is due (seconds since the epoch)."""
        at = min(pending.dues.values(), default=math.inf)
        if group.silenced:
            home = self._silences.home if group.by.startswith("platform/") else group.namespace
            silence = self._silences.by(group.namespace, group.by)
            at = silence.ends if silence is not None else now if self._silences.known(home) else now + LOOK
        return max(at, self._postponed.get(group, 0.0))

    def _ripe(self, group: Group, pending: Pending, now: float) -> tuple[float, ...]:
        """What of this group is to be reported now. A silence that is over, or gone, holds nothing back any more."""
        if self._at(group, pending, now) > now:
            return ()
        return merged([due for due, at in pending.dues.items() if group.silenced or at <= now])

    async def _report(self, namespace: str, groups: Iterable[Group], now: float) -> None:
        """One pass over what was suppressed in a namespace, for all that is due there."""
        reports = {}
        for group in groups:
            with self._apart(group, now):
                if (report := await self._begin(group, now)) is not None:
                    reports[group] = report
        if not reports:
            return
        silences = self._silences.of(namespace, now)
        async for page in self._events.ended(namespace, Phase.SUPPRESSED):
            for event in page:
                found = group_of(event)
                report = reports.get(found[0]) if found is not None else None
                if found is not None and report is not None and round(found[1], 3) in report.dues:
                    with self._apart(report.group, now, event.name):
                        _collect(report, event, silences, now)
        for report in reports.values():
            with self._apart(report.group, now):
                await self._finish(report, now)

    @contextmanager
    def _apart(self, group: Group, now: float, name: str = "") -> Iterator[None]:
        """A mistake in one catch-up, or about its event `name`, is not the others' trouble. Raises ApiErrors."""
        try:
            yield
        except ApiError:
            raise
        except Exception:
            log.exception("catch_up_failed_by_internal_error", **group._asdict(), name=name or None)
            if not name:
                self._postpone(group, now + REFUSED)

    async def _begin(self, group: Group, now: float) -> _Report | None:
        pending = self._holds.pending.get(group)
        if pending is None:
            return None
        try:
            found = await self._resolver.resolve(group.namespace, group.org)
        except NotReady as error:
            log.info("catch_up_waits_for_configuration", namespace=group.namespace, org=group.org, error=str(error))
            self._postpone(group, now + REFUSED)
            return None
        silence = self._silences.by(group.namespace, group.by) if group.silenced else None
        return _Report(group, self._ripe(group, pending, now), silence, found if isinstance(found, Resolved) else None)

    def _postpone(self, group: Group, until: float) -> None:
        self._postponed[group] = until
        self._next = min(self._next, until)

    async def _finish(self, report: _Report, now: float) -> None:
        group = report.group
        if report.held_until > now:
            self._postpone(group, report.held_until)
            return
        if not report.tally.total:
            self._reported(report, "", finished=True)
            return
        if not self._may_report(group, self._clock.now()):
            self._next = 0.0
            return
        spec, name = _spec(report), name_of(group, report.dues[0])
        self._making[group] = spec["notice"]["content"]
        try:
            making = await self._maker.make(group.namespace, name, spec, report.dues[0])
        finally:
            del self._making[group]
        if making.made is Made.CREATED:
            self._reported(report, making.name, finished=False)
        elif making.made is not Made.EXISTS:
            self._refused(report, making.message, now)
        elif await self._reported_before(group, making.name):
            self._next = 0.0  # what it does not report is reported by another
        else:
            self._postpone(group, now + REFUSED)

    def _reported(self, report: _Report, name: str, *, finished: bool) -> None:
        self._postponed.pop(report.group, None)
        self._holds.reported(report.group, report.dues, name, finished=finished)

    async def _reported_before(self, group: Group, name: str) -> bool:
        """Whether the event of this name is such a catch-up, made by us or by another replica before."""
        try:
            return self._holds.reported_by(await self._events.get(group.namespace, name))
        except (InvalidEvent, NotFound):
            return False

    def _refused(self, report: _Report, message: str, now: float) -> None:
        self._postpone(report.group, now + REFUSED)
        group, silence = report.group, report.silence
        log.warning("catch_up_refused", namespace=group.namespace, org=group.org, by=group.by, error=message)
        if silence is not None and not silence.platform:
            self._notices.warn("Silence", silence.namespace, silence.name, silence.uid, "CatchUpRefused", message)


def _collect(report: _Report, event: Event, silences: Collection[Silence], now: float) -> None:
    """One more event that was held back."""
    record = event.status.catch_up
    mode = report.silence.mode if report.silence is not None else record.mode if record is not None else None
    if mode in (None, CatchUpMode.NONE):
        return
    if mode is CatchUpMode.STILL_FAILING and event.status.incident is not None:
        return  # what still fails of it, its incident tells
    severity = event.status.severity or event.severity
    layers = report.configuration.layers if report.configuration is not None else None
    hold = held_by_silence(silences, event, severity, now)
    if hold is None and layers is not None and report.group.silenced:
        hold = held_by_quiet_hours(layers.quiet_hours, severity, now)
    if hold is not None:
        report.held_until = max(report.held_until, hold.until)
    report.tally.add(member_of(event, severity))
    match = match_trigger(layers, event.spec, find_override(layers, event.spec)) if layers is not None else None
    if isinstance(match, Match):
        report.destinations |= dict.fromkeys(part_of(name)[0] for name in match.destinations)


def _spec(report: _Report) -> dict[str, Any]:
    """The catch-up's spec, as the API takes it: of the type and severity of what is worst in it."""
    worst = report.tally.worst
    assert worst is not None  # noqa: S101  (there are members; tells mypy)
    title, notes = words(report.group, report.silence, report.dues[-1])
    said = Content(report.group.by, report.dues, tuple(report.destinations))
    return {
        "orgSlug": report.group.org,
        "event": worst.event,
        "severity": worst.severity.value,
        "notice": {
            "kind": NoticeKind.CATCH_UP.value,
            "due": rfc3339(report.dues[0]),
            "content": said.added_to(report.tally.content(title=title, notes=notes)),
        },
    }
