"""One call as it travels: the PipelineEvent with the name that was drawn for it, kept through every resend."""

from __future__ import annotations

import json
import logging
import re
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pipebell.backports import UTC
from pipebell.core.vocabulary import API_VERSION, EventType, Severity
from pipebell.sdk import sanitise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_ERROR_MESSAGE: Final = 32_768  # characters, the API's limit; the models say it too, but importing them costs 0.2 s
_MAX_ID: Final = 512
_MAX_LINKS: Final = 10
_MAX_TITLE: Final = 200
_MAX_URL: Final = 2_048
_LINK_URL: Final = re.compile(r"https?://[^\x00-\x20\x7f]+")
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"

log = logging.getLogger("pipebell")


@dataclass(frozen=True, slots=True)
class Record:
    """An event to create. `namespace` None means the endpoint's own. `created` is seconds since the epoch."""

    name: str
    created: float
    namespace: str | None
    spec: Mapping[str, Any]

    @property
    def label(self) -> str:
        """What log lines call it."""
        return f"{self.spec.get('event')} of {self.spec.get('orgSlug')} ({self.name})"

    def at_home(self, namespace: str | None) -> Record:
        """The same with its namespace said: who sends it later may live in another one."""
        return self if self.namespace or not namespace else replace(self, namespace=namespace)

    def manifest(self, namespace: str) -> dict[str, Any]:
        """The PipelineEvent."""
        return {
            "apiVersion": API_VERSION,
            "kind": "PipelineEvent",
            "metadata": {"name": self.name, "namespace": namespace},
            "spec": dict(self.spec),
        }

    def body(self, namespace: str) -> bytes:
        """The PipelineEvent as a request's body."""
        return json.dumps(self.manifest(namespace), separators=(",", ":")).encode()


def draw_name(org_slug: str, event: str) -> str:
    """A name that nobody else draws: organisation, event, and 62 random bits."""
    readable = re.sub(r"[^a-z0-9]+", "-", f"{org_slug}-{event}".lower()).strip("-")[:50].strip("-")
    return f"{readable or 'event'}-{''.join(secrets.choice(_ALPHABET) for _ in range(12))}"


def make(  # noqa: PLR0913  (the fields of an event)
    event: EventType,
    org_slug: str,
    *,
    created: float,
    namespace: str | None = None,
    pipeline_id: object = None,
    pipeline_logging_id: object = None,
    error_message: object = None,
    details: object = None,
    links: Sequence[Mapping[str, str] | tuple[str, str]] | Mapping[str, str] | None = None,
    severity: str | None = None,
    occurred_at: datetime | None = None,
    test: bool = False,
    replay_of: Mapping[str, Any] | None = None,
) -> Record:
    """A record made to fit: what is too long is cut visibly, what is no JSON becomes it, what is wrong is left out."""
    moment = occurred_at if isinstance(occurred_at, datetime) else datetime.fromtimestamp(created, UTC)
    spec: dict[str, Any] = {"orgSlug": sanitise.text(org_slug), "event": str(event)}
    if (level := _severity(severity)) is not None:
        spec["severity"] = level
    for key, value, limit in (
        ("pipelineId", pipeline_id, _MAX_ID),
        ("pipelineLoggingId", pipeline_logging_id, _MAX_ID),
        ("errorMessage", error_message, MAX_ERROR_MESSAGE),
    ):
        if value is not None:
            spec[key] = sanitise.shorten(_message(value), limit)
    if details is not None:
        spec["details"] = sanitise.details(details)
    spec["occurredAt"] = moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if links and (good := _links(links)):
        spec["links"] = good
    if test:
        spec["test"] = True
    if replay_of is not None:
        spec["replayOf"] = dict(replay_of)
    return Record(draw_name(spec["orgSlug"], spec["event"]), created, namespace, spec)


def _message(value: object) -> str:
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {sanitise.text(value)}"
    return sanitise.text(value)


def _severity(value: object) -> str | None:
    if value is None:
        return None
    word = sanitise.text(value).lower()
    if word in list(Severity):
        return word
    log.warning("pipebell: severity %r is none of %s: left to the trigger", word, ", ".join(Severity))
    return None


def _links(links: Sequence[Mapping[str, str] | tuple[str, str]] | Mapping[str, str]) -> list[dict[str, str]]:
    """Links as a {title: url} mapping, as (title, url) pairs, or as {"title": …, "url": …} mappings."""
    given = links.items() if hasattr(links, "items") else links
    pairs = [_pair(item) for item in given]
    good = []
    for title, url in pairs:
        if len(url) <= _MAX_URL and _LINK_URL.fullmatch(url):
            good.append({"title": sanitise.shorten(title or url, _MAX_TITLE), "url": url})
        else:
            log.warning("pipebell: link %r left out: its URL is not http(s) or is too long", title)
    return good[:_MAX_LINKS]


def _pair(item: Any) -> tuple[str, str]:  # noqa: ANN401  (whatever a pipeline gave us)
    if hasattr(item, "get"):
        return sanitise.text(item.get("title") or ""), sanitise.text(item.get("url") or "")
    if isinstance(item, (tuple, list)) and len(item) == 2:  # noqa: PLR2004  (a pair)
        return sanitise.text(item[0]), sanitise.text(item[1])
    return "", sanitise.text(item)
