"""PagerDuty by its Events API v2: alerts that are triggered and resolved, and changes that notify nobody.

Sources: https://developer.pagerduty.com/docs/events-api-v2-overview, …/send-alert-event, …/send-change-event and
…/rest-api-rate-limits for fields, limits and answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field, StringConstraints

from pipebell.backports import StrEnum
from pipebell.core.alerts import alert_key, resolves
from pipebell.core.destinations.base import Capabilities, DestinationSpec, Hosts
from pipebell.core.destinations.http import (
    HTTP_RULES,
    Answer,
    HttpKind,
    HttpRequest,
    HttpTarget,
    Response,
    Sent,
    status,
)
from pipebell.core.fields import ENDPOINT, Fillable, Flag, fillable, with_references
from pipebell.core.outcome import Action, Attempt, OutcomeKind
from pipebell.core.render import shown
from pipebell.core.render.facts import Facts, facts
from pipebell.core.render.fit import cut_middle, with_details
from pipebell.core.template import LINE, Language, Template, TemplateText, template_field
from pipebell.core.vocabulary import EventType
from pipebell.core.wire import encode

if TYPE_CHECKING:
    from pipebell.core.destinations.block import Block
    from pipebell.core.message import Message

LIMIT: Final = 512_000  # bytes of an event
_SUMMARY: Final = 1024  # characters
_OWN: Final = 400_000  # bytes of details that a template made
_PART: Final = 255  # characters of source and component
_KEY: Final = r"[A-Za-z0-9]{32}"
_RULESET: Final = "R"  # what keys of rulesets begin with; these take no changes


class Region(StrEnum):
    """Where the PagerDuty account lives."""

    US = "us"
    EU = "eu"


_URLS: Final = {
    Region.US: "https://events.pagerduty.com/v2/enqueue",
    Region.EU: "https://events.eu.pagerduty.com/v2/enqueue",
}

_RoutingKey = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=140,
        pattern=fillable(_KEY, "must be an integration key: 32 letters and digits,"),
    ),
    Fillable(_KEY, "an integration key: 32 letters and digits", secret=True, referable=True),
]


_JSON: Final = Language(json=True)
_CUSTOM: Final = """\
{
  "message": "{{ event.message }}",
  "details": {{ event.details }},
  "run": "{{ event.run }}",
  "owner": "{{ event.owner }}",
  "labels": {{ event.labels }},
  "notes": {{ event.notes }},
  "event": "{{ event.source }}",
  "organisation": "{{ org }}"
}
"""


def _no_details(made: Any) -> str:  # noqa: ANN401  (JSON)
    if not isinstance(made, dict):
        return "makes no JSON object"
    size = len(encode(made))
    return "" if size <= _OWN else f"makes {size:,} bytes: at most {_OWN:,} have a place in an event"


@with_references
class PagerDutySpec(DestinationSpec):
    """PagerDuty, by an integration key of its Events API v2."""

    routing_key: Annotated[_RoutingKey | None, ENDPOINT] = Field(
        None,
        description=(
            "Integration key of a service or an orchestration, or exactly ${VAR}. "
            "It is a credential: prefer ${VAR} or routingKeySecretRef."
        ),
    )
    region: Annotated[Region | None, ENDPOINT] = Field(
        None, description="Where the PagerDuty account lives: us (default) or eu."
    )
    change_events: Flag | None = Field(
        None,
        description="Whether a success is also recorded as a change event, which notifies nobody. Default false.",
    )
    summary_template: Annotated[TemplateText | None, Template(LINE, "{{ event.headline }}", limit=_SUMMARY)] = (
        template_field("the summary")
    )
    details_template: Annotated[TemplateText | None, Template(_JSON, _CUSTOM, lambda made: _no_details(made))] = (
        template_field("custom_details, an object as JSON")
    )


@dataclass(frozen=True, slots=True)
class PagerDutyTarget(HttpTarget):
    """An integration; `url` is where alerts go."""

    kind = "pagerduty"
    routing_key: str = field(default="", repr=False)
    change_events: bool = False

    @property
    def endpoint(self) -> tuple[object, ...]:
        """What a 429 pauses: the integration."""
        return (self.url, self.routing_key)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key too."""
        return (self.routing_key, *HttpTarget.secrets.__get__(self))

    @property
    def takes_changes(self) -> bool:
        """Whether the key is one for change events too."""
        return not self.routing_key.startswith(_RULESET)


def target(block: Block) -> PagerDutyTarget:
    """The integration. Raises NotReady, naming the field or variable."""
    return PagerDutyTarget(
        url=_URLS[block.get("region") or Region.US],
        trusted=block.trusted,
        where=block.path,
        routing_key=block.required("routing_key"),
        change_events=block.get("change_events") is True,
    )


def request(message: Message, target: PagerDutyTarget, attempt: Attempt) -> HttpRequest:
    """An alert, that somebody takes care of it, its end, or (a start, which is no trouble) a change."""
    started = message.event.spec.event is EventType.PIPELINE_STARTED and not message.test
    action = _action(message, attempt)
    if started and target.takes_changes and action == "trigger":
        return _change(message, target)
    known = facts(message)

    def build(details: Any, longest: int) -> bytes:  # noqa: ANN401  (JSON)
        made = {
            "routing_key": target.routing_key,
            "event_action": action,
            "dedup_key": alert_key(message, attempt),
            "client": "Pipebell",
            "links": _links(known),
            "payload": {
                **_payload(message, known),
                "severity": message.severity.value,
                "group": known.org,
                "class": message.event.spec.event.value,
                "custom_details": _details(message, known, details, longest),
            },
        }
        return encode(made)

    return HttpRequest(target.url, with_details(build, message.event.spec.details, LIMIT))


def _action(message: Message, attempt: Attempt) -> str:
    if attempt.action is Action.ACKNOWLEDGE:
        return "acknowledge"
    return "resolve" if resolves(message, attempt) else "trigger"


def _payload(message: Message, known: Facts) -> dict[str, Any]:
    """What alerts and changes have in common."""
    marks = "".join(f"[{mark}] " for mark in known.marks)
    made = {
        "summary": cut_summary(f"{marks}{message.texts.get('summary_template', known.headline)}"),
        "source": cut_summary(known.pipeline or known.org, _PART),
        "component": cut_summary(known.pipeline, _PART),
        "timestamp": _timestamp(message.event.occurred),
    }
    return {name: value for name, value in made.items() if value}


def cut_summary(text: str, limit: int = _SUMMARY) -> str:
    """One line of at most `limit` characters, with a mark in its middle where some are missing."""
    if len(text) <= limit:
        return text
    room = limit - 1
    return f"{text[: room - room // 2]}…{text[len(text) - room // 2 :]}"


def _timestamp(seconds: float) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # the year 0 or 10,000, after a shift of time zone
        return None


def _details(message: Message, known: Facts, details: Any, longest: int) -> dict[str, Any]:  # noqa: ANN401
    own: dict[str, Any] | None = message.texts.get("details_template")
    if own is not None:
        return own
    made = {
        "message": cut_middle(known.message, longest),
        "details": details,
        "run": known.run,
        "attempt": known.attempt,
        "owner": known.owner,
        "labels": known.labels,
        "notes": list(known.notes),
        "event": known.source,
        "organisation": known.org,
        "type": message.event.spec.event.value,
    }
    return {name: value for name, value in made.items() if value}


def _links(known: Facts) -> list[dict[str, str]]:
    return [{"href": link.url, "text": link.title} for link in known.links]


def _change(message: Message, target: PagerDutyTarget) -> HttpRequest:
    """https://developer.pagerduty.com/docs/send-change-event: it has neither a severity nor a key of its own."""
    known = facts(message)

    def build(details: Any, longest: int) -> bytes:  # noqa: ANN401
        custom = _details(message, known, details, longest)
        made = {
            "routing_key": target.routing_key,
            "links": _links(known),
            "payload": {**_payload(message, known), "custom_details": custom},
        }
        return encode(made)

    url = target.url.removesuffix("/enqueue") + "/change/enqueue"
    return HttpRequest(url, with_details(build, message.event.spec.details, LIMIT))


def then(sent: Sent, response: Response) -> HttpRequest | None:
    """After the end of an alert, the success as a change: a repetition finds no alert to end, and changes nothing."""
    target: PagerDutyTarget = sent.target
    succeeded = resolves(sent.message) and sent.attempt.action is not Action.ACKNOWLEDGE
    if not (sent.first and target.change_events and target.takes_changes and succeeded):
        return None
    return _change(sent.message, target) if response.status in range(200, 300) else None


def said(response: Response) -> str:
    """PagerDuty's own words: `{"status": …, "message": …, "errors": […]}`."""
    document = response.document
    if not isinstance(document, dict):
        return response.text
    errors = document.get("errors")
    words = [document.get("message"), *(errors if isinstance(errors, list) else [])]
    return "; ".join(word for word in words if isinstance(word, str)) or response.text


PAGERDUTY: Final = HttpKind(
    name="pagerduty",
    title="PagerDuty",
    spec=PagerDutySpec,
    target=target,
    request=request,
    hosts=Hosts(exact=("events.pagerduty.com", "events.eu.pagerduty.com")),
    capabilities=Capabilities(idempotent=True, acknowledges=True, resolves=True, limit=LIMIT, per_second=1.9, burst=6),
    answers=(
        Answer(
            status(400),
            OutcomeKind.PERMANENT,
            "PagerDuty refuses the event: check routingKey, that its integration exists, and region (us or eu)",
        ),
        *(
            Answer(
                status(code),
                OutcomeKind.PERMANENT,
                "check routingKey, that its service is enabled, and region (us or eu)",
            )
            for code in (401, 403, 404)
        ),
        Answer(status(413), OutcomeKind.PERMANENT, "the event is too large for PagerDuty: please report this"),
        *HTTP_RULES,
    ),
    said=said,
    then=then,
    first_pause=30.0,
    success=(202, '{"status":"success","message":"Event processed","dedup_key":"ours"}'),
    shows=shown.pagerduty,
    example={"routingKey": "0123456789abcdef0123456789abcdef", "region": "eu", "changeEvents": True},
)
