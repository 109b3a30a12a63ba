"""Whether an event notifies at all, where to, and how often: the event triggers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipebell.core.vocabulary import DEFAULT_SEVERITIES, EventType, ProviderName, Reason, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipebell.core.layers import Layers
    from pipebell.core.models import PipelineEventSpec, TriggerSpec

DEFAULT_COOLDOWN: Final = 300
DEFAULT_EVENTS: Final = (EventType.PIPELINE_FAILURE, EventType.DATA_QUALITY_FAILURE, EventType.SYSTEM_ERROR)


@dataclass(frozen=True, slots=True)
class Match:
    """An event notifies: at this severity, through these providers, then not again for `cooldown` seconds."""

    severity: Severity
    providers: tuple[ProviderName, ...]
    cooldown: int


@dataclass(frozen=True, slots=True)
class Skip:
    """An event does not notify, and why."""

    reason: Reason
    message: str


def match_trigger(layers: Layers, spec: PipelineEventSpec) -> Match | Skip:
    """Find the trigger of an event's type, and what follows from it."""
    triggers = layers.triggers
    trigger = next((item for item in triggers or () if item.event is spec.event), None)
    if trigger is None and (triggers is not None or spec.event not in DEFAULT_EVENTS):
        known = (
            ", ".join(item.event for item in triggers)
            if triggers
            else "none"
            if triggers is not None
            else ", ".join(DEFAULT_EVENTS)
        )
        return Skip(Reason.NO_TRIGGER, f"no trigger for {spec.event}; there are: {known}")
    if trigger is not None and trigger.enabled is False:
        return Skip(Reason.TRIGGER_DISABLED, f"the trigger for {spec.event} is disabled")
    providers = _providers(layers, trigger, spec)
    if not providers:
        return Skip(Reason.NO_PROVIDER_ENABLED, f"no provider of the trigger for {spec.event} is enabled")
    severity = spec.severity or (trigger.severity if trigger else None) or DEFAULT_SEVERITIES[spec.event]
    cooldown = trigger.cooldown_seconds if trigger and trigger.cooldown_seconds is not None else DEFAULT_COOLDOWN
    return Match(severity, providers, cooldown)


def _providers(layers: Layers, trigger: TriggerSpec | None, spec: PipelineEventSpec) -> tuple[ProviderName, ...]:
    named = (trigger.providers if trigger else None) or [layers.default_provider]
    if spec.replay_of is not None and spec.replay_of.destinations is not None:
        named = [provider for provider in named if provider in spec.replay_of.destinations]
    return tuple(dict.fromkeys(provider for provider in named if layers.provider_enabled(provider)))


def providers_in_use(layers: Layers) -> Iterator[ProviderName]:
    """Every provider that some event could be sent through, each once."""
    triggers = layers.triggers
    lists = [[]] if triggers is None else [item.providers or [] for item in triggers if item.enabled is not False]
    for provider in dict.fromkeys(name for names in lists for name in (names or [layers.default_provider])):
        if layers.provider_enabled(provider):
            yield provider
