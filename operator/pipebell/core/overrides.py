"""Rules for some pipelines, which lie over the triggers: what they say, and which one an event meets first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

from pipebell.core.batching import DigestSpec
from pipebell.core.fields import (
    ONE_LINE,
    AnyCaseSeverity,
    CooldownSeconds,
    Destinations,
    Flag,
    Spec,
    each_once,
)
from pipebell.core.globs import GlobSet
from pipebell.core.vocabulary import EventType, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pipebell.core.event import PipelineEventSpec

_KEPT: Final = 512  # pipelines whose rules are remembered, for each configuration
_LONGEST_KEPT: Final = 128  # characters of their names

_Pattern = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=ONE_LINE)]


class OverrideSpec(Spec):
    """What to do about events of some pipelines. All conditions must hold; what is unset is the trigger's."""

    pipelines: Annotated[list[_Pattern], Field(min_length=1, max_length=8)] = Field(
        description="Which pipelines: names, in which * stands for any characters and ? for one; one must match."
    )
    events: Annotated[list[EventType], Field(min_length=1, max_length=16), AfterValidator(each_once)] | None = Field(
        None, description="Only these types of events. Default: all."
    )
    owner: _Pattern | None = Field(None, description="Only events with such an owner, with * and ?.")
    labels: Annotated[dict[Annotated[str, StringConstraints(max_length=63)], _Pattern], Field(max_length=16)] | None = (
        Field(None, description="Only events that have all these labels, with such values; with * and ?.")
    )
    min_severity: AnyCaseSeverity | None = Field(
        None, description="Only events that are at least so bad before this rule changes anything."
    )
    enabled: Flag | None = Field(None, description="Whether such events notify. Default: what the trigger says.")
    severity: AnyCaseSeverity | None = Field(
        None, description="Severity of such events, whatever they say themselves. Default: theirs, else the trigger's."
    )
    providers: Destinations | None = Field(
        None,
        description=(
            "Destinations of such events, instead of the trigger's; also of types that have no trigger. "
            "Empty means defaultProvider."
        ),
    )
    cooldown_seconds: CooldownSeconds | None = Field(
        None,
        description=(
            "Seconds after one notification of the type in which such events are suppressed; 0 for none. "
            "Default: the trigger's."
        ),
    )

    digest: DigestSpec | None = Field(
        None, description="How such events are told together, instead of the trigger's digest; enabled: false for not."
    )

    @property
    def effects(self) -> tuple[str, ...]:
        """The fields that change something, as they are written."""
        return tuple(
            info.alias or name
            for name, info in type(self).model_fields.items()
            if name not in _CONDITIONS and getattr(self, name) is not None
        )


_CONDITIONS: Final = ("pipelines", "events", "owner", "labels", "min_severity")


class OverrideRules:
    """Overrides, ready to be looked up in. Rules are bits, the first one's the lowest."""

    def __init__(self, overrides: Sequence[OverrideSpec]) -> None:
        self.overrides = overrides
        self._pipelines = GlobSet(item.pipelines for item in overrides)
        self._known: dict[str, int] = {}
        self._by_event = {
            kind: _where(overrides, lambda item, kind=kind: item.events is None or kind in item.events)  # type: ignore[misc]
            for kind in EventType
        }
        self._by_severity = {
            severity: _where(
                overrides,
                lambda item, rank=severity.rank: item.min_severity is None or item.min_severity.rank <= rank,  # type: ignore[misc]
            )
            for severity in Severity
        }
        self._any_owner = _where(overrides, lambda item: item.owner is None)
        self._owners = GlobSet([item.owner] if item.owner else [] for item in overrides)
        keys = dict.fromkeys(key for item in overrides for key in item.labels or ())
        self._labels = {
            key: (
                _where(overrides, lambda item, key=key: key not in (item.labels or {})),  # type: ignore[misc]
                GlobSet([item.labels[key]] if item.labels and key in item.labels else [] for item in overrides),
            )
            for key in keys
        }

    def first(self, spec: PipelineEventSpec, severity: Severity) -> int | None:
        """The place of the first override that an event of this severity meets; None when it meets none."""
        left = self._of(spec.pipeline_id or "") & self._by_event[spec.event] & self._by_severity[severity]
        if left & ~self._any_owner:
            left &= self._any_owner | (self._owners.hits(spec.owner) if spec.owner else 0)
        for key, (indifferent, values) in self._labels.items():
            if not left & ~indifferent:
                continue
            value = (spec.labels or {}).get(key)
            left &= indifferent | (values.hits(value) if value is not None else 0)
        return (left & -left).bit_length() - 1 if left else None

    def _of(self, pipeline: str) -> int:
        """The rules for a pipeline, whatever else they ask for."""
        found = self._known.get(pipeline)
        if found is None:
            found = self._pipelines.hits(pipeline)
            if len(pipeline) <= _LONGEST_KEPT:
                if len(self._known) >= _KEPT:
                    self._known.clear()
                self._known[pipeline] = found
        return found


def _where(overrides: Iterable[OverrideSpec], holds: Callable[[OverrideSpec], bool]) -> int:
    return sum(1 << place for place, item in enumerate(overrides) if holds(item))
