"""What there is to tell about a notification, in words for people and free of hostile characters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from pipebell.core.event import DETAILS_SHOWN, MAX_ERROR_MESSAGE
from pipebell.core.render.digest import view
from pipebell.core.render.text import address, clean, cut, one_line, pretty
from pipebell.core.vocabulary import EventType, NoticeKind, Severity

if TYPE_CHECKING:
    from pipebell.core.event import Event
    from pipebell.core.message import Message
    from pipebell.core.render.digest import View

REPLAY: Final = "REPLAY"  # the mark of what is sent again

_ID_LIMIT: Final = 512
_TITLE_LIMIT: Final = 200
_LABELS_LIMIT: Final = 600

TITLES: Final[dict[EventType, str]] = {
    EventType.PIPELINE_FAILURE: "Pipeline failed",
    EventType.PIPELINE_SUCCESS: "Pipeline succeeded",
    EventType.PIPELINE_STARTED: "Pipeline started",
    EventType.DATA_QUALITY_FAILURE: "Data quality checks failed",
    EventType.DATA_QUALITY_WARNING: "Data quality degraded",
    EventType.RATE_LIMIT_EXCEEDED: "Rate limit exceeded",
    EventType.SYSTEM_ERROR: "System error",
    EventType.PIPELINE_MISSING: "Pipeline did not run",
    EventType.PIPELINE_LATE: "Pipeline is late",
    EventType.PIPELINE_STUCK: "Pipeline is stuck",
    EventType.CHANNEL_FAILING: "Notification channel is failing",
    EventType.CHANNEL_RECOVERED: "Notification channel has recovered",
}


OF_NOTICES: Final[dict[NoticeKind, str]] = {
    NoticeKind.REMINDER: "Still failing",
    NoticeKind.ESCALATION: "Still failing, and nobody has acknowledged it",
    NoticeKind.ACKNOWLEDGED: "Acknowledged",
    NoticeKind.RESOLVED: "Resolved",
}


class Look(NamedTuple):
    """How a severity looks: an emoji and a colour on which white text can be read."""

    emoji: str
    color: str


LOOKS: Final[dict[Severity, Look]] = {
    Severity.INFO: Look("🔵", "#1f6feb"),
    Severity.WARNING: Look("🟠", "#b35900"),
    Severity.ERROR: Look("🔴", "#cf222e"),
    Severity.CRITICAL: Look("🚨", "#82071e"),
}
_SUCCESS: Final = Look("✅", "#1a7f37")


class Link(NamedTuple):
    """Something to click on; `url` is http or https."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a message may say. All strings are clean; only `message` and `details` have several lines."""

    look: Look
    severity: str
    title: str
    org: str
    pipeline: str
    run: str
    attempt: str
    owner: str
    labels: str
    when: str
    message: str
    details: str
    links: tuple[Link, ...]
    notes: tuple[str, ...]
    marks: tuple[str, ...]
    source: str
    digest: View | None = None
    """What a digest tells by groups; `message` says the same as text."""

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Facts of a few words each, with their names; what is not known is left out."""
        rows = (
            ("Organisation", self.org),
            ("Pipeline", self.pipeline),
            ("Run", self.run),
            ("Attempt", self.attempt),
            ("Owner", self.owner),
            ("Labels", self.labels),
            ("Severity", self.severity.capitalize()),
            ("When", self.when),
            *(self.digest.rows if self.digest is not None else ()),
        )
        return [row for row in rows if row[1]]

    @property
    def brief(self) -> str:
        """The message, for receivers of a line or two."""
        return self.message if self.digest is None else self.digest.brief

    @property
    def headline(self) -> str:
        """Who and what, without the severity: `Pipeline failed: nightly-load (acme)`."""
        return f"{self.title}: {self.pipeline} ({self.org})" if self.pipeline else f"{self.title} ({self.org})"


def facts(message: Message) -> Facts:
    """What there is to tell about a message."""
    digest = view(message)
    if digest is not None:
        return _of_digest(message, digest)
    event, severity = message.event, message.severity
    spec = event.spec
    succeeded = spec.event is EventType.PIPELINE_SUCCESS and severity is Severity.INFO
    succeeded = succeeded or (spec.notice is not None and spec.notice.kind is NoticeKind.RESOLVED)
    return Facts(
        look=_SUCCESS if succeeded else LOOKS[severity],
        severity=severity.upper(),
        title=_title(message),
        org=one_line(spec.org_slug, _ID_LIMIT),
        pipeline=one_line(spec.pipeline_id or "", _ID_LIMIT),
        run=one_line(spec.pipeline_logging_id or "", _ID_LIMIT),
        attempt=_attempt(event),
        owner=one_line(spec.owner or "", _ID_LIMIT),
        labels=one_line(", ".join(f"{key}={value}" for key, value in (spec.labels or {}).items()), _LABELS_LIMIT),
        when=_when(event),
        message=cut(clean(spec.error_message or "").strip("\n"), MAX_ERROR_MESSAGE),
        details=pretty(spec.details, DETAILS_SHOWN) if spec.details else "",
        links=_links(event),
        notes=_notes(message),
        marks=_marks(message),
        source=f"{event.namespace}/{event.name}",
    )


def _of_digest(message: Message, digest: View) -> Facts:
    """What there is to tell about many events in one."""
    event, severity = message.event, message.severity
    return Facts(
        look=LOOKS[severity],
        severity=severity.upper(),
        title=digest.title,
        org=one_line(event.spec.org_slug, _ID_LIMIT),
        pipeline="",
        run="",
        attempt="",
        owner="",
        labels="",
        when=digest.period,
        message=digest.text,
        details="",
        links=(),
        notes=(*_notes(message), *digest.notes),
        marks=_marks(message),
        source=f"{event.namespace}/{event.name}",
        digest=digest,
    )


def marked(known: Facts, text: str) -> str:
    """An organisation's own text, that says of a test or a replay that it is one."""
    return "".join(f"[{mark}] " for mark in known.marks) + text


def _marks(message: Message) -> tuple[str, ...]:
    spec = message.event.spec
    return tuple(mark for mark, given in (("TEST", spec.test), (REPLAY, spec.replay_of)) if given)


def _title(message: Message) -> str:
    """What has happened, in two or three words."""
    spec = message.event.spec
    if spec.event is EventType.PIPELINE_SUCCESS and (message.note or spec.notice is not None):
        return "Pipeline flapping" if message.note.startswith("Flapping") else "Pipeline recovered"
    if spec.notice is None:
        return TITLES[spec.event]
    if spec.notice.kind is NoticeKind.RESOLVED and (spec.notice.content or {}).get("recovered") is True:
        return "Recovered"
    return OF_NOTICES.get(spec.notice.kind, TITLES[spec.event])


def _when(event: Event) -> str:
    try:
        return f"{datetime.fromtimestamp(event.occurred, UTC).isoformat(' ', 'seconds')[:19]} UTC"
    except (ValueError, OverflowError, OSError):  # the year 0 or 10,000, after a shift of time zone
        return "at a time that cannot be shown"


def _attempt(event: Event) -> str:
    """Which try it was: `2 of 3`."""
    number, most = event.spec.attempt, event.spec.max_attempts
    if number is None:
        return ""
    return f"{number} of {most}" if most is not None else str(number)


def _links(event: Event) -> tuple[Link, ...]:
    return tuple(
        Link(one_line(link.title, _TITLE_LIMIT) or "Link", address(link.url))
        for link in event.spec.links or ()
        if link.url.startswith(("https://", "http://"))
    )


def _notes(message: Message) -> tuple[str, ...]:
    spec, suppressed = message.event.spec, message.suppressed
    notes = []
    if spec.test:
        notes.append("This is a TEST notification: somebody checks that notifications arrive.")
    if spec.replay_of:
        notes.append(f"This is a REPLAY of the event {spec.replay_of.name}, sent again on request.")
    if message.note:
        notes.append(message.note)
    if suppressed == 1:
        notes.append("1 similar event was held back since the last notification.")
    elif suppressed > 1:
        notes.append(f"{suppressed} similar events were held back since the last notification.")
    return tuple(notes)
