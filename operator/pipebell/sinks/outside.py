"""The outside world on loopback: vendors' sinks under the vendors' own names, behind a proxy that knows no others.

PIPEBELL_HTTPS_PROXY=`Outside.url` and PIPEBELL_CA_FILE=`ca_file` are all that an operator has to be told.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final, Self

from pipebell.certificates import LOOPBACK
from pipebell.free_port import free_port
from pipebell.sinks.http import HttpSink
from pipebell.sinks.pagerduty import PagerDutySink
from pipebell.sinks.slack_api import SlackApiSink
from pipebell.sinks.teams import TeamsSink

if TYPE_CHECKING:
    from pathlib import Path

    from pipebell.sinks.tls import Trust

PAGERDUTY: Final = ("events.pagerduty.com", "events.eu.pagerduty.com")
TEAMS: Final = "default0.00.environment.api.powerplatform.com"
SLACK: Final = "slack.com"
_CONNECT: Final = re.compile(r"CONNECT \[?([^\s\]]+)\]?:(\d+) HTTP/1\.[01]\r\n")
_LOCAL: Final = ("127.0.0.1", "localhost", "::1")


class Outside:
    """PagerDuty, a workflow of Teams, Slack's Web API, and an endpoint for webhooks; `async with` serves them all.

    `port` is the proxy's, `webhook_port` that of the endpoint. Slack knows every token, and one channel.
    """

    host: Final = "127.0.0.1"

    def __init__(self, trust: Trust, *, port: int = 0, webhook_port: int = 0, record: Path | None = None) -> None:
        self.port = port or free_port()
        self.pagerduty = PagerDutySink(trust=trust, record=record, names=(*LOOPBACK, *PAGERDUTY))
        self.teams = TeamsSink(trust=trust, record=record, names=(*LOOPBACK, TEAMS))
        self.slack = SlackApiSink(
            tokens=None, channels={"C0DATA": "data"}, trust=trust, record=record, names=(*LOOPBACK, SLACK)
        )
        self.webhook = HttpSink(trust=trust, record=record, port=webhook_port)
        self._places: dict[str, HttpSink] = {
            **dict.fromkeys(PAGERDUTY, self.pagerduty),
            TEAMS: self.teams,
            SLACK: self.slack,
        }
        self._exits = AsyncExitStack()
        self._tunnels: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The proxy's."""
        return f"http://{self.host}:{self.port}"

    def workflow(self, name: str) -> str:
        """The URL of a workflow of Teams, as Teams would show it."""
        return self.teams.workflow(name).replace(f"{self.teams.host}:{self.teams.port}", f"{TEAMS}:443")

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for sink in (self.pagerduty, self.teams, self.slack, self.webhook):
                await stack.enter_async_context(sink)
            server = await asyncio.start_server(self._serve, self.host, self.port)
            stack.callback(server.close)
            stack.callback(self._cut)
            self._exits = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exits.aclose()

    def _cut(self) -> None:
        for tunnel in self._tunnels:
            tunnel.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's tunnel (RFC 9110, 9.3.6)."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (start_server makes one)
        self._tunnels.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            place = self._place(head)
            if place is None:
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            there, back = await asyncio.open_connection(*place)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # whoever hangs up first ends it
        finally:
            self._tunnels.discard(task)
            writer.close()

    def _place(self, head: str) -> tuple[str, int] | None:
        """Where a name leads; None for what is neither a vendor here nor on loopback."""
        asked = _CONNECT.match(head)
        if asked is None:
            return None
        host, port = asked[1].lower(), int(asked[2])
        sink = self._places.get(host)
        if sink is not None:
            return sink.host, sink.port
        return (host, port) if host in _LOCAL else None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
