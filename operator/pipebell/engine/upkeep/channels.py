"""Tells an organisation's other destinations that one has failed for a while, and that it works again.

Everything goes by what `HealthBoard` knows. Each notice is an event whose name follows from destination, state and hour
of UTC, so that neither a restart nor another replica makes a second one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from pipebell.core.errors import ApiError, InvalidEvent, NotFound, NotReady
from pipebell.core.health import NOTIFY_AFTER, HealthState
from pipebell.core.layers import channel_health
from pipebell.core.policy.channels import Notice, others, spec, trigger_of
from pipebell.core.policy.facts import Claim
from pipebell.core.policy.names import first_name, names
from pipebell.core.policy.situation import Resolved
from pipebell.core.status import HOUR
from pipebell.core.vocabulary import EventType, NoticeKind, Phase, Reason, StageName
from pipebell.engine.events.observer import Observer
from pipebell.engine.upkeep.health import ROOT, about_a_channel
from pipebell.engine.upkeep.notices import Made

if TYPE_CHECKING:
    from pipebell.core.event import Event
    from pipebell.core.health import Health
    from pipebell.core.layers import Layers
    from pipebell.core.policy.settle import EventSummary
    from pipebell.engine.configs.group import Configs
    from pipebell.engine.configs.store import Key
    from pipebell.engine.events.state import EventState
    from pipebell.engine.ports import Ports
    from pipebell.engine.upkeep.health import Channel, HealthBoard
    from pipebell.engine.upkeep.notices import NoticeMaker

LOOK: Final = 5.0  # seconds between looks at what fails; none is needed while nothing does
REMEMBERED: Final = 24  # hours of UTC that are looked back for what another replica has said of root's destination
REFUSED: Final = 600.0  # seconds until something that the API refuses is tried again
CLOCKS: Final = 5.0  # seconds by which a notice may be looked at too early

log = structlog.get_logger(__name__)


class Platform(NamedTuple):
    """Who is notified of root's failing destinations. `namespace` is the operator's; `served`: its events are."""

    namespace: str
    org: str
    served: bool


class ChannelNotices(Observer):
    """Makes notices about channels, and judges them."""

    def __init__(
        self,
        ports: Ports,
        configs: Configs,
        board: HealthBoard,
        maker: NoticeMaker,
        platform: Platform,
    ) -> None:
        self._clock, self._events, self._ownership = ports.clock, ports.events, ports.ownership
        self._kubernetes = ports.notices
        self._store, self._root, self._resolver = configs
        self._board, self._maker, self._platform = board, maker, platform
        self._not_before: dict[tuple[Key, str], float] = {}
        self._postponed: dict[tuple[Key, str], float] = {}
        self._warned: dict[str, float] = {}
        self._past: dict[str, Event] = {}  # the last word on each of root's destinations, from before our start

    async def run(self) -> None:
        """Look at what fails, until cancelled."""
        while True:
            await self._clock.sleep(LOOK)
            self._restore()
            troubled = self._board.troubled
            places = {(channel.owner, channel.name) for channel in troubled}
            for memory in (self._not_before, self._postponed):
                for place in memory.keys() - places:
                    del memory[place]
            for channel in troubled:
                try:
                    await self._look(channel)
                except (ApiError, NotReady) as error:
                    log.info("channel_notice_failed", destination=channel.name, error=str(error))
                except Exception:
                    log.exception("channel_notice_failed", destination=channel.name)
                    self._not_before[channel.owner, channel.name] = self._clock.now() + REFUSED

    # ------------------------------------------------------------------ what was before

    def on_event(self, event: Event) -> None:
        """An event that a pass over all of them meets: what the platform was notified of root's destinations counts."""
        notice, platform = event.spec.notice, self._platform
        if notice is None or notice.kind is not NoticeKind.CHANNEL or not notice.destination:
            return
        about = Notice(platform.org, notice.destination, event.spec.event, 0.0, root=True)
        if event.namespace != platform.namespace or first_name(event.name) not in about.names(event.created):
            return
        known = self._past.get(notice.destination)
        if known is None or known.created < event.created:
            self._past[notice.destination] = event

    def _restore(self) -> None:
        if not self._past or not self._root.listed.is_set():
            return
        for name, event in self._past.items():
            due = event.spec.notice.due if event.spec.notice is not None else None
            if event.spec.event is EventType.CHANNEL_FAILING:
                since = (due.timestamp() if due is not None else event.created) - NOTIFY_AFTER
                self._board.restore_root(name, since, event.created)
        self._past.clear()

    # ------------------------------------------------------------------ making

    async def _look(self, channel: Channel) -> None:
        now, health = self._clock.now(), channel.health
        event = _due(health, now)
        if event is None or now < self._not_before.get((channel.owner, channel.name), 0.0):
            return
        if channel.owner == ROOT:
            await self._look_at_root(channel, event, now)
            return
        config = self._store.get(channel.owner)
        if config is None or config.spec is None or not self._ownership.may_send(config.org_slug):
            return
        if not channel_health(config.spec, self._root.current.spec).tell or config.spec.enabled is False:
            self._board.notified(channel, None)
            return
        layers = await self._resolver.layers(config)
        if self._twin(channel, layers) or not self._anybody(channel, event, layers):
            return
        notice = Notice(config.org_slug, channel.name, event, _moment(health))
        making = await self._make(channel, notice, config.namespace, now)
        if making:
            self._kubernetes.warn(
                "NotificationConfig", config.namespace, config.name, config.uid, "NoticeRefused", making
            )

    async def _look_at_root(self, channel: Channel, event: EventType, now: float) -> None:
        health, platform = channel.health, self._platform
        notice = Notice(platform.org, channel.name, event, _moment(health), root=True)
        if event is EventType.CHANNEL_FAILING and self._warned.get(channel.name) != health.since:
            self._warned[channel.name] = health.since
            text = str(spec(notice, channel.provider, health, now)["errorMessage"])
            self._kubernetes.warn(
                "ConfigMap", self._root.namespace, self._root.name, self._root.uid, "ChannelFailing", text
            )
        if not channel_health(self._root.current.spec).tell or not platform.served:
            self._board.notified(channel, None)
            return
        resolved = await self._resolver.resolve(platform.namespace, platform.org)
        if not isinstance(resolved, Resolved) or not self._anybody(channel, event, resolved.layers):
            return
        last = await self._last_word(notice, now)
        if last is not None and last.spec.event is event:  # another replica's, most of the time
            self._board.notified(channel, now if event is EventType.CHANNEL_FAILING else None)
            return
        await self._make(channel, notice, platform.namespace, now, last)

    def _anybody(self, channel: Channel, event: EventType, layers: Layers) -> bool:
        """Whether there is anybody to tell."""
        trigger = trigger_of(layers, event)
        if trigger is not None and trigger.enabled is False:
            if event is EventType.CHANNEL_RECOVERED:
                self._board.notified(channel, None)
            return False
        return bool(self._others(channel.owner, layers, event, channel.name))

    def _others(self, owner: Key, layers: Layers, event: EventType, name: str) -> tuple[str, ...]:
        def known(other: str, of_root: bool) -> Health | None:
            found = self._board.get(ROOT if of_root else owner, other)
            return found.health if found is not None else None

        return others(layers, event, name, known, root=owner == ROOT)

    def _twin(self, channel: Channel, layers: Layers) -> bool:
        """Whether another destination with the same endpoint stands for this one: an endpoint is reported once."""
        try:
            endpoint = layers.target(channel.name).endpoint
            channel.endpoint = hash(endpoint)
        except NotReady:
            return False
        mine = (channel.health.notified is None, channel.health.since, channel.name)
        for other in self._board.of(channel.owner).values():
            troubled = other.health.state is HealthState.FAILING or other.health.notified is not None
            if other is channel or not troubled or other.provider != channel.provider:
                continue
            try:
                same = layers.target(other.name).endpoint == endpoint
            except NotReady:
                continue
            if same and (other.health.notified is None, other.health.since, other.name) < mine:
                return True
        return False

    async def _last_word(self, notice: Notice, now: float) -> Event | None:
        """The latest that any replica has said of root's destination, while events of its hour are kept."""
        events = [notice._replace(event=kind) for kind in (EventType.CHANNEL_FAILING, EventType.CHANNEL_RECOVERED)]
        for hours in range(REMEMBERED):
            found = [await self._said(about, now - hours * HOUR) for about in events]
            if any(found):
                return max((event for event in found if event is not None), key=lambda event: event.created)
        return None

    async def _said(self, about: Notice, moment: float) -> Event | None:
        """What was said of it in the hour of a moment, past events that bear the name and are others."""
        for name in names(about.name(moment)):
            try:
                event = await self._events.get(self._platform.namespace, name)
            except NotFound:
                return None
            except InvalidEvent:
                continue
            said = event.spec.notice
            if said is not None and (event.spec.event, said.destination) == (about.event, about.destination):
                return event
        return None

    async def _make(
        self, channel: Channel, notice: Notice, namespace: str, now: float, last: Event | None = None
    ) -> str:
        """Make the event. Why it was refused; "" when it was not. `last` is what was said of root's destination."""
        place = (channel.owner, channel.name)
        moment = notice.due if now - notice.due < HOUR and self._postponed.get(place) != notice.due else now
        name = notice.name(moment)
        said = spec(notice, channel.provider, channel.health, now)
        making = await self._maker.make(namespace, name, said, moment, alone=not notice.root)
        if making.made is Made.REFUSED:
            self._not_before[place] = now + REFUSED
            return making.message
        existing = await self._existing(namespace, making.name) if making.made is Made.EXISTS else None
        if existing is not None and not _same_trouble(existing, notice, last):
            # This name has reported an earlier failure of the same hour.
            self._postponed[place] = notice.due
            self._not_before[place] = (moment // HOUR + 1) * HOUR
            return ""
        if notice.event is EventType.CHANNEL_FAILING:
            self._board.notified(channel, now)
        elif making.made is Made.TOO_OLD or notice.root or (existing is not None and existing.status.finished):
            self._board.notified(channel, None)
        else:
            self._not_before[place] = now + HOUR  # its end is heard of
        return ""

    async def _existing(self, namespace: str, name: str) -> Event | None:
        try:
            return await self._events.get(namespace, name)
        except NotFound:
            return None

    # ------------------------------------------------------------------ hearing of their end

    def on_finished(self, state: EventState, summary: EventSummary, now: float) -> None:  # noqa: ARG002  (the Observer's)
        """See `Observer`."""
        if not about_a_channel(state) or state.event is None:
            return
        notice = state.event.spec.notice
        if notice is None or notice.destination is None or state.config is None:
            return
        channel = self._board.get((state.config.namespace, state.config.name), notice.destination)
        if channel is None or channel.health.notified is None:
            return
        recovered = state.event.spec.event is EventType.CHANNEL_RECOVERED
        if recovered or (summary.phase is Phase.SKIPPED and channel.health.state is not HealthState.FAILING):
            self._board.notified(channel, None)

    # ------------------------------------------------------------------ judging

    async def judge(self, event: Event, resolved: Resolved) -> Claim:
        """See `engine.events.judges.Judge`."""
        notice, kind = event.spec.notice, event.spec.event
        name = notice.destination if notice is not None and notice.destination else ""
        if kind not in (EventType.CHANNEL_FAILING, EventType.CHANNEL_RECOVERED) or not name:
            return _not_due("a notice about a channel is channel_failing or channel_recovered, with its destination")
        trigger = trigger_of(resolved.layers, kind)
        if trigger is not None and trigger.enabled is False:
            return _not_due(f"the trigger for {kind} is disabled", Reason.TRIGGER_DISABLED)
        owner, due = self._whose(event, resolved, name, kind)
        if not due:
            return _not_due(f"{name} does not stand like that, as far as the operator knows")
        others = self._others(owner, resolved.layers, kind, name)
        if not others:
            return _not_due("there is no other destination that works")
        return Claim(due=True, stage=StageName.TRIGGER, destinations=others, title=f"channelHealth: {name}")

    def _whose(self, event: Event, resolved: Resolved, name: str, kind: EventType) -> tuple[Key, bool]:
        """Whose destination it is about, and whether what it says of it is so."""
        now, platform, reference = self._clock.now(), self._platform, resolved.reference
        if (event.namespace, event.spec.org_slug) == (platform.namespace, platform.org):
            about = Notice(platform.org, name, kind, 0.0, root=True)
            if first_name(event.name) in about.names(event.created):
                return ROOT, self._root_stands(name, kind, event.created)
        own = (reference.namespace, reference.name)
        about = Notice(event.spec.org_slug, name, kind, 0.0)
        channel = self._board.get(own, name) if reference.kind == "NotificationConfig" else None
        if (
            channel is None
            or reference.namespace != event.namespace
            or first_name(event.name) not in about.names(event.created)
        ):
            return own, False
        if not resolved.layers.channel_health.tell:
            return own, False
        health = channel.health
        if kind is EventType.CHANNEL_FAILING:
            return own, health.failing(now) >= NOTIFY_AFTER - CLOCKS
        return own, health.state is HealthState.HEALTHY and health.notified is not None

    def _root_stands(self, name: str, kind: EventType, created: float) -> bool:
        """Whether root's destination may stand as said: another replica may know of it what this one does not."""
        current = self._root.current.spec
        if current is None or not channel_health(current).tell:
            return False
        channel = self._board.get(ROOT, name)
        if kind is EventType.CHANNEL_RECOVERED:
            return channel is None or channel.health.state is not HealthState.FAILING
        well = channel is not None and channel.health.state is HealthState.HEALTHY
        return not well or (channel is not None and (channel.health.last_success or 0.0) < created)


def _due(health: Health, now: float) -> EventType | None:
    """What there is to tell of a destination now."""
    if health.state is HealthState.FAILING and health.notified is None and now >= health.due():
        return EventType.CHANNEL_FAILING
    if health.state is HealthState.HEALTHY and health.notified is not None:
        return EventType.CHANNEL_RECOVERED
    return None


def _moment(health: Health) -> float:
    return health.due() if health.state is HealthState.FAILING else health.since


def _same_trouble(event: Event, notice: Notice, last: Event | None) -> bool:
    if notice.root:  # replicas know of it since different moments
        return last is None or last.spec.event is notice.event or event.created > last.created
    claimed = event.spec.notice.due if event.spec.notice is not None else None
    return claimed is not None and abs(claimed.timestamp() - notice.due) < 1.0


def _not_due(message: str, reason: Reason = Reason.NOT_DUE) -> Claim:
    return Claim(due=False, stage=StageName.TRIGGER, message=message, reason=reason)
