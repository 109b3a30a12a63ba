"""`incidents` in configurations: when failures with one cause notify, and what follows."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from pipebell.core.fields import CooldownSeconds, DestinationRef, Flag, Spec, each_once, pattern, whole_number

GROUPS: Final = ("pipelineId", "event", "owner")
LABEL: Final = "label:"
_GROUP: Final = pattern(
    r"^(pipelineId|pipeline_id|event|owner|label:[^\x00-\x1f]{1,63})$",
    "must be pipelineId, event, owner or label:KEY",
)


def camel_group(value: object) -> object:
    """Names of fields are accepted in both spellings, and kept in one."""
    return "pipelineId" if value == "pipeline_id" else value


Group = Annotated[str, StringConstraints(min_length=1, max_length=69, pattern=_GROUP), AfterValidator(camel_group)]
Groups = Annotated[list[Group], Field(min_length=1, max_length=4), AfterValidator(each_once)]
Destinations = Annotated[list[DestinationRef], Field(min_length=1, max_length=16), AfterValidator(each_once)]
Seconds = CooldownSeconds
FailureCount = Annotated[int, Field(strict=True, ge=1, le=1_000), BeforeValidator(whole_number)]
StepSeconds = Annotated[int, Field(strict=True, ge=60, le=2_592_000), BeforeValidator(whole_number)]


class EscalationSpec(Spec):
    """One step of an escalation."""

    after_seconds: StepSeconds = Field(
        description="Seconds after the first message of the incident, unless it was acknowledged or resolved before."
    )
    providers: Destinations = Field(description="Destinations that are told then: kinds, or names of destinations.")
    repeat_seconds: StepSeconds | None = Field(
        None, description="Told again every so many seconds until the next step. Default: once."
    )


class FlappingSpec(Spec):
    """When failures and recoveries alternate so fast that none of them is worth a message."""

    changes: Annotated[int, Field(strict=True, ge=0, le=30), BeforeValidator(whole_number)] | None = Field(
        None, description="More changes between failing and succeeding than this are flapping; 0: never. Default 6."
    )
    within_seconds: StepSeconds | None = Field(
        None,
        description="Seconds in which so many changes happen; without a change for as long, it is over. Default 3600.",
    )


class StormSpec(Spec):
    """The limit of openings beyond which an organisation's incidents go into a digest."""

    openings: Annotated[int, Field(strict=True, ge=0, le=1_000), BeforeValidator(whole_number)] | None = Field(
        None,
        description="So many incidents are told one by one, further ones in a digest; 0: no limit. Default 10.",
    )
    within_seconds: StepSeconds | None = Field(
        None, description="Seconds in which so many may open, and after which the digest is due. Default 60."
    )


class IncidentsSpec(Spec):
    """Failures of one trouble as one incident, told once, until it recovers."""

    enabled: Flag | None = Field(
        None, description="Whether failures are joined in incidents. Default false: each type's cooldown alone counts."
    )
    group_by: Groups | None = Field(
        None,
        description=(
            "What makes failures one incident, beside namespace, organisation and class: pipelineId, event, owner, "
            "label:KEY. An event's incidentKey replaces it. Default [pipelineId]."
        ),
    )
    only_final_attempt: Flag | None = Field(
        None, description="Whether a failed attempt that is not the run's last one is not told yet. Default true."
    )
    retry_expected_seconds: Seconds | None = Field(
        None,
        description="Seconds after which a failed attempt is told although no later one has come. Default 3600.",
    )
    notify_after_failures: FailureCount | None = Field(
        None, description="Nobody is told before so many failures in a row. Default 1."
    )
    notify_after_seconds: Seconds | None = Field(
        None, description="Nobody is told before it has been failing for so many seconds. Default 0."
    )
    remind_after_seconds: Seconds | None = Field(
        None,
        description="Seconds until the first reminder, doubling up to 86400 between further ones; 0: none. "
        "Default 14400.",
    )
    notify_recovery: Flag | None = Field(
        None, description="Whether the end is told, to those who were told of the incident. Default true."
    )
    auto_resolve_after_seconds: Seconds | None = Field(
        None,
        description=(
            "Seconds after the last failure when an incident ends by itself; 0: never. Default: never for runs of "
            "pipelines, 86400 for data quality and system errors, which no success may follow."
        ),
    )
    flapping: FlappingSpec | None = Field(
        None, description="When an incident stays open, with one message, although its pipeline succeeds now and then."
    )
    storm: StormSpec | None = Field(
        None,
        description="How many incidents of the organisation in a namespace are told one by one; on call, all are.",
    )
    escalation: Annotated[list[EscalationSpec], Field(max_length=10)] | None = Field(
        None, description="Who is told of an incident that nobody acknowledges. Replaces root's list as a whole."
    )
