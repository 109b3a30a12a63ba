"""Whether a rule of its own applies to an event's pipeline: the first override that it meets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.core.policy.decision import Skip
from pipebell.core.policy.facts import Override
from pipebell.core.policy.situation import Situation, Stage
from pipebell.core.policy.triggers import match_trigger
from pipebell.core.vocabulary import DEFAULT_SEVERITIES, Reason, StageName

if TYPE_CHECKING:
    from pipebell.core.event import PipelineEventSpec
    from pipebell.core.layers import Layers
    from pipebell.core.policy.decision import Decision


def find_override(layers: Layers, spec: PipelineEventSpec) -> Override | None:
    """The first override that an event meets; `minSeverity` goes by what it would be without one."""
    found = layers.overrides
    if found is None:
        return None
    rules, path = found
    trigger = layers.trigger(spec.event)
    severity = spec.severity or (trigger.severity if trigger else None) or DEFAULT_SEVERITIES[spec.event]
    place = rules.first(spec, severity)
    return None if place is None else Override(rules.overrides[place], f"{path}[{place}]")


def override(s: Situation) -> Decision | Situation:
    """Skip what an override switches off; pass the rest on with the one that changes what the trigger says."""
    found = find_override(s.resolved.layers, s.event.spec)
    if found is None:
        return s
    if found.spec.enabled is False:
        event, title = s.event.spec.event, found.title
        skip = Skip(StageName.OVERRIDE, Reason.TRIGGER_DISABLED, f"{title} disables {event} of this pipeline", title)
        return s._replace(skip=s.skip or skip) if s.may_recover else skip
    return s._replace(override=found)


def changes(layers: Layers, spec: PipelineEventSpec) -> str:
    """Which override an event meets and what that changes, for people; "" when it meets none."""
    found = find_override(layers, spec)
    if found is None:
        return ""
    before, after = match_trigger(layers, spec), match_trigger(layers, spec, found)
    if found.spec.enabled is False:
        said = "enabled → false"
    elif isinstance(before, Skip) or isinstance(after, Skip):
        said = ", ".join(found.spec.effects)
    else:
        rows = (
            ("severity", before.severity.value, after.severity.value),
            ("providers", ", ".join(before.destinations), ", ".join(after.destinations)),
            ("cooldownSeconds", str(before.cooldown), str(after.cooldown)),
            ("digest", *(each.digest.words if each.digest is not None else "none" for each in (before, after))),
        )
        said = "; ".join(f"{name} {old} → {new}" for name, old, new in rows if old != new)
    return f"{found.title}: {said or 'changes nothing'}"


OVERRIDE = Stage(StageName.OVERRIDE, override)
