"""A PipelineEvent: what its author writes, and how the engine and the renderers see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from pipebell.core.fields import (
    LINK_URL,
    ONE_LINE,
    AnyCaseSeverity,
    Flag,
    Moment,
    ObjectName,
    OrgSlug,
    Spec,
    TtlSeconds,
    canonical,
    each_once,
    nonzero_ids,
    pattern,
    whole_number,
)
from pipebell.core.vocabulary import DEFAULT_SEVERITIES, EventType, NoticeKind

if TYPE_CHECKING:
    from pipebell.core.status import EventStatus
    from pipebell.core.vocabulary import Severity

MAX_ERROR_MESSAGE: Final = 32_768  # characters
DETAILS_SHOWN: Final = 16 * 1024  # bytes of UTF-8 of the details that a message shows

AttemptNumber = Annotated[int, Field(strict=True, ge=1, le=1_000_000), BeforeValidator(whole_number)]


class Link(Spec):
    """Something to click on in a notification."""

    title: Annotated[str, StringConstraints(min_length=1, max_length=200)] = Field(description="Text of the link.")
    url: Annotated[str, StringConstraints(max_length=2048, pattern=LINK_URL)] = Field(
        description="Address of the link: http or https."
    )


_PART: Final = pattern(
    r"^[A-Za-z0-9]([A-Za-z0-9_-]{0,38}[A-Za-z0-9])?(/[1-9][0-9]?)?$",
    "must be the name of a destination, such as email or on-call, or a part of one, such as sms/2",
)
_Part = Annotated[str, StringConstraints(min_length=1, max_length=43, pattern=_PART), BeforeValidator(canonical)]
_Parts = Annotated[list[_Part], Field(max_length=32), AfterValidator(each_once)]


_TraceParent = Annotated[
    str,
    StringConstraints(
        max_length=55,
        pattern=pattern(
            r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
            "must be a traceparent of W3C's Trace Context, such as "
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
    ),
    AfterValidator(nonzero_ids),
]


class ReplayOf(Spec):
    """The finished event that this one repeats."""

    name: ObjectName = Field(description="Name of the event, in the same namespace.")
    destinations: _Parts | None = Field(
        None,
        description=(
            "Only these destinations, or parts of one, such as sms/2. Default: all that the configuration names now."
        ),
    )


_Word = Annotated[str, StringConstraints(max_length=253)]


class Source(Spec):
    """The object that an event was made of."""

    api_version: _Word = Field(description="Its API group and version.")
    kind: _Word = Field(description="Its kind.")
    name: _Word = Field(description="Its name, in the same namespace.")
    uid: _Word | None = Field(None, description="Its uid.")


class Notice(Spec):
    """What the operator has to tell by an event of its own making; a claim that it checks against its own state."""

    kind: NoticeKind = Field(description="What it tells.")
    incident: ObjectName | None = Field(None, description="The incident that it is about.")
    step: Annotated[int, Field(strict=True, ge=0, le=1_000_000), BeforeValidator(whole_number)] | None = Field(
        None, description="Which reminder, or which step of the escalation, from 0."
    )
    destination: _Part | None = Field(
        None, description="Where a digest goes; the failing destination where it is about a channel."
    )
    due: Moment | None = Field(None, description="When it was due (RFC 3339).")
    content: dict[str, Any] | None = Field(None, description="What it tells, as it was when it was made.")


class PipelineEventSpec(Spec):
    """What happened. Immutable."""

    org_slug: OrgSlug = Field(description="The organisation that the pipeline belongs to.")
    event: EventType = Field(description="What happened.")
    severity: AnyCaseSeverity | None = Field(
        None, description="How bad it is. Default: the trigger's severity, else the type's."
    )
    pipeline_id: Annotated[str, StringConstraints(max_length=512)] | None = Field(None, description="Which pipeline.")
    pipeline_logging_id: Annotated[str, StringConstraints(max_length=512)] | None = Field(
        None, description="Which run of it: the identifier to look for in logs."
    )
    error_message: Annotated[str, StringConstraints(max_length=MAX_ERROR_MESSAGE)] | None = Field(
        None, description="What went wrong, at most 32768 characters."
    )
    details: dict[str, Any] | None = Field(
        None, description="Anything else worth telling, as a free-form object; up to 16 KiB of it are shown."
    )
    owner: Annotated[str, StringConstraints(max_length=256, pattern=ONE_LINE)] | None = Field(
        None, description="Who is responsible for the pipeline: a person, a team, an address."
    )
    labels: (
        Annotated[
            dict[Annotated[str, StringConstraints(max_length=63)], Annotated[str, StringConstraints(max_length=256)]],
            Field(max_length=32),
        ]
        | None
    ) = Field(None, description="What rules and messages may go by, such as env: prod.")
    attempt: AttemptNumber | None = Field(None, description="Which try of this run it was, from 1.")
    max_attempts: AttemptNumber | None = Field(None, description="How many tries the run has.")
    occurred_at: Moment | None = Field(None, description="When it happened (RFC 3339). Default: creation.")
    links: Annotated[list[Link], Field(max_length=10)] | None = Field(None, description="Where to read more.")
    traceparent: _TraceParent | None = Field(
        None, description="The trace that the run belongs to (W3C Trace Context); webhooks pass it on."
    )
    ttl_seconds_after_finished: TtlSeconds | None = Field(
        None, description="Seconds after its end when this event is deleted. Default: the operator's setting."
    )
    test: Flag | None = Field(
        None, description="Marks the message as a test; a test neither obeys nor starts a cooldown."
    )
    replay_of: ReplayOf | None = Field(None, description="The finished event that this one sends again.")
    incident_key: Annotated[str, StringConstraints(max_length=255, pattern=ONE_LINE)] | None = Field(
        None, description="What belongs to the same incident. Default: what the configuration's groupBy names."
    )
    source: Source | None = Field(None, description="The object that this event was made of; the operator sets it.")
    notice: Notice | None = Field(None, description="What the operator tells by this event; only it makes such events.")


@dataclass(frozen=True, slots=True)
class Event:
    """One PipelineEvent, parsed. Times are seconds since the epoch; `size` is about how many bytes it takes."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    created: float
    spec: PipelineEventSpec
    status: EventStatus
    size: int = 5_000
    stored_bytes: int = 0
    """About how many bytes the API stores for it, its status aside; 0 where it is small."""

    @property
    def severity(self) -> Severity:
        """How bad it is by itself: what it says, else its type; a trigger or an override may say otherwise."""
        return self.spec.severity or DEFAULT_SEVERITIES[self.spec.event]

    @property
    def exempt(self) -> bool:
        """Tests, replays and notices: what holds others back does not concern them, and they hold back nobody."""
        return self.spec.test is True or self.spec.replay_of is not None or self.spec.notice is not None

    @property
    def occurred(self) -> float:
        """When it happened: what the event says, else when it was created."""
        return self.created if self.spec.occurred_at is None else self.spec.occurred_at.timestamp()


class EventPage(NamedTuple):
    """A page of a list of events. `namespace` is None for a list of all; `version` is the state that the list shows."""

    namespace: str | None
    version: str
    events: list[Event]
