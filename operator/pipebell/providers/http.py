"""One HTTP POST, as the providers that post need it: verified, bounded, and without a trace of the URL."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

_BODY_LIMIT: Final = 4096  # bytes of an answer that are read: enough for any error's name
_IDLE: Final = 30.0  # seconds that an unused connection is kept


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. Names in `headers` are in lower case; `body` is its beginning."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http:
    """Posts over kept connections.

    This is httpx's transport rather than its client: nothing here follows redirects, keeps cookies, reads proxies or
    credentials from the environment, or logs URLs, because what would do so is not there. `proxy` is the URL of a
    proxy that every post goes through; "" for none.
    """

    def __init__(self, tls: ssl.SSLContext, timeout: float = 10.0, *, proxy: str = "") -> None:
        self._tls, self._timeout = tls, timeout
        self._proxy = httpx.Proxy(proxy) if proxy else None
        self._transport: httpx.AsyncBaseTransport | None = None

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        """The answer, whatever its status.

        Raises OSError (TimeoutError, ssl.SSLError, … as its cause or itself), and ValueError if `url` is none.
        """
        if self._transport is None:
            self._transport = AiohttpTransport(
                verify=self._tls, trust_env=False, client=_session(self._tls), proxy=self._proxy
            )
        try:
            async with asyncio.timeout(self._timeout):
                # By `stream`: a request by `content` spends a third of the whole POST on headers that aiohttp sets too.
                request = httpx.Request("POST", url, headers=headers, stream=httpx.ByteStream(content))
                request.read()
                response = await self._transport.handle_async_request(request)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError):
            raise ValueError("not a URL to post to") from None  # theirs quotes it
        except (httpx.HTTPError, aiohttp.ClientError) as error:
            raise ConnectionError("POST failed") from error
        body = await self._beginning(response)
        return Answer(response.status_code, response.headers, body)

    async def _beginning(self, response: httpx.Response) -> bytes:
        """What arrives of the body: the status has said what matters, so a broken or endless body is no failure."""
        body = b""
        try:
            async with asyncio.timeout(self._timeout):
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) >= _BODY_LIMIT:
                        break
        except (httpx.HTTPError, aiohttp.ClientError, OSError):
            pass
        finally:
            await response.aclose()
        return body[:_BODY_LIMIT]

    async def close(self) -> None:
        """Close all connections."""
        if self._transport is not None:
            await self._transport.aclose()


def _session(tls: ssl.SSLContext) -> aiohttp.ClientSession:
    """How many connections there are is bounded by those who post, not here: one slow host must not hold up others."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, limit=0, keepalive_timeout=_IDLE),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )
