"""Whether an event notifies at all, where to, and how often: the event triggers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from pipebell.core.errors import NotReady
from pipebell.core.layers import part_of
from pipebell.core.models import KINDS, TriggerSpec
from pipebell.core.policy.decision import Skip
from pipebell.core.policy.digest import apart
from pipebell.core.policy.match import Match
from pipebell.core.policy.replay import not_due, threads
from pipebell.core.policy.situation import Situation, Stage
from pipebell.core.vocabulary import DEFAULT_SEVERITIES, EventType, NotReadyReason, Reason, StageName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from pipebell.core.event import PipelineEventSpec
    from pipebell.core.layers import Layers
    from pipebell.core.policy.decision import Decision
    from pipebell.core.policy.facts import Override

_T = TypeVar("_T")
_NOTHING: Final = TriggerSpec(event=EventType.PIPELINE_FAILURE)  # a trigger that says nothing, whatever its type

DEFAULT_COOLDOWN: Final = 300
MAX_DELIVERIES: Final = 32  # of one event: as many as its status holds
DEFAULT_EVENTS: Final = (EventType.PIPELINE_FAILURE, EventType.DATA_QUALITY_FAILURE, EventType.SYSTEM_ERROR)


def match_trigger(layers: Layers, spec: PipelineEventSpec, override: Override | None = None) -> Match | Skip:
    """Find the trigger of an event's type, and what follows from it; what an override says lies over it."""
    triggers, trigger = layers.triggers, layers.trigger(spec.event)
    over = override.spec if override is not None else None
    by_default = triggers is None and spec.event in DEFAULT_EVENTS
    if trigger is None and not by_default and (over is None or over.providers is None):
        known = ", ".join(DEFAULT_EVENTS if triggers is None else [item.event for item in triggers]) or "none"
        return _skip(Reason.NO_TRIGGER, f"no trigger for {spec.event}; there are: {known}")
    title = _title(trigger, override, by_default=by_default)
    under = trigger or _NOTHING
    if _first(over.enabled if over else None, under.enabled, True) is False:
        return _skip(Reason.TRIGGER_DISABLED, f"the trigger for {spec.event} is disabled", title)
    providers = _first(over.providers if over else None, under.providers, [])
    destinations = _destinations(layers, providers, spec)
    if not destinations:
        whose = f"the trigger for {spec.event}" if override is None or over is None or over.providers is None else title
        return _skip(Reason.NO_PROVIDER_ENABLED, _none_of(whose, _all_parts(layers, providers)), title)
    severity = (over.severity if over else None) or spec.severity or under.severity
    cooldown = _first(over.cooldown_seconds if over else None, under.cooldown_seconds, DEFAULT_COOLDOWN)
    digest = (over.digest if over else None) or under.digest
    return Match(severity or DEFAULT_SEVERITIES[spec.event], destinations, cooldown, title, digest=digest)


def _first(over: _T | None, under: _T | None, otherwise: _T) -> _T:
    """What an override says, else what the trigger says, else the default."""
    if over is not None:
        return over
    return under if under is not None else otherwise


def _title(trigger: TriggerSpec | None, override: Override | None, *, by_default: bool) -> str:
    """What an event was matched by, with the fields that an override sets."""
    title = "" if trigger is None else f"eventTriggers[{trigger.event}]"
    title = title or ("default triggers" if by_default else "no trigger")
    effects = override.spec.effects if override is not None else ()
    return f"{title} under {override.title} ({', '.join(effects)})" if override is not None and effects else title


def trigger(s: Situation) -> Decision | Situation:
    """Skip what no enabled trigger wants, and replays of nothing; pass the rest on with what its trigger says."""
    skip = not_due(s)
    if skip is not None:
        return skip
    if s.skip is not None:
        return s
    match = match_trigger(s.resolved.layers, s.event.spec, s.override)
    if not isinstance(match, Skip):
        if s.original is not None:
            match = replace(match, threads=threads(s, match))
        return apart(s._replace(match=match))
    return s._replace(skip=match) if s.may_recover else match


TRIGGER = Stage(StageName.TRIGGER, trigger)


def _skip(reason: Reason, message: str, matched: str = "") -> Skip:
    return Skip(StageName.TRIGGER, reason, message, matched)


def _destinations(layers: Layers, providers: Sequence[str], spec: PipelineEventSpec) -> tuple[str, ...]:
    parts = _all_parts(layers, providers)
    if spec.replay_of is not None and spec.replay_of.destinations is not None:
        again = spec.replay_of.destinations
        parts = [part for part in parts if part in again or part_of(part)[0] in again]
        unknown = [name for name in again if layers.kind(name) is None and name not in parts]
        parts += unknown[: MAX_DELIVERIES - len(parts)]  # they wait, as an unknown name does everywhere
    return tuple(parts)


def _none_of(whose: str, enabled: Sequence[str]) -> str:
    """Why an event goes nowhere: nothing is enabled, or a replay asks for none of what is."""
    if not enabled:
        return f"no destination of {whose} is enabled"
    return f"replayOf.destinations names no destination of {whose}; there are: {', '.join(enabled)}"


def _all_parts(layers: Layers, providers: Sequence[str]) -> list[str]:
    """Every delivery that a list of destinations makes, each once; an empty one stands for defaultProvider."""
    named = providers or [layers.default_provider]
    parts = (part for name in named if layers.enabled(name) for part in layers.deliveries(name))
    return list(dict.fromkeys(parts))


def with_fallbacks(layers: Layers, destinations: Collection[str]) -> Collection[str]:
    """Destinations and whatever may have to stand in for them, each once."""
    found = (layers.fallback(name) for name in destinations)
    others = [each for fallback in found if fallback is not None for each in fallback.deliveries]
    return dict.fromkeys((*destinations, *others)) if others else destinations


def too_many(destinations: Collection[str], title: str) -> NotReady | None:
    """What is wrong with a plan that an event's status could not hold."""
    if len(destinations) <= MAX_DELIVERIES:
        return None
    return NotReady(
        NotReadyReason.INVALID,
        f"{title} makes {len(destinations)} deliveries of an event, each number of sms one of them, failover included: "
        f"at most {MAX_DELIVERIES} are possible",
    )


def check_plans(layers: Layers) -> None:
    """Raises NotReady when a trigger, override or escalation makes more deliveries than an event's status can hold."""
    for title, providers in (*_plans(layers), *_escalation(layers)):
        error = too_many(with_fallbacks(layers, _all_parts(layers, providers)), title)
        if error is not None:
            raise error


def _plans(layers: Layers) -> Iterator[tuple[str, Sequence[str]]]:
    """Every list of destinations that an event may be sent by, with what says it."""
    rules, path = layers.overrides or (None, "")
    overrides = rules.overrides if rules is not None else ()
    for item in layers.triggers or ():
        revived = any(over.enabled and (over.events is None or item.event in over.events) for over in overrides)
        if item.enabled is not False or revived:
            yield f"eventTriggers[{item.event}]", item.providers or ()
    for place, over in enumerate(overrides):
        if over.enabled is not False and over.providers is not None:
            yield f"{path}[{place}]", over.providers


def _escalation(layers: Layers) -> Iterator[tuple[str, Sequence[str]]]:
    """The destinations of each step of escalation, with what says it."""
    steps = layers.incidents.escalation if layers.incidents is not None else ()
    for place, step in enumerate(steps):
        yield f"incidents.escalation[{place}]", step.providers


def destinations_to_check(layers: Layers) -> list[str]:
    """Destinations that messages would use, unknown names, and what the organisation set up without using it yet."""
    own = layers.org.names() if layers.org is not None else ()
    meant = (name for name in own if _switched_on(layers, name))
    misspelt = _unknown_to_digests(layers)
    return list(dict.fromkeys((*destinations_in_use(layers), *escalated_to(layers), *misspelt, *meant)))


def escalated_to(layers: Layers) -> Iterator[str]:
    """Every destination that an escalation is sent to, each once; those that stand in for others last."""
    return _enabled(layers, (name for _, providers in _escalation(layers) for name in providers))


def _unknown_to_digests(layers: Layers) -> Iterator[str]:
    """What the owner's own `digest.destinations` name that there is not: nothing is sent there, so nobody else asks."""
    owner = layers.org or layers.root
    spec = owner.spec if owner is not None else None
    rules = (*(spec.event_triggers or ()), *(spec.pipeline_overrides or ())) if spec is not None else ()
    for rule in rules:
        if rule.digest is not None and rule.enabled is not False:
            yield from (name for name in rule.digest.destinations or () if layers.kind(name) is None)


def _switched_on(layers: Layers, name: str) -> bool:
    """Whether the organisation says itself that this destination is meant to work."""
    found = layers.destination(name)
    org = found.block.org if found is not None else None
    return org is not None and (org.raw("enabled") is True or (org.raw("enabled") is None and name not in KINDS))


def destinations_in_use(layers: Layers) -> Iterator[str]:
    """Every destination that some event could be sent to, each once; those that stand in for others last."""
    lists = [providers for _, providers in _plans(layers)]
    if layers.triggers is None:
        lists.insert(0, [])
    return _enabled(layers, (name for names in lists for name in (names or [layers.default_provider])))


def _enabled(layers: Layers, names: Iterable[str]) -> Iterator[str]:
    in_use = [name for name in dict.fromkeys(names) if layers.enabled(name)]
    return iter(dict.fromkeys(part_of(part)[0] for part in with_fallbacks(layers, in_use)))
