"""Where destinations are named: every list of a configuration, by which an unknown name is reported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipebell.core.models import NotificationSpec, TriggerSpec
    from pipebell.core.overrides import OverrideSpec

ROOTS: Final = "the root configuration's "


def lists(spec: NotificationSpec) -> Iterator[tuple[str, Sequence[str]]]:
    """Every list of destinations that is set, with its place, such as `eventTriggers[system_error].providers`."""
    for path, rule in _rules(spec):
        yield f"{path}.providers", rule.providers or ()
        if rule.digest is not None:
            yield f"{path}.digest.destinations", rule.digest.destinations or ()
    for place, step in enumerate((spec.incidents and spec.incidents.escalation) or ()):
        yield f"incidents.escalation[{place}].providers", step.providers
    for name, failover in spec.failovers.items():
        yield f"{name if spec.named(name) is None else f'destinations[{name}]'}.failover", failover
    if spec.default_provider is not None:
        yield "defaultProvider", [spec.default_provider]


def _rules(spec: NotificationSpec) -> Iterator[tuple[str, TriggerSpec | OverrideSpec]]:
    for trigger in spec.event_triggers or ():
        yield f"eventTriggers[{trigger.event}]", trigger
    for place, item in enumerate(spec.pipeline_overrides or ()):
        yield f"pipelineOverrides[{place}]", item
