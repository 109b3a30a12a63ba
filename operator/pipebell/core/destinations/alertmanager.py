"""Alertmanager: alerts by its API v2, and by that whatever receivers it has.

Source: https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml. An alert is known by its labels, so
these hold nothing that differs from run to run.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, Field, StringConstraints

from pipebell.core.alerts import class_of, resolves
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
from pipebell.core.errors import NotReady
from pipebell.core.fields import (
    ENDPOINT,
    Credential,
    Fillable,
    fillable,
    no_placeholder,
    pattern,
    whole_placeholder,
    with_references,
)
from pipebell.core.outcome import Action, Attempt, OutcomeKind
from pipebell.core.render import shown
from pipebell.core.render.bounded import block, line, listed
from pipebell.core.render.facts import Facts, Link, facts
from pipebell.core.template import ALERT, TEXT, Template, TemplateText, template_field
from pipebell.core.vocabulary import EventType, NotReadyReason, Severity
from pipebell.core.wire import encode

if TYPE_CHECKING:
    from pipebell.core.destinations.block import Block
    from pipebell.core.message import Message

PATH: Final = "/api/v2/alerts"
LIFE: Final = 86_400.0  # seconds that an alert fires, unless it is resolved before
BRIEF: Final = 300.0  # the same of what is no trouble
DESCRIPTION: Final = 16_384  # bytes of each annotation: what most receivers behind it cut off is far less
_VALUE: Final = 1024
_LINKS: Final = 4096

_URL: Final = r"https?://[A-Za-z0-9._:\[\]-]+(/[!%-;=@-~]*)?"  # printable ASCII; no query, quote or placeholder
_KEY: Final = pattern(r"^[a-zA-Z_][a-zA-Z0-9_]*$", "must be names of labels: letters, digits and '_', such as team")

_Url = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=2048, pattern=fillable(_URL, "must be an http:// or https:// URL without a query")
    ),
    AfterValidator(whole_placeholder),
    Fillable(_URL, "an http:// or https:// URL without a query"),
]
_User = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(whole_placeholder), Fillable()]
_Labels = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=_KEY)],
        Annotated[str, StringConstraints(max_length=256), AfterValidator(no_placeholder)],
    ],
    Field(max_length=16),
]


@with_references
class AlertmanagerSpec(DestinationSpec):
    """Alertmanager, by its API v2."""

    url: Annotated[_Url | None, ENDPOINT] = Field(
        None,
        description=(
            "Where Alertmanager is, such as https://alertmanager.example.com, or exactly ${VAR}. "
            "http only in the root configuration, and for hosts that the platform team allows."
        ),
    )
    username: Annotated[_User | None, ENDPOINT] = Field(
        None, description="User name for basic auth, or exactly ${VAR}."
    )
    password: Annotated[Credential | None, ENDPOINT] = Field(
        None, description="Password for basic auth; write ${VAR} and keep the value in the Secret that secretRef names."
    )
    bearer_token: Annotated[Credential | None, ENDPOINT] = Field(
        None, description="Bearer token, instead of username and password; write ${VAR}."
    )
    labels: _Labels | None = Field(None, description="Labels of every alert besides Pipebell's own.")
    text_template: Annotated[TemplateText | None, Template(TEXT, ALERT, limit=DESCRIPTION)] = template_field(
        "the annotation description"
    )


@dataclass(frozen=True, slots=True)
class AlertmanagerTarget(HttpTarget):
    """An Alertmanager and how to log in there."""

    kind = "alertmanager"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    bearer_token: str | None = field(default=None, repr=False)
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def endpoint(self) -> tuple[object, ...]:
        """What a 429 pauses: the server and the account there."""
        return (self.url, self.username, self.password, self.bearer_token)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The login too, as it is sent and as it is written."""
        login = (self.password, self.bearer_token, self.authorization.partition(" ")[2])
        return (*(word for word in login if word), *HttpTarget.secrets.__get__(self))

    @property
    def authorization(self) -> str:
        """The header's value; "" without a login."""
        if self.bearer_token is not None:
            return f"Bearer {self.bearer_token}"
        if self.password is None:
            return ""
        return f"Basic {base64.b64encode(f'{self.username}:{self.password}'.encode()).decode()}"


def target(block: Block) -> AlertmanagerTarget:
    """The server and the login. Raises NotReady, naming the field or variable."""
    url = block.required("url")
    username, password, token = block.text("username"), block.text("password"), block.text("bearer_token")
    if (username is None) != (password is None):
        raise block.incomplete("password" if password is None else "username", "is not set, but its counterpart is")
    if password is not None and token is not None:
        raise NotReady(NotReadyReason.INVALID, f"{block.path}: set bearerToken, or username and password, not both")
    for name, value in (("password", password), ("bearerToken", token), ("username", username)):
        if value is not None and not (value.isascii() and value.isprintable()):
            raise NotReady(NotReadyReason.INVALID, f"{block.path}.{name} has to be printable ASCII")
    if url.startswith("http:") and (password is not None or token is not None):
        raise NotReady(
            NotReadyReason.INVALID,
            f"{block.path}.url is http, and credentials are never sent without TLS: use https, or no login",
        )
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    return AlertmanagerTarget(
        url=urlunsplit(parts._replace(path=path if path.endswith(PATH) else path + PATH)),
        trusted=block.trusted,
        where=block.path,
        username=username,
        password=password,
        bearer_token=token,
        labels=tuple((block.get("labels") or {}).items()),
    )


def request(message: Message, target: AlertmanagerTarget, attempt: Attempt) -> HttpRequest:
    """An alert; or, of a success, the end of those that it ends."""
    headers = dict(JSON_HEADERS)
    if target.authorization:
        headers["Authorization"] = target.authorization
    return HttpRequest(target.url, encode(alerts(message, target, attempt)), headers)


def look(target: AlertmanagerTarget) -> HttpRequest:
    """What Alertmanager is asked without posting anything: how it stands."""
    headers = {"Authorization": target.authorization} if target.authorization else {}
    return HttpRequest(target.url.removesuffix(PATH) + "/api/v2/status", b"", headers, "GET")


def alerts(message: Message, target: AlertmanagerTarget, attempt: Attempt) -> list[dict[str, Any]]:
    """What is posted. The severity is a label, so a success ends one alert for each: whichever of them fires."""
    known = facts(message)
    if resolves(message, attempt):
        began = {"startsAt": _moment(attempt.now - 1), "endsAt": _moment(attempt.now)}
        own = attempt.action is Action.RESOLVE  # the end of this trouble; a success ends failures, as it always did
        types = class_of(message.event.spec.event) if own else (EventType.PIPELINE_FAILURE,)
        return [
            {"labels": _labels(message, known, target, each, severity), **began}
            for each in types
            for severity in Severity
        ]
    event = message.event
    trouble = event.spec.event not in (EventType.PIPELINE_STARTED, EventType.PIPELINE_SUCCESS)
    end = attempt.now + BRIEF
    if trouble:
        end = max(end, attempt.expires or attempt.now + LIFE)
    links = {"generatorURL": known.links[0].url} if known.links else {}
    return [
        {
            "labels": _labels(message, known, target, event.spec.event, message.severity),
            "annotations": _annotations(known, message.texts.get("text_template")),
            "startsAt": _moment(min(event.occurred, attempt.now)),
            "endsAt": _moment(end),
            **links,
        }
    ]


def _labels(
    message: Message, known: Facts, target: AlertmanagerTarget, event: EventType, severity: Severity
) -> dict[str, str]:
    """What tells one alert from another. A test is one of its own, which the next success does not end."""
    own = {
        "alertname": "".join(word.capitalize() for word in event.value.split("_")),
        "namespace": message.event.namespace,
        "org": known.org,
        "pipeline": line(known.pipeline, _VALUE),
        "severity": severity.value,
        "test": "true" if message.test else "",
    }
    labels = {**dict(target.labels), **{name: value for name, value in own.items() if value}}
    return {name: value for name, value in labels.items() if value}  # an empty label is none


def _annotations(known: Facts, own: str | None) -> dict[str, str]:
    marks = "".join(f"[{mark}] " for mark in known.marks)
    made = {
        "summary": line(f"{marks}{known.headline}", _VALUE),
        "description": block(known.message if own is None else own, DESCRIPTION),
        "details": block(known.details, DESCRIPTION),
        "run": line(known.run, _VALUE),
        "attempt": known.attempt,
        "owner": line(known.owner, _VALUE),
        "labels": line(known.labels, _VALUE),
        "notes": "\n".join(known.notes),
        "links": listed(known.links, _LINKS, _link) if known.links else "",
        "source": known.source,
    }
    return {name: value for name, value in made.items() if value}


def _link(link: Link) -> str:
    return f"{link.title}: {link.url}"


def _moment(seconds: float) -> str:
    """RFC 3339; the first moment that it can write for what lies outside."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")
    except (ValueError, OverflowError, OSError):
        return "1970-01-01T00:00:00.000000Z"


def said(response: Response) -> str:
    """Alertmanager's own words: a JSON text, or an object with a message."""
    document = response.document
    if isinstance(document, dict):
        document = document.get("message")
    return document if isinstance(document, str) else response.text


def form(url: str) -> str | None:
    """What is wrong with a URL, as far as can be seen."""
    if "/api/v1/" in url:
        return "Alertmanager's API v1 is gone: give its address alone, such as https://alertmanager.example.com"
    return None


ALERTMANAGER: Final = HttpKind(
    name="alertmanager",
    title="Alertmanager",
    spec=AlertmanagerSpec,
    target=target,
    request=request,
    hosts=Hosts(anywhere=True, http=True),
    capabilities=Capabilities(idempotent=True, acknowledges=False, resolves=True),
    answers=(
        Answer(status(400), OutcomeKind.PERMANENT, "Alertmanager cannot read the alert: check labels"),
        Answer(
            status(401), OutcomeKind.PERMANENT, "the login is not valid: check username and password, or bearerToken"
        ),
        Answer(status(403), OutcomeKind.PERMANENT, "the login may not post alerts: check username, or bearerToken"),
        Answer(status(404), OutcomeKind.PERMANENT, "there is no Alertmanager (from 0.16 on): check url and its path"),
        Answer(status(413), OutcomeKind.PERMANENT, "the alert is too large for what stands before Alertmanager"),
        *HTTP_RULES,
    ),
    said=said,
    form=form,
    look=look,
    success=(200, ""),
    shows=shown.alertmanager,
    example={
        "url": "https://alertmanager.example.com/prefix",
        "username": "pipebell",
        "password": "PasswordOfPipebell",
        "labels": {"team": "data"},
    },
)
