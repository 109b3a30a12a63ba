"""An HTTPS server on loopback that answers as it is told and keeps what it is sent; each vendor's is made of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final, Self

from aiohttp import web

from pipebell.certificates import LOOPBACK
from pipebell.free_port import free_port
from pipebell.sinks.answers import Behaviour, Respond, Script
from pipebell.sinks.records import Journal, Post
from pipebell.sinks.tls import Trust

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Answer = Respond | Behaviour | int | None


def redirect(location: str) -> Respond:
    """An answer that a client must not follow."""
    return Respond(302, "", {"Location": location})


class _Server(web.Server):
    """Tells its sink of connections."""

    sink: HttpSink

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self.sink.connections += 1
        self.sink.most_open = max(self.sink.most_open, len(self.connections))


class HttpSink:
    """`async with HttpSink() as sink:` serves HTTPS at `sink.url`; `sink.posts` is what it accepted.

    Every path is answered by 200 `ok`; subclasses speak a vendor's language (`usual`, `texts`).
    `connections` counts all there were, `most_open` those at the same time.
    names: what the certificate is for. record: a file that gets one JSON line per request (`records.read`).
    Stopped and started again it keeps its port, its plans and its records.
    """

    texts: ClassVar[Mapping[int, str]] = {}  # what the vendor says beside a status
    host: Final = "127.0.0.1"

    def __init__(
        self,
        *,
        port: int = 0,
        trust: Trust | None = None,
        names: Iterable[str] = LOOPBACK,
        record: Path | None = None,
    ) -> None:
        self.port = port or free_port()
        self.trust = trust or Trust()
        self.journal: Journal[Post] = Journal(record)
        self.connections = 0
        self.most_open = 0
        self._context = self.trust.server(names)
        self._scripts: dict[str, Script[Respond]] = {}
        self._everywhere: Script[Respond] = Script()
        self._runner: web.ServerRunner | None = None

    @property
    def ca_file(self) -> Path:
        """What a client has to trust."""
        return self.trust.ca_file

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"https://{self.host}:{self.port}"

    @property
    def posts(self) -> list[Post]:
        """Those accepted."""
        return self.journal.accepted

    @property
    def requests(self) -> list[Post]:
        """Every request, refused or not."""
        return self.journal.all

    def plan(self, *answers: Answer, path: str | None = None) -> None:
        """Answer so the next times, at this URL or path, or everywhere.

        A status alone gets the vendor's text for it; None is the usual answer.
        """
        self.script(path).plan(*(Respond(a, self.texts.get(a, "")) if isinstance(a, int) else a for a in answers))

    def script(self, path: str | None = None) -> Script[Respond]:
        """The answers of one path or, for all the others, everywhere's; `always` gets the `Post`."""
        if path is None:
            return self._everywhere
        return self._scripts.setdefault(path.removeprefix(self.url), Script())

    async def start(self) -> None:
        """Begin to listen."""
        server = _Server(self._answer, handler_cancellation=True, access_log=None)
        server.sink = self
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port, ssl_context=self._context).start()

    async def stop(self) -> None:
        """Stop listening and cut every connection. Idempotent."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None
        self.journal.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        usual = self.usual(request, body)
        post = Post(request.path, headers, body, usual.status, target=request.raw_path, method=request.method)
        asked = self._scripts.get(request.path, self._everywhere).next(post)
        answer = asked if isinstance(asked, Respond) else usual
        how = asked or usual
        self.journal.add(replace(post, status=answer.status if how.keep or not how.drop else 0) if asked else post)
        if how.wait:
            await asyncio.sleep(how.wait)
        if how.drop and request.transport:
            request.transport.abort()
        return web.Response(status=answer.status, text=answer.body, headers=answer.headers)

    def usual(self, request: web.BaseRequest, body: bytes) -> Respond:  # noqa: ARG002  (for subclasses)
        """The answer to a request when nothing else is planned."""
        return Respond()
