"""An Incident: one per opening of a key; what people may say of it (spec), and what the operator knows of it (status).

Nobody but the operator creates one. Of its spec, people set `acknowledgement`, `resolution` and `snoozedUntil`; all
else is what the incident is about and never changes (`pipebell.core.cel.INCIDENT`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from pipebell.backports import StrEnum
from pipebell.core.fields import ONE_LINE, Moment, ObjectName, OrgSlug, Spec
from pipebell.core.status import Condition, Message, StatusModel, Time, Word
from pipebell.core.vocabulary import Severity

MAX_KEY: Final = 1024  # characters; whoever makes a longer one shortens it
MAX_CHANGES: Final = 32
MAX_NOTE: Final = 1024  # characters


class IncidentClass(StrEnum):
    """What kind of thing is wrong: incidents of different classes never end each other."""

    RUN = "Run"
    DATA_QUALITY = "DataQuality"
    SYSTEM = "System"


class IncidentPhase(StrEnum):
    """Where an incident stands."""

    PENDING = "Pending"
    OPEN = "Open"
    ACKNOWLEDGED = "Acknowledged"
    RESOLVED = "Resolved"


By = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=ONE_LINE)]
Note = Annotated[str, StringConstraints(max_length=MAX_NOTE)]


class Acknowledgement(Spec):
    """Somebody works on it: reminders and escalation stop until it is resolved or gets worse."""

    by: By = Field(description="Who says so. What stands here is a claim: whoever may patch the incident may write it.")
    note: Note | None = Field(None, description="What is known, or being done; shown beside the name.")


class Resolution(Spec):
    """Somebody says that it is over."""

    by: By = Field(description="Who says so. What stands here is a claim: whoever may patch the incident may write it.")
    note: Note | None = Field(None, description="What it was; shown beside the name.")


class IncidentSpec(Spec):
    """What is wrong, and what people say of it. Only acknowledgement, resolution and snoozedUntil may be changed."""

    org_slug: OrgSlug = Field(description="The organisation that the pipeline belongs to.")
    key: Annotated[str, StringConstraints(min_length=1, max_length=MAX_KEY)] = Field(
        description="What its events have in common, as the configuration groups them."
    )
    incident_class: IncidentClass = Field(alias="class", description="What kind of thing is wrong.")
    pipeline_id: Annotated[str, StringConstraints(max_length=512)] | None = Field(
        None, description="Which pipeline; absent when the incident is of several."
    )
    opened_by: ObjectName = Field(description="The event that it began with, in the same namespace.")
    acknowledgement: Acknowledgement | None = Field(
        None,
        description=(
            "Somebody works on it: no reminder and no escalation until it is resolved or gets worse. Taking it away "
            "lets them go on where they stopped."
        ),
    )
    resolution: Resolution | None = Field(
        None,
        description=(
            "Somebody says that it is over: nobody is told any more, and alerts on call are closed. It cannot be taken "
            "back; the next failure opens a new incident."
        ),
    )
    snoozed_until: Moment | None = Field(
        None, description="No reminder and no escalation before this time (RFC 3339); they go on then if it is open."
    )


class IncidentNotification(StatusModel):
    """A destination that was told of it."""

    destination: Word = Field(description="The name of the destination; the key of this list.")
    provider: Word | None = Field(None, description="The kind of destination.")
    endpoint: Annotated[str, StringConstraints(max_length=12)] | None = Field(
        None,
        description="Tells whether it is still the same endpoint: part of a keyed hash, from which nothing is read.",
    )
    handle: Annotated[str, StringConstraints(max_length=512)] | None = Field(
        None, description="What a later message needs to continue the first one's thread, or to change it."
    )
    last_action: Word | None = Field(None, description="What it was told last.")
    last_time: Time | None = Field(None, description="When that was.")


_Changes = Annotated[list[Time], Field(max_length=MAX_CHANGES)]


class IncidentStatus(StatusModel):
    """Incident's status."""

    phase: IncidentPhase | None = Field(None, description="Where it stands.")
    severity: Severity | None = Field(None, description="The highest severity that was told of it.")
    failures: int = Field(0, description="Failures counted so far.")
    first_failure_time: Time | None = Field(None, description="When it began.")
    opened_time: Time | None = Field(None, description="When the first destination was told.")
    last_failure_time: Time | None = Field(None, description="When it was last seen.")
    first_error: Message | None = Field(None, description="Error of the first failure: often the cause of the others.")
    last_error: Message | None = Field(None, description="Error of the last failure.")
    last_event: Annotated[str, StringConstraints(max_length=253)] | None = Field(
        None, description="The last event that counted, in the same namespace."
    )
    acknowledged_time: Time | None = Field(None, description="When it was acknowledged.")
    acknowledged_by: Annotated[str, StringConstraints(max_length=256)] | None = Field(
        None, description="Who acknowledged it."
    )
    next_opening_time: Time | None = Field(
        None, description="When it is told at the latest, while it is pending and nobody was."
    )
    reminders: int = Field(0, description="Reminders made so far.")
    next_reminder_time: Time | None = Field(None, description="When the next reminder is due.")
    escalation_step: int = Field(0, description="Steps of the escalation taken so far.")
    next_escalation_time: Time | None = Field(None, description="When the next step of the escalation is due.")
    changes: _Changes | None = Field(
        None, description="Times at which it failed or recovered of late: what flapping is told by."
    )
    notifications: Annotated[list[IncidentNotification], Field(max_length=32)] | None = Field(
        None,
        description="Who was told, and so is told of reminders and of its end.",
        json_schema_extra={"listMapKeys": ["destination"]},
    )
    failed_over: Annotated[list[Word], Field(max_length=32)] | None = Field(
        None, description="Who was not told because a failover destination was, and counts as told."
    )
    resolved_time: Time | None = Field(None, description="When it ended.")
    resolved_by: Annotated[str, StringConstraints(max_length=320)] | None = Field(
        None, description="What ended it: an event, a person, or a rule of the configuration."
    )
    duration_seconds: int | None = Field(None, description="Seconds from the first failure to its end.")
    conditions: Annotated[list[Condition], Field(max_length=8)] | None = Field(
        None, description="Conditions.", json_schema_extra={"listMapKeys": ["type"]}
    )
    observed_generation: int | None = Field(None, description="The generation of spec that this is about.")

    @property
    def resolved(self) -> bool:
        """Whether it is over."""
        return self.phase is IncidentPhase.RESOLVED


@dataclass(frozen=True, slots=True)
class Incident:
    """One Incident, parsed. `created` is seconds since the epoch."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    created: float
    spec: IncidentSpec
    status: IncidentStatus
