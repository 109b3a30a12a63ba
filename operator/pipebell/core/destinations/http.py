"""What a kind of destination is that takes HTTP requests: how one is made, and what its answers mean."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import parse_qsl, urlsplit

from pipebell.core.destinations.base import Kind, Rate
from pipebell.core.outcome import REACHED, Attempt, Outcome, OutcomeKind
from pipebell.core.render.text import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipebell.core.message import Message

JSON_HEADERS: Final = {"Content-Type": "application/json; charset=utf-8"}
MAX_PAUSE: Final = 3600.0  # seconds; whatever a server says, it is asked again after an hour


@lru_cache(maxsize=128)  # asked for some times an attempt; `urlsplit` keeps as many itself
def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """Where a request goes. `url` is a credential; `where` is the block's place in the configuration."""

    kind: ClassVar[str] = ""
    url: str = field(repr=False)
    trusted: bool = False
    where: str = ""

    @property
    def endpoint(self) -> tuple[object, ...]:
        """What a 429 pauses: the URL."""
        return (self.url,)

    @property
    def recipients(self) -> str:
        """The recipients there, for people; "" where nothing but the URL says so."""
        return ""

    @property
    def host(self) -> str:
        """The host's name, which is no secret; "" when the URL is none."""
        return _host(self.url)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not show in anything that a server says."""
        try:
            parts = urlsplit(self.url)
        except ValueError:
            return (self.url,)
        raw = (pair.partition("=")[2] for pair in parts.query.split("&"))
        words = (*parts.path.split("/"), parts.query, *raw, *(value for _, value in parse_qsl(parts.query)))
        return (self.url, *(word for word in words if len(word) > 4))  # noqa: PLR2004  (shorter ones are words)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request as it is sent; `X-Pipebell-Delivery` and `User-Agent` are added to it.

    Any part of it may hold a key: none shows in its `repr`.
    """

    url: str = field(repr=False)
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=lambda: JSON_HEADERS, repr=False)
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that was made, and what it was made of. `first`: whether it was the attempt's first one."""

    message: Message
    target: Any
    attempt: Attempt
    request: HttpRequest
    first: bool = True


@dataclass(frozen=True)
class Response:
    """An answer. Names in `headers` are found in any case; `body` is its beginning, `host` who answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    host: str = ""

    @cached_property
    def text(self) -> str:
        """The beginning of the body as text."""
        return self.body.decode("utf-8", "replace")

    @cached_property
    def document(self) -> Any:  # noqa: ANN401  (JSON)
        """The body as JSON; None when it is none, or a mere word."""
        if self.body[:1].isalpha():  # `ok`, as most answers are
            return None
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def get(self, name: str) -> Any:  # noqa: ANN401  (JSON)
        """A value of the body, when that is a JSON object; None otherwise, and when it has none of this name."""
        return self.document.get(name) if isinstance(self.document, dict) else None


@dataclass(frozen=True, slots=True)
class Answer:
    """What some answers mean: those with one of `statuses` for which `when` holds.

    `hint` says what to do about it; `reason` "" is `Http<status>`.
    """

    statuses: range
    kind: OutcomeKind
    hint: str = ""
    reason: str = ""
    when: Callable[[Response], bool] = lambda _: True


def status(code: int) -> range:
    """One status alone."""
    return range(code, code + 1)


def says_no(response: Response) -> bool:
    """A success that is none: a page for people (a login, a proxy's notice), or JSON that says it did not work."""
    kind = response.headers.get("content-type") or ""
    start = response.body.lstrip()[:14].lower()
    if "text/html" in kind.lower() or start.startswith((b"<!doctype html", b"<html")):
        return True
    return start.startswith(b"{") and any(response.get(word) is False for word in ("ok", "success"))


# The first row that fits decides; a kind puts its own before these.
HTTP_RULES: Final = (
    Answer(
        range(200, 300),
        OutcomeKind.RETRY,
        "the answer is no success, whatever its status says: check the URL, and what stands between",
        "UnexpectedAnswer",
        says_no,
    ),
    Answer(range(200, 300), OutcomeKind.DELIVERED),
    Answer(
        range(300, 400), OutcomeKind.PERMANENT, "the URL redirects elsewhere, which is not followed", "RedirectRefused"
    ),
    Answer(status(408), OutcomeKind.RETRY, "the server did not get the request in time"),
    Answer(status(429), OutcomeKind.PAUSE, "too many messages for this endpoint"),
    Answer(
        status(503),
        OutcomeKind.PAUSE,
        "the server asks for a pause",
        when=lambda response: "retry-after" in response.headers,
    ),
    Answer(status(404), OutcomeKind.PERMANENT, "there is no such endpoint: check the URL"),
    Answer(status(410), OutcomeKind.PERMANENT, "the endpoint is gone: make a new one and update the URL"),
    Answer(range(400, 500), OutcomeKind.PERMANENT, "the server refused the message"),
    Answer(range(500, 600), OutcomeKind.RETRY, "the server has a problem"),
)
_UNEXPECTED: Final = Answer(range(0), OutcomeKind.RETRY, "the server does not answer as it should")


def _no_handle(_response: Response, _target: Any) -> str | None:  # noqa: ANN401
    return None


def _no_pause(_response: Response) -> float | None:
    return None


def _no_form(_url: str) -> str | None:
    return None


def _whole_text(response: Response) -> str:
    return response.text


def _nothing_before(_message: Message, _target: Any, _attempt: Attempt) -> HttpRequest | None:  # noqa: ANN401
    return None


def _no_look(_target: Any) -> HttpRequest | None:  # noqa: ANN401
    return None


def _sure(_response: Response) -> bool:
    return False


def _unmeasured(_request: HttpRequest) -> Mapping[str, Any]:
    return {}


def _always_there(_sent: Sent, _response: Response) -> bool:
    return False


def _nothing_more(_sent: Sent, _response: Response) -> HttpRequest | None:
    return None


@dataclass(frozen=True, kw_only=True)
class HttpKind(Kind):
    """A kind that takes an HTTP request; `providers.webhook.HttpProvider` sends it.

    `request` builds what is sent, purely. `answers` are its own rows before `HTTP_RULES`; `hints` says what the
    receiver's own words for errors ask for. `receipt` takes from a success what a later message of its thread needs.
    `pause` finds the seconds of a pause in an answer's body. `form` complains of a URL that cannot be right, for
    `pipebell verify`; `probe` says that a GET there is harmless. `look` makes another request that sends nothing and
    shows whether the endpoint is there and the login holds, unless the answer is `unsure`. `success` is what the
    receiver answers to a message that it takes: status and body.

    `said` finds the receiver's own words in an answer, for `hints` and for people. `then` makes the request that
    follows an answer within the same attempt (a plainer one after a refusal, a second one after a success); the last
    answer decides. `gone` says that the message which a request was to change is not there. `before` makes one that
    goes first, such as a look-up; then only `then` brings the message.
    `first_pause` is for how many seconds an endpoint is left alone that says it is busy and names no time; it doubles
    from refusal to refusal, up to `longest_pause`. `measures` is what `pipebell preview` says of a request beside
    showing it; `shows` is what people see of its JSON, as text. `reads` is how many bytes of an answer are looked at.
    `budget`: its targets have a `per_hour`, which is kept.
    """

    request: Callable[[Message, Any, Attempt], HttpRequest]
    answers: tuple[Answer, ...] = HTTP_RULES
    hints: Mapping[str, str] = field(default_factory=dict)
    receipt: Callable[[Response, Any], str | None] = _no_handle
    pause: Callable[[Response], float | None] = _no_pause
    form: Callable[[str], str | None] = _no_form
    probe: bool = False
    look: Callable[[Any], HttpRequest | None] = _no_look
    unsure: Callable[[Response], bool] = _sure
    success: tuple[int, str] = (200, "ok")
    said: Callable[[Response], str] = _whole_text
    before: Callable[[Message, Any, Attempt], HttpRequest | None] = _nothing_before
    then: Callable[[Sent, Response], HttpRequest | None] = _nothing_more
    gone: Callable[[Sent, Response], bool] = _always_there
    first_pause: float = 5.0
    longest_pause: float = 300.0
    measures: Callable[[HttpRequest], Mapping[str, Any]] = _unmeasured
    reads: int = 4096
    budget: bool = False
    shows: Callable[[Any], list[str]] | None = None

    def trial(self, target: HttpTarget) -> HttpRequest:
        """What to ask without sending anything: the endpoint in its harmless way; where it has none, only its host.

        Raises ValueError when the URL is none.
        """
        made = self.look(target)
        if made is not None:
            return made
        parts = urlsplit(target.url)
        host = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
        return HttpRequest(target.url if self.probe else host, b"", {}, "GET")

    @property
    def asks_more_than_its_host(self) -> bool:
        """Whether a trial shows more than that the host is there."""
        return self.probe or self.look is not _no_look

    @cached_property
    def _rate(self) -> Rate | None:
        own = self.capabilities
        return None if own.per_second is None else Rate(own.per_second, own.burst)

    def rate(self, target: HttpTarget) -> Rate | None:
        """The vendor's documented rate, at the vendor's own hosts: what else speaks its language has its own limits."""
        if self._rate is None:
            return None
        host = target.host
        own = host in self.hosts.exact or any(host.endswith(suffix) for suffix in self.hosts.suffixes)
        return self._rate if own else None


_REFUSED: Final = (401, 403, 404, 410)  # a key or an address that the receiver does not know (any more)


def judge_trial(kind: HttpKind, response: Response, target: HttpTarget, now: float) -> Outcome:
    """What the answer to `HttpKind.trial` says of the endpoint; many a receiver answers 400 or 405 while it is well.

    Where only the host was asked, or the answer says nothing of the login: that it was reached.
    """
    if kind.unsure(response) or not (kind.probe or kind.look(target)):
        return Outcome(OutcomeKind.DELIVERED, REACHED)
    if response.status in _REFUSED or response.status == _BUSY or response.status >= _TROUBLED:
        return classify_response(kind, response, target, now)
    if response.get("ok") is False:
        said = masked(kind.said(response), *target.secrets)
        hint = kind.hints.get(said, "the login is refused")
        return Outcome(OutcomeKind.PERMANENT, "LoginRefused", f"{response.status}: {hint} ({said})")
    return Outcome(OutcomeKind.DELIVERED)


_BUSY, _TROUBLED = 429, 500


def classify_response(kind: HttpKind, response: Response, target: HttpTarget, now: float) -> Outcome:
    """What an answer means. No secret of `target` shows in it; `now` is seconds since the epoch, for Retry-After."""
    rule = next(
        (rule for rule in kind.answers if response.status in rule.statuses and rule.when(response)), _UNEXPECTED
    )
    if rule.kind is OutcomeKind.DELIVERED:
        return Outcome(OutcomeKind.DELIVERED, handle=kind.receipt(response, target))
    said = masked(kind.said(response), *target.secrets)
    hint = kind.hints.get(said, rule.hint)
    message = f"{response.status}: {hint}" + (f" ({said})" if said and "<" not in said else "")
    reason = rule.reason or f"Http{response.status}"
    if rule.kind is not OutcomeKind.PAUSE:
        return Outcome(rule.kind, reason, message)
    seconds = _bounded(kind.pause(response))
    if seconds is None:
        seconds = retry_after(response.headers.get("retry-after"), now)
    return Outcome(
        rule.kind,
        reason,
        message,
        retry_after=seconds,
        first_pause=kind.first_pause,
        longest_pause=kind.longest_pause,
    )


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait, at most an hour; None if the header names no time (RFC 9110, 10.2.3: seconds or a date)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return _bounded(seconds)


def _bounded(seconds: float | None) -> float | None:
    return min(max(seconds, 0.0), MAX_PAUSE) if seconds is not None and seconds == seconds else None  # noqa: PLR0124  (NaN)
