"""An HTTPS server on loopback that behaves like Slack's incoming webhooks and keeps what it is sent.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks: 200 `ok`, or an error's name as plain text.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

from aiohttp import web

from pipebell import ports
from pipebell.certificates import LOOPBACK
from pipebell.core.wire import decode
from pipebell.sinks import slack_rules
from pipebell.sinks.answers import Behaviour, Respond, Script
from pipebell.sinks.records import Journal, Post
from pipebell.sinks.tls import Trust

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Answer = Respond | Behaviour | int | None

_PATH: Final = re.compile(r"/services/T\w+/B\w+/\w+")
_BODIES: Final = {
    200: "ok",
    400: "invalid_payload",
    403: "action_prohibited",
    404: "no_service",
    410: "channel_is_archived",
    429: "rate_limited",
    500: "rollup_error",
}


def too_many(retry_after: int) -> Respond:
    """Slack's 429, to be obeyed for so many seconds (https://docs.slack.dev/apis/web-api/rate-limits)."""
    return Respond(429, _BODIES[429], {"Retry-After": str(retry_after)})


def redirect(location: str) -> Respond:
    """An answer that a webhook's client must not follow."""
    return Respond(302, "", {"Location": location})


class _Server(web.Server):
    """Tells its sink of connections."""

    sink: SlackSink

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self.sink.connections += 1
        self.sink.most_open = max(self.sink.most_open, len(self.connections))


class SlackSink:
    """`async with SlackSink() as sink:` serves HTTPS at `sink.url`; `sink.posts` is what it accepted.

    Any path like Slack's (`/services/T…/B…/…`) is a webhook; `webhook(name)` makes the URL of one.
    `connections` counts all there were, `most_open` those at the same time.
    names: what the certificate is for. record: a file that gets one JSON line per request (`records.read`).
    Stopped and started again it keeps its port, its plans and its records.
    """

    host: Final = "127.0.0.1"

    def __init__(
        self,
        *,
        port: int = 0,
        trust: Trust | None = None,
        names: Iterable[str] = LOOPBACK,
        record: Path | None = None,
    ) -> None:
        self.port = port or ports.free_port()
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

    def webhook(self, name: str = "Default") -> str:
        """The URL of a webhook; different names (letters, digits, '_') are different webhooks."""
        return f"{self.url}/services/T00000000/B00000000/{name}"

    def plan(self, *answers: Answer, webhook: str | None = None) -> None:
        """Answer so the next times, at the webhook of this URL or path, or everywhere.

        A status alone gets Slack's text for it; None is the usual answer.
        """
        self.script(webhook).plan(*(Respond(a, _BODIES.get(a, "")) if isinstance(a, int) else a for a in answers))

    def script(self, webhook: str | None = None) -> Script[Respond]:
        """The answers of one webhook or, for all the others, everywhere's; `always` gets the `Post`."""
        if webhook is None:
            return self._everywhere
        return self._scripts.setdefault(webhook.removeprefix(self.url), Script())

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
        usual = self._usual(request, body)
        post = Post(request.path, headers, body, usual.status)
        asked = self._scripts.get(request.path, self._everywhere).next(post)
        answer = asked if isinstance(asked, Respond) else usual
        how = asked or usual
        self.journal.add(replace(post, status=answer.status if how.keep or not how.drop else 0) if asked else post)
        if how.wait:
            await asyncio.sleep(how.wait)
        if how.drop and request.transport:
            request.transport.abort()
        return web.Response(status=answer.status, text=answer.body, headers=answer.headers)

    @staticmethod
    def _usual(request: web.BaseRequest, body: bytes) -> Respond:
        if not _PATH.fullmatch(request.path):
            return Respond(404, "no_team")
        if request.method != "POST":
            return Respond(400, "invalid_payload")
        try:
            complaint = slack_rules.complaint(decode(body))
        except ValueError:
            complaint = "invalid_payload"
        return Respond(400, complaint) if complaint else Respond()
