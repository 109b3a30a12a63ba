"""Whether an event notifies at all, where to, and how often: the event triggers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pipebell.core.errors import NotReady
from pipebell.core.layers import part_of
from pipebell.core.models import KINDS
from pipebell.core.policy.decision import Skip
from pipebell.core.policy.match import Match
from pipebell.core.policy.replay import not_due, threads
from pipebell.core.policy.situation import Situation, Stage
from pipebell.core.vocabulary import DEFAULT_SEVERITIES, EventType, NotReadyReason, Reason, StageName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pipebell.core.event import PipelineEventSpec
    from pipebell.core.layers import Layers
    from pipebell.core.models import TriggerSpec
    from pipebell.core.policy.decision import Decision

DEFAULT_COOLDOWN: Final = 300
MAX_DELIVERIES: Final = 32  # of one event: as many as its status holds
DEFAULT_EVENTS: Final = (EventType.PIPELINE_FAILURE, EventType.DATA_QUALITY_FAILURE, EventType.SYSTEM_ERROR)


def match_trigger(layers: Layers, spec: PipelineEventSpec) -> Match | Skip:
    """Find the trigger of an event's type, and what follows from it."""
    triggers = layers.triggers
    trigger = next((item for item in triggers or () if item.event is spec.event), None)
    if trigger is None and (triggers is not None or spec.event not in DEFAULT_EVENTS):
        known = ", ".join(DEFAULT_EVENTS if triggers is None else [item.event for item in triggers]) or "none"
        return _skip(Reason.NO_TRIGGER, f"no trigger for {spec.event}; there are: {known}")
    title = "default triggers" if trigger is None else f"eventTriggers[{spec.event}]"
    if trigger is not None and trigger.enabled is False:
        return _skip(Reason.TRIGGER_DISABLED, f"the trigger for {spec.event} is disabled", title)
    destinations = _destinations(layers, trigger, spec)
    if not destinations:
        return _skip(Reason.NO_PROVIDER_ENABLED, f"no destination of the trigger for {spec.event} is enabled", title)
    severity = spec.severity or (trigger.severity if trigger else None) or DEFAULT_SEVERITIES[spec.event]
    cooldown = trigger.cooldown_seconds if trigger and trigger.cooldown_seconds is not None else DEFAULT_COOLDOWN
    return Match(severity, destinations, cooldown, title)


def trigger(s: Situation) -> Decision | Situation:
    """Skip what no enabled trigger wants, and replays of nothing; pass the rest on with what its trigger says."""
    skip = not_due(s)
    if skip is not None:
        return skip
    match = match_trigger(s.resolved.layers, s.event.spec)
    if isinstance(match, Skip):
        return match
    if s.original is not None:
        match = replace(match, threads=threads(s, match))
    return s._replace(match=match)


TRIGGER = Stage(StageName.TRIGGER, trigger)


def _skip(reason: Reason, message: str, matched: str = "") -> Skip:
    return Skip(StageName.TRIGGER, reason, message, matched)


def _destinations(layers: Layers, trigger: TriggerSpec | None, spec: PipelineEventSpec) -> tuple[str, ...]:
    parts = _all_parts(layers, trigger)
    if spec.replay_of is not None and spec.replay_of.destinations is not None:
        again = spec.replay_of.destinations
        parts = [part for part in parts if part in again or part_of(part)[0] in again]
    return tuple(parts)


def _all_parts(layers: Layers, trigger: TriggerSpec | None) -> list[str]:
    """Every delivery that a trigger makes, each once."""
    named = (trigger.providers if trigger else None) or [layers.default_provider]
    parts = (part for name in named if layers.enabled(name) for part in layers.deliveries(name))
    return list(dict.fromkeys(parts))


def too_many(destinations: Collection[str], title: str) -> NotReady | None:
    """What is wrong with a plan that an event's status could not hold."""
    if len(destinations) <= MAX_DELIVERIES:
        return None
    return NotReady(
        NotReadyReason.INVALID,
        f"{title} makes {len(destinations)} deliveries of an event, each number of sms one of them: "
        f"at most {MAX_DELIVERIES} are possible",
    )


def check_plans(layers: Layers) -> None:
    """Raises NotReady when a trigger makes more deliveries than an event's status can hold."""
    for item in layers.triggers or ():
        error = too_many(_all_parts(layers, item), f"eventTriggers[{item.event}]")
        if error is not None and item.enabled is not False:
            raise error


def destinations_to_check(layers: Layers) -> list[str]:
    """Destinations that some event would use, and those that the organisation set up itself without using them yet."""
    own = layers.org.names() if layers.org is not None else ()
    return list(dict.fromkeys((*destinations_in_use(layers), *(name for name in own if _switched_on(layers, name)))))


def _switched_on(layers: Layers, name: str) -> bool:
    """Whether the organisation says itself that this destination is meant to work."""
    found = layers.destination(name)
    org = found.block.org if found is not None else None
    return org is not None and (org.raw("enabled") is True or (org.raw("enabled") is None and name not in KINDS))


def destinations_in_use(layers: Layers) -> Iterator[str]:
    """Every destination that some event could be sent to, each once."""
    triggers = layers.triggers
    lists = [[]] if triggers is None else [item.providers or [] for item in triggers if item.enabled is not False]
    for name in dict.fromkeys(name for names in lists for name in (names or [layers.default_provider])):
        if layers.enabled(name):
            yield name
