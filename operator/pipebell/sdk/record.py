"""One call as it travels: the PipelineEvent with the name that was given to it, kept through every resend."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pipebell.backports import UTC
from pipebell.core.vocabulary import API_VERSION, Severity
from pipebell.sdk import log, sanitise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipebell.core.vocabulary import EventType

MAX_ERROR_MESSAGE: Final = 32_768  # characters, the API's limit; the models say it too, but importing them costs 0.2 s
_MAX_ID: Final = 512
_MAX_OWNER: Final = 256
_MAX_LABELS: Final = 32
_MAX_KEY: Final = 63
_MAX_VALUE: Final = 256
_MAX_ATTEMPTS: Final = 1_000_000
_MAX_LINKS: Final = 10
_MAX_TITLE: Final = 200
_MAX_URL: Final = 2_048
_LINK_URL: Final = re.compile(r"https?://[^\x00-\x20\x7f]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_ASKED: Final = (
    "occurredAt",
    "links",
    "labels",
    "attempt",
    "maxAttempts",
    "test",
    "replayOf",
)  # read by methods of what was given
_RANDOM: Final = 12  # characters: 62 bits
_READABLE: Final = 50


@dataclass(frozen=True)
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

    def with_namespace(self, namespace: str | None) -> Record:
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
    return _name(org_slug, event, "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM)))


def derive_name(org_slug: str, event: str, pipeline_id: str, key: str) -> str:
    """The same name for the same organisation, event type, pipeline and key: a second such event is the first one."""
    number = int.from_bytes(hashlib.sha256(json.dumps([org_slug, event, pipeline_id, key]).encode()).digest(), "big")
    letters = []
    for _ in range(_RANDOM):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return _name(org_slug, event, "".join(letters))


def _name(org_slug: str, event: str, end: str) -> str:
    readable = re.sub(r"[^a-z0-9]+", "-", f"{org_slug}-{event}"[:200].lower()).strip("-")[:_READABLE].strip("-")
    return f"{readable or 'event'}-{end}"


class Draft:
    """What a caller gave: `read` makes the record of it, by other people's code where they gave objects of their own.

    `skim` does without that code, and names such objects by their type. `plain` says that there is none. The name is
    the same in every case. What is wrong is left out, and the log says so.
    """

    def __init__(
        self,
        event: object,
        org_slug: object,
        *,
        created: float,
        namespace: str | None = None,
        dedup_key: object = None,
        **fields: Any,  # noqa: ANN401  (see `make`)
    ) -> None:
        self.event, self.org_slug = sanitise.text(event, foreign=False), sanitise.text(org_slug, foreign=False)
        self.created, self.namespace = created, namespace
        self._fields = fields
        self.plain = all(sanitise.is_plain(value) for value in fields.values())
        pipeline = fields.get("pipeline_id")
        if dedup_key is not None and not (sanitise.is_plain(dedup_key) and sanitise.is_plain(pipeline)):
            log.warning("pipebell: dedup_key left out: it, or pipeline_id, is neither text nor a number")
            dedup_key = None
        self.name = (
            draw_name(self.org_slug, self.event)
            if dedup_key is None
            else derive_name(self.org_slug, self.event, sanitise.text(pipeline), sanitise.text(dedup_key))
        )

    def read(self) -> Record:
        """The record, however long it takes."""
        return self._make(foreign=True)

    def skim(self) -> Record:
        """The record at once."""
        return self._make(foreign=False)

    def _make(self, *, foreign: bool) -> Record:
        spec = _Spec(foreign).of(self.event, self.org_slug, self.created, self._fields)
        return Record(self.name, self.created, self.namespace, spec)


def make(event: EventType | str, org_slug: str, **given: Any) -> Record:  # noqa: ANN401  (see below)
    """A record made to fit: what is too long is cut visibly, what is no JSON becomes it, what is wrong is left out.

    `given`: created, namespace, dedup_key, pipeline_id, pipeline_logging_id, error_message, details, links, severity,
    occurred_at, test, replay_of.
    """
    return Draft(event, org_slug, **given).read()


class _Spec:
    """Makes a PipelineEvent's spec of what a caller gave. One wrong field costs no other."""

    def __init__(self, foreign: bool) -> None:
        self._foreign = foreign
        self._spec: dict[str, Any] = {}

    def of(self, event: str, org_slug: str, created: float, given: Mapping[str, Any]) -> dict[str, Any]:
        self._spec = {"orgSlug": org_slug, "event": event}
        for key, name, convert in (
            ("severity", "severity", self._severity),
            ("pipelineId", "pipeline_id", self._id),
            ("pipelineLoggingId", "pipeline_logging_id", self._id),
            ("errorMessage", "error_message", self._message),
            ("details", "details", lambda value: sanitise.details(value, foreign=self._foreign)),
            ("owner", "owner", self._owner),
            ("labels", "labels", self._labels),
            ("attempt", "attempt", _attempt),
            ("maxAttempts", "max_attempts", _attempt),
        ):
            self._set(key, given.get(name), convert)
        self._spec["occurredAt"] = _rfc3339(datetime.fromtimestamp(created, UTC))
        self._set("occurredAt", given.get("occurred_at"), _moment)
        self._set("links", given.get("links"), self._links)
        self._set("test", given.get("test") or None, bool)
        self._set("replayOf", given.get("replay_of"), dict)
        return self._spec

    def _set(self, key: str, value: object, convert: Callable[[Any], Any]) -> None:
        if value is None:
            return
        if not self._foreign and key in _ASKED and not sanitise.is_plain(value):
            log.warning("pipebell: %s left out: reading it took too long", key)
            return
        try:
            converted = convert(value)
        except Exception as error:  # noqa: BLE001  (whatever the caller gave)
            log.warning("pipebell: %s left out: it is a %s (%s)", key, type(value).__name__, type(error).__name__)
            return
        if converted is not None:
            self._spec[key] = converted

    def _text(self, value: object) -> str:
        return sanitise.text(value, foreign=self._foreign)

    def _id(self, value: object) -> str:
        return sanitise.shorten(self._text(value), _MAX_ID)

    def _message(self, value: object) -> str:
        text = self._text(value)
        return sanitise.shorten(
            f"{type(value).__name__}: {text}" if isinstance(value, BaseException) else text, MAX_ERROR_MESSAGE
        )

    def _severity(self, value: object) -> str | None:
        word = self._text(value).lower()
        if word in list(Severity):
            return word
        log.warning("pipebell: severity %r is none of %s: left to the trigger", word[:40], ", ".join(Severity))
        return None

    def _owner(self, value: object) -> str | None:
        return _one_line(self._text(value), _MAX_OWNER) or None

    def _labels(self, labels: Any) -> dict[str, str] | None:  # noqa: ANN401
        """Labels that the API server takes: keys and values of one line, cut where they are too long."""
        pairs = ((self._text(key), self._text(value)) for key, value in labels.items())
        good = {_one_line(key, _MAX_KEY): _one_line(value, _MAX_VALUE) for key, value in pairs}
        if len(good) > _MAX_LABELS:
            log.warning("pipebell: only %d of %d labels are told", _MAX_LABELS, len(good))
        return dict(list(good.items())[:_MAX_LABELS]) or None

    def _links(self, links: Any) -> list[dict[str, str]] | None:  # noqa: ANN401
        """Links as a {title: url} mapping, as (title, url) pairs, or as {"title": …, "url": …} mappings."""
        given = links.items() if hasattr(links, "items") else links
        good: list[dict[str, str]] = []
        for item in given:
            title, url = self._pair(item)
            if len(url) <= _MAX_URL and _LINK_URL.fullmatch(url):
                good.append({"title": sanitise.shorten(title or url, _MAX_TITLE), "url": url})
            else:
                log.warning("pipebell: link %r left out: its URL is not http(s) or is too long", title[:40])
            if len(good) == _MAX_LINKS:
                break
        return good or None

    def _pair(self, item: Any) -> tuple[str, str]:  # noqa: ANN401  (whatever a pipeline gave us)
        if hasattr(item, "get"):
            return self._text(item.get("title") or ""), self._text(item.get("url") or "")
        if isinstance(item, (tuple, list)) and len(item) == 2:  # noqa: PLR2004  (a pair)
            return self._text(item[0]), self._text(item[1])
        return "", self._text(item)


def _one_line(text: str, limit: int) -> str:
    """At most `limit` characters of one line."""
    line = " ".join(_CONTROL.sub(" ", text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _attempt(value: Any) -> int:  # noqa: ANN401  (whatever the caller gave)
    """A count from 1. Raises what it likes."""
    number = int(value)
    if isinstance(value, bool) or not 1 <= number <= _MAX_ATTEMPTS:
        raise ValueError
    return number


def _moment(value: object) -> str:
    """When it happened; a time without a zone is local. Raises what it likes."""
    if isinstance(value, str):
        value = datetime.fromisoformat(f"{value[:-1]}+00:00" if value[-1:] in ("Z", "z") else value)
    if not isinstance(value, datetime):
        raise TypeError
    return _rfc3339(value.astimezone(UTC))


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
