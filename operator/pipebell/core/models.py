"""What organisations and the platform team write: NotificationConfig's spec, and the seed's JSON.

One set of models serves both spellings (camelCase in the CRDs, snake_case in JSON files), is the source of the CRD
schemas (`pipebell.core.schema`), and rejects what it does not know. Unset and null both mean unset: defaults are no
business of these models, because they apply only after an organisation's settings were merged with root's.

`Blocks` is the list of all kinds of destinations: its typed fields register them.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import BaseModel, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from pipebell.core.batching import DigestSpec
from pipebell.core.destinations.alertmanager import ALERTMANAGER, AlertmanagerSpec
from pipebell.core.destinations.base import (
    FAILOVER,
    FAILOVER_AFTER,
    SEND_RECOVERY,
    Allow,
    DestinationSpec,
    Kind,
)
from pipebell.core.destinations.discord import DISCORD, DiscordSpec
from pipebell.core.destinations.email import EMAIL, EmailSpec
from pipebell.core.destinations.google_chat import GOOGLE_CHAT, GoogleChatSpec
from pipebell.core.destinations.jsm import JSM, JsmSpec
from pipebell.core.destinations.mattermost import MATTERMOST, MattermostSpec
from pipebell.core.destinations.pagerduty import PAGERDUTY, PagerDutySpec
from pipebell.core.destinations.slack import SLACK, SlackSpec
from pipebell.core.destinations.sms import SMS, SmsSpec
from pipebell.core.destinations.teams import TEAMS, TeamsSpec
from pipebell.core.destinations.telegram import TELEGRAM, TelegramSpec
from pipebell.core.destinations.webhook import WEBHOOK, WebhookSpec
from pipebell.core.event import PipelineEventSpec
from pipebell.core.fields import (
    DESTINATION_NAME,
    DOMAIN,
    FIELD_NAME,
    ROOT_ONLY,
    AnyCaseSeverity,
    Attempts,
    CooldownSeconds,
    DelaySeconds,
    DestinationRef,
    Destinations,
    ElapsedSeconds,
    FailoverSeconds,
    Flag,
    HourlyLimit,
    OrgSlug,
    SecretRef,
    Spec,
    referable,
    templates,
    traits,
)
from pipebell.core.incidents.spec import IncidentsSpec
from pipebell.core.overrides import OverrideRules, OverrideSpec
from pipebell.core.selectors import EventNamespaces
from pipebell.core.silences.quiet import QuietHours
from pipebell.core.template import ALL_TOGETHER, TOO_MUCH
from pipebell.core.vocabulary import EventType

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["KINDS", "NotificationConfigSpec", "NotificationSpec", "PipelineEventSpec", "RootSpec"]


class Blocks(Spec):
    """A block for each kind of destination. A new kind is one line here."""

    email: Annotated[EmailSpec | None, EMAIL] = Field(None, description="E-mail; what is unset comes from root.")
    slack: Annotated[SlackSpec | None, SLACK] = Field(None, description="Slack; what is unset comes from root.")
    pagerduty: Annotated[PagerDutySpec | None, PAGERDUTY] = Field(
        None, description="PagerDuty; what is unset comes from root."
    )
    teams: Annotated[TeamsSpec | None, TEAMS] = Field(
        None, description="Microsoft Teams; what is unset comes from root."
    )
    discord: Annotated[DiscordSpec | None, DISCORD] = Field(None, description="Discord; what is unset comes from root.")
    google_chat: Annotated[GoogleChatSpec | None, GOOGLE_CHAT] = Field(
        None, description="Google Chat; what is unset comes from root."
    )
    telegram: Annotated[TelegramSpec | None, TELEGRAM] = Field(
        None, description="Telegram; what is unset comes from root."
    )
    mattermost: Annotated[MattermostSpec | None, MATTERMOST] = Field(
        None, description="Mattermost; what is unset comes from root."
    )
    jsm: Annotated[JsmSpec | None, JSM] = Field(
        None, description="Jira Service Management Operations; what is unset comes from root."
    )
    alertmanager: Annotated[AlertmanagerSpec | None, ALERTMANAGER] = Field(
        None, description="Alertmanager; what is unset comes from root."
    )
    webhook: Annotated[WebhookSpec | None, WEBHOOK] = Field(
        None, description="An HTTPS endpoint of one's own; what is unset comes from root."
    )
    sms: Annotated[SmsSpec | None, SMS] = Field(None, description="SMS by Twilio; what is unset comes from root.")

    def block(self, kind: str) -> DestinationSpec | None:
        """The block of a kind by its name."""
        found: DestinationSpec | None = getattr(self, _FIELDS[kind])
        return found

    def templates(self) -> Iterator[tuple[str, str]]:
        """The templates of the blocks, each with its place, such as `email.htmlTemplate`."""
        for kind in KINDS:
            block = self.block(kind)
            for name in templates(type(block)) if block is not None else ():
                text = getattr(block, name)
                if text is not None:
                    yield f"{kind}.{to_camel(name)}", text


def _registered() -> dict[str, Kind]:
    kinds = {}
    for name, info in Blocks.model_fields.items():
        kind = next((mark for mark in info.metadata if isinstance(mark, Kind)), None)
        if kind is None or kind.name != (info.alias or name):
            raise TypeError(f"Blocks.{name} has to be annotated with the Kind of that name")
        if any(f"{trait.name}_secret_ref" not in kind.spec.model_fields for trait in referable(kind.spec)):
            raise TypeError(f"{kind.spec.__name__} has to be decorated with @with_references")
        kinds[kind.name] = kind
    return kinds


KINDS: Final = _registered()
_FIELDS: Final = {info.alias or name: name for name, info in Blocks.model_fields.items()}


_BESIDE: Final = tuple(trait.name for trait in traits(DestinationSpec).values() if trait.beside)


class NamedDestination(Blocks):
    """A destination with a name of its own: exactly one block."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=DESTINATION_NAME)] = Field(
        description="What lists of providers call it. It wins over a kind of the same name."
    )
    allow: Annotated[Allow | None, ROOT_ONLY] = Field(
        None, description="In the root configuration: which organisations may name this destination."
    )

    failover: Destinations | None = Field(None, description=FAILOVER)
    failover_after_seconds: FailoverSeconds | None = Field(None, description=FAILOVER_AFTER)
    send_recovery: Flag | None = Field(None, description=SEND_RECOVERY)

    @property
    def kind(self) -> str:
        """The kind of its block."""
        return next(kind for kind in KINDS if self.block(kind) is not None)

    @model_validator(mode="after")
    def _exactly_one_block(self) -> Self:
        given = [kind for kind in KINDS if self.block(kind) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of the blocks {', '.join(KINDS)}")
        return self

    @model_validator(mode="after")
    def _beside_the_block(self) -> Self:
        block = self.block(self.kind)
        for trait in traits(type(block)).values() if block is not None else ():
            if trait.beside and getattr(block, trait.name) is not None:
                raise ValueError(f"{self.kind}.{trait.camel} stands beside the block here, not in it")
        return self

    @cached_property
    def whole(self) -> DestinationSpec:
        """Its block, with what stands beside it."""
        block = self.block(self.kind)
        assert block is not None  # noqa: S101  (there is exactly one; tells mypy)
        beside = {name: value for name in _BESIDE if (value := getattr(self, name)) is not None}
        return block.model_copy(update=beside) if beside else block

    @model_validator(mode="after")
    def _shorter_lists(self) -> Self:
        block = self.block(self.kind)
        for trait in traits(type(block)).values() if block is not None else ():
            value = getattr(block, trait.name)
            if trait.nested_max is not None and value is not None and len(value) > trait.nested_max:
                raise ValueError(f"{self.kind}.{trait.camel} takes at most {trait.nested_max} items here")
        return self


class TriggerSpec(Spec):
    """What to do about one type of event."""

    event: EventType = Field(description="The type of event.")
    enabled: Flag | None = Field(None, description="Whether such events notify. Default true.")
    severity: AnyCaseSeverity | None = Field(
        None, description="Severity of such events unless the event says its own. Default: the type's."
    )
    providers: Destinations | None = Field(
        None, description="Destinations of such events: kinds, or names of destinations. Default: defaultProvider."
    )
    cooldown_seconds: CooldownSeconds | None = Field(
        None,
        description=(
            "Seconds after one notification in which further ones of this type are suppressed; 0 for none. Default 300."
        ),
    )
    digest: DigestSpec | None = Field(
        None, description="Such events are told together, later; no cooldown holds them back. Unset: each by itself."
    )


class RetrySpec(Spec):
    """How a failed delivery is tried again."""

    max_attempts: Attempts | None = Field(
        None, description="Attempts in all, the first included. Default: as many as fit into maxElapsedSeconds."
    )
    initial_delay_seconds: DelaySeconds | None = Field(
        None, description="Seconds between the first failed attempt's end and the second attempt. Default 5."
    )
    max_delay_seconds: DelaySeconds | None = Field(
        None, description="Longest delay between two attempts, in seconds. Default 300."
    )
    exponential_backoff: Flag | None = Field(
        None, description="Whether the delay doubles after each attempt. Default true."
    )
    max_elapsed_seconds: ElapsedSeconds | None = Field(
        None,
        description=(
            "No further attempt begins later than this many seconds after the first one. Default 3600 where "
            "maxAttempts is unset; where it is set, only if set too."
        ),
    )


class ChannelHealthSpec(Spec):
    """What to do about destinations that fail. Each field is inherited by itself."""

    probe: Flag | None = Field(
        None,
        description=(
            "Whether each endpoint is tried every 15 minutes without sending, where its kind has a harmless way: a "
            "login, a look at the webhook. Default false."
        ),
    )
    tell: Flag | None = Field(
        None,
        description=(
            "Whether the organisation's other destinations are told (channel_failing) when one has failed for 10 "
            "minutes, and once it works again (channel_recovered). Default false."
        ),
    )
    tell_root: Flag | None = Field(
        None,
        description=(
            "Whether that goes out through the platform's destinations where the organisation has no other one that "
            "works. Default false."
        ),
    )


class NotificationSpec(Blocks):
    """Whom to tell, and how: the seed's notification configuration, and NotificationConfig's spec."""

    org_slug: OrgSlug | None = Field(None, description="The organisation whose events use this configuration.")
    enabled: Flag | None = Field(
        None,
        description=(
            "Whether this organisation is notified at all; false also bars the fallback to root. Unset means yes."
        ),
    )
    default_provider: DestinationRef | None = Field(
        None, description="Destination of triggers that name none: a kind, or the name of a destination. Default email."
    )
    destinations: Annotated[list[NamedDestination], Field(max_length=16)] | None = Field(
        None, description="Further destinations by names of their own. Merged with root's by name."
    )
    event_triggers: Annotated[list[TriggerSpec], Field(max_length=12)] | None = Field(
        None,
        description=(
            "Which events notify. Replaces root's list as a whole; without any, pipeline_failure, "
            "data_quality_failure and system_error notify through defaultProvider."
        ),
    )
    pipeline_overrides: Annotated[list[OverrideSpec], Field(max_length=64)] | None = Field(
        None,
        description=(
            "Rules for some pipelines, over the triggers; the first one that an event meets counts. "
            "Replaces root's list as a whole."
        ),
    )
    quiet_hours: Annotated[list[QuietHours], Field(max_length=16)] | None = Field(
        None,
        description=(
            "Times of the week at which only severe events are told at once. Replaces root's list; [] for none."
        ),
    )
    retry_config: RetrySpec | None = Field(None, description="How failed deliveries are tried again.")
    max_notifications_per_hour: HourlyLimit | None = Field(
        None,
        description=(
            "Most events of a namespace's that are told in a clock hour (UTC); the rest comes in a digest at its end. "
            "Critical ones and recoveries are told always. Unset: no limit."
        ),
    )
    channel_health: ChannelHealthSpec | None = Field(
        None, description="Whether destinations are tried now and then, and who hears of one that fails."
    )
    incidents: IncidentsSpec | None = Field(
        None, description="Failures of one trouble as one incident; what is unset comes from root. Default: off."
    )
    secret_ref: SecretRef | None = Field(None, description="The Secret whose keys fill ${VAR} placeholders.")
    event_namespaces: EventNamespaces | None = Field(
        None,
        description=(
            "Which namespaces' events may use this configuration. Default: its own. Others only when the "
            "platform team listed this namespace as a shared one."
        ),
    )

    @model_validator(mode="after")
    def _one_trigger_an_event(self) -> Self:
        seen: set[EventType] = set()
        for trigger in self.event_triggers or ():
            if trigger.event in seen:
                raise ValueError(f"eventTriggers names {trigger.event} twice: keep one")
            seen.add(trigger.event)
        return self

    @model_validator(mode="after")
    def _one_destination_a_name(self) -> Self:
        names = [destination.name for destination in self.destinations or ()]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"destinations names {name} twice: keep one")
        return self

    @model_validator(mode="after")
    def _templates_together(self) -> Self:
        size = sum(len(text.encode(errors="replace")) for _, text in self.all_templates())
        if size > ALL_TOGETHER:
            raise ValueError(TOO_MUCH)
        return self

    def all_templates(self) -> Iterator[tuple[str, str]]:
        """The templates of all destinations, each with its place."""
        yield from self.templates()
        for item in self.destinations or ():
            for place, text in item.templates():
                yield f"destinations[{item.name}].{place}", text

    @cached_property
    def override_rules(self) -> OverrideRules | None:
        """The overrides, ready to be looked up in; None where none are set."""
        return OverrideRules(self.pipeline_overrides) if self.pipeline_overrides else None

    @cached_property
    def failovers(self) -> dict[str, list[str]]:
        """What stands in for each destination that this configuration says that of."""
        blocks = {kind: block for kind in KINDS if (block := self.block(kind)) is not None}
        blocks |= {item.name: item.whole for item in self.destinations or ()}
        return {name: block.failover for name, block in blocks.items() if block.failover}

    @cached_property
    def singly(self) -> bool:
        """Whether nothing in it makes digests: neither a trigger nor an hourly limit."""
        rules = (*(self.event_triggers or ()), *(self.pipeline_overrides or ()))
        restrict = self.restrict if isinstance(self, RootSpec) else None
        limited = restrict is not None and restrict.max_notifications_per_hour is not None
        return self.max_notifications_per_hour is None and not limited and all(rule.digest is None for rule in rules)

    def named(self, name: str) -> NamedDestination | None:
        """The destination of this name in `destinations`."""
        return next((item for item in self.destinations or () if item.name == name), None)


class NotificationConfigSpec(NotificationSpec):
    """NotificationConfig's spec: as the seed's file, but with an organisation."""

    org_slug: OrgSlug = Field(description="The organisation whose events use this configuration.")

    @model_validator(mode="after")
    def _nothing_of_roots(self) -> Self:
        if found := root_only(self):
            raise ValueError(f"{found[0]} has a meaning in the root configuration only: remove it")
        return self


class Restrict(Spec):
    """Limits for organisations on root's endpoints."""

    recipient_domains: (
        Annotated[list[Annotated[str, StringConstraints(max_length=253, pattern=DOMAIN)]], Field(max_length=100)] | None
    ) = Field(None, description="Domains to which root's transport sends for organisations. Unset: all.")
    org_may_set: (
        Annotated[list[Annotated[str, StringConstraints(max_length=63, pattern=FIELD_NAME)]], Field(max_length=100)]
        | None
    ) = Field(None, description="Fields that organisations may set on root's endpoints, in either spelling.")
    max_notifications_per_hour: HourlyLimit | None = Field(
        None,
        description=(
            "Most events of one namespace that root's endpoints are told in a clock hour (UTC), for each replica of "
            "the operator; the rest comes in digests at its end. The end of an incident is told always; of other "
            "events that say that something is well, as many again. Unset: no limit."
        ),
    )


class RootSpec(NotificationSpec):
    """The root configuration: as the seed's file, and limits for those who inherit from it."""

    restrict: Restrict | None = Field(None, description="Limits for organisations on root's endpoints.")


def root_only(spec: BaseModel, path: str = "") -> list[str]:
    """Paths of what stands in a configuration although it has a meaning in root's alone."""
    found = []
    for trait in traits(type(spec)).values():
        value = getattr(spec, trait.name)
        if trait.root_only and value is not None:
            found.append(f"{path}{trait.camel}")
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(item, BaseModel):
                at = f"[{index}]" if isinstance(value, list) else ""
                found += root_only(item, f"{path}{trait.camel}{at}.")
    return found
