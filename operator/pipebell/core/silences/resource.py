"""A Silence: what its author writes, what the operator writes on it, and how the engine sees it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from pipebell.core.fields import ONE_LINE, AnyCaseSeverity, Moment, OrgSlug, Spec, each_once, pattern
from pipebell.core.globs import GlobSet
from pipebell.core.status import StatusModel, Time
from pipebell.core.vocabulary import CatchUpMode, EventType, Severity, SilencePhase

if TYPE_CHECKING:
    from datetime import datetime

    from pipebell.core.event import Event

_FARTHEST: Final = 253_402_214_400.0  # the last day of the year 9999
NO_TIME_LEFT: Final = "endsAt is not later than startsAt: a silence ends after it begins"
_SAID: Final = pattern(
    r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$",
    "must say in one line why nobody is told, such as 'migration of the warehouse'",
)
_Pipeline = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=ONE_LINE)]
_Label = Annotated[str, StringConstraints(max_length=256, pattern=ONE_LINE)]


class SilenceSpec(Spec):
    """Which events are held back, until when, and why. What is unset does not matter."""

    org_slug: OrgSlug | None = Field(None, description="Only events of this organisation. Default: of every one.")
    pipelines: Annotated[list[_Pipeline], Field(min_length=1, max_length=32)] | None = Field(
        None, description="Only events of these pipelines; * stands for any characters, ? for one. Default: of all."
    )
    events: Annotated[list[EventType], Field(min_length=1, max_length=16), AfterValidator(each_once)] | None = Field(
        None, description="Only events of these types. Default: of all."
    )
    labels: (
        Annotated[
            dict[Annotated[str, StringConstraints(max_length=63)], _Label],
            Field(max_length=16),
        ]
        | None
    ) = Field(None, description="Only events with all these labels; in values, * stands for any characters, ? for one.")
    max_severity: AnyCaseSeverity | None = Field(
        None, description="Only events up to this severity; more severe ones are told. Default: all."
    )
    starts_at: Moment | None = Field(None, description="When it begins (RFC 3339). Default: at once.")
    ends_at: Moment = Field(description="When it ends (RFC 3339); deleting it ends it at once.")
    reason: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=_SAID)] = Field(
        description="Why nobody is told; it stands on the events that are held back."
    )
    ticket: Annotated[str, StringConstraints(max_length=256, pattern=ONE_LINE)] | None = Field(
        None, description="Where more of it is written: a ticket's number or address."
    )
    catch_up: CatchUpMode | None = Field(
        None,
        description=(
            "What is told when it is over: nothing, a summary of what was held back, or what still fails. "
            "Default: StillFailing."
        ),
    )

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> Self:
        if self.starts_at is not None and self.ends_at <= self.starts_at:
            raise ValueError(NO_TIME_LEFT)
        return self


class SilenceStatus(StatusModel):
    """Silence's status."""

    phase: SilencePhase | None = Field(None, description="Whether it holds events back now.")
    matched: int | None = Field(None, description="Events held back so far; bookkeeping for people.")
    last_match: Time | None = Field(None, description="When the last one was held back; bookkeeping for people.")


def _seconds(moment: datetime) -> float:
    """Since the epoch; of a year that times cannot be written in, in its zone or ours, as far as they can."""
    return min(max(moment.timestamp(), 0.0), _FARTHEST)


@dataclass(frozen=True)
class Silence:
    """A Silence as the engine holds it. `created` is seconds since the epoch.

    `platform`: it is the platform team's, of the operator's own namespace, and concerns events of every namespace.
    """

    namespace: str
    name: str
    uid: str
    resource_version: str
    created: float
    spec: SilenceSpec
    status: SilenceStatus
    platform: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return (self.namespace, self.name)

    @property
    def by(self) -> str:
        """What events that it holds back call it."""
        return f"platform/{self.name}" if self.platform else f"silence/{self.name}"

    @property
    def mode(self) -> CatchUpMode:
        """What the catch-up says."""
        return self.spec.catch_up or CatchUpMode.STILL_FAILING

    @property
    def starts(self) -> float:
        """When it begins (seconds since the epoch)."""
        return _seconds(self.spec.starts_at) if self.spec.starts_at is not None else self.created

    @property
    def ends(self) -> float:
        """When it ends (seconds since the epoch)."""
        return _seconds(self.spec.ends_at)

    def phase(self, now: float) -> SilencePhase:
        """Where it stands at `now` (seconds since the epoch)."""
        if now >= self.ends:
            return SilencePhase.EXPIRED
        return SilencePhase.PENDING if now < self.starts else SilencePhase.ACTIVE

    def concerns(self, event: Event, severity: Severity) -> bool:
        """Whether it means such events, whenever they come."""
        spec, of_event = self.spec, event.spec
        if not self.platform and self.namespace != event.namespace:
            return False
        if spec.org_slug is not None and spec.org_slug != of_event.org_slug:
            return False
        if spec.events is not None and of_event.event not in spec.events:
            return False
        if spec.max_severity is not None and severity.rank > spec.max_severity.rank:
            return False
        labels = of_event.labels or {}
        if not all(key in labels and globs.hits(labels[key]) for key, globs in self._labels.items()):
            return False
        return self._pipelines is None or self._pipelines.hits(of_event.pipeline_id or "") != 0

    @cached_property
    def _pipelines(self) -> GlobSet | None:
        return GlobSet([self.spec.pipelines]) if self.spec.pipelines is not None else None

    @cached_property
    def _labels(self) -> dict[str, GlobSet]:
        return {key: GlobSet([[value]]) for key, value in (self.spec.labels or {}).items()}
