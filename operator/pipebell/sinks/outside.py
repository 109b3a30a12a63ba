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
from pipebell.sinks.alerts import AlertmanagerSink, JsmSink, TwilioSink
from pipebell.sinks.chats import DiscordSink, GoogleChatSink, MattermostSink, TelegramSink
from pipebell.sinks.http import HttpSink
from pipebell.sinks.pagerduty import PagerDutySink
from pipebell.sinks.slack_api import SlackApiSink
from pipebell.sinks.teams import TeamsSink

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pipebell.sinks.tls import Trust

HOSTS: Final = {
    "pagerduty": ("events.pagerduty.com", "events.eu.pagerduty.com"),
    "teams": ("default0.00.environment.api.powerplatform.com",),
    "slack": ("slack.com",),
    "discord": ("discord.com",),
    "googleChat": ("chat.googleapis.com",),
    "telegram": ("api.telegram.org",),
    "jsm": ("api.atlassian.com",),
    "sms": ("api.twilio.com",),
}
OWN: Final = ("webhook", "mattermost", "alertmanager")
_OTHERS: Final[dict[str, type[HttpSink]]] = {
    "webhook": HttpSink,
    "discord": DiscordSink,
    "googleChat": GoogleChatSink,
    "telegram": TelegramSink,
    "mattermost": MattermostSink,
    "jsm": JsmSink,
    "alertmanager": AlertmanagerSink,
    "sms": TwilioSink,
}
_CONNECT: Final = re.compile(r"CONNECT \[?([^\s\]]+)\]?:(\d+) HTTP/1\.[01]\r\n")
_LOCAL: Final = ("127.0.0.1", "localhost", "::1")


class Outside:
    """A receiver of every kind that posts; `async with` serves them all.

    `port` is the proxy's. Those of `OWN`, which every organisation has elsewhere, are reached at their own ports, which
    `ports` may fix. Slack knows every token, and one channel.
    """

    host: Final = "127.0.0.1"

    def __init__(
        self, trust: Trust, *, port: int = 0, ports: Mapping[str, int] | None = None, record: Path | None = None
    ) -> None:
        self.port = port or free_port()
        self.pagerduty = PagerDutySink(trust=trust, record=record, names=(*LOOPBACK, *HOSTS["pagerduty"]))
        self.teams = TeamsSink(trust=trust, record=record, names=(*LOOPBACK, *HOSTS["teams"]))
        self.slack = SlackApiSink(
            tokens=None, channels={"C0DATA": "data"}, trust=trust, record=record, names=(*LOOPBACK, *HOSTS["slack"])
        )
        self.sinks: dict[str, HttpSink] = {"pagerduty": self.pagerduty, "teams": self.teams, "slack": self.slack}
        for kind, model in _OTHERS.items():
            names = (*LOOPBACK, *HOSTS.get(kind, ()))
            self.sinks[kind] = model(trust=trust, record=record, names=names, port=(ports or {}).get(kind, 0))
        self._places = {name: self.sinks[kind] for kind, names in HOSTS.items() for name in names}
        self._exits = AsyncExitStack()
        self._tunnels: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The proxy's."""
        return f"http://{self.host}:{self.port}"

    def workflow(self, name: str) -> str:
        """The URL of a workflow of Teams, as Teams would show it."""
        return self.teams.workflow(name).replace(f"{self.teams.host}:{self.teams.port}", f"{HOSTS['teams'][0]}:443")

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for sink in self.sinks.values():
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
