"""SMS by Twilio: what is configured, what is sent to each number, and what the answers mean.

Sources: https://www.twilio.com/docs/messaging/api/message-resource for the fields, …/docs/api/errors for the codes.
Codes change (Twilio says so): what follows from an answer goes by its HTTP status, and codes choose words alone.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import parse_qs, quote, urlencode

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

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
from pipebell.core.errors import NotReady
from pipebell.core.fields import (
    ENDPOINT,
    FOLLOWS_ENDPOINT,
    Credential,
    Fillable,
    fillable,
    no_placeholder,
    pattern,
    whole_number,
    whole_placeholder,
    with_references,
)
from pipebell.core.outcome import Attempt, OutcomeKind
from pipebell.core.render import gsm7
from pipebell.core.render.facts import facts
from pipebell.core.render.text import one_line
from pipebell.core.template import LINE, Template, TemplateText, template_field
from pipebell.core.vocabulary import NotReadyReason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.core.destinations.block import Block
    from pipebell.core.message import Message

HOST: Final = "api.twilio.com"
TEXT: Final = 306  # septets: two segments
LONGEST_VALIDITY: Final = 36_000  # seconds
READS: Final = 256 * 1024  # bytes of a list of messages
FRESH: Final = 2.0  # seconds; no other replica has taken over an event so young
_HEAD: Final = 150
_MARK: Final = 6  # characters, by which a message is found again
_LISTED: Final = 50
_PLENTY: Final = 2 * TEXT  # characters of a message's beginning, and of its end, that could have a place

_NUMBER: Final = r"\+[1-9][0-9]{6,14}"
_SENDER: Final = rf"{_NUMBER}|[0-9]{{3,8}}|[A-Za-z0-9 ]{{1,11}}"
_ACCOUNT: Final = r"AC[0-9A-Za-z]{32}"
_API_KEY: Final = r"SK[0-9A-Za-z]{32}"
_SERVICE: Final = r"MG[0-9A-Za-z]{32}"
_REGION_ALONE: Final = re.compile(r"api\.(ie1|au1|br1|de1|jp1|sg1|us2)\.twilio\.com(:443)?")
_SID: Final = re.compile(r"(SM|MM)[0-9a-fA-F]{32}")


_AccountSid = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=140,
        pattern=fillable(_ACCOUNT, "must be an account's SID (AC and 32 letters and digits)"),
    ),
    AfterValidator(whole_placeholder),
    Fillable(_ACCOUNT, "an account's SID"),
]
_KeySid = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=140,
        pattern=fillable(_API_KEY, "must be an API key's SID (SK and 32 letters and digits)"),
    ),
    AfterValidator(whole_placeholder),
    Fillable(_API_KEY, "an API key's SID"),
]
_ServiceSid = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=140,
        pattern=fillable(_SERVICE, "must be a Messaging Service's SID (MG and 32 letters and digits)"),
    ),
    AfterValidator(whole_placeholder),
    Fillable(_SERVICE, "a Messaging Service's SID"),
]
_Sender = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=140,
        pattern=fillable(_SENDER, "must be a number in E.164, a short code or a sender's name"),
    ),
    AfterValidator(whole_placeholder),
    Fillable(_SENDER, "a number in E.164, a short code or a name"),
]
_Number = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=140, pattern=fillable(_NUMBER, "must be a number in E.164, such as +4915112345678,")
    ),
    AfterValidator(whole_placeholder),
    Fillable(_NUMBER, "a number in E.164"),
]
_Host = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=253,
        pattern=pattern(
            r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,240}[A-Za-z0-9])?(:[0-9]{1,5})?$",
            "must be api.twilio.com or api.EDGE.REGION.twilio.com, such as api.dublin.ie1.twilio.com",
        ),
    ),
    AfterValidator(no_placeholder),
]
_PerHour = Annotated[int, Field(strict=True, ge=1, le=10_000), BeforeValidator(whole_number)]

_BODY: Final = "{{ severity | capitalize }}: {{ event.headline }} {{ event.message }}"


@with_references
class SmsSpec(DestinationSpec):
    """SMS by Twilio: one message to each number."""

    account_sid: Annotated[_AccountSid | None, ENDPOINT] = Field(
        None, description="The account's SID, or exactly ${VAR}."
    )
    auth_token: Annotated[Credential | None, ENDPOINT] = Field(
        None,
        description="The account's auth token; write ${VAR} and keep the value in the Secret that secretRef names.",
    )
    api_key_sid: Annotated[_KeySid | None, ENDPOINT] = Field(
        None, description="SID of an API key, with apiKeySecret instead of authToken; or exactly ${VAR}."
    )
    api_key_secret: Annotated[Credential | None, ENDPOINT] = Field(
        None, description="The API key's secret; write ${VAR} and keep the value in the Secret that secretRef names."
    )
    from_number: Annotated[_Sender | None, ENDPOINT] = Field(
        None, description="Who sends: a number of the account, a short code or a sender's name; or exactly ${VAR}."
    )
    messaging_service_sid: Annotated[_ServiceSid | None, ENDPOINT] = Field(
        None, description="SID of a Messaging Service, which chooses the sender; or exactly ${VAR}."
    )
    host: Annotated[_Host | None, ENDPOINT] = Field(
        None, description="Another edge and region, such as api.dublin.ie1.twilio.com. Default api.twilio.com."
    )
    to_numbers: Annotated[Annotated[list[_Number], Field(max_length=10)] | None, FOLLOWS_ENDPOINT] = Field(
        None, description="Who is told: numbers in E.164, each a delivery of its own; each may be exactly ${VAR}."
    )
    max_per_hour: _PerHour | None = Field(
        None, description="Messages in any 60 minutes; what is more is not sent. Default 30."
    )
    body_template: Annotated[TemplateText | None, Template(LINE, _BODY, limit=TEXT - 8)] = template_field(
        "the message, one line"
    )


@dataclass(frozen=True, slots=True)
class SmsTarget(HttpTarget):
    """An account and a sender, and one of the numbers."""

    kind = "sms"
    username: str = ""
    password: str = field(default="", repr=False)
    sender: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    numbers: tuple[str, ...] = field(default=(), repr=False)
    number: str = field(default="", repr=False)
    per_hour: int = 30

    @property
    def endpoint(self) -> tuple[object, ...]:
        """What a 429 pauses: the account and its sender, whatever the number."""
        return (self.url, self.username, self.password, self.sender)

    @property
    def recipients(self) -> str:
        """The number, but for its middle."""
        return masked_number(self.number)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The login, and all numbers as they are written and as they are sent."""
        login = self.authorization.partition(" ")[2]
        numbers = (*self.numbers, *(value for _, value in self.sender))
        sent = (form for number in numbers for form in (number, quote(number, safe=""), number.lstrip("+")))
        return (self.password, login, *sent, *HttpTarget.secrets.__get__(self))

    @property
    def authorization(self) -> str:
        """The header's value."""
        return f"Basic {base64.b64encode(f'{self.username}:{self.password}'.encode()).decode()}"


def masked_number(number: str) -> str:
    """A number by its country and its last three digits: `+49…678`."""
    return f"{number[:3]}…{number[-3:]}"


def target(block: Block) -> SmsTarget:
    """The account, the sender and the first number. Raises NotReady, naming the field or variable."""
    account = block.required("account_sid")
    username, password = _login(block, account)
    sender = tuple(
        (name, value)
        for name, value in (
            ("From", block.text("from_number")),
            ("MessagingServiceSid", block.text("messaging_service_sid")),
        )
        if value is not None
    )
    if not sender:
        raise block.incomplete("from_number", "is not set, nor messagingServiceSid")
    numbers = block.in_places("to_numbers")
    if not numbers:
        raise block.incomplete("to_numbers", "names nobody")
    written = block.get("to_numbers")
    for index, number in enumerate(written):
        if number in written[:index]:
            twice = f"{block.path}.toNumbers[{index}] is the same as toNumbers[{written.index(number)}]: keep one"
            raise NotReady(NotReadyReason.INVALID, twice)
    host = block.get("host") or HOST
    if _REGION_ALONE.fullmatch(host):
        said = f"{block.path}.host: Twilio ended {host}; write api.EDGE.REGION.twilio.com, as api.dublin.ie1.twilio.com"
        raise NotReady(NotReadyReason.INVALID, said)
    return SmsTarget(
        url=f"https://{host}/2010-04-01/Accounts/{account}/Messages.json",
        trusted=block.trusted,
        where=block.path,
        username=username,
        password=password,
        sender=sender,
        numbers=numbers,
        number=numbers[0],
        per_hour=block.get("max_per_hour") or 30,
    )


def _login(block: Block, account: str) -> tuple[str, str]:
    token, key, secret = block.text("auth_token"), block.text("api_key_sid"), block.text("api_key_secret")
    if (key is None) != (secret is None):
        raise block.incomplete(
            "api_key_secret" if secret is None else "api_key_sid", "is not set, but its counterpart is"
        )
    if key is not None and secret is not None:
        return key, secret
    if token is None:
        raise block.incomplete("auth_token", "is not set, nor apiKeySid and apiKeySecret")
    return account, token


def count(block: Block) -> int:
    """How many numbers there are: as many deliveries."""
    return len(block.get("to_numbers") or ())


def part(whole: SmsTarget, position: int) -> SmsTarget:
    """The same for the number at a position, from 1."""
    return replace(whole, number=whole.numbers[position - 1])


def request(message: Message, target: SmsTarget, attempt: Attempt) -> HttpRequest:
    """One message to one number. Twilio gives up on it when the event has become history."""
    rest = LONGEST_VALIDITY if attempt.expires is None else int(attempt.expires - attempt.now)
    fields = {
        "To": target.number,
        **dict(target.sender),
        "Body": text(message, attempt),
        "ValidityPeriod": str(min(max(rest, 1), LONGEST_VALIDITY)),
    }
    headers = {
        "Authorization": target.authorization,
        "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
    }
    return HttpRequest(target.url, urlencode(fields).encode(), headers)


def text(message: Message, attempt: Attempt) -> str:
    """What is read: GSM-7, two segments at most, and at its end the mark by which it is found again."""
    known = facts(message)
    marks = "".join(f"[{mark}] " for mark in known.marks)
    tail = f" {_mark(attempt)}"
    own: str | None = message.texts.get("body_template")
    if own is not None:
        return _own(gsm7.fold(f"{marks}{own}"), tail)
    head = gsm7.cut(gsm7.fold(f"{marks}{known.severity.capitalize()}: {known.headline}"), _HEAD)
    said = gsm7.fold(one_line(f"{known.brief[:_PLENTY]} {known.brief[_PLENTY:][-_PLENTY:]}", 3 * _PLENTY))
    for room in range(TEXT - gsm7.septets(head) - len(tail) - 1, 0, -1):
        made = f"{head}\n{gsm7.cut(said, room)}{tail}" if said else f"{head}{tail}"
        if gsm7.segments(made) <= 2:  # noqa: PLR2004  (an escape at the border of segments may take a septet more)
            break
    return made


def _own(said: str, tail: str) -> str:
    """What an organisation's own template made, in the room that there is."""
    for room in range(TEXT - len(tail), 0, -1):
        made = f"{gsm7.cut(said, room)}{tail}"
        if gsm7.segments(made) <= 2:  # noqa: PLR2004  (as above)
            break
    return made


def _mark(attempt: Attempt) -> str:
    """Of one delivery: the same for all its attempts."""
    return f"#{base64.b32encode(hashlib.sha256(attempt.delivery_id.encode()).digest()).decode()[:_MARK].lower()}"


def before(message: Message, target: SmsTarget, attempt: Attempt) -> HttpRequest | None:
    """Twilio drops no repeated message: where an earlier attempt may have been made, look for its message first."""
    created = message.event.created
    if not attempt.again and created >= attempt.since and attempt.now - created <= FRESH:
        return None
    day = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%d")
    query = urlencode({"To": target.number, "DateSent>": day, "PageSize": str(_LISTED)})
    return HttpRequest(f"{target.url}?{query}", b"", {"Authorization": target.authorization}, "GET")


def then(sent: Sent, response: Response) -> HttpRequest | None:
    """The message, after a look-up that found none; a first attempt is made too where looking is not permitted."""
    if sent.request.method != "GET":
        return None
    if response.status in range(200, 300):
        again = _mark(sent.attempt) in response.text
    else:
        again = sent.attempt.again or response.status not in (400, 401, 403, 404)
    return None if again else request(sent.message, sent.target, sent.attempt)


def look(target: SmsTarget) -> HttpRequest:
    """What Twilio is asked without sending anything: messages from before it had any, so nobody's are shown."""
    query = urlencode({"DateSent<": "2008-01-01", "PageSize": "1"})
    return HttpRequest(f"{target.url}?{query}", b"", {"Authorization": target.authorization}, "GET")


def unsure(response: Response) -> bool:
    """Whether an answer to that says nothing of the login: a restricted key may send, and not list."""
    return response.status in (401, 403) and _code(response) not in (_LOGIN_REFUSED, _SUSPENDED)


def measures(request: HttpRequest) -> Mapping[str, Any]:
    """What a message is, and what it costs."""
    body = parse_qs(request.body.decode()).get("Body", [""])[0]
    return {"text": body, "characters": gsm7.septets(body), "segments": gsm7.segments(body)}


def _code(response: Response) -> int | None:
    found = response.get("code")
    return found if isinstance(found, int) else None


def _has_code(code: int, response: Response) -> bool:
    return _code(response) == code


def said(response: Response) -> str:
    """Twilio's own words, with the code to look up."""
    words = response.get("message")
    if not isinstance(words, str):
        return response.text
    code = _code(response)
    return f"{words} (code {code})" if code else words


def receipt(response: Response, _target: SmsTarget) -> str | None:
    """The message's SID."""
    found = response.get("sid")
    return found if isinstance(found, str) and _SID.fullmatch(found) else None


_LOGIN_REFUSED: Final = 20003  # https://www.twilio.com/docs/api/errors/20003
_SUSPENDED: Final = 20403  # https://www.twilio.com/docs/api/errors/20403
_WORDS: Final = {
    _LOGIN_REFUSED: "the login is not valid: check accountSid, and authToken or apiKeySid and apiKeySecret",
    _SUSPENDED: "the account is suspended or closed: ask Twilio's support",
    21211: "the number is not valid: check toNumbers",
    21408: "the account may not send to this country: allow it in Twilio's console (Geo permissions)",
    21606: "fromNumber cannot send SMS to this number: check that it is the account's",
    21608: "a trial account sends to verified numbers only",
    21610: "the recipient has opted out (STOP): they have to write START to the sender",
    21612: "there is no way from fromNumber to this number",
    21614: "the number takes no SMS: check toNumbers",
    21635: "the number is a landline: check toNumbers",
}

SMS: Final = HttpKind(
    name="sms",
    title="SMS by Twilio",
    spec=SmsSpec,
    target=target,
    count=count,
    part=part,
    request=request,
    before=before,
    then=then,
    look=look,
    unsure=unsure,
    measures=measures,
    reads=READS,
    budget=True,
    hosts=Hosts(exact=(HOST,), suffixes=(".twilio.com",)),
    capabilities=Capabilities(characters=TEXT),
    answers=(
        *(
            Answer(range(400, 500), OutcomeKind.PERMANENT, words, when=partial(_has_code, code))
            for code, words in _WORDS.items()
        ),
        Answer(status(401), OutcomeKind.PERMANENT, _WORDS[_LOGIN_REFUSED]),
        Answer(status(403), OutcomeKind.PERMANENT, "the account or key may not send this: look in Twilio's console"),
        Answer(status(404), OutcomeKind.PERMANENT, "there is no such account: check accountSid and host"),
        Answer(status(400), OutcomeKind.PERMANENT, "Twilio refused the message: check toNumbers and fromNumber"),
        *HTTP_RULES,
    ),
    said=said,
    receipt=receipt,
    success=(201, '{"sid": "SM0123456789abcdef0123456789abcdef", "status": "queued", "num_segments": "1"}'),
    example={
        "accountSid": "AC0123456789abcdef0123456789abcdef",
        "apiKeySid": "SK0123456789abcdef0123456789abcdef",
        "apiKeySecret": "SecretOfTheKey0123456789",
        "fromNumber": "+15005550006",
        "toNumbers": ["+4915112345678", "+447700900123"],
        "maxPerHour": 20,
    },
)
