"""One HTTP request, as destinations need it: verified, bounded, and without a trace of the URL."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from pipebell.core.errors import Fenced
from pipebell.posting import Answer, Poster
from pipebell.providers.dns import Dns
from pipebell.providers.failures import Unanswered
from pipebell.version import __version__

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

    from aiohttp.abc import AbstractStreamWriter

    from pipebell.providers.dns import Address

_SCHEMES: Final = ("https", "http")
_BODY_LIMIT: Final = 4096  # bytes of an answer that are read: enough for any error's name
_IDLE: Final = 30.0  # seconds that an unused connection is kept
_CONNECT: Final = 10.0  # seconds for a connection and its handshake
_ANSWER: Final = 60.0  # seconds for everything: some gateways answer only once they have worked the message off


class Http:
    """Sends over kept connections: no redirects, no cookies, nothing from the environment, no URL in any message.

    `timeout` is seconds for one request, from connecting to the end of the answer. `proxy` is the URL of a proxy that
    every request goes through; "" for none. `admits`, if given, says of a host and one of its addresses whether it may
    be connected to; connections are shared only among requests that were asked about. `reads` is how many bytes of an
    answer are read.
    """

    def __init__(
        self,
        tls: ssl.SSLContext,
        timeout: float = _ANSWER,
        *,
        dns: Dns | None = None,
        proxy: str = "",
        admits: Callable[[str, str], bool] | None = None,
        reads: int = _BODY_LIMIT,
    ) -> None:
        self._tls, self._timeout, self._reads = tls, timeout, reads
        given = URL(proxy)
        # Without its password, which aiohttp's messages would quote.
        self._proxy = given.with_user(None) if proxy else None
        self._to_proxy = (
            {"Proxy-Authorization": aiohttp.encode_basic_auth(given.user, given.password or "")} if given.user else None
        )
        self._dns, self._admits = dns or Dns(), admits
        self._session: aiohttp.ClientSession | None = None
        self._poster: Poster | None = None
        self._beginning = partial(_beginning, limit=reads)

    async def send(
        self,
        method: str,
        url: str,
        content: bytes,
        headers: Mapping[str, str],
        *,
        namespace: str = "",
        allowed: Callable[[], bool] = lambda: True,
    ) -> Answer:
        """The answer, whatever its status.

        `allowed` is asked once there is a connection, right before the first byte of the request is written. Raises
        Fenced if it says no, and then nothing was sent. Raises OSError (TimeoutError, ssl.SSLError, … as its cause or
        itself; Unanswered if the request was written, NotAdmitted if no address may be connected to), and ValueError if
        `url` is none. `namespace` is whose look-up of the host's name it is.
        """
        session = self._session
        if session is None:  # made here: it needs the running loop
            session = self._session = self._open()
            self._poster = None if self._proxy else Poster(session)
        permit = _Permit(allowed)
        try:
            if self._admits is not None and (self._proxy or _is_number(urlsplit(url).hostname or "")):
                await self.check(url, namespace)  # else the resolver below decides, for the very address connected to
            async with asyncio.timeout(self._timeout) as limit:
                _asking.set((namespace, limit))
                # As it is, byte for byte: aiohttp would decode what need not be escaped, and some URLs are signed.
                return await self._exchange(session, method, URL(url, encoded=True), headers, content, permit)
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            raise ValueError("not a URL to post to") from None  # theirs quotes it
        except aiohttp.ClientError as error:
            if permit.refused:
                raise Fenced("this replica may not send any more") from None
            if isinstance(error.__cause__, NotAdmitted):
                raise error.__cause__ from None
            if permit.written:
                raise Unanswered("no answer") from error
            raise ConnectionError("the request failed") from error
        except TimeoutError as error:
            if permit.written:
                raise Unanswered("no answer") from error
            raise

    async def _exchange(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        content: bytes,
        permit: _Permit,
    ) -> Answer:
        if self._poster is not None and method == "POST" and url.scheme in _SCHEMES and "@" not in url.raw_authority:
            return await self._poster.send(
                method, url.origin(), url.raw_path_qs, headers, content, read=self._beginning, before=permit.ask
            )
        async with session.request(
            method,
            url,
            data=_Asking(content, permit),
            headers=headers,
            allow_redirects=False,
            proxy_headers=self._to_proxy,
        ) as response:
            return Answer(response.status, response.headers, await self._beginning(response.content))

    async def check(self, url: str, namespace: str = "") -> None:
        """Raises NotAdmitted if no address of the URL's host may be connected to, socket.gaierror if it has none."""
        if self._admits is None:
            return
        host = urlsplit(url).hostname or ""
        if _is_number(host) and not _is_literal(host):
            # 127.1, 2130706433: some versions of aiohttp connect there without asking the resolver below
            raise NotAdmitted(f"{host} is not an address as it has to be written, such as 192.0.2.1")
        _admitted(host, await self._dns.resolve(host, 443, namespace), self._admits)

    def _open(self) -> aiohttp.ClientSession:
        # How many connections there are is bounded by those who post, not here: a slow host must not hold up others.
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=self._tls,
                limit=0,
                keepalive_timeout=_IDLE,
                resolver=_Resolver(self._dns, None if self._proxy else self._admits),
                use_dns_cache=False,
            ),
            headers={"User-Agent": f"pipebell/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=min(self._timeout, _CONNECT)),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            proxy=self._proxy,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()


class NotAdmitted(OSError):  # noqa: N818  (it names the host's state)
    """No address of the host may be connected to. The message names the host."""


_asking: ContextVar[tuple[str, asyncio.Timeout | None]] = ContextVar("asking", default=("", None))
"""The namespace that a request is for, and the request's limit."""


class _Resolver(AbstractResolver):
    """Our own look-ups for aiohttp, so that the address that was checked is the one connected to."""

    def __init__(self, dns: Dns, admits: Callable[[str, str], bool] | None) -> None:
        self._dns, self._admits = dns, admits

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002  (aiohttp's signature)
    ) -> list[ResolveResult]:
        namespace, limit = _asking.get()
        with _held(limit):  # a look-up has a limit of its own, and waits for the namespace's others before that
            found = await self._dns.resolve(host, port, namespace)
        if self._admits is not None:
            found = _admitted(host, found, self._admits)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, address in found
        ]

    async def close(self) -> None:
        pass


@contextmanager
def _held(limit: asyncio.Timeout | None) -> Iterator[None]:
    """Time that does not count: the limit is as far away afterwards as before."""
    when = None if limit is None or limit.expired() else limit.when()
    if limit is None or when is None:
        yield
        return
    loop = asyncio.get_running_loop()
    left = when - loop.time()
    limit.reschedule(None)
    try:
        yield
    finally:
        if not limit.expired():
            limit.reschedule(loop.time() + left)


def _admitted(host: str, found: list[Address], admits: Callable[[str, str], bool]) -> list[Address]:
    allowed = [place for place in found if admits(host, str(place[1][0]))]
    if not allowed:
        raise NotAdmitted(f"{host} leads to an address that may not be connected to")
    return allowed


def _is_number(host: str) -> bool:
    """Whether a host is no name, as aiohttp sees it: it asks no resolver then."""
    return ":" in host or host.replace(".", "").isdigit()


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class _Permit:
    """Whether a request may be sent, asked right before its first byte; and whether that was written."""

    __slots__ = ("_allowed", "refused", "written")

    def __init__(self, allowed: Callable[[], bool]) -> None:
        self._allowed = allowed
        self.refused = False
        self.written = False

    def ask(self) -> None:
        """Raises Fenced where nothing may be sent any more."""
        self.refused = not self._allowed()
        if self.refused:
            raise Fenced("this replica may not send any more")
        self.written = True


class _Asking(aiohttp.BytesPayload):
    """A request's content that may be held back: aiohttp writes the headers together with it, and not before."""

    def __init__(self, content: bytes, permit: _Permit) -> None:
        super().__init__(content)
        self._permit = permit

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        self._permit.ask()
        await super().write_with_length(writer, content_length)


async def _beginning(content: aiohttp.StreamReader, limit: int) -> bytes:
    """What arrives of the body: the status has said what matters, so a broken or endless body is no failure."""
    body = b""
    try:
        while len(body) < limit and (chunk := await content.readany()):
            body += chunk
    except (aiohttp.ClientError, OSError):
        pass
    return body[:limit]
