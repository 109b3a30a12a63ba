"""One HTTP request, as destinations need it: verified, bounded, and without a trace of the URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp

from pipebell.core.errors import Fenced
from pipebell.providers.failures import Unanswered
from pipebell.version import __version__

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from aiohttp.abc import AbstractStreamWriter

_BODY_LIMIT: Final = 4096  # bytes of an answer that are read: enough for any error's name
_IDLE: Final = 30.0  # seconds that an unused connection is kept
_CONNECT: Final = 10.0  # seconds for a connection and its handshake
_ANSWER: Final = 60.0  # seconds for everything: some gateways answer only once they have worked the message off


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. Names in `headers` are found in any case; `body` is its beginning."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http:
    """Sends over kept connections: no redirects, no cookies, nothing from the environment, no URL in any message.

    `timeout` is seconds for one request, from connecting to the end of the answer. `proxy` is the URL of a proxy that
    every request goes through; "" for none.
    """

    def __init__(self, tls: ssl.SSLContext, timeout: float = _ANSWER, *, proxy: str = "") -> None:
        self._tls, self._timeout, self._proxy = tls, timeout, proxy
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self,
        method: str,
        url: str,
        content: bytes,
        headers: Mapping[str, str],
        *,
        allowed: Callable[[], bool] = lambda: True,
    ) -> Answer:
        """The answer, whatever its status.

        `allowed` is asked once there is a connection, right before the first byte of the request is written. Raises
        Fenced if it says no, and then nothing was sent. Raises OSError (TimeoutError, ssl.SSLError, … as its cause or
        itself; Unanswered if the request was written), and ValueError if `url` is none.
        """
        if self._session is None:  # made here: it needs the running loop
            self._session = self._open()
        body = _Asking(content, allowed)
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return Answer(response.status, response.headers, await _beginning(response.content))
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            raise ValueError("not a URL to post to") from None  # theirs quotes it
        except aiohttp.ClientError as error:
            if body.refused:
                raise Fenced("this replica may not send any more") from None
            if body.written:
                raise Unanswered("no answer") from error
            raise ConnectionError("the request failed") from error
        except TimeoutError as error:
            if body.written:
                raise Unanswered("no answer") from error
            raise

    def _open(self) -> aiohttp.ClientSession:
        # How many connections there are is bounded by those who post, not here: a slow host must not hold up others.
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=0, keepalive_timeout=_IDLE),
            headers={"User-Agent": f"pipebell/{__version__}", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=min(self._timeout, _CONNECT)),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            proxy=self._proxy or None,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()


class _Asking(aiohttp.BytesPayload):
    """A request's content that may be held back: aiohttp writes the headers together with it, and not before."""

    def __init__(self, content: bytes, allowed: Callable[[], bool]) -> None:
        super().__init__(content)
        self._allowed = allowed
        self.refused = False
        self.written = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self.refused = not self._allowed()
        if self.refused:
            raise Fenced("not sent")
        self.written = True
        await super().write_with_length(writer, content_length)


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    """What arrives of the body: the status has said what matters, so a broken or endless body is no failure."""
    body = b""
    try:
        while len(body) < _BODY_LIMIT and (chunk := await content.readany()):
            body += chunk
    except (aiohttp.ClientError, OSError):
        pass
    return body[:_BODY_LIMIT]
