"""An organisation's configuration on top of root's: which destinations there are, and what each setting is in the end.

Objects merge field by field, lists replace each other as a whole; `destinations` alone merges by name. Credentials
follow their endpoint (`destinations.block`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from pipebell.core.backoff import RetryPolicy
from pipebell.core.destinations.base import DEFAULT_KIND
from pipebell.core.destinations.block import Block, Section, make_block
from pipebell.core.errors import NotReady
from pipebell.core.fields import templates
from pipebell.core.globs import matches_any
from pipebell.core.incidents.rules import merged
from pipebell.core.models import KINDS, RootSpec
from pipebell.core.naming import ROOTS, lists
from pipebell.core.restrict import check_permitted
from pipebell.core.vocabulary import NotReadyReason

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence

    from pipebell.core.destinations.base import Allow, Kind, Target
    from pipebell.core.incidents.rules import IncidentRules
    from pipebell.core.models import NotificationSpec, Restrict, TriggerSpec
    from pipebell.core.overrides import OverrideRules
    from pipebell.core.placeholders import Source
    from pipebell.core.silences.quiet import QuietHours
    from pipebell.core.vocabulary import EventType

_T = TypeVar("_T")
_K = TypeVar("_K", bound="Hashable")

_DEFAULT_RETRY: Final = RetryPolicy()
FAILOVER_AFTER: Final = 300.0  # seconds


@dataclass(frozen=True, slots=True)
class Layer:
    """One configuration with the source of its placeholders. `root` says whose hosts are trusted."""

    spec: NotificationSpec
    source: Source
    root: bool = False

    def entry(self, name: str) -> _Entry | None:
        """What this layer says of a destination: one of this name, else the block of the kind of this name."""
        named = self.spec.named(name)
        if named is not None:
            path = f"destinations[{name}].{named.kind}"
            section = Section(named.whole, self.source, self.root, path)
            return _Entry(KINDS[named.kind], section, named.allow or named.whole.allow, False)
        kind = KINDS.get(name)
        spec = self.spec.block(name) if kind is not None else None
        if kind is None or spec is None:
            return None
        return _Entry(kind, Section(spec, self.source, self.root, name), spec.allow, open=kind.seed)

    def names(self) -> Iterator[str]:
        """The destinations that this layer sets up."""
        for item in self.spec.destinations or ():
            yield item.name
        for kind in KINDS:
            if self.spec.block(kind) is not None:
                yield kind


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: Kind
    section: Section
    allow: Allow | None
    open: bool  # one of root's that everybody may name without `allow`, as in the file-based system

    @property
    def failover(self) -> Sequence[str] | None:
        """What this layer says that stands in for it."""
        found: Sequence[str] | None = self.section.raw("failover")
        return found


class Fallback(NamedTuple):
    """The deliveries that stand in for one that fails, or is not made within `after` seconds of being due."""

    deliveries: tuple[str, ...]
    after: float


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination of the merged configuration."""

    name: str
    kind: Kind
    block: Block


def _once(ask: Callable[[Layers, _K], _T]) -> Callable[[Layers, _K], _T]:
    """Ask about each name once: layers do not change. What raises is asked again."""
    question = ask.__name__

    @wraps(ask)
    def asked(self: Layers, name: _K) -> _T:
        key = (question, name)
        try:
            known: _T = self._known[key]
        except KeyError:
            known = self._known[key] = ask(self, name)
        return known

    return asked


@dataclass(frozen=True)
class Layers:
    """The configuration that applies: an organisation's over root's, or either alone.

    `namespace` is the organisation's configuration's own: root's `allow` goes by it. What was asked about a
    destination is remembered: whoever has many events keeps the layers (`engine.configs.resolver`).
    """

    org: Layer | None
    root: Layer | None
    namespace: str = ""
    _known: dict[tuple[str, Any], Any] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def _stack(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in (self.org, self.root) if layer is not None)

    # ------------------------------------------------------------------ what is not about one destination

    @property
    def triggers(self) -> list[TriggerSpec] | None:
        """The triggers that apply; None when nobody set any."""
        lists = (layer.spec.event_triggers for layer in self._stack)
        return next((triggers for triggers in lists if triggers is not None), None)

    @_once
    def trigger(self, event: EventType) -> TriggerSpec | None:
        """The trigger of a type of event."""
        return next((item for item in self.triggers or () if item.event is event), None)

    @property
    def overrides(self) -> tuple[OverrideRules, str] | None:
        """The overrides that apply, and what their list is called; None when there are none."""
        for layer in self._stack:
            if layer.spec.pipeline_overrides is not None:
                rules = layer.spec.override_rules
                return None if rules is None else (rules, f"{ROOTS if layer.root else ''}pipelineOverrides")
        return None

    @property
    def quiet_hours(self) -> list[QuietHours]:
        """The times at which only severe events go out at once."""
        lists = (layer.spec.quiet_hours for layer in self._stack)
        return next((hours for hours in lists if hours is not None), [])

    @property
    def default_provider(self) -> str:
        """Destination of triggers that name none."""
        names = (layer.spec.default_provider for layer in self._stack)
        return next((name for name in names if name is not None), DEFAULT_KIND)

    @property
    def max_per_hour(self) -> int | None:
        """How many notifications an hour the organisation wants at most; None for no limit."""
        limits = (layer.spec.max_notifications_per_hour for layer in self._stack)
        return next((limit for limit in limits if limit is not None), None)

    @property
    def root_max_per_hour(self) -> int | None:
        """How many notifications an hour root's endpoints take of one namespace; None for no limit."""
        return self._restrict.max_notifications_per_hour if self._restrict else None

    @property
    def singly(self) -> bool:
        """Whether no event can go into a digest. Cheap, for it is asked for each event."""
        org, root = self.org, self.root
        return (org is None or org.spec.singly) and (root is None or root.spec.singly)

    @cached_property
    def batches(self) -> bool:
        """Whether any event may go into a digest."""
        over = self.overrides[0].overrides if self.overrides is not None else ()
        return any(item.digest is not None for item in (*(self.triggers or ()), *over))

    def on_root(self, name: str) -> bool:
        """Whether a destination, or the one that it is a part of, has root's endpoint."""
        found = self.destination(name)
        return found is not None and found.block.trusted

    @property
    def retry(self) -> RetryPolicy:
        """How failed deliveries are tried again."""
        given = [layer.spec.retry_config for layer in self._stack if layer.spec.retry_config is not None]
        if not given:
            return _DEFAULT_RETRY
        merged: dict[str, Any] = {}
        for name in RetryPolicy.__dataclass_fields__:
            value = next((v for spec in given if (v := getattr(spec, name)) is not None), None)
            if value is not None:
                merged[name] = value
        return RetryPolicy(**merged)

    @property
    def channel_health(self) -> ChannelHealth:
        """What to do about destinations that fail."""
        return channel_health(*(layer.spec for layer in self._stack))

    @property
    def incidents(self) -> IncidentRules | None:
        """How failures are joined in incidents; None where that is off. Cheap there, for it is asked for each event."""
        unset = all(layer.spec.incidents is None for layer in self._stack)
        return None if unset else self._incidents

    @cached_property
    def _incidents(self) -> IncidentRules | None:
        return merged([layer.spec.incidents for layer in self._stack])

    # ------------------------------------------------------------------ destinations

    def kind(self, name: str) -> str | None:
        """The kind of a destination; None while there is none of this name."""
        found = self.destination(name)
        return found.kind.name if found is not None else None

    @_once
    def enabled(self, name: str) -> bool:
        """Whether this destination may be used: unset means yes. An unknown one counts as enabled: it has to wait."""
        found = self.destination(name)
        return found is None or found.block.get("enabled") is not False

    @_once
    def target(self, name: str) -> Target:
        """The destination, or a part of it, with everything filled. Raises NotReady, naming the field or variable."""
        found = self.destination(name)
        if found is None:
            raise NotReady(NotReadyReason.UNKNOWN_DESTINATION, self._unknown(name))
        check_permitted(found.name, found.block, self._restrict)
        made: Target = found.kind.target(found.block)
        position = part_of(name)[1]
        if position:
            made = found.kind.part(made, position)
        return made

    @_once
    def fallback(self, name: str) -> Fallback | None:
        """What stands in for a destination, or for a part of it; None where nothing does."""
        found = self.destination(name)
        names = found.block.get("failover") if found is not None else None
        if found is None or not names:
            return None
        others = (other for other in names if other != found.name and self.enabled(other))
        deliveries = tuple(dict.fromkeys(each for other in others for each in self.deliveries(other)))
        after = found.block.get("failover_after_seconds")
        return Fallback(deliveries, FAILOVER_AFTER if after is None else float(after)) if deliveries else None

    def sends_recovery(self, name: str) -> bool:
        """Whether a destination gets the recovery of an incident."""
        found = self.destination(name)
        return found is None or found.block.get("send_recovery") is not False

    @_once
    def templates(self, name: str) -> Mapping[str, str]:
        """The templates of a destination, or of the one that it is a part of, by their fields; {} where it has none."""
        found = self.destination(name)
        if found is None:
            return {}
        fields = ((field, found.block.get(field)) for field in templates(found.kind.spec))
        return {field: text for field, text in fields if text is not None}

    @_once
    def deliveries(self, name: str) -> tuple[str, ...]:
        """What a message to this destination is recorded under: its name, or `<name>/<n>` for each of its parts."""
        found = self.destination(name)
        count = found.kind.count(found.block) if found is not None else 0
        return tuple(f"{name}/{number}" for number in range(1, count + 1)) or (name,)

    @_once
    def destination(self, name: str) -> Destination | None:
        """The destination of this name, or of which this is a part; None when this organisation has none."""
        return self._find(part_of(name)[0])

    def names(self) -> list[str]:
        """The destinations that this configuration may name, each once: its own, then root's."""
        own = list(self.org.names()) if self.org is not None else []
        of_root = [name for name in self.root.names() if self._root_entry(name)] if self.root is not None else []
        return list(dict.fromkeys((*own, *of_root)))

    def _find(self, name: str) -> Destination | None:
        own = self.org.entry(name) if self.org is not None else None
        below = self._root_entry(name)
        if own is None and below is None:
            kind = KINDS.get(name)  # known, and not set up: its target says which field is missing
            return Destination(name, kind, make_block(name, None, None, kind.spec)) if kind is not None else None
        first = own or below
        assert first is not None  # noqa: S101  (one of them is there; tells mypy)
        if own is not None and below is not None and own.kind is not below.kind:
            below = None
        sections = (own.section if own else None, below.section if below else None)
        return Destination(name, first.kind, make_block(name, *sections, first.kind.spec))

    def _root_entry(self, name: str) -> _Entry | None:
        """Root's destination of this name, where this organisation may use it."""
        entry = self.root.entry(name) if self.root is not None else None
        if entry is None or self.org is None:
            return entry
        return entry if self._admits(name) or name in self._named_by_root else None

    def _admits(self, name: str) -> bool:
        """Whether this organisation may name a destination of root's by its `allow`, or because all may."""
        entry = self.root.entry(name) if self.root is not None else None
        if entry is None or self.org is None:
            return entry is not None
        if entry.allow is None:
            return entry.open
        return matches_any(entry.allow.namespaces, self.namespace) and (
            entry.allow.orgs is None or matches_any(entry.allow.orgs, self.org.spec.org_slug or "")
        )

    @cached_property
    def _named_by_root(self) -> frozenset[str]:
        """Names in those lists of root's that apply to this organisation."""
        if self.root is None:
            return frozenset()
        below, own = self.root.spec, self.org.spec if self.org is not None else None
        names = set()
        if (own is None or own.default_provider is None) and below.default_provider is not None:
            names.add(below.default_provider)
        if own is None or own.event_triggers is None:
            names.update(name for trigger in below.event_triggers or () for name in trigger.providers or ())
        if own is None or own.pipeline_overrides is None:
            names.update(name for item in below.pipeline_overrides or () for name in item.providers or ())
        if self.incidents is not None and (own is None or own.incidents is None or own.incidents.escalation is None):
            names.update(name for step in self.incidents.escalation for name in step.providers)
        names.update(self._failover_of_root(names))
        return frozenset(names)

    def _failover_of_root(self, named: Collection[str]) -> set[str]:
        """What root's destinations fail over to, of those that this organisation may name and uses as they are."""
        lists = dict(self.root.spec.failovers) if self.root is not None else {}
        found: set[str] = set()
        while usable := [name for name in lists if name in named or name in found or self._admits(name)]:
            for name in usable:
                failover = lists.pop(name)
                if self._as_in_root(name):
                    found.update(failover)
        return found

    def _as_in_root(self, name: str) -> bool:
        """Whether what root says of a destination's failover is what counts for this organisation."""
        own = self.org.entry(name) if self.org is not None else None
        below = self.root.entry(name) if self.root is not None else None
        if own is None or below is None:
            return own is None
        return own.kind is below.kind and own.failover is None and own.section.own_endpoint is None

    def _unknown(self, name: str) -> str:
        named = (
            f"{ROOTS if layer.root else ''}{place}"
            for layer in self._stack
            for place, names in lists(layer.spec)
            if name in names
        )
        where = next(named, "")
        kinds = f"there are none yet; a block of a kind sets one up: {', '.join(KINDS)}"
        known = f"there are: {', '.join(self.names())}" if self.names() else kinds
        return f"{where}{': ' if where else ''}there is no destination {name}; {known}"

    # ------------------------------------------------------------------ what root permits on its endpoints

    @property
    def _restrict(self) -> Restrict | None:
        spec = self.root.spec if self.root is not None else None
        return spec.restrict if isinstance(spec, RootSpec) else None


class ChannelHealth(NamedTuple):
    """What to do about destinations that fail: see `models.ChannelHealthSpec`."""

    probe: bool = False
    tell: bool = False
    tell_root: bool = False


def channel_health(*specs: NotificationSpec | None) -> ChannelHealth:
    """The same for an organisation's configuration and root's, in this order: each field is inherited by itself."""
    given = [spec.channel_health for spec in specs if spec is not None and spec.channel_health is not None]
    if not given:
        return _NO_CHANNEL_HEALTH
    values = {name: [getattr(spec, name) for spec in given] for name in ChannelHealth._fields}
    return ChannelHealth(**{name: next((v for v in found if v is not None), False) for name, found in values.items()})


_NO_CHANNEL_HEALTH: Final = ChannelHealth()


def part_of(name: str) -> tuple[str, int]:
    """A destination's name, and which of its parts is meant: 0 for the whole."""
    whole, _, position = name.partition("/")
    return whole, int(position) if position.isdecimal() else 0
