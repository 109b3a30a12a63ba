"""Requests with a body over aiohttp's kept connections, without what its session does around each.

A session builds a request and an answer for redirects, cookies, uploads, decompression and much else that a POST of a
few kilobytes has no use for: half of the CPU of an exchange. Connections, TLS, name look-ups, limits and the parser of
answers are aiohttp's all the same. Requests through a proxy, or with a login in the URL, are for the session.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection
    from yarl import URL

_PLACES: Final = 1024  # origins whose connections are known by heart
_UNFIT: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # in a line of a request (RFC 9110, 5.5)
_FIRST_FINAL: Final = 200  # what is below says that the answer is yet to come (RFC 9110, 15.2)
_SWITCHED: Final = 101


class Answer(NamedTuple):
    """A response. Names in `headers` are found in any case; `body` is as much of it as was read."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Poster:
    """Sends by a session's connector, with its timeouts for connecting. Whoever calls bounds the whole exchange.

    Nothing is sent twice: that a kept connection was closed meanwhile is the caller's to bear.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._places: dict[tuple[URL, str | None], _Place] = {}

    async def send(
        self,
        method: str,
        origin: URL,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        read: Callable[[aiohttp.StreamReader], Awaitable[bytes]],
        before: Callable[[], None] | None = None,
        server_hostname: str | None = None,
    ) -> Answer:
        """One exchange with `origin`; `target` is path and query, encoded.

        `headers` replace the session's own, whatever the case of their names. `before` is called once there is a
        connection, right before the first byte is written, and may raise. `read` takes what it wants of the answer's
        body. `server_hostname` is the name to expect in the certificate where that is another one than the URL's.
        Raises aiohttp's ClientErrors, and ValueError for what no request can hold.
        """
        place = self._places.get((origin, server_hostname)) or self._place(origin, server_hostname)
        message = _message(method, target, place.headers, headers, body)
        connector = self._session.connector
        if connector is None:
            raise aiohttp.ClientConnectionError("the session is closed")
        try:
            connection = await connector.connect(place.request, [], self._session.timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("no connection in time") from error
        try:
            protocol, transport = _ends(connection)
            if before is not None:
                before()
            protocol.set_response_params(read_until_eof=True, auto_decompress=False)
            transport.write(message)
            answer, content = await protocol.read()
            while answer.code < _FIRST_FINAL and answer.code != _SWITCHED:
                answer, content = await protocol.read()
            found = Answer(answer.code, answer.headers, await read(content))
        except HttpProcessingError as error:
            connection.close()
            info = place.request.request_info
            raise aiohttp.ClientResponseError(info, (), status=error.code, message=error.message) from error
        except BaseException:
            connection.close()
            raise
        connection.release()  # which closes it, where the answer was not read to its end
        return found

    def _place(self, origin: URL, server_hostname: str | None) -> _Place:
        if len(self._places) >= _PLACES:
            self._places.clear()
        loop = asyncio.get_running_loop()
        made = aiohttp.ClientRequest("POST", origin, loop=loop, session=self._session, server_hostname=server_hostname)
        usual = {"Host": made.headers[aiohttp.hdrs.HOST], **self._session.headers}
        place = self._places[origin, server_hostname] = _Place(made, _lines(usual))
        return place


class _Place(NamedTuple):
    """What aiohttp's connector knows connections to an origin by, and the headers that each request there has."""

    request: aiohttp.ClientRequest
    headers: Mapping[str, str]


def _ends(connection: Connection) -> tuple[ResponseHandler, asyncio.Transport]:
    """Raises ClientConnectionResetError where it was closed at this very moment."""
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None:
        raise aiohttp.ClientConnectionResetError("the connection was closed")
    return protocol, transport


def _lines(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers as they are written, by their names in lower case."""
    return {name.lower(): f"{name}: {value}\r\n" for name, value in headers.items()}


def _message(method: str, target: str, usual: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> bytes:
    """The request, byte for byte (RFC 9112). Raises ValueError where a part of it would begin another line."""
    lines = {**usual, **_lines(headers), "content-length": f"Content-Length: {len(body)}\r\n"}
    head = f"{method} {target} HTTP/1.1\r\n{''.join(lines.values())}"
    shown = head.replace("\r\n", "")
    whole = len(head) - len(shown) == 2 * (len(lines) + 1)  # no line ends but ours
    if not whole or not (shown.isprintable() or _UNFIT.search(shown) is None):
        raise ValueError("a control character in a header")
    return f"{head}\r\n".encode() + body
