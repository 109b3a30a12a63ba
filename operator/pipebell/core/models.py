"""What users write: the specs of NotificationConfig and PipelineEvent, and the seed's JSON.

One set of models serves both spellings (camelCase in the CRDs, snake_case in JSON files), is the source of the CRD
schemas (`pipebell.core.schema`), and rejects what it does not know. Unset and null both mean unset: defaults are no
business of these models, because they apply only after an organisation's settings were merged with root's.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from pipebell.core.vocabulary import EventType, ProviderName, Severity, SmtpTls

PLACEHOLDER: Final = r"\$\{[A-Za-z_][A-Za-z0-9_]{0,127}\}"
EMAIL: Final = (
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
HOST: Final = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?"
HELO: Final = (
    r"^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
    r"|\[(IPv6:)?[0-9A-Fa-f:.]+\])$"
)
HTTPS_URL: Final = r"https://[A-Za-z0-9._:\[\]-]+([/?][!-#%-~]*)?"  # printable ASCII, no '$'
LINK_URL: Final = r"^https?://[^\x00-\x20\x7f]+$"
EMOJI: Final = r"^:[^:\x00-\x20\x7f]+:$"
SLACK_ID: Final = r"^[UWS][A-Z0-9]{1,20}$"
ORG_SLUG: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
ONE_LINE: Final = r"^[^\x00-\x1f\x7f]*$"
NAME: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
SECRET_KEY: Final = r"^[-._a-zA-Z0-9]+$"  # noqa: S105  (a rule, not a password)
RFC3339: Final = (
    r"^(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"  # Python knows no year 0
    r"-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)

MAX_ERROR_MESSAGE: Final = 32_768  # characters
DETAILS_SHOWN: Final = 16 * 1024  # bytes of UTF-8 of the details that a message shows


def _no_placeholder(value: str) -> str:
    if "${" in value:
        msg = "takes no ${VAR} placeholder: write the value itself"
        raise ValueError(msg)
    return value


def _whole_placeholder(value: str) -> str:
    """A placeholder is the whole value or none: half a URL with a hole would be sent somewhere as it is."""
    if "${" in value and not re.fullmatch(PLACEHOLDER, value):
        msg = "a ${VAR} placeholder must be the whole value: put the complete text into the variable"
        raise ValueError(msg)
    return value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _whole_number(value: object) -> object:
    """YAML's 587.0 is the number 587, as it is for the API server."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _time_with_zone(value: object) -> object:
    """A time of day without its zone means another moment on every machine."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    if not isinstance(value, str) or not re.fullmatch(RFC3339, value):
        msg = "must be a time with its zone, such as 2026-01-31T08:00:00Z"
        raise ValueError(msg)
    return value


def _each_once(value: list[ProviderName]) -> list[ProviderName]:
    for name in value:
        if value.count(name) > 1:
            raise ValueError(f"names {name} twice: keep one")
    return value


Text = Annotated[str, StringConstraints(max_length=200, pattern=ONE_LINE), AfterValidator(_no_placeholder)]
EmailAddress = Annotated[
    str,
    StringConstraints(min_length=1, max_length=320, pattern=rf"^({PLACEHOLDER}|{EMAIL})$"),
    AfterValidator(_whole_placeholder),
]
Host = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253, pattern=rf"^({PLACEHOLDER}|{HOST})$"),
    AfterValidator(_whole_placeholder),
]
WebhookUrl = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2048, pattern=rf"^({PLACEHOLDER}|{HTTPS_URL})$"),
    AfterValidator(_whole_placeholder),
]
Credential = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(_whole_placeholder)]
OrgSlug = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=ORG_SLUG)]
ObjectName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=NAME)]
AnyCaseSeverity = Annotated[Severity, BeforeValidator(_lower)]
Flag = Annotated[bool, Field(strict=True)]
Providers = Annotated[list[ProviderName], Field(max_length=16), AfterValidator(_each_once)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535), BeforeValidator(_whole_number)]
Attempts = Annotated[int, Field(strict=True, ge=1, le=100), BeforeValidator(_whole_number)]
DelaySeconds = Annotated[int, Field(strict=True, ge=0, le=86_400), BeforeValidator(_whole_number)]
ElapsedSeconds = Annotated[int, Field(strict=True, ge=0, le=604_800), BeforeValidator(_whole_number)]
CooldownSeconds = Annotated[int, Field(strict=True, ge=0, le=2_592_000), BeforeValidator(_whole_number)]
TtlSeconds = Annotated[int, Field(strict=True, ge=0, le=31_536_000), BeforeValidator(_whole_number)]
Moment = Annotated[datetime, BeforeValidator(_time_with_zone)]


class Spec(BaseModel):
    """Base of everything that users write."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class SecretRef(Spec):
    """A Secret in the configuration's own namespace."""

    name: ObjectName = Field(description="Name of the Secret.")


class SecretKeyRef(Spec):
    """One key of a Secret in the configuration's own namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=SECRET_KEY)] = Field(
        description="Key within the Secret."
    )


class EmailSpec(Spec):
    """E-mail over SMTP."""

    enabled: Flag | None = Field(None, description="Whether e-mail may be sent. Unset means yes.")
    smtp_host: Host | None = Field(
        None,
        description=(
            "SMTP server: a host name, an IP address, or exactly ${VAR}. Setting it (or any other smtp "
            "field) means a transport of your own, which inherits none of root's."
        ),
    )
    smtp_port: Port | None = Field(None, description="SMTP port; 465 means TLS from the start. Default 587.")
    smtp_username: Credential | None = Field(None, description="User name for SMTP AUTH, or exactly ${VAR}.")
    smtp_password: Credential | None = Field(
        None, description="Password for SMTP AUTH; write ${VAR} and keep the value in the Secret that secretRef names."
    )
    smtp_username_secret_ref: SecretKeyRef | None = Field(
        None, description="Key of a Secret that holds the user name; instead of smtpUsername."
    )
    smtp_password_secret_ref: SecretKeyRef | None = Field(
        None, description="Key of a Secret that holds the password; instead of smtpPassword."
    )
    smtp_use_tls: Flag | None = Field(
        None,
        description=(
            "Whether TLS is required: STARTTLS, or from the start on port 465. Default true. Not beside smtpTls."
        ),
    )
    smtp_tls: SmtpTls | None = Field(
        None,
        description=(
            "How TLS begins. Auto: from the start on port 465, else by STARTTLS; StartTls: by STARTTLS on any port; "
            "Implicit: from the start on any port (default port 465). Default: what smtpUseTls says."
        ),
    )
    smtp_helo: Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=HELO)] | None = Field(
        None,
        description="Name that EHLO gives: a host name or an address literal. Default: the connection's own address.",
    )
    from_email: EmailAddress | None = Field(
        None, description="From address, or exactly ${VAR}. On root's transport it becomes Reply-To."
    )
    from_name: Text | None = Field(None, description="Name shown beside the From address.")
    to_emails: Annotated[list[EmailAddress], Field(max_length=100)] | None = Field(
        None, description="Recipients; each an address or exactly ${VAR}. Replaces root's list as a whole."
    )
    cc_emails: Annotated[list[EmailAddress], Field(max_length=100)] | None = Field(
        None, description="Recipients in copy; each an address or exactly ${VAR}. Replaces root's list as a whole."
    )
    subject_prefix: Text | None = Field(None, description="Put before every subject, such as [CloudAct].")

    @model_validator(mode="after")
    def _one_source_each(self) -> Self:
        for field in ("smtp_username", "smtp_password"):
            if getattr(self, field) is not None and getattr(self, f"{field}_secret_ref") is not None:
                camel = to_camel(field)
                raise ValueError(f"set {camel} or {camel}SecretRef, not both")
        return self


SlackUser = Annotated[str, StringConstraints(pattern=SLACK_ID, max_length=21)]


class SlackSpec(Spec):
    """Slack through an incoming webhook."""

    enabled: Flag | None = Field(None, description="Whether Slack messages may be sent. Unset means yes.")
    webhook_url: WebhookUrl | None = Field(
        None,
        description=(
            "Incoming webhook (https), or exactly ${VAR}. It is a credential: prefer ${VAR} or webhookUrlSecretRef."
        ),
    )
    webhook_url_secret_ref: SecretKeyRef | None = Field(
        None, description="Key of a Secret that holds the webhook URL; instead of webhookUrl."
    )
    channel: (
        Annotated[str, StringConstraints(max_length=80, pattern=ONE_LINE), AfterValidator(_no_placeholder)] | None
    ) = Field(None, description="Channel override, such as #pipeline-alerts.")
    username: (
        Annotated[str, StringConstraints(max_length=80, pattern=ONE_LINE), AfterValidator(_no_placeholder)] | None
    ) = Field(None, description="Name that the message is posted under.")
    icon_emoji: (
        Annotated[str, StringConstraints(max_length=100, pattern=EMOJI), AfterValidator(_no_placeholder)] | None
    ) = Field(None, description="Emoji shown as the icon, such as :robot_face:.")
    mention_users: Annotated[list[SlackUser], Field(max_length=50)] | None = Field(
        None, description="IDs of users (U…, W…) or user groups (S…) to mention."
    )
    mention_channel: Flag | None = Field(None, description="Whether to mention the whole channel.")
    mention_min_severity: AnyCaseSeverity | None = Field(
        None, description="Mention only from this severity on. Default critical."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.webhook_url is not None and self.webhook_url_secret_ref is not None:
            msg = "set webhookUrl or webhookUrlSecretRef, not both"
            raise ValueError(msg)
        return self


class TriggerSpec(Spec):
    """What to do about one type of event."""

    event: EventType = Field(description="The type of event.")
    enabled: Flag | None = Field(None, description="Whether such events notify. Default true.")
    severity: AnyCaseSeverity | None = Field(
        None, description="Severity of such events unless the event says its own. Default: the type's."
    )
    providers: Providers | None = Field(None, description="Where to send such events. Default: defaultProvider.")
    cooldown_seconds: CooldownSeconds | None = Field(
        None,
        description=(
            "After one notification, hold back further ones of this type for so many seconds; 0 for never. Default 300."
        ),
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


class LabelRequirement(Spec):
    """One requirement of a label selector."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=317)] = Field(description="Label key.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="How key and values relate.")
    values: Annotated[list[Annotated[str, StringConstraints(max_length=63)]], Field(max_length=50)] | None = Field(
        None, description="Values for In and NotIn; none for Exists and DoesNotExist."
    )


class LabelSelector(Spec):
    """A label selector as everywhere in Kubernetes; all requirements must hold."""

    match_labels: (
        Annotated[
            dict[Annotated[str, StringConstraints(max_length=317)], Annotated[str, StringConstraints(max_length=63)]],
            Field(max_length=50),
        ]
        | None
    ) = Field(None, description="Labels that must have exactly these values.")
    match_expressions: Annotated[list[LabelRequirement], Field(max_length=50)] | None = Field(
        None, description="Requirements on labels."
    )


class EventNamespaces(Spec):
    """Which namespaces' events may use a configuration."""

    from_: Literal["Same", "All", "Selector"] = Field(
        alias="from",
        description="Same: the configuration's own; All: every namespace; Selector: those that selector matches.",
    )
    selector: LabelSelector | None = Field(None, description="Labels of the namespaces; for from: Selector.")

    @model_validator(mode="after")
    def _selector_goes_with_from(self) -> Self:
        if (self.from_ == "Selector") != (self.selector is not None):
            msg = "selector goes with from: Selector, and only with it"
            raise ValueError(msg)
        return self


class NotificationSpec(Spec):
    """Whom to tell, and how: the seed's notification configuration, and NotificationConfig's spec."""

    org_slug: OrgSlug | None = Field(None, description="The organisation whose events use this configuration.")
    enabled: Flag | None = Field(
        None,
        description=(
            "Whether this organisation is notified at all; false also bars the fallback to root. Unset means yes."
        ),
    )
    default_provider: ProviderName | None = Field(
        None, description="Provider of triggers that name none. Default email."
    )
    email: EmailSpec | None = Field(None, description="E-mail settings; what is unset comes from root.")
    slack: SlackSpec | None = Field(None, description="Slack settings; what is unset comes from root.")
    event_triggers: Annotated[list[TriggerSpec], Field(max_length=7)] | None = Field(
        None,
        description=(
            "Which events notify. Replaces root's list as a whole; without any, pipeline_failure, "
            "data_quality_failure and system_error notify through defaultProvider."
        ),
    )
    retry_config: RetrySpec | None = Field(None, description="How failed deliveries are tried again.")
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


class NotificationConfigSpec(NotificationSpec):
    """NotificationConfig's spec: as the seed's file, but with an organisation."""

    org_slug: OrgSlug = Field(description="The organisation whose events use this configuration.")


class Link(Spec):
    """Something to click on in a notification."""

    title: Annotated[str, StringConstraints(min_length=1, max_length=200)] = Field(description="Text of the link.")
    url: Annotated[str, StringConstraints(max_length=2048, pattern=LINK_URL)] = Field(
        description="Address of the link: http or https."
    )


class ReplayOf(Spec):
    """The finished event that this one repeats."""

    name: ObjectName = Field(description="Name of the event, in the same namespace.")
    destinations: Providers | None = Field(
        None, description="Only these destinations. Default: all that the configuration names now."
    )


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
    occurred_at: Moment | None = Field(None, description="When it happened (RFC 3339). Default: creation.")
    links: Annotated[list[Link], Field(max_length=10)] | None = Field(None, description="Where to read more.")
    ttl_seconds_after_finished: TtlSeconds | None = Field(
        None, description="Delete this event so many seconds after it is finished. Default: the operator's setting."
    )
    test: Flag | None = Field(
        None, description="Marks the message as a test; a test neither obeys nor starts a cooldown."
    )
    replay_of: ReplayOf | None = Field(None, description="The finished event that this one sends again.")
