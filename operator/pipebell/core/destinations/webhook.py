"""Any HTTPS endpoint: signed as Standard Webhooks, as a CloudEvent, or both.

Sources: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md (1.0.0), the core,
HTTP and JSON documents of https://github.com/cloudevents/spec (1.0.2), and
https://fluxcd.io/flux/components/notification/providers/#generic-webhook-with-hmac.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator, Field, StringConstraints

from pipebell.backports import StrEnum
from pipebell.core.destinations.base import Capabilities, DestinationSpec, Hosts, Sourced
from pipebell.core.destinations.http import HTTP_RULES, Answer, HttpKind, HttpRequest, HttpTarget, status
from pipebell.core.errors import NotReady
from pipebell.core.fields import (
    ENDPOINT,
    FOLLOWS_ENDPOINT,
    Credential,
    Fillable,
    SecretUrl,
    fillable,
    pattern,
    whole_placeholder,
    with_references,
)
from pipebell.core.outcome import Attempt, OutcomeKind
from pipebell.core.render.programs import LIMIT, Format, rendered
from pipebell.core.template import Language, Template, TemplateText, template_field
from pipebell.core.vocabulary import NotReadyReason
from pipebell.core.wire import encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.core.destinations.block import Block
    from pipebell.core.message import Message

_SECRET: Final = range(24, 65)  # bytes of a signing key (Standard Webhooks, "Signature scheme")
_HEADER_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
_HEADER_VALUE: Final = r"[!-~]([ -~]*[!-~])?"
_WORD: Final = 4  # characters; shorter ones are no token
RESERVED: Final = (
    *("connection", "content-encoding", "content-length", "content-type", "expect", "host", "keep-alive"),
    *("te", "traceparent", "trailer", "transfer-encoding", "upgrade", "x-pipebell-delivery", "x-signature"),
    *("webhook-id", "webhook-signature", "webhook-timestamp"),
    *("ce-id", "ce-source", "ce-specversion", "ce-subject", "ce-time", "ce-traceparent", "ce-type"),
)


class Signature(StrEnum):
    """How a receiver can tell that a request is ours."""

    STANDARD = "standard"
    FLUX = "flux"
    NONE = "none"


def not_reserved(value: str) -> str:
    """A header that is not ours to set by ourselves."""
    if value.lower() in RESERVED:
        raise ValueError("must be another header: Pipebell or HTTP itself sets this one")
    return value


@with_references
class Header(Sourced):
    """A header of every request."""

    name: Annotated[
        str,
        StringConstraints(
            min_length=1,
            max_length=64,
            pattern=pattern(_HEADER_NAME, "must be a header's name: letters, digits, '-' and '_'"),
        ),
        AfterValidator(not_reserved),
    ] = Field(description="The header's name, such as Authorization.")
    value: (
        Annotated[
            str,
            StringConstraints(
                min_length=1,
                max_length=1024,
                pattern=fillable(_HEADER_VALUE, "must be one line of printable ASCII, without spaces around it,"),
            ),
            AfterValidator(whole_placeholder),
            Fillable(_HEADER_VALUE, "one line of printable ASCII", secret=True, referable=True),
        ]
        | None
    ) = Field(None, description="Its value, or exactly ${VAR}; the whole value, such as Bearer and the token.")


_JSON: Final = Language(json=True)
_BODY: Final = """\
{
  "event": "{{ event.type }}",
  "severity": "{{ severity }}",
  "title": "{{ event.headline }}",
  "org": "{{ org }}",
  "pipeline": "{{ event.pipeline }}",
  "run": "{{ event.run }}",
  "message": "{{ event.message }}",
  "details": {{ event.details }},
  "links": {{ links }},
  "suppressed": {{ suppressed }},
  "test": {{ event.test }}
}
"""


def _too_large(made: Any) -> str:  # noqa: ANN401  (JSON)
    size = len(encode(made))
    return "" if size <= LIMIT else f"makes {size:,} bytes: at most {LIMIT:,} are sent"


@with_references
class WebhookSpec(DestinationSpec):
    """An HTTPS endpoint of one's own."""

    url: Annotated[SecretUrl | None, ENDPOINT] = Field(
        None,
        description=(
            "Where requests go (https), or exactly ${VAR}. Where it holds a credential, prefer ${VAR} or urlSecretRef."
        ),
    )
    signing_secret: Annotated[Credential | None, ENDPOINT] = Field(
        None, description="Key of signatures: whsec_ and 24 to 64 bytes in base64; of flux, any text."
    )
    previous_signing_secret: Annotated[Credential | None, ENDPOINT] = Field(
        None, description="The key before: while it is set, requests have a signature by each of the two."
    )
    signature: Annotated[Signature | None, FOLLOWS_ENDPOINT] = Field(
        None,
        description=(
            "standard: Standard Webhooks; flux: X-Signature as by Flux's generic-hmac; none. "
            "Default: standard where signingSecret is set."
        ),
    )
    format: Format | None = Field(
        None,
        description=(
            "standard: type, timestamp and data; cloudeventsBinary, cloudeventsStructured, cloudeventsBatch: "
            "a CloudEvent; template: what bodyTemplate makes. Default standard, or template where bodyTemplate is set."
        ),
    )
    body_template: Annotated[TemplateText | None, Template(_JSON, _BODY, lambda made: _too_large(made))] = (
        template_field("the body, as JSON; for format: template")
    )
    headers: Annotated[Annotated[list[Header], Field(max_length=10)] | None, FOLLOWS_ENDPOINT] = Field(
        None, description="Further headers of every request, such as Authorization."
    )


@dataclass(frozen=True, slots=True)
class WebhookTarget(HttpTarget):
    """An endpoint, and what its requests look like. `keys` sign: the present one first."""

    kind = "webhook"
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    signature: Signature = Signature.NONE
    format: Format = Format.STANDARD
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    credentials: tuple[str, ...] = field(default=(), repr=False)

    @property
    def endpoint(self) -> tuple[object, ...]:
        """What a 429 pauses: the URL and the login there, for many share a receiver's URL and differ in a header."""
        return (self.url, self.credentials, tuple(self.headers.items()))

    @property
    def secrets(self) -> tuple[str, ...]:
        """The keys and the headers' values too, also without the word before a token and out of a Basic login."""
        values = (word for value in self.headers.values() for word in _parts(value))
        return (*self.credentials, *values, *HttpTarget.secrets.__get__(self))


def _parts(value: str) -> list[str]:
    """What a server may quote of a header's value: all of it, its words, and what a Basic login says."""
    scheme, _, rest = value.partition(" ")
    words = [word for word in value.split() if len(word) > _WORD and word.lower() != scheme.lower()]
    if scheme.lower() == "basic":
        with suppress(binascii.Error, ValueError):
            login = base64.b64decode(rest, validate=True).decode()
            words += [login, login.partition(":")[2]]
    return [value, *words]


# ---------------------------------------------------------------------------- target


def target(block: Block) -> WebhookTarget:
    """The endpoint. Raises NotReady, naming the field or variable."""
    url = block.required("url")
    secrets = {name: block.text(name) for name in ("signing_secret", "previous_signing_secret")}
    present, previous = secrets["signing_secret"], secrets["previous_signing_secret"]
    signature = block.get("signature") or (Signature.STANDARD if present is not None else Signature.NONE)
    if present is None and (previous is not None or signature is not Signature.NONE):
        why = "previousSigningSecret is" if previous is not None else f"signature is {signature}"
        raise block.incomplete("signing_secret", f"is not set, but {why}")
    given = {name: secret for name, secret in secrets.items() if secret is not None}
    return WebhookTarget(
        url=url,
        trusted=block.trusted,
        where=block.path,
        keys=tuple(_key(block, name, secret, signature) for name, secret in given.items()),
        signature=signature,
        format=_format(block),
        headers=_headers(block),
        credentials=tuple(given.values()),
    )


def _format(block: Block) -> Format:
    given, templated = block.get("format"), block.get("body_template") is not None
    if given is None:
        return Format.TEMPLATE if templated else Format.STANDARD
    if templated and given is not Format.TEMPLATE:
        raise NotReady(
            NotReadyReason.INVALID,
            f"{block.path}.bodyTemplate goes with format: template, and format is {given}: remove one of them",
        )
    if given is Format.TEMPLATE and not templated:
        raise block.incomplete("body_template", "is not set, but format is template")
    found: Format = given
    return found


def _key(block: Block, name: str, secret: str, signature: Signature) -> bytes:
    if signature is not Signature.STANDARD:
        return secret.encode()
    text = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) not in _SECRET:
        raise NotReady(
            NotReadyReason.INVALID,
            f"{block.path}.{block.traits[name].camel} must be whsec_ and 24 to 64 bytes in base64, such as whsec_ and "
            "what `openssl rand -base64 32` prints",
        )
    return key


def _headers(block: Block) -> dict[str, str]:
    found = {}
    for index, (header, value) in enumerate(block.items("headers", "value")):
        if value is None:
            raise NotReady(NotReadyReason.INCOMPLETE, f"{block.path}.headers[{index}].value is not set")
        found[header.name] = value
    return found


# ---------------------------------------------------------------------------- request


def request(message: Message, target: WebhookTarget, attempt: Attempt) -> HttpRequest:
    """The event in its format, signed as it is sent."""
    headers, body = rendered(target.format, message, attempt)
    trace = message.event.spec.traceparent
    traced = {"traceparent": trace} if trace else {}
    return HttpRequest(target.url, body, {**target.headers, **headers, **traced, **_signed(target, attempt, body)})


def _signed(target: WebhookTarget, attempt: Attempt, body: bytes) -> dict[str, str]:
    match target.signature:
        case Signature.STANDARD:
            # A "." would end the id in what is signed. The time is this attempt's: receivers refuse old ones.
            identity, moment = attempt.delivery_id.replace(".", "_"), str(int(attempt.now))
            content = f"{identity}.{moment}.".encode() + body
            signatures = " ".join(f"v1,{_hmac64(key, content)}" for key in target.keys)
            return {"webhook-id": identity, "webhook-timestamp": moment, "webhook-signature": signatures}
        case Signature.FLUX:
            return {"X-Signature": f"sha256={hmac.new(target.keys[0], body, hashlib.sha256).hexdigest()}"}
        case _:
            return {}


def _hmac64(key: bytes, content: bytes) -> str:
    return base64.b64encode(hmac.digest(key, content, "sha256")).decode()


_LOGIN: Final = "the receiver does not know us: check headers and signingSecret"

WEBHOOK: Final = HttpKind(
    name="webhook",
    title="Webhook",
    spec=WebhookSpec,
    target=target,
    request=request,
    hosts=Hosts(anywhere=True),
    capabilities=Capabilities(limit=LIMIT),
    answers=(
        Answer(status(401), OutcomeKind.PERMANENT, _LOGIN),
        Answer(status(403), OutcomeKind.PERMANENT, _LOGIN),
        Answer(status(413), OutcomeKind.PERMANENT, "the receiver takes shorter requests only"),
        Answer(status(415), OutcomeKind.PERMANENT, "the receiver does not take this format: choose another"),
        *HTTP_RULES,
    ),
    success=(204, ""),
    example={
        "url": "https://hooks.example.com/pipebell",
        "signingSecret": "whsec_cGlwZWJlbGwtc2lnbmluZy1rZXktb2Ytbm93",
        "previousSigningSecret": "whsec_cGlwZWJlbGwtc2lnbmluZy1rZXktYmVmb3Jl",
        "signature": "standard",
        "format": "standard",
        "headers": [{"name": "Authorization", "value": "Bearer presumed"}],
    },
)
