"""Types of the fields that users write: each says what the value looks like, and what the field is.

A type carries its rules for pydantic (and so for the API server, `pipebell.core.cel`), and as metadata what the rest of
the code has to know: that a value may be exactly `${VAR}` and what fills it (`Fillable`), that it is a secret, that it
is part of an endpoint (`ENDPOINT`). Nothing is looked up by a field's name elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, get_args
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    create_model,
)
from pydantic.alias_generators import to_camel

from pipebell.core import schedule
from pipebell.core.template import Template
from pipebell.core.vocabulary import NAME, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import core_schema

PLACEHOLDER: Final = r"\$\{[A-Za-z_][A-Za-z0-9_]{0,127}\}"
EMAIL: Final = (
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
HOST: Final = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?"
HELO: Final = (
    r"^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
    r"|\[(IPv6:)?[0-9A-Fa-f:.]+\])$"
)
HTTPS_URL: Final = r"https://[A-Za-z0-9._:\[\]-]+([/?][!-#%-~]*)?"  # printable ASCII, no '$'
LINK_URL: Final = r"^https?://[^\x00-\x20\x7f]+$"
ORG_SLUG: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
ONE_LINE: Final = r"^[^\x00-\x1f\x7f]*$"
DESTINATION_NAME: Final = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"
DESTINATION: Final = r"^[A-Za-z0-9]([A-Za-z0-9_-]{0,38}[A-Za-z0-9])?$"
GLOB: Final = r"^[A-Za-z0-9_.*?-]+$"
DOMAIN: Final = r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$"
FIELD_NAME: Final = r"^[a-z][A-Za-z0-9_]*$"
ZONE: Final = r"^[A-Z][A-Za-z0-9_+-]{0,31}(/[A-Z][A-Za-z0-9_+-]{0,31}){0,2}$"
CRON: Final = r"^[0-9A-Za-z*/,#-]+( [0-9A-Za-z*/,#-]+){4}$"
NO_IDS: Final = (f"-{'0' * 32}-", f"-{'0' * 16}-")  # a trace id and a parent id that are none
SECRET_KEY: Final = r"^[-._a-zA-Z0-9]+$"  # noqa: S105  (a rule, not a password)
RFC3339: Final = (
    r"^(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"  # Python knows no year 0
    r"-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)

# What a value that does not match has to look like: the text of errors, ours and the API server's.
HINTS: Final[dict[str, str]] = {}


def pattern(expression: str, hint: str) -> str:
    """A pattern that has a hint for people; the same text again, for `StringConstraints`."""
    HINTS[expression] = hint
    return expression


def fillable(expression: str, hint: str) -> str:
    """The same for a field that also takes exactly `${VAR}`."""
    return pattern(rf"^({PLACEHOLDER}|{expression})$", f"{hint} or exactly ${{VAR}}")


pattern(LINK_URL, "must be an http:// or https:// URL without spaces")
pattern(ORG_SLUG, "must begin with a letter or digit and hold only letters, digits, '_', '.' and '-' (at most 63)")
pattern(ONE_LINE, "must be one line, without control characters")
pattern(HELO, "must be a host name or an address literal, such as mail.example.com or [192.0.2.1]")
pattern(NAME, "must be a Kubernetes name: lower-case letters, digits, '-' and '.', such as acme-smtp")
pattern(DESTINATION_NAME, "must be lower-case letters, digits and '-' (at most 40), such as on-call")
pattern(DESTINATION, "must be the name of a destination, such as email or on-call")
pattern(GLOB, "must be a name, in which * stands for any characters and ? for one")
pattern(DOMAIN, "must be a domain, such as example.com")
pattern(FIELD_NAME, "must be the name of a field, such as toEmails or to_emails")
pattern(ZONE, "must be the IANA name of a time zone, such as Europe/Berlin, America/New_York or UTC")
pattern(CRON, "must be five fields (minute, hour, day, month, day of the week), such as 0 8 * * 1-5")
pattern(SECRET_KEY, "must be a key of a Secret: letters, digits, '-', '_' and '.', such as SMTP_PASSWORD")

TWO_RHYTHMS: Final = "set everySeconds or schedule, not both"
NO_RHYTHM: Final = "needs everySeconds or schedule: when is it to go out?"
UNKNOWN_ZONE: Final = "must be a time zone that there is, by its IANA name, such as Europe/Berlin or UTC"

SECRET_FLAG: Final = "x-pipebell-secret"  # noqa: S105  (a keyword of the intermediate schema)
ROOT_ONLY_FLAG: Final = "x-pipebell-root-only"
BESIDE_FLAG: Final = "x-pipebell-beside"
NESTED_MAX_FLAG: Final = "x-pipebell-nested-max"


# ---------------------------------------------------------------------------- what a field is


@dataclass(frozen=True, slots=True)
class Fillable:
    """The value may be exactly `${VAR}`; what fills it must match `pattern` (None: anything), which is `words`.

    A `secret` never shows anywhere; a `referable` one (as every secret) may come from `<field>SecretRef` instead.
    """

    pattern: str | None = None
    words: str = ""
    secret: bool = False
    referable: bool = False

    def fits(self, value: str) -> bool:
        """Whether a looked-up value meets the field's rule."""
        return self.pattern is None or _compiled(self.pattern).fullmatch(value) is not None

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Marks secrets for the generator: the API server must not quote their values."""
        return {**handler(schema), SECRET_FLAG: True} if self.secret else handler(schema)


@cache
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression)


@dataclass(frozen=True, slots=True)
class Flagged:
    """Marks a field in the intermediate schema, and for `traits`."""

    flag: str
    value: object = True

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The field's schema with the mark."""
        return {**handler(schema), self.flag: self.value}


@dataclass(frozen=True, slots=True)
class Role:
    """What part a field plays when an organisation's configuration lies over root's."""

    name: str


ENDPOINT: Final = Role("endpoint")  # whoever sets one has an endpoint of their own, and inherits none of the others
FOLLOWS_ENDPOINT: Final = Role("follows")  # inherited only together with the endpoint
ROOT_ONLY: Final = Flagged(ROOT_ONLY_FLAG)  # may stand in the root configuration alone
BESIDE: Final = Flagged(BESIDE_FLAG)  # in `destinations[]` it stands beside the block, and not in it


@dataclass(frozen=True, slots=True)
class Trait:
    """One field of a model, and what its type says of it."""

    name: str
    camel: str
    fillable: Fillable | None
    endpoint: bool
    follows: bool
    root_only: bool
    nested_max: int | None  # of a list: how long it may be in `destinations[]`
    beside: bool = False  # in `destinations[]` it stands beside the block
    template: Template | None = None


@cache
def traits(model: type[BaseModel]) -> Mapping[str, Trait]:
    """The fields of a model by name."""
    result = {}
    for name, info in model.model_fields.items():
        marks = [*info.metadata, *_marks(info.annotation)]
        nested = next((m.value for m in marks if isinstance(m, Flagged) and m.flag == NESTED_MAX_FLAG), None)
        result[name] = Trait(
            name=name,
            camel=info.alias or name,
            fillable=next((mark for mark in marks if isinstance(mark, Fillable)), None),
            endpoint=ENDPOINT in marks,
            follows=FOLLOWS_ENDPOINT in marks,
            root_only=ROOT_ONLY in marks,
            nested_max=nested if isinstance(nested, int) else None,
            beside=BESIDE in marks,
            template=next((mark for mark in marks if isinstance(mark, Template)), None),
        )
    return MappingProxyType(result)


@cache
def templates(model: type[BaseModel]) -> Mapping[str, Template]:
    """The fields of a model that hold templates, by name."""
    return MappingProxyType({trait.name: trait.template for trait in traits(model).values() if trait.template})


def _marks(annotation: object) -> Iterator[object]:
    """Metadata anywhere in a type: of the value, of a list's items."""
    yield from getattr(annotation, "__metadata__", ())
    for part in get_args(annotation):
        if part is not annotation:
            yield from _marks(part)


# ---------------------------------------------------------------------------- validators


def no_placeholder(value: str) -> str:
    """A field that is not filled."""
    if "${" in value:
        raise ValueError("takes no ${VAR} placeholder: write the value itself")
    return value


def whole_placeholder(value: str) -> str:
    """A placeholder is the whole value or none: half a URL with a hole would be sent somewhere as it is."""
    if "${" in value and not re.fullmatch(PLACEHOLDER, value):
        raise ValueError("a ${VAR} placeholder must be the whole value: put the complete text into the variable")
    return value


def lower(value: object) -> object:
    """A word in any case."""
    return value.lower() if isinstance(value, str) else value


def whole_number(value: object) -> object:
    """YAML's 587.0 is the number 587, as it is for the API server."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def nonzero_ids(value: str) -> str:
    """A traceparent's ids of zeros name nothing (https://www.w3.org/TR/trace-context/#traceparent-header)."""
    if any(zeros in value for zeros in NO_IDS):
        raise ValueError("must have a trace id and a parent id that are not all zeros")
    return value


def known_zone(value: str) -> str:
    """A zone of the IANA database; by it, not by this machine, is it known when 07:00 is."""
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):  # unknown; no zone's file; a folder
        raise ValueError(UNKNOWN_ZONE) from None
    return value


def known_schedule(value: str) -> str:
    """A schedule that comes at some time."""
    schedule.check(value)
    return value


def time_with_zone(value: object) -> object:
    """A time of day without its zone means another moment on every machine."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    if not isinstance(value, str) or not re.fullmatch(RFC3339, value):
        raise ValueError("must be a time with its zone, such as 2026-01-31T08:00:00Z")
    return value


def canonical(value: Any) -> Any:  # noqa: ANN401  (whatever was written there)
    """A kind's name as JSON files spell it (`google_chat`) is the name that everything else uses (`googleChat`)."""
    return to_camel(value) if isinstance(value, str) and "_" in value else value


def each_once(value: list[str]) -> list[str]:
    """A list in which nothing stands twice."""
    for name in value:
        if value.count(name) > 1:
            raise ValueError(f"names {name} twice: keep one")
    return value


# ---------------------------------------------------------------------------- types

Text = Annotated[str, StringConstraints(max_length=200, pattern=ONE_LINE), AfterValidator(no_placeholder)]
EmailAddress = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=320,
        pattern=fillable(EMAIL, "must be an e-mail address, such as ops@example.com,"),
    ),
    AfterValidator(whole_placeholder),
    Fillable(EMAIL, "an e-mail address"),
]
Host = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=253,
        pattern=fillable(HOST, "must be a host name or an IP address, such as smtp.example.com,"),
    ),
    AfterValidator(whole_placeholder),
    Fillable(HOST, "a host name or an IP address"),
]
SecretUrl = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2048, pattern=fillable(HTTPS_URL, "must be an https:// URL")),
    AfterValidator(whole_placeholder),
    Fillable(HTTPS_URL, "an https:// URL", secret=True, referable=True),
]
UserName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024),
    AfterValidator(whole_placeholder),
    Fillable(referable=True),
]
Credential = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024),
    AfterValidator(whole_placeholder),
    Fillable(secret=True, referable=True),
]
OrgSlug = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=ORG_SLUG)]
ObjectName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=NAME)]
AnyCaseSeverity = Annotated[Severity, BeforeValidator(lower)]
Flag = Annotated[bool, Field(strict=True)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535), BeforeValidator(whole_number)]
Attempts = Annotated[int, Field(strict=True, ge=1, le=100), BeforeValidator(whole_number)]
DelaySeconds = Annotated[int, Field(strict=True, ge=0, le=86_400), BeforeValidator(whole_number)]
ElapsedSeconds = Annotated[int, Field(strict=True, ge=0, le=604_800), BeforeValidator(whole_number)]
FailoverSeconds = Annotated[int, Field(strict=True, ge=0, le=86_400), BeforeValidator(whole_number)]
DigestSeconds = Annotated[int, Field(strict=True, ge=60, le=2_592_000), BeforeValidator(whole_number)]
DigestItems = Annotated[int, Field(strict=True, ge=1, le=500), BeforeValidator(whole_number)]
HourlyLimit = Annotated[int, Field(strict=True, ge=1, le=100_000), BeforeValidator(whole_number)]
CooldownSeconds = Annotated[int, Field(strict=True, ge=0, le=2_592_000), BeforeValidator(whole_number)]
TtlSeconds = Annotated[int, Field(strict=True, ge=0, le=31_536_000), BeforeValidator(whole_number)]
Moment = Annotated[datetime, BeforeValidator(time_with_zone)]
DestinationRef = Annotated[
    str, StringConstraints(min_length=1, max_length=40, pattern=DESTINATION), BeforeValidator(canonical)
]
Destinations = Annotated[list[DestinationRef], Field(max_length=16), AfterValidator(each_once)]
TimeZone = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=ZONE), AfterValidator(known_zone)]
"""A time zone by its IANA name; `zoneinfo.ZoneInfo` of it is cached, and cannot fail."""
Schedule = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=CRON), AfterValidator(known_schedule)]
"""A schedule of five fields that comes at some time (`pipebell.core.schedule`)."""
Glob = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=GLOB)]


class Spec(BaseModel):
    """Base of everything that users write."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """What its `repr` and `str` show: of secrets, that there is one."""
        for name, value in super().__repr_args__():
            trait = traits(type(self)).get(name or "")
            secret = value is not None and trait is not None and trait.fillable is not None and trait.fillable.secret
            yield name, "***" if secret else value


class SecretRef(Spec):
    """A Secret in the configuration's own namespace."""

    name: ObjectName = Field(description="Name of the Secret.")


class SecretKeyRef(Spec):
    """One key of a Secret in the configuration's own namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=SECRET_KEY)] = Field(
        description="Key within the Secret."
    )


_Model = TypeVar("_Model", bound=BaseModel)


def with_references(model: type[_Model]) -> type[_Model]:
    """The model with a field `<field>SecretRef` beside each referable one; the pair shares its role."""
    fields: dict[str, Any] = {}
    for trait in traits(model).values():
        if trait.fillable is None or not trait.fillable.referable:
            continue
        kind: Any = SecretKeyRef | None
        if trait.endpoint:
            kind = Annotated[SecretKeyRef | None, ENDPOINT]
        text = f"Key of a Secret that holds the value of {trait.camel}; instead of {trait.camel}."
        fields[f"{trait.name}_secret_ref"] = (kind, Field(None, description=text))
    made = create_model(model.__name__, __base__=model, __module__=model.__module__, __doc__=model.__doc__, **fields)
    made.__qualname__ = model.__qualname__
    return made


def referable(model: type[BaseModel]) -> Iterator[Trait]:
    """The fields of a model that have a `<field>SecretRef` beside them."""
    for trait in traits(model).values():
        if trait.fillable is not None and trait.fillable.referable:
            yield trait
