"""An event as JSON for programs: as Standard Webhooks, and as a CloudEvent in each of its forms.

Sources: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md (1.0.0), and the
core, HTTP and JSON documents of https://github.com/cloudevents/spec (1.0.2).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pipebell.backports import StrEnum
from pipebell.core.render.facts import Facts, facts
from pipebell.core.render.fit import cut_middle, with_details
from pipebell.core.render.text import clean
from pipebell.core.wire import encode

if TYPE_CHECKING:
    from pipebell.core.event import Event
    from pipebell.core.message import Message
    from pipebell.core.outcome import Attempt

LIMIT: Final = 65_536  # bytes of a whole event that everybody between must forward (CloudEvents, 1.0.2, "Size Limits")
_NOTHING: Final = object()


class Format(StrEnum):
    """What a request looks like."""

    STANDARD = "standard"
    BINARY = "cloudeventsBinary"
    STRUCTURED = "cloudeventsStructured"
    BATCH = "cloudeventsBatch"
    TEMPLATE = "template"


def rendered(style: Format, message: Message, attempt: Attempt) -> tuple[dict[str, str], bytes]:
    """The headers and the body of a request; at most LIMIT bytes, what is longer is cut visibly."""
    return _FORMATS[style](message, facts(message), attempt)


def _standard(message: Message, known: Facts, attempt: Attempt) -> tuple[dict[str, str], bytes]:  # noqa: ARG001
    def build(details: Any, longest: int) -> bytes:  # noqa: ANN401  (JSON)
        event = message.event
        return encode(
            {
                "type": type_of(event),
                "timestamp": moment_of(event.occurred),
                "data": data(message, known, details, longest),
            }
        )

    return {"Content-Type": "application/json"}, with_details(build, _details(message), LIMIT)


def _binary(message: Message, known: Facts, attempt: Attempt) -> tuple[dict[str, str], bytes]:
    attributes = _attributes(message, known, attempt)
    headers = {f"ce-{name}": percent_encoded(value) for name, value in attributes.items()}
    used = sum(len(name) + len(value) for name, value in headers.items())

    def build(details: Any, longest: int) -> bytes:  # noqa: ANN401
        return encode(data(message, known, details, longest))

    body = with_details(build, _details(message), LIMIT - used)
    return {"Content-Type": "application/json", **headers}, body


def _structured(message: Message, known: Facts, attempt: Attempt) -> tuple[dict[str, str], bytes]:
    attributes = {**_attributes(message, known, attempt), "datacontenttype": "application/json"}

    def build(details: Any, longest: int) -> bytes:  # noqa: ANN401
        return encode({**attributes, "data": data(message, known, details, longest)})

    headers = {"Content-Type": "application/cloudevents+json; charset=utf-8"}
    return headers, with_details(build, _details(message), LIMIT - 2)  # 2: so that a batch of it fits as well


def _batch(message: Message, known: Facts, attempt: Attempt) -> tuple[dict[str, str], bytes]:
    _, body = _structured(message, known, attempt)
    return {"Content-Type": "application/cloudevents-batch+json; charset=utf-8"}, b"[" + body + b"]"


def _template(message: Message, known: Facts, attempt: Attempt) -> tuple[dict[str, str], bytes]:
    """What the organisation's own template made; without it, the body of `standard`."""
    own = message.texts.get("body_template", _NOTHING)
    if own is _NOTHING:
        return _standard(message, known, attempt)
    return {"Content-Type": "application/json"}, encode(own)


_FORMATS: Final = {
    Format.TEMPLATE: _template,
    Format.STANDARD: _standard,
    Format.BINARY: _binary,
    Format.STRUCTURED: _structured,
    Format.BATCH: _batch,
}


def _attributes(message: Message, known: Facts, attempt: Attempt) -> dict[str, str]:
    """A CloudEvent's context. Source and id name the delivery: they stay the same over all attempts."""
    event = message.event
    made = {
        "specversion": "1.0",
        "id": attempt.delivery_id,
        "source": f"/pipebell/{attempt.installation or 'unnamed'}/{event.namespace}",
        "type": f"io.pipebell.{type_of(event)}",
        "time": moment_of(event.occurred),
        "subject": known.pipeline,
        "traceparent": event.spec.traceparent,  # their extension for tracing; the header says the same
    }
    return {name: value for name, value in made.items() if value}


def _details(message: Message) -> dict[str, Any] | None:
    """What an event carries for programs: its details, or what a digest counts."""
    notice = message.event.spec.notice
    return notice.content if notice is not None else message.event.spec.details


def type_of(event: Event) -> str:
    """What happened in full-stop notation: `pipeline.failure`, `data_quality.warning`."""
    return ".".join(event.spec.event.value.rsplit("_", 1))


def moment_of(seconds: float) -> str | None:
    """RFC 3339 in UTC; None for what has no date."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # the year 0 or 10,000, after a shift of time zone
        return None
    return moment.replace("+00:00", "Z")


def data(message: Message, known: Facts, details: Any, longest: int) -> dict[str, Any]:  # noqa: ANN401
    """What happened, for programs. Texts have at most `longest` characters; links that are longer are counted."""
    event, spec = message.event, message.event.spec
    links = [link for link in known.links if len(link.url) <= longest]
    made = {
        "event": spec.event.value,
        "severity": message.severity.value,
        "title": known.title,
        "org": known.org,
        "pipeline": known.pipeline,
        "run": known.run,
        "attempt": spec.attempt,
        "maxAttempts": spec.max_attempts,
        "owner": known.owner,
        "labels": {clean(key): cut_middle(clean(value), longest) for key, value in (spec.labels or {}).items()},
        "occurredAt": moment_of(event.occurred),
        "message": cut_middle(known.message, longest),
        "details" if known.digest is None else "digest": details,
        "links": [{"title": link.title, "url": link.url} for link in links],
        "linksLeftOut": len(known.links) - len(links),
        "suppressed": message.suppressed,
        "test": message.test,
        "replayOf": spec.replay_of.name if spec.replay_of else None,
        "source": {"namespace": event.namespace, "name": event.name, "uid": event.uid},
    }
    return {name: value for name, value in made.items() if value}


def percent_encoded(value: str) -> str:
    """An attribute as a header (CloudEvents' HTTP binding, 3.1.3.2): printable ASCII but space, '"' and '%' stays."""
    return "".join(
        chr(byte) if 0x21 <= byte <= 0x7E and byte not in b'"%' else f"%{byte:02X}"  # noqa: PLR2004  (ASCII)
        for byte in value.encode()
    )
