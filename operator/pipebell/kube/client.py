"""Requests to the API server: JSON in, JSON out, and every failure as one of `pipebell.core.errors`' ApiErrors.

API conventions: https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from pipebell.core.errors import ApiError, Conflict, Forbidden, Gone, NotFound, Rejected, TooLarge, TooLong, Unavailable
from pipebell.core.status import clip
from pipebell.core.wire import decode, encode
from pipebell.kube.vitals import Vitals
from pipebell.kube.writes import METHODS, Writes
from pipebell.retry import LONGEST_RETRY_AFTER, retry_until_available

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from pipebell.kube.connection import Connection

MERGE_PATCH: Final = "application/merge-patch+json"  # RFC 7396
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"  # half of an event's answer
PAGE_SIZE: Final = 200  # objects; the heap never gives back what its largest page took
PAGE_BYTES: Final = 2 << 20  # of a page; objects may have 1.5 MB each, and take 5 to 20 times as much as values
REQUEST_TIMEOUT: Final = 10.0  # seconds
WATCH_SILENCE: Final = 80.0  # seconds without a line after which a watch counts as dead: bookmarks come every minute
_CHUNK: Final = 1 << 18  # bytes that a response may buffer before the socket is no longer read
# Not every 4xx means that asking again is useless: 401 comes while a token is being rotated and while a server starts.
_LATER: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
# What etcd says of a write that it will never take, as a 500.
_TOO_LARGE: Final = ("request is too large", "message larger than max")
_KINDS: Final[dict[int, type[ApiError]]] = {
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.GONE: Gone,
}

Object = dict[str, Any]


class Silent(Unavailable):
    """A watch is open, and not even a bookmark has come for `WATCH_SILENCE`."""


class ApiClient:
    """One identity's requests, over one pool of kept-alive connections. Close it when done.

    `connections` bounds how many are open at once; further requests wait for one within their time. `vitals` hears of
    each answer.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        connections: int = 64,
        timeout: float = REQUEST_TIMEOUT,
        vitals: Vitals | None = None,
    ) -> None:
        self._connection = connection
        self._connections = connections
        self._timeout = timeout
        self._vitals = vitals or Vitals()
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}
        self._session: aiohttp.ClientSession | None = None
        self._writes: Writes | None = None  # None too where there is a proxy between
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give the connections back. Requests made afterwards are Unavailable."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        accept: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  (it ends the request at aiohttp, which frees the connection)
    ) -> Any:  # noqa: ANN401  (JSON)
        """The answer's JSON. `timeout` is seconds for the whole exchange. Raises ApiErrors."""
        headers = {} if body is None else {"Content-Type": content_type}
        if accept is not None:
            headers["Accept"] = accept
        data = None if body is None else encode(body)
        return _value(method, path, await self._exchange(method, path, params, data, headers, timeout))

    async def _exchange(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
        most: int | None = None,
    ) -> bytes:
        """The answer of a request that succeeded. Raises TooLong as soon as more than `most` bytes have come."""
        seconds = self._timeout if timeout is None else timeout
        limits = self._timeouts.get(seconds)
        if limits is None:
            limits = self._timeouts[seconds] = aiohttp.ClientTimeout(total=seconds)
        began = self._vitals.begin()
        session = self._open()
        try:
            if self._writes is not None and data is not None and method in METHODS:
                target = _target(path, params)
                status, found, answer = await self._writes.send(method, target, headers or {}, data, seconds)
            else:
                async with session.request(
                    method, self._url(path, params), data=data, headers=headers, timeout=limits, allow_redirects=False
                ) as response:
                    answer = await (response.read() if most is None else _read(response.content, most))
                    status, found = response.status, response.headers
            self._vitals.answered(status, found.get("Date"), began)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._broken(method, path, error) from None
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            self._refuse(method, path, status, _parsed(answer), found.get("Retry-After"))
        return answer

    async def pages(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        limit: int = PAGE_SIZE,
        patience: float | None = 30.0,
    ) -> AsyncIterator[Object]:
        """A list, page by page, as the API gives it (`items`, `metadata`). The first page is a consistent read.

        Each object that exists during the whole walk is given exactly once. When the server forgets the list's
        snapshot midway (410), the walk goes on behind the last object given, at the present state, by the token that
        the server hands out for this; so objects made or deleted meanwhile may or may not be given. Each page is asked
        for again for `patience` seconds (None: for ever) while the API is unavailable. Pages have fewer objects than
        `limit` where these are large. Raises ApiErrors.
        """
        # Asking for the next page while this one is being worked on was tried: no gain on two cores.
        query, count = dict(params or {}), limit
        while True:
            query["limit"] = str(count)
            most = PAGE_BYTES if count > 1 else None
            try:
                page, length = await retry_until_available(
                    partial(self._page, path, query, most), what=f"list {path}", limit=patience
                )
            except Gone:
                raise Unavailable(f"GET {path}: the list expired midway; begin again") from None
            except TooLong:
                count = max(1, count // 8)
                continue
            if length < PAGE_BYTES // 4:
                count = min(limit, count * 2)
            if page.get("kind") != "Status":
                yield page
            token = page["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

    async def _page(self, path: str, query: Mapping[str, str], most: int | None) -> tuple[Object, int]:
        """One page, and its bytes; or, for an expired snapshot, the Status with the token to go on by.

        Raises Gone without such a token.
        """
        try:
            answer = await self._exchange("GET", path, query, most=most)
        except Gone as gone:
            if gone.continue_token is None:
                raise
            return {"kind": "Status", "metadata": {"continue": gone.continue_token}}, 0
        page = _value("GET", path, answer)
        if not isinstance(page, dict) or not isinstance(page.get("metadata"), dict):
            raise Unavailable(f"GET {path}: the answer is not a list")
        return page, len(answer)

    async def watch(
        self,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        seconds: float = 240.0,
        opened: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[tuple[str, Object]]:
        """What happens, as (type, object): ADDED, MODIFIED, DELETED, BOOKMARK.

        `opened` is called once the server has granted it. Ends when the server ends it, which it is asked to do after
        `seconds`. Raises Gone when the history since
        `resourceVersion` is forgotten (list again), Silent when nothing has come for `WATCH_SILENCE`, other ApiErrors
        when the connection breaks.
        """
        query = {"allowWatchBookmarks": "true", "timeoutSeconds": str(int(seconds)), **(params or {}), "watch": "1"}
        limits = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout, sock_read=WATCH_SILENCE)
        began, granted = self._vitals.begin(), False
        try:
            async with self._open().get(
                self._url(path, query), timeout=limits, allow_redirects=False, read_bufsize=_CHUNK
            ) as response:
                self._vitals.answered(response.status, response.headers.get("Date"), began)
                if response.status != HTTPStatus.OK:
                    answer = await response.read()
                    retry_after = response.headers.get("Retry-After")
                    self._refuse("WATCH", path, response.status, _parsed(answer), retry_after)
                granted = True
                opened()
                async for line in _lines(response.content):
                    yield _happening(path, line)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if granted and isinstance(error, TimeoutError):
                raise Silent(f"WATCH {path}: nothing came for {WATCH_SILENCE:g} s, not even a bookmark") from None
            raise self._broken("WATCH", path, error) from None

    def _broken(self, method: str, path: str, error: Exception) -> Unavailable:
        """No answer at all. aiohttp's exceptions can carry the request's headers, so none is chained."""
        if isinstance(error, TimeoutError | asyncio.TimeoutError):
            return Unavailable(f"{method} {path}: no answer in time")
        self._vitals.broken()
        return Unavailable(clip(f"{method} {path}: {type(error).__name__}: {error}", 500))

    def _refuse(self, method: str, path: str, status: int, document: Object, retry_after: str | None) -> NoReturn:
        """Raise what an answer other than success means. A server that has just started forbids what it will allow."""
        if status == HTTPStatus.FORBIDDEN and self._vitals.returning:
            raise Unavailable(_told(method, path, status, document), _seconds(retry_after, document))
        _refuse(method, path, status, document, retry_after)

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise Unavailable("the connections to the API server are closed")
        if self._session is None:  # made here: it needs the running loop
            self._session = self._connection.session(connections=self._connections)
            self._writes = None if self._connection.proxy else Writes(self._connection, self._session)
        return self._session

    def _url(self, path: str, params: Mapping[str, str] | None) -> URL:
        return URL(f"{self._connection.server}{_target(path, params)}", encoded=True)


def _target(path: str, params: Mapping[str, str] | None) -> str:
    return f"{path}?{urlencode(params)}" if params else path


async def _read(content: aiohttp.StreamReader, most: int) -> bytes:
    """All of it. Raises TooLong as soon as that is more than `most` bytes."""
    parts, length = [], 0
    async for chunk in content.iter_any():
        parts.append(chunk)
        length += len(chunk)
        if length > most:
            raise TooLong
    return b"".join(parts)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length: aiohttp's own reading by lines gives up beyond its buffer."""
    parts: list[bytes] = []
    async for chunk in content.iter_any():
        *ended, rest = chunk.split(b"\n")
        for end in ended:
            parts.append(end)
            if line := b"".join(parts).strip():
                yield line
            parts.clear()
        if rest:
            parts.append(rest)


def _happening(path: str, line: bytes) -> tuple[str, Object]:
    event = _parsed(line)
    kind, item = event.get("type"), event.get("object")
    if not isinstance(kind, str) or not isinstance(item, dict):
        raise Unavailable(f"WATCH {path}: a line is not a watch event")
    if kind == "ERROR":
        code = item.get("code")
        _refuse("WATCH", path, code if isinstance(code, int) else HTTPStatus.INTERNAL_SERVER_ERROR, item, None)
    return kind, item


def _value(method: str, path: str, answer: bytes) -> Any:  # noqa: ANN401  (JSON)
    try:
        return decode(answer)
    except ValueError:
        raise Unavailable(f"{method} {path}: the answer is not JSON; is this the API server?") from None


def _parsed(answer: bytes) -> Object:
    try:
        document = decode(answer)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _refuse(method: str, path: str, status: int, document: Object, retry_after: str | None) -> NoReturn:
    """Raise what an answer other than success means."""
    said = _said(document)
    message = _told(method, path, status, document)
    for_good = method != "GET" and said is not None and any(words in said for words in _TOO_LARGE)
    if for_good or status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        raise TooLarge(message)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _LATER:
        raise Unavailable(message, _seconds(retry_after, document))
    if status == HTTPStatus.GONE:
        metadata = document.get("metadata")
        token = metadata.get("continue") if isinstance(metadata, dict) else None
        raise Gone(message, token or None)
    raise _KINDS.get(status, Rejected)(message)


def _told(method: str, path: str, status: int, document: Object) -> str:
    """What people read of it. Only the server's own words are quoted, clipped."""
    return clip(f"{method} {path}: {status} {_said(document) or _phrase(status)}", 500)


def _said(document: Object) -> str | None:
    said = document.get("message")
    return said if isinstance(said, str) else None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _seconds(retry_after: str | None, document: Object) -> float | None:
    """Retry-After in seconds (the API server never sends a date there), or the Status' own; capped at a minute."""
    details = document.get("details")
    for value in (retry_after, details.get("retryAfterSeconds") if isinstance(details, dict) else None):
        try:
            seconds = float(value)  # type: ignore[arg-type]  # None and words are caught
        except (TypeError, ValueError):
            continue
        except OverflowError:  # a whole number of hundreds of digits
            return LONGEST_RETRY_AFTER
        if not math.isnan(seconds):
            return min(max(0.0, seconds), LONGEST_RETRY_AFTER)
    return None
