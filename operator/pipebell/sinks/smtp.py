"""A real SMTP server on loopback that keeps what it is sent and answers as a test or a demo wishes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Literal, Self
from weakref import WeakSet

from pipebell.certificates import LOOPBACK
from pipebell.free_port import free_port
from pipebell.sinks.answers import Behaviour, Say, Script
from pipebell.sinks.records import Journal, Mail
from pipebell.sinks.smtp_limits import UNLIMITED, Limits, Stage, Throttle
from pipebell.sinks.smtp_session import Connection
from pipebell.sinks.tls import Trust

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Security = Literal["starttls", "implicit", "none"]
Answer = Say | Behaviour | str | int | None

_LATECOMERS: Final = 10  # turns of the event loop
_TEXTS: Final = {
    421: "421 4.3.2 Service shutting down",
    450: "450 4.2.0 Mailbox busy",
    451: "451 4.3.0 Local error, try again later",
    452: "452 4.2.2 Mailbox full",
    454: "454 4.7.0 Temporary authentication failure",
    535: "535 5.7.8 Authentication credentials invalid",
    550: "550 5.1.1 No such user",
    552: "552 5.3.4 Message too big",
    554: "554 5.7.1 Refused",
}


class SmtpSink:
    """`async with SmtpSink() as sink:` serves at `sink.host`:`sink.port`; `sink.mails` is what it accepted.

    security: "starttls" (required before MAIL and AUTH, RFC 3207), "implicit" (RFC 8314) or "none".
    users: names and passwords; one of them has to log in. `mechanisms` are those offered; they are offered without TLS
    only if `plaintext_auth` says so.
    names: what the certificate is for; other names than those make it a wrong one.
    limits: how it throttles; may be replaced while it serves (`limit`).
    record: a file that gets one JSON line per transaction (`records.read`).
    Stopped and started again it keeps its port, its plans and its records.
    """

    host: Final = "127.0.0.1"

    def __init__(  # noqa: PLR0913  (a mail server's options, all by name)
        self,
        *,
        port: int = 0,
        security: Security = "starttls",
        users: Mapping[str, str] | None = None,
        mechanisms: Iterable[str] = ("PLAIN", "LOGIN"),
        plaintext_auth: bool = False,
        trust: Trust | None = None,
        names: Iterable[str] = LOOPBACK,
        record: Path | None = None,
        limits: Limits = UNLIMITED,
    ) -> None:
        self.port = port or free_port()
        self.trust = trust or Trust()
        self.security: Security = security
        self.users = users
        self.mechanisms = tuple(mechanisms)
        self.plaintext_auth = plaintext_auth
        self.journal: Journal[Mail] = Journal(record)
        self.connections = 0
        self.most_open = 0
        self.logins: list[tuple[str, bool]] = []
        self._context = self.trust.server(names)
        self._refused: dict[str, tuple[str, int | None]] = {}
        self._scripts: dict[Stage, Script[Say]] = {
            stage: Script[Say]() for stage in ("connect", "login", "mail", "rcpt", "data")
        }
        self.throttle = Throttle(limits)
        self._sessions: dict[Connection, None] = {}  # oldest first
        self._transports: WeakSet[asyncio.Transport] = WeakSet()
        self._server: asyncio.Server | None = None

    @property
    def ca_file(self) -> Path:
        """What a client has to trust."""
        return self.trust.ca_file

    @property
    def mails(self) -> list[Mail]:
        """Those accepted."""
        return self.journal.accepted

    @property
    def attempts(self) -> list[Mail]:
        """Every transaction that came as far as its data, refused or not."""
        return self.journal.all

    @property
    def open(self) -> int:
        """Connections at this moment; `most_open` and `connections` (in total) count from the start."""
        return len(self._sessions)

    def plan(self, *answers: Answer, at: Stage = "data") -> None:
        """Answer so the next times, at this stage; a code alone gets a usual text, None is the usual answer.

        After a 421 the connection is closed (RFC 5321, 3.8).
        """
        self._scripts[at].plan(*map(_answer, answers))

    def script(self, stage: Stage = "data") -> Script[Say]:
        """The stage's answers; its `always` may be set to a function of the `Mail` (of the user at "login")."""
        return self._scripts[stage]

    def limit(self, limits: Limits) -> None:
        """Throttle like this from now on."""
        self.throttle = Throttle(limits)

    def refuse(self, recipient: str, status: int | str, times: int | None = None) -> None:
        """Refuse this recipient at RCPT, always or `times` times."""
        self._refused[recipient.lower()] = (_text(status), times)

    async def start(self) -> None:
        """Begin to listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self, loop),
            self.host,
            self.port,
            ssl=self._context if self.security == "implicit" else None,
        )

    async def stop(self) -> None:
        """Stop listening and cut every connection. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        for _ in range(_LATECOMERS):  # a connection that was accepted a moment ago shows itself some turns later
            tasks = [task for session in tuple(self._sessions) if (task := session.cut())]
            await asyncio.gather(*tasks, return_exceptions=True)
            for transport in tuple(self._transports):  # TLS may still be saying goodbye to a client that has gone
                transport.abort()
            await asyncio.sleep(0)
        await self._server.wait_closed()
        self._server = None
        self.journal.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def refusal(self, recipient: str) -> str | None:
        """The answer to RCPT when this recipient is refused now."""
        if greylisted := self.throttle.greylisted(recipient):
            return greylisted
        status, times = self._refused.get(recipient.lower(), (None, None))
        if times == 0:
            return None
        if status and times is not None:
            self._refused[recipient.lower()] = (status, times - 1)
        return status

    def crowded(self, stage: Stage, connection: Connection) -> str | None:
        """The answer at this stage when there are too many connections, and this is none of the oldest."""
        if self.throttle.limits.connections is None:
            return None
        return self.throttle.crowded(stage, list(self._sessions).index(connection))

    def context(self) -> ssl.SSLContext | None:
        """For STARTTLS."""
        return self._context if self.security == "starttls" else None

    def opened(self, connection: Connection) -> None:
        """One more connection."""
        self._sessions[connection] = None
        if isinstance(connection.transport, asyncio.Transport):
            self._transports.add(connection.transport)
        self.connections += 1
        self.most_open = max(self.most_open, self.open)

    def closed(self, connection: Connection) -> None:
        """One less; may be said twice."""
        self._sessions.pop(connection, None)


def _text(status: int | str) -> str:
    return _TEXTS.get(status, f"{status} Planned by a test") if isinstance(status, int) else status


def _answer(given: Answer) -> Say | Behaviour | None:
    return Say(status=_text(given)) if isinstance(given, int | str) else given
