"""Jira Service Management Operations: alerts by its integration API, which takes what Opsgenie's took.

Sources: https://developer.atlassian.com/cloud/jira/service-desk-ops/rest/v2/ for the address and the login;
https://docs.opsgenie.com/docs/alert-api for the fields and their limits. Opsgenie itself and its API end on 2027-04-05.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator, Field, StringConstraints

from pipebell.backports import StrEnum
from pipebell.core.alerts import alert_key, resolves
from pipebell.core.destinations.base import Capabilities, DestinationSpec, Hosts
from pipebell.core.destinations.http import (
    HTTP_RULES,
    JSON_HEADERS,
    Answer,
    HttpKind,
    HttpRequest,
    HttpTarget,
    Response,
    status,
)
from pipebell.core.fields import ENDPOINT, FOLLOWS_ENDPOINT, ONE_LINE, Credential, Spec, no_placeholder, with_references
from pipebell.core.outcome import Action, Attempt, OutcomeKind
from pipebell.core.render import shown
from pipebell.core.render.bounded import block, line, listed, shares, size
from pipebell.core.render.facts import Facts, Link, facts
from pipebell.core.template import ALERT, TEXT, Template, TemplateText, template_field
from pipebell.core.vocabulary import Severity
from pipebell.core.wire import encode

if TYPE_CHECKING:
    from pipebell.core.destinations.block import Block
    from pipebell.core.message import Message

HOSTS: Final = ("api.atlassian.com",)
URL: Final = "https://api.atlassian.com/jsm/ops/integration/v2/alerts"
# Bytes of UTF-8, where Atlassian counts characters: never more than it takes.
MESSAGE: Final = 130
DESCRIPTION: Final = 15_000
SOURCE: Final = 100
ENTITY: Final = 512
NOTE: Final = 25_000
DETAILS: Final = 8000  # all values of details together
_LINKS: Final = 3000
_VALUE: Final = 600

PRIORITIES: Final = {
    Severity.CRITICAL: "P1",
    Severity.ERROR: "P2",
    Severity.WARNING: "P3",
    Severity.INFO: "P5",
}


class ResponderType(StrEnum):
    """Who is called."""

    TEAM = "team"
    USER = "user"
    ESCALATION = "escalation"
    SCHEDULE = "schedule"


_Tag = Annotated[str, StringConstraints(min_length=1, max_length=50, pattern=ONE_LINE), AfterValidator(no_placeholder)]
_Name = Annotated[
    str, StringConstraints(min_length=1, max_length=150, pattern=ONE_LINE), AfterValidator(no_placeholder)
]


class Responder(Spec):
    """Somebody to call."""

    type: ResponderType = Field(description="What name is the name of; of a user it is the e-mail address.")
    name: _Name = Field(description="The team's, escalation's or schedule's name, or the user's e-mail address.")


@with_references
class JsmSpec(DestinationSpec):
    """Alerts of Jira Service Management Operations, by the key of an API integration."""

    api_key: Annotated[Credential | None, ENDPOINT] = Field(
        None,
        description="Key of an API integration; write ${VAR} and keep it in the Secret that secretRef names.",
    )
    tags: Annotated[list[_Tag], Field(max_length=20)] | None = Field(None, description="Tags of every alert.")
    responders: Annotated[Annotated[list[Responder], Field(max_length=20)] | None, FOLLOWS_ENDPOINT] = Field(
        None, description="Who is called. Default: what the integration says."
    )
    text_template: Annotated[TemplateText | None, Template(TEXT, ALERT, limit=DESCRIPTION)] = template_field(
        "the description"
    )


@dataclass(frozen=True, slots=True)
class JsmTarget(HttpTarget):
    """An integration of a site."""

    kind = "jsm"
    api_key: str = field(default="", repr=False)
    tags: tuple[str, ...] = ()
    responders: tuple[Responder, ...] = ()

    @property
    def endpoint(self) -> tuple[object, ...]:
        """What a 429 pauses: the integration."""
        return (self.url, self.api_key)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key; the address is everybody's."""
        known = set(URL.split("/"))
        return (self.api_key, *(word for word in HttpTarget.secrets.__get__(self) if word not in known))


def target(block: Block) -> JsmTarget:
    """The integration. Raises NotReady, naming the field or variable."""
    return JsmTarget(
        url=URL,
        trusted=block.trusted,
        where=block.path,
        api_key=block.required("api_key"),
        tags=tuple(block.get("tags") or ()),
        responders=tuple(block.get("responders") or ()),
    )


def request(message: Message, target: JsmTarget, attempt: Attempt) -> HttpRequest:
    """An alert, that somebody takes care of it, or its end.

    All know it by its alias, so what is repeated changes nothing.
    """
    known, alias = facts(message), alert_key(message, attempt)
    headers = {**JSON_HEADERS, "Authorization": f"GenieKey {target.api_key}"}
    if attempt.action is Action.ACKNOWLEDGE or resolves(message, attempt):
        what = "acknowledge" if attempt.action is Action.ACKNOWLEDGE else "close"
        url = f"{target.url}/{alias}/{what}?identifierType=alias"
        body = {"source": line(known.source, SOURCE), "note": line(known.headline, NOTE)}
        return HttpRequest(url, encode(body), headers)
    return HttpRequest(target.url, encode(_alert(message, known, target, alias)), headers)


def _alert(message: Message, known: Facts, target: JsmTarget, alias: str) -> dict[str, Any]:
    marks = "".join(f"[{mark}] " for mark in known.marks)
    made: dict[str, Any] = {
        "message": line(f"{marks}{known.headline}", MESSAGE),
        "alias": alias,
        "description": block(message.texts.get("text_template") or _description(known), DESCRIPTION),
        "priority": PRIORITIES[message.severity],
        "source": line(f"pipebell {known.source}", SOURCE),
        "entity": line(known.pipeline or known.org, ENTITY),
        "tags": list(target.tags),
        "details": _details(known),
    }
    if target.responders:
        made["responders"] = [_responder(each) for each in target.responders]
    return {key: value for key, value in made.items() if value != []}


def _responder(responder: Responder) -> dict[str, str]:
    name = "username" if responder.type is ResponderType.USER else "name"
    return {"type": responder.type.value, name: responder.name}


def _description(known: Facts) -> str:
    """All there is to tell: what the notes and links leave is for the message, and what that leaves for the details."""
    notes = "\n".join(known.notes)
    links = listed(known.links, _LINKS, _link) if known.links else ""
    parts = [notes, known.message, links, known.details]
    between = 2 * max(sum(bool(part) for part in parts) - 1, 0)
    message, details = shares(known.message, known.details, DESCRIPTION - size(notes) - size(links) - between)
    parts = [notes, block(known.message, message), links, block(known.details, details)]
    return "\n\n".join(part for part in parts if part) or known.headline


def _details(known: Facts) -> dict[str, str]:
    return {name: line(value, _VALUE) for name, value in known.rows}


def _link(link: Link) -> str:
    return f"{link.title}: {link.url}"


def said(response: Response) -> str:
    """Atlassian's own words."""
    document = response.document
    if not isinstance(document, dict):
        return response.text
    errors = document.get("errors")
    details = errors if isinstance(errors, dict) else {}
    words = [document.get("message"), *(f"{name}: {text}" for name, text in details.items())]
    return "; ".join(word for word in words if isinstance(word, str)) or response.text


_KEY: Final = "the key is not valid, or its integration is off: check apiKey, and that it is an API integration's"

JSM: Final = HttpKind(
    name="jsm",
    title="Jira Service Management Operations",
    spec=JsmSpec,
    target=target,
    request=request,
    hosts=Hosts(exact=HOSTS),
    capabilities=Capabilities(idempotent=True, acknowledges=True, resolves=True, characters=DESCRIPTION),
    answers=(
        Answer(status(401), OutcomeKind.PERMANENT, _KEY),
        Answer(status(402), OutcomeKind.PERMANENT, "the site's plan does not allow this"),
        Answer(status(403), OutcomeKind.PERMANENT, _KEY),
        Answer(status(404), OutcomeKind.PERMANENT, "there is no such integration: check apiKey"),
        Answer(status(422), OutcomeKind.PERMANENT, "Jira cannot read the alert: check tags and responders"),
        *HTTP_RULES,
    ),
    said=said,
    success=(
        202,
        '{"result": "Request will be processed", "requestId": "43a29c5c-3dbf-4fa4-9c26-f4f71023e120"}',
    ),
    shows=shown.jsm,
    example={
        "apiKey": "11111111-2222-3333-4444-555555555555",
        "tags": ["pipelines"],
        "responders": [{"type": "team", "name": "Data Platform"}, {"type": "user", "name": "on-call@example.com"}],
    },
)
