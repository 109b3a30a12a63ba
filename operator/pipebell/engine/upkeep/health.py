"""How destinations stand, by what became of the messages to them: kept for the endpoint's owner, read back at start."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pipebell.core.fields import traits
from pipebell.core.health import CHANNEL_EVENTS, Evidence, Health, HealthState, deliverable, evidence
from pipebell.core.layers import Layer, Layers, part_of
from pipebell.core.models import KINDS
from pipebell.core.outcome import REACHED
from pipebell.core.placeholders import OrgSecrets
from pipebell.core.policy.triggers import destinations_in_use, escalated_to
from pipebell.core.shards import shard_of
from pipebell.core.vocabulary import NotReadyReason
from pipebell.engine.configs.follower import ConfigFollower
from pipebell.engine.configs.readiness import ConditionValue
from pipebell.engine.events.observer import Observer
from pipebell.engine.shards.follower import ShardFollower

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from pydantic import BaseModel

    from pipebell.core.config import ConfigObject
    from pipebell.core.destinations.base import Target
    from pipebell.core.errors import NotReady
    from pipebell.core.models import NotificationSpec
    from pipebell.core.outcome import Outcome
    from pipebell.core.status import DestinationStatus
    from pipebell.engine.configs.root import RootStore
    from pipebell.engine.configs.store import ConfigStore, Key
    from pipebell.engine.events.state import EventState
    from pipebell.engine.ports import Ports

ROOT: Final[tuple[str, str]] = ("", "")  # instead of a configuration's namespace and name: the platform's endpoints
PER_NAMESPACE: Final = 10_000  # destinations that are kept track of
STALE_AFTER: Final = 3600.0  # seconds without an attempt after which root's trouble is not known to go on
# What an organisation has left undone is no trouble of a channel that worked.
_BROKEN_SETTINGS: Final = frozenset(
    {NotReadyReason.MISSING_SECRET, NotReadyReason.MISSING_VARIABLE, NotReadyReason.HOST_NOT_ALLOWED}
)


@dataclass(slots=True)
class Channel:
    """One destination of one owner. `endpoint` tells endpoints apart, within this process, without keeping any."""

    owner: Key
    name: str
    provider: str | None
    health: Health = field(default_factory=Health)
    endpoint: int | None = None
    tried: float = 0.0


class HealthBoard(Observer, ConfigFollower, ShardFollower):
    """Takes in what attempts say, once for each destination and its endpoint's owner.

    An organisation's own are written on its configuration (`UsageWriter`) and read back from there; root's are this
    process' alone. `on_change` hears of whose destinations have changed.
    """

    def __init__(self, ports: Ports, store: ConfigStore, root: RootStore) -> None:
        self._store, self._root, self._clock, self._ownership = store, root, ports.clock, ports.ownership
        self._channels: dict[Key, dict[str, Channel]] = {}
        self._counts: Counter[str] = Counter()
        self._troubled: dict[tuple[Key, str], Channel] = {}
        self._root_spec: NotificationSpec | None = None
        self._listeners: list[Callable[[Key], None]] = []

    def subscribe(self, *listeners: Callable[[Key], None]) -> None:
        """Call these with a configuration's namespace and name when its destinations' health has changed."""
        self._listeners += listeners

    # ------------------------------------------------------------------ what others ask

    def get(self, owner: Key, name: str) -> Channel | None:
        """A destination of which anything is known."""
        return self._channels.get(owner, {}).get(name)

    def of(self, owner: Key) -> Mapping[str, Channel]:
        """All destinations of an owner of which anything is known."""
        return self._channels.get(owner, {})

    @property
    def troubled(self) -> list[Channel]:
        """Destinations that fail, or whose failure others have been notified of."""
        return list(self._troubled.values())

    def records(self, config: ConfigObject) -> list[DestinationStatus]:
        """What stands on a configuration's status, once anything is known: those not used yet are Unknown."""
        known = self.of(config.key)
        if not known:
            return []
        found = {name: channel.health.record(name, channel.provider) for name, channel in known.items()}
        for name, kind in _own_names(config.spec) if config.spec is not None else ():
            if name not in found:
                found[name] = Health(since=config.created).record(name, kind)
        return [found[name] for name in sorted(found)]

    def condition(self, config: ConfigObject) -> ConditionValue | None:
        """The condition `Deliverable`; None while nothing is known."""
        found = deliverable([(name, channel.health) for name, channel in sorted(self.of(config.key).items())])
        if found is None:
            return None
        return ConditionValue("Deliverable", status=found.status, reason=found.reason, message=found.message)

    def failing(self) -> dict[str, int]:
        """Organisations' destinations that fail, by kind."""
        found = Counter(
            channel.provider or ""
            for channel in self._troubled.values()
            if channel.owner != ROOT and channel.health.state is HealthState.FAILING
        )
        return dict(found)

    def failing_of_root(self) -> dict[str, bool]:
        """Root's destinations that this process has sent to, and whether they fail."""
        self._age_root()
        return {name: channel.health.state is HealthState.FAILING for name, channel in self.of(ROOT).items()}

    # ------------------------------------------------------------------ what it hears

    def on_answer(self, state: EventState, destination: str, target: Target, outcome: Outcome, *, shared: bool) -> None:
        """See `Observer`."""
        owner = _owner(state, trusted=target.trusted)
        if owner is None:
            return
        seen = evidence(outcome, shared=shared)
        if seen is None or (seen.state is not HealthState.HEALTHY and about_a_channel(state)):
            return
        name = part_of(destination)[0]
        self._observe(owner, name, target.kind, seen, hash(target.endpoint))

    def on_blocked(self, state: EventState, destination: str, provider: str | None, error: NotReady) -> None:
        """See `Observer`."""
        owner = _owner(state, trusted=False)
        if owner is None or error.reason not in _BROKEN_SETTINGS or about_a_channel(state):
            return
        seen = Evidence(HealthState.FAILING, error.reason.value, error.message)
        self._observe(owner, part_of(destination)[0], provider, seen, None)

    def observe_probe(self, owner: Key, name: str, provider: str, seen: Evidence, endpoint: int) -> None:
        """A probe found this."""
        if seen.reason == REACHED and self.get(owner, name) is None:
            return  # that somebody answers there says nothing of messages
        channel = self._channel(owner, name, provider)
        if channel is None:
            return
        now = self._clock.now()
        self._same_endpoint(channel, endpoint, now)
        channel.tried = now
        if channel.health.probed(seen, now):
            self._changed(channel)

    def restore_root(self, name: str, since: float, notified: float) -> None:
        """The platform was notified of this destination of root's before this process began: so it was then."""
        channel = self._channel(ROOT, name, None)
        if channel is None:
            return
        now, health = self._clock.now(), channel.health
        if health.state is HealthState.UNKNOWN:
            health.state, channel.tried = HealthState.FAILING, now
        if health.state is HealthState.FAILING:
            health.since = min(health.since, since)
        health.notified = min(notified, now)
        self._changed(channel)

    def notified(self, channel: Channel, at: float | None) -> None:
        """The organisation's other destinations know since `at` that it fails; None: that it works again."""
        if channel.health.notified != at:
            channel.health.notified = at
            self._changed(channel)

    def on_config_change(self, old: ConfigObject | None, new: ConfigObject | None) -> None:
        """See `ConfigFollower`."""
        if old is not None and (new is None or new.org_slug != old.org_slug or new.uid != old.uid):
            self._drop(old.key)
        if new is None:
            return
        if old is None or new.uid != old.uid or new.org_slug != old.org_slug:
            self._read_back(new)
        elif new.spec is not None:
            self._compare(new.key, old.spec, new.spec)
            if self._failing(new.key) and new.spec != old.spec:
                self._forget_unused(new.key)

    def on_root_change(self) -> None:
        """See `ConfigFollower`."""
        spec = self._root.current.spec
        if spec is None:
            self._drop(ROOT)
        else:
            self._compare(ROOT, self._root_spec, spec)
        if spec != self._root_spec:  # triggers are inherited
            for owner in {owner for owner, _ in self._troubled} - {ROOT}:
                self._forget_unused(owner)
        self._root_spec = spec

    def on_shards_acquired(self, shards: Collection[int]) -> None:
        """See `ShardFollower`: what the last owner, or this process before its restart, has written counts."""
        for config in self._store:
            if shard_of(config.org_slug) in shards:
                self._read_back(config)

    def on_shards_released(self, shards: Collection[int]) -> None:
        """See `ShardFollower`: another replica keeps these."""
        for key in [key for key in self._channels if key != ROOT]:
            config = self._store.get(key)
            if config is None or shard_of(config.org_slug) in shards:
                self._drop(key)

    # ------------------------------------------------------------------ keeping

    def _observe(self, owner: Key, name: str, provider: str | None, seen: Evidence, endpoint: int | None) -> None:
        channel = self._channel(owner, name, provider)
        if channel is None:
            return
        now = channel.tried = self._clock.now()
        if endpoint is not None:
            self._same_endpoint(channel, endpoint, now)
        if channel.health.observe(seen, now):
            self._changed(channel)

    @staticmethod
    def _same_endpoint(channel: Channel, endpoint: int, now: float) -> None:
        """What is known of another endpoint says nothing of this one."""
        if channel.endpoint is not None and channel.endpoint != endpoint:
            channel.health.forget(now)
        channel.endpoint = endpoint

    def _channel(self, owner: Key, name: str, provider: str | None) -> Channel | None:
        """The destination, made if need be; None where its owner has none of this name, or its namespace too many."""
        known = self._channels.get(owner)
        if known is None and owner != ROOT and (config := self._store.get(owner)) is not None:
            # The watch may have shown only now what the last owner of this shard has written.
            self._read_back(config)
            known = self._channels.get(owner)
        if known is not None and (found := known.get(name)) is not None:
            found.provider = provider or found.provider
            return found
        if not self._exists(owner, name) or self._counts[owner[0]] >= PER_NAMESPACE:
            return None
        made = self._channels.setdefault(owner, {})[name] = Channel(owner, name, provider)
        made.health.since = self._clock.now()
        self._counts[owner[0]] += 1
        return made

    def _exists(self, owner: Key, name: str) -> bool:
        """Whether this owner sets such an endpoint up: events may come late for one that it has removed."""
        if owner == ROOT:
            spec = self._root.current.spec
            return spec is not None and block_of(spec, name) is not None
        config = self._store.get(owner)
        return config is not None and config.spec is not None and _own_endpoint(config.spec, name)

    def _changed(self, channel: Channel) -> None:
        place = (channel.owner, channel.name)
        if channel.health.state is HealthState.FAILING or channel.health.notified is not None:
            self._troubled[place] = channel
        else:
            self._troubled.pop(place, None)
        self._say(channel.owner)

    def _say(self, owner: Key) -> None:
        if owner != ROOT:
            for listener in self._listeners:
                listener(owner)

    def _compare(self, owner: Key, old: NotificationSpec | None, new: NotificationSpec) -> None:
        """Settings were edited: forget destinations that are gone, and what is known of those that are others now."""
        for name, channel in list(self.of(owner).items()):
            there = block_of(new, name) is not None if owner == ROOT else _own_endpoint(new, name)
            if not there:
                self._remove(channel)
                continue
            edited = old is not None and block_of(old, name) != block_of(new, name)
            if edited and channel.health.forget(self._clock.now()):
                self._changed(channel)

    def _failing(self, owner: Key) -> list[Channel]:
        return [channel for channel in self.of(owner).values() if channel.health.state is HealthState.FAILING]

    def _forget_unused(self, owner: Key) -> None:
        """Settings were edited: what fails and gets no message any more could never show that it works again."""
        config, failing, now = self._store.get(owner), self._failing(owner), self._clock.now()
        if config is None or config.spec is None or not failing:
            return
        layers = self._as_written(config.spec)
        used = {*destinations_in_use(layers), *escalated_to(layers)}
        for channel in failing:
            if channel.name not in used and channel.health.forget(now):
                self._changed(channel)

    def _as_written(self, spec: NotificationSpec) -> Layers:
        """Settings for whoever needs no Secret."""
        root = self._root.current.spec
        nothing = OrgSecrets(None, {})
        return Layers(Layer(spec, nothing), None if root is None else Layer(root, nothing, root=True))

    def _read_back(self, config: ConfigObject) -> None:
        if not config.status.destinations or not self._ownership.owns(config.org_slug) or config.key in self._channels:
            return
        now = self._clock.now()
        self._channels[config.key] = {}
        for record in config.status.destinations:
            channel = self._channel(config.key, record.name, record.provider)
            if channel is None:  # it is gone since that was written
                self._say(config.key)
                continue
            channel.health = Health.of(record, now)
            if channel.health.state is HealthState.FAILING or channel.health.notified is not None:
                self._troubled[config.key, record.name] = channel
        if not self._channels[config.key]:
            del self._channels[config.key]

    def _drop(self, owner: Key) -> None:
        for name in self._channels.pop(owner, {}):
            self._troubled.pop((owner, name), None)
            self._counts[owner[0]] -= 1
        if not self._counts[owner[0]]:
            del self._counts[owner[0]]

    def _remove(self, channel: Channel) -> None:
        known = self._channels[channel.owner]
        del known[channel.name]
        self._counts[channel.owner[0]] -= 1
        self._troubled.pop((channel.owner, channel.name), None)
        if not known:
            del self._channels[channel.owner]
        self._say(channel.owner)

    def _age_root(self) -> None:
        """Another replica may have found root's endpoint well: what was seen long ago is not known to go on."""
        now = self._clock.now()
        for channel in self.of(ROOT).values():
            if channel.health.state is HealthState.FAILING and now - channel.tried > STALE_AFTER:
                channel.health.forget(now)
                self._changed(channel)


def _owner(state: EventState, *, trusted: bool) -> Key | None:
    """Whose endpoint a message went to."""
    if trusted:
        return ROOT
    reference = state.config
    if reference is None or reference.kind != "NotificationConfig":
        return None
    return (reference.namespace, reference.name)


def about_a_channel(state: EventState) -> bool:
    """Whether this event tells of a channel: a notice about one never causes another."""
    return state.event is not None and state.event.spec.event in CHANNEL_EVENTS


def block_of(spec: NotificationSpec, name: str) -> BaseModel | None:
    """The settings of a destination, as one configuration has them."""
    named = spec.named(name)
    if named is not None:
        return named.block(named.kind)
    return spec.block(name) if name in KINDS else None


def _own_names(spec: NotificationSpec) -> Iterator[tuple[str, str]]:
    """Destinations with an endpoint of their own that are not switched off, and their kinds."""
    kinds = {kind: kind for kind in KINDS} | {item.name: item.kind for item in spec.destinations or ()}
    for name, kind in kinds.items():
        if _own_endpoint(spec, name) and getattr(block_of(spec, name), "enabled", None) is not False:
            yield name, kind


def _own_endpoint(spec: NotificationSpec, name: str) -> bool:
    """Whether a configuration sets anything of a destination's endpoint itself."""
    block = block_of(spec, name)
    return block is not None and any(_endpoint_fields(block))


def _endpoint_fields(block: BaseModel) -> Iterator[bool]:
    return (getattr(block, trait.name) is not None for trait in traits(type(block)).values() if trait.endpoint)
