"""Who plays: the events of the demo, how each has to end, and how much has to arrive for it."""

from __future__ import annotations

from typing import Final, NamedTuple

from pipebell.core.vocabulary import Phase, Reason

BURST: Final = 50
BUSY: Final = 2  # times that hooli's mailbox refuses
SHORT_COOLDOWN: Final = 3  # seconds

BROKEN_FOR: Final = 1200  # seconds for which vandelay's Slack has failed when the operator meets its configuration

HOOLI_MAILBOX: Final = "on-call@hooli.example"
ADMIN_MAILBOX: Final = "admin@cloudact.example"

NO_ROOT: Final = "initech/before-root"
BY_ROOT: Final = "initech/ledger-export-failed"
FULL: Final = "globex/orders-failed"
HOSTILE: Final = "globex/orders-hostile"
TYPO: Final = "globex/orders-typo"
RETRIED: Final = "hooli/search-index-failed"
PARTIAL: Final = "vandelay/import-failed"
DISABLED: Final = "quiet/whisper-failed"
PARTIAL_FILE: Final = "acme/acme-billing-failed"
EVERYWHERE: Final = "soylent/menu-failed"
RESOLVED: Final = "soylent/menu-succeeded"
STOOD_IN: Final = "wonka/chocolate-failed"
TAKEN_BY: Final = "miles@cyberdyne.example"
OPENED: Final = "cyberdyne/upgrade-failed-1"
REPEATED: Final = ("cyberdyne/upgrade-failed-2", "cyberdyne/upgrade-failed-3")
RECOVERED: Final = "cyberdyne/upgrade-succeeded"
AFTER_BURST: Final = "stark/nightly-load-after"
BURST_EVENTS: Final = tuple(f"stark/nightly-load-{number:02}" for number in range(1, BURST + 1))


# Where soylent's failure goes, each by its own way; its success goes to the first of them.
VENDORS: Final = (
    *("pagerduty", "teams", "slack", "webhook", "discord", "googleChat"),
    *("telegram", "mattermost", "jsm", "alertmanager", "sms"),
)


class End(NamedTuple):
    """How an event has to end: phase and reason, and how many e-mails and messages of Slack's webhooks arrive."""

    phase: Phase
    reason: Reason | None = None
    mails: int = 0
    posts: int = 0


_BY_MAIL: Final = End(Phase.DELIVERED, mails=1)
_BOTH: Final = End(Phase.DELIVERED, mails=1, posts=1)
_OFF: Final = End(Phase.SKIPPED, Reason.TRIGGER_DISABLED)

# One event of the burst is Delivered and the others are Suppressed; which one that is, nobody can know before.
ENDS: Final[dict[str, End]] = {
    NO_ROOT: End(Phase.SKIPPED, Reason.NO_CONFIG),
    BY_ROOT: _BY_MAIL,
    PARTIAL_FILE: _BY_MAIL,
    "acme/acme-billing-dq-failed": _BY_MAIL,
    "acme/acme-rate-limited": _BY_MAIL,
    "acme/platform-worker-lost": _BY_MAIL,
    "acme/acme-billing-succeeded": _OFF,
    "acme/acme-billing-started": _OFF,
    "acme/acme-billing-dq-degraded": _OFF,
    DISABLED: End(Phase.SKIPPED, Reason.CONFIG_DISABLED),
    FULL: _BOTH,
    HOSTILE: _BOTH,
    "globex/orders-quality": End(Phase.DELIVERED, posts=1),
    "globex/orders-started": End(Phase.SKIPPED, Reason.NO_TRIGGER),
    RETRIED: _BY_MAIL,
    PARTIAL: End(Phase.PARTIALLY_DELIVERED, Reason.PERMANENT_ERROR, mails=1),
    EVERYWHERE: End(Phase.DELIVERED),
    RESOLVED: End(Phase.DELIVERED),
    STOOD_IN: End(Phase.DELIVERED, Reason.FAILED_OVER, mails=1),
    OPENED: _BY_MAIL,
    **dict.fromkeys(REPEATED, End(Phase.SUPPRESSED, Reason.REPEATED)),
    RECOVERED: _BY_MAIL,
    AFTER_BURST: _BY_MAIL,
}
ALL_EVENTS: Final = (*ENDS, *BURST_EVENTS)
