"""What Pipebell writes on its resources."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from pipebell.core.vocabulary import CatchUpMode, EventType, IncidentAction, Phase, Reason, Severity, StageName

Message = Annotated[str, StringConstraints(max_length=1024)]
Time = Annotated[str, StringConstraints(max_length=40), Field(json_schema_extra={"format": "date-time"})]
Token = Annotated[str, StringConstraints(max_length=253)]
Word = Annotated[str, StringConstraints(max_length=64)]


_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # seconds since the epoch

HOUR: Final = 3600.0  # seconds


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, to the millisecond (rounded half up).

    What lies before the year 1 or after 9999, as a time there in another zone may, is the first or last second of them.
    """
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    whole = min(max(whole, _FIRST), _LAST)
    return f"{_to_the_second(whole)}.{thousandths:03d}Z"


@lru_cache(maxsize=16)  # under load, many events have the same second
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def epoch(text: str) -> float:
    """RFC 3339 as seconds since the epoch. Raises ValueError on anything else."""
    return datetime.fromisoformat(text).timestamp()


def clip(text: str, limit: int = 1024) -> str:
    """At most `limit` characters, with a visible mark where text was cut off."""
    return text if len(text) <= limit else text[: limit - 2] + " …"


class StatusModel(BaseModel):
    """Base of everything that Pipebell writes. Unknown fields are ignored: another version may have written them."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Condition(StatusModel):
    """A condition as everywhere in Kubernetes."""

    type: Word = Field(description="Which condition.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: Word = Field(description="Why, as one word for machines.")
    message: Message = Field("", description="Why, for people.")
    last_transition_time: Time = Field(description="When status last changed.")
    observed_generation: int | None = Field(None, description="The generation of spec that this is about.")


class ConfigReference(StatusModel):
    """The configuration that an event used."""

    kind: Literal["NotificationConfig", "RootConfig"] = Field(
        description="An organisation's own or the root ConfigMap."
    )
    namespace: Annotated[str, StringConstraints(max_length=63)] = Field(description="Its namespace.")
    name: Annotated[str, StringConstraints(max_length=253)] = Field(description="Its name.")
    generation: int | None = Field(None, description="Its generation when it was used.")


class Delivery(StatusModel):
    """One destination's delivery."""

    provider: Word | None = Field(None, description="The kind of destination; absent while its name is unknown.")
    destination: Word = Field(description="The name of the destination; the key of this list.")
    recipients: Annotated[str, StringConstraints(max_length=200)] | None = Field(
        None, description="Who is told there: addresses, a channel; those of the root configuration by number only."
    )
    phase: Phase = Field(description="Where it stands.")
    attempts: int = Field(0, description="Attempts made so far.")
    first_attempt_time: Time | None = Field(
        None, description="When the first counted attempt began: maxElapsedSeconds runs from here."
    )
    last_attempt_time: Time | None = Field(None, description="When the last attempt began, counted or not.")
    delivered_time: Time | None = Field(None, description="When the provider accepted it.")
    next_attempt_time: Time | None = Field(None, description="Not tried again before.")
    message_id: Annotated[str, StringConstraints(max_length=320)] | None = Field(
        None, description="The e-mail's Message-ID."
    )
    handle: Annotated[str, StringConstraints(max_length=512)] | None = Field(
        None, description="What a later message needs to continue this one's thread, or to change it."
    )
    reason: Word | None = Field(None, description="Why it stands there, as one word for machines.")
    message: Message | None = Field(None, description="Why it stands there, for people.")
    retry_recipients: (
        Annotated[list[Annotated[str, StringConstraints(max_length=320)]], Field(max_length=200)] | None
    ) = Field(None, description="Recipients that are not served yet: the only ones that the next attempt addresses.")
    refused_recipients: (
        Annotated[list[Annotated[str, StringConstraints(max_length=320)]], Field(max_length=200)] | None
    ) = Field(None, description="Recipients that were not served: refused for good, or until the last attempt.")
    refusals: int | None = Field(
        None,
        description=(
            "How often a busy endpoint refused this message while it took others; from the fifth time on that counts "
            "as an attempt."
        ),
    )
    unanswered: bool | None = Field(
        None, description="An attempt's answer never came: the message may have arrived all the same."
    )
    first_due_time: Time | None = Field(
        None,
        description=(
            "When the first attempt began that did not deliver it, or when it was first held, because the endpoint was "
            "busy or the destination not ready: failoverAfterSeconds runs from here."
        ),
    )
    failover_for: Word | None = Field(None, description="The destination of this list that this one stands in for.")
    failover_to: Annotated[list[Word], Field(max_length=32)] | None = Field(
        None, description="The destinations of this list that stand in for this one."
    )
    template_fallback: Message | None = Field(
        None, description="Which of the destination's templates could not be used, and why: built-in texts stood in."
    )

    @property
    def leads_on(self) -> str | None:
        """What a later message needs to follow this one; an e-mail's is its Message-ID. None where nothing arrived."""
        return (self.handle or self.message_id) if self.delivered_time else None


class DecisionRecord(StatusModel):
    """Which rule decided last."""

    stage: StageName = Field(description="The stage that decided: the first one that did not pass the event on.")
    matched: Annotated[str, StringConstraints(max_length=320)] | None = Field(
        None, description="What it went by: a configuration, a trigger, or the event that stands for this one."
    )


class CatchUpRecord(StatusModel):
    """What holds an event back, and what is told of it afterwards."""

    by: Annotated[str, StringConstraints(max_length=320)] = Field(
        description="What holds it back: silence/NAME, platform/NAME (of the platform's namespace) or quietHours."
    )
    mode: CatchUpMode = Field(description="What is told afterwards, where the silence itself is gone by then.")
    due: Time = Field(description="When it is told, where the silence itself does not say another time by then.")


class IncidentRecord(StatusModel):
    """What an event did to its incident."""

    name: Annotated[str, StringConstraints(max_length=253)] = Field(description="The Incident, in the same namespace.")
    action: IncidentAction | None = Field(
        None, description="What the event did to it, or told of it; absent while the run's next attempt is expected."
    )
    failures: int = Field(0, description="Which failure of it this was; of what is none, how many there were.")


class BatchRecord(StatusModel):
    """What waits for a digest."""

    destination: Word = Field(description="The destination that is told later; the key of this list.")
    digest: Annotated[str, StringConstraints(max_length=253)] = Field(
        description="The event, in the same namespace, that will tell of it."
    )
    due: Time = Field(description="When that is made.")


class EventStatus(StatusModel):
    """PipelineEvent's status."""

    phase: Phase | None = Field(None, description="Where the event stands.")
    reason: Reason | None = Field(None, description="Why it stands there.")
    message: Message | None = Field(None, description="The same for people.")
    severity: Severity | None = Field(None, description="The severity that the notification carries.")
    config_ref: ConfigReference | None = Field(None, description="The configuration that was used.")
    decision: DecisionRecord | None = Field(None, description="Which rule decided; `pipebell why` explains it.")
    incident: IncidentRecord | None = Field(
        None, description="The incident that it belongs to, where incidents are on."
    )
    deliveries: Annotated[list[Delivery], Field(max_length=32)] | None = Field(
        None, description="One entry per destination.", json_schema_extra={"listMapKeys": ["destination"]}
    )
    batch: Annotated[list[BatchRecord], Field(max_length=32)] | None = Field(
        None,
        description="Destinations that are told of this later, together with others.",
        json_schema_extra={"listMapKeys": ["destination"]},
    )
    suppressed_until: Time | None = Field(None, description="When what suppressed it ends.")
    suppressed_by: Annotated[str, StringConstraints(max_length=320)] | None = Field(
        None,
        description="The event of the same namespace whose notification stands for this one.",
    )
    catch_up: CatchUpRecord | None = Field(
        None, description="Of what a silence or quiet hours held back: what is told of it afterwards, and when."
    )
    suppressed_count: int | None = Field(
        None, description="How many earlier events, suppressed since the last notification, this one speaks for."
    )
    completion_time: Time | None = Field(None, description="When the final phase was reached.")
    conditions: Annotated[list[Condition], Field(max_length=8)] | None = Field(
        None, description="Accepted and Delivered.", json_schema_extra={"listMapKeys": ["type"]}
    )
    observed_generation: int | None = Field(None, description="The generation of spec that this is about.")

    @property
    def finished(self) -> bool:
        """Whether nothing follows any more."""
        return self.phase is not None and self.phase.final


class TriggerRecord(StatusModel):
    """What a configuration's trigger did of late."""

    event: EventType = Field(description="The type of event.")
    last_sent_time: Time | None = Field(None, description="When a notification of this type last went out.")
    suppressed_since_last_sent: int = Field(0, description="Events held back by the cooldown since then.")


class LastDelivery(StatusModel):
    """The last event that a configuration served."""

    event: Annotated[str, StringConstraints(max_length=320)] = Field(description="Namespace and name of the event.")
    phase: Phase = Field(description="How it ended.")
    time: Time = Field(description="When it ended.")
    reason: Reason | None = Field(None, description="Why, when it was not delivered.")


class Counters(StatusModel):
    """Events that this configuration served since it was created, as far as the operator counted them."""

    delivered: int = Field(0, description="Events delivered in full or in part.")
    suppressed: int = Field(0, description="Events held back by a cooldown.")
    failed: int = Field(0, description="Events that failed.")


class VerifiedDestination(StatusModel):
    """What was found out about one destination."""

    name: Word = Field(description="The destination's name; the key of this list.")
    ok: bool = Field(description="Whether it would take messages, as far as that can be tried without sending one.")
    reason: Word = Field(description="What was found, as one word for machines; Verified when all is well.")
    message: Message = Field("", description="What was found, and what to do, for people.")


class Verification(StatusModel):
    """The answer to the annotation pipebell.io/verify."""

    token: Token = Field(description="The annotation's value that this answers.")
    time: Time = Field(description="When the destinations were tried; at most once a minute.")
    observed_generation: int | None = Field(None, description="The generation of spec that was tried.")
    reason: Word | None = Field(None, description="Why nothing could be tried, as one word for machines.")
    message: Message | None = Field(None, description="Why nothing could be tried, for people.")
    destinations: Annotated[list[VerifiedDestination], Field(max_length=48)] | None = Field(
        None, description="One entry per destination.", json_schema_extra={"listMapKeys": ["name"]}
    )


class DestinationStatus(StatusModel):
    """How a destination of a configuration stands."""

    name: Annotated[str, StringConstraints(max_length=63)] = Field(
        description="The name of the destination; the key of this list."
    )
    provider: Word | None = Field(None, description="The kind of destination.")
    state: Word = Field(
        description=(
            "Healthy: the last message got through. Failing: it did not. Paused: the other side is busy. "
            "Unknown: nothing was sent there since its settings changed."
        )
    )
    since: Time = Field(description="Since when it has stood like that.")
    last_success_time: Time | None = Field(None, description="When a message last got through.")
    told_time: Time | None = Field(
        None, description="When the organisation's other destinations were told that it fails."
    )
    reason: Word | None = Field(None, description="Why, as one word for machines.")
    message: Message | None = Field(None, description="Why, for people: what the other side answered last.")


class NotificationConfigStatus(StatusModel):
    """NotificationConfig's status."""

    conditions: Annotated[list[Condition], Field(max_length=8)] | None = Field(
        None,
        description=(
            "Ready; Shared when other namespaces are meant; Deliverable once anything was sent to its own endpoints."
        ),
        json_schema_extra={"listMapKeys": ["type"]},
    )
    observed_generation: int | None = Field(None, description="The generation of spec that this is about.")
    triggers: Annotated[list[TriggerRecord], Field(max_length=16)] | None = Field(
        None, description="Per type of event; bookkeeping for people.", json_schema_extra={"listMapKeys": ["event"]}
    )
    last_delivery: LastDelivery | None = Field(None, description="The last event served; bookkeeping for people.")
    counters: Counters | None = Field(None, description="Totals; bookkeeping for people.")
    verification: Verification | None = Field(
        None, description="What came of the last check that the annotation pipebell.io/verify asked for."
    )
    destinations: Annotated[list[DestinationStatus], Field(max_length=32)] | None = Field(
        None,
        description="How the destinations with an endpoint of the organisation's own stand; bookkeeping for people.",
        json_schema_extra={"listMapKeys": ["name"]},
    )
