"""When events are sent as a digest: what a trigger or an override says of digests."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from pipebell.core import schedule
from pipebell.core.fields import (
    NO_RHYTHM,
    TWO_RHYTHMS,
    Destinations,
    DigestItems,
    DigestSeconds,
    Flag,
    Schedule,
    Spec,
    TimeZone,
)


class DigestSpec(Spec):
    """Events told together, later, in one message for each destination."""

    enabled: Flag | None = Field(None, description="Whether such events are told together. Unset means yes.")
    every_seconds: DigestSeconds | None = Field(
        None, description="Seconds after the first event when a digest goes out; at least 60. Or schedule."
    )
    schedule: Schedule | None = Field(
        None,
        description=(
            "When a digest goes out, by cron's five fields: minute, hour, day of the month, month, day of the week. "
            "Or everySeconds."
        ),
    )
    timezone: TimeZone | None = Field(None, description="Time zone of schedule, such as Europe/Berlin. Default UTC.")
    max_items: DigestItems | None = Field(
        None, description="Most events that have a line of their own; the others are counted. Default 100."
    )
    destinations: Destinations | None = Field(
        None,
        description=(
            "Only these destinations of the event get digests, the others each event at once. Default: all but those "
            "of on-call systems (pagerduty, jsm, alertmanager)."
        ),
    )

    @property
    def words(self) -> str:
        """When digests go out, for people."""
        if self.enabled is False:
            return "none"
        if self.schedule is not None:
            return schedule.words(self.schedule, self.timezone or "UTC")
        return f"{self.every_seconds} s after the first event"

    @model_validator(mode="after")
    def _one_rhythm(self) -> Self:
        if self.every_seconds is not None and self.schedule is not None:
            raise ValueError(TWO_RHYTHMS)
        if self.every_seconds is None and self.schedule is None and self.enabled is not False:
            raise ValueError(NO_RHYTHM)
        return self
