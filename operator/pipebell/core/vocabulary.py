"""The closed sets of words that users write and read: events, severities, providers, phases, reasons."""

from __future__ import annotations

from typing import Final

from pipebell.backports import StrEnum

GROUP: Final = "pipebell.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
NAME: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"  # of an object: a DNS subdomain (RFC 1123), of at most 253 characters
VERIFY: Final = f"{GROUP}/verify"  # the annotation of a NotificationConfig that asks for `status.verification`


class EventType(StrEnum):
    """What happened to a pipeline."""

    PIPELINE_FAILURE = "pipeline_failure"
    PIPELINE_SUCCESS = "pipeline_success"
    PIPELINE_STARTED = "pipeline_started"
    DATA_QUALITY_FAILURE = "data_quality_failure"
    DATA_QUALITY_WARNING = "data_quality_warning"
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"
    SYSTEM_ERROR = "system_error"
    PIPELINE_MISSING = "pipeline_missing"
    PIPELINE_LATE = "pipeline_late"
    PIPELINE_STUCK = "pipeline_stuck"
    CHANNEL_FAILING = "channel_failing"
    CHANNEL_RECOVERED = "channel_recovered"


class Severity(StrEnum):
    """How bad it is, from `info` to `critical`."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Position in the order info < warning < error < critical."""
        return _RANKS[self]


_RANKS: Final = {severity: rank for rank, severity in enumerate(Severity)}

DEFAULT_SEVERITIES: Final[dict[EventType, Severity]] = {
    EventType.PIPELINE_FAILURE: Severity.ERROR,
    EventType.PIPELINE_SUCCESS: Severity.INFO,
    EventType.PIPELINE_STARTED: Severity.INFO,
    EventType.DATA_QUALITY_FAILURE: Severity.WARNING,
    EventType.DATA_QUALITY_WARNING: Severity.WARNING,
    EventType.RATE_LIMIT_EXCEEDED: Severity.WARNING,
    EventType.SYSTEM_ERROR: Severity.CRITICAL,
    EventType.PIPELINE_MISSING: Severity.ERROR,
    EventType.PIPELINE_LATE: Severity.WARNING,
    EventType.PIPELINE_STUCK: Severity.WARNING,
    EventType.CHANNEL_FAILING: Severity.WARNING,
    EventType.CHANNEL_RECOVERED: Severity.INFO,
}


class NoticeKind(StrEnum):
    """What the operator has to tell by an event of its own making."""

    DIGEST = "Digest"
    OPENING = "Opening"
    REMINDER = "Reminder"
    ESCALATION = "Escalation"
    ACKNOWLEDGED = "Acknowledged"
    RESOLVED = "Resolved"
    STORM = "Storm"
    CATCH_UP = "CatchUp"
    CHANNEL = "Channel"


class SmtpTls(StrEnum):
    """How TLS begins on an SMTP connection."""

    AUTO = "Auto"
    STARTTLS = "StartTls"
    IMPLICIT = "Implicit"


class Phase(StrEnum):
    """Where an event, or one of its deliveries, stands."""

    PENDING = "Pending"
    DELIVERING = "Delivering"
    DELIVERED = "Delivered"
    PARTIALLY_DELIVERED = "PartiallyDelivered"
    SUPPRESSED = "Suppressed"
    SKIPPED = "Skipped"
    FAILED = "Failed"

    @property
    def final(self) -> bool:
        """Whether nothing more happens to an event in this phase."""
        return self not in (Phase.PENDING, Phase.DELIVERING)


FINAL_PHASES: Final = tuple(phase for phase in Phase if phase.final)


class Reason(StrEnum):
    """Why an event is in its phase."""

    CONFIG_NOT_READY = "ConfigNotReady"
    WAITING_FOR_SENDER = "WaitingForSender"
    RATE_LIMITED = "RateLimited"
    RETRYING = "Retrying"
    NO_CONFIG = "NoConfig"
    CONFIG_DISABLED = "ConfigDisabled"
    NO_TRIGGER = "NoTrigger"
    TRIGGER_DISABLED = "TriggerDisabled"
    NO_PROVIDER_ENABLED = "NoProviderEnabled"
    EXPIRED = "Expired"
    NOT_DUE = "NotDue"
    COOLDOWN = "Cooldown"
    BATCHED = "Batched"
    SILENCED = "Silenced"
    QUIET_HOURS = "QuietHours"
    REPEATED = "Repeated"
    RETRY_EXPECTED = "RetryExpected"
    BELOW_THRESHOLD = "BelowThreshold"
    FLAPPING = "Flapping"
    SUPERSEDED = "Superseded"
    FAILED_OVER = "FailedOver"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    PERMANENT_ERROR = "PermanentError"
    CONFIG_CHANGED = "ConfigChanged"
    TOO_LARGE = "TooLarge"
    INTERNAL_ERROR = "InternalError"


class SilencePhase(StrEnum):
    """Whether a silence holds events back."""

    PENDING = "Pending"
    ACTIVE = "Active"
    EXPIRED = "Expired"


class CatchUpMode(StrEnum):
    """What a catch-up says of the events that were held back."""

    NONE = "None"
    SUMMARY = "Summary"
    STILL_FAILING = "StillFailing"


class IncidentAction(StrEnum):
    """What an event did to its incident, or reports of it."""

    OPENED = "Opened"
    COUNTED = "Counted"
    WORSENED = "Worsened"
    REMINDED = "Reminded"
    RECOVERED = "Recovered"
    ESCALATED = "Escalated"
    ACKNOWLEDGED = "Acknowledged"


class StageName(StrEnum):
    """The stages of deciding what becomes of an event, in their order (`pipebell.core.policy`)."""

    EXPIRED = "expired"
    CONFIGURED = "configured"
    OVERRIDE = "override"
    TRIGGER = "trigger"
    RETRY_EXPECTED = "retryExpected"
    INCIDENT = "incident"
    SILENCE = "silence"
    QUIET_HOURS = "quietHours"
    REPEATED = "repeated"
    COOLDOWN = "cooldown"
    DIGEST = "digest"
    BUDGET = "budget"
    DELIVER = "deliver"


class NotReadyReason(StrEnum):
    """Why a configuration cannot be used (reasons of the condition `Ready`)."""

    INVALID = "Invalid"
    INCOMPLETE = "Incomplete"
    MISSING_SECRET = "MissingSecret"  # noqa: S105  (a reason, not a password)
    MISSING_VARIABLE = "MissingVariable"
    HOST_NOT_ALLOWED = "HostNotAllowed"
    CONFLICT = "Conflict"
    UNKNOWN_DESTINATION = "UnknownDestination"
    NOT_PERMITTED = "NotPermitted"
