"""A real SMTP server on loopback that keeps what it is sent and answers as a test or a demo wishes."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from aiosmtpd.smtp import SMTP, AuthResult, Session

from pipebell import ports
from pipebell.certificates import LOOPBACK
from pipebell.sinks.answers import Behaviour, Say, Script
from pipebell.sinks.records import Journal, Mail
from pipebell.sinks.tls import Trust

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from aiosmtpd.smtp import Envelope, LoginPassword

Security = Literal["starttls", "implicit", "none"]
Stage = Literal["connect", "login", "mail", "data"]
Answer = Say | Behaviour | str | int | None

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
    ) -> None:
        self.port = port or ports.free_port()
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
            stage: Script[Say]() for stage in ("connect", "login", "mail", "data")
        }
        self._sessions: set[_Connection] = set()
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

    def refuse(self, recipient: str, status: int | str, times: int | None = None) -> None:
        """Refuse this recipient at RCPT, always or so many times."""
        self._refused[recipient.lower()] = (_text(status), times)

    async def start(self) -> None:
        """Begin to listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self, loop),
            self.host,
            self.port,
            ssl=self._context if self.security == "implicit" else None,
        )

    async def stop(self) -> None:
        """Stop listening and cut every connection. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        tasks = [task for session in tuple(self._sessions) if (task := session.cut())]
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def refusal(self, recipient: str) -> str | None:
        """The answer to RCPT when this recipient is refused now."""
        status, times = self._refused.get(recipient.lower(), (None, None))
        if times == 0:
            return None
        if status and times is not None:
            self._refused[recipient.lower()] = (status, times - 1)
        return status

    def context(self) -> ssl.SSLContext | None:
        """For STARTTLS."""
        return self._context if self.security == "starttls" else None

    def opened(self, connection: _Connection) -> None:
        """One more connection."""
        self._sessions.add(connection)
        self.connections += 1
        self.most_open = max(self.most_open, self.open)

    def closed(self, connection: _Connection) -> None:
        """One less; may be said twice."""
        self._sessions.discard(connection)


class _Session(Session):
    """Without the property that logs a warning at each login."""

    login_data: Any = None


class _Handler:
    """aiosmtpd's hooks for one connection. A hook's result is the answer."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._sink = connection.sink

    async def handle_MAIL(  # noqa: N802  (aiosmtpd's name)
        self, _: SMTP, __: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        status = await self._connection.perform(self._sink.script("mail").next(address)) or "250 2.1.0 OK"
        if status.startswith("2"):
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return status

    async def handle_RCPT(  # noqa: N802  (aiosmtpd's name)
        self, _: SMTP, __: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if refusal := self._sink.refusal(address):
            return refusal
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  (aiosmtpd's name)
        def mail(status: str) -> Mail:
            return Mail(
                sender=envelope.mail_from or "",
                recipients=tuple(envelope.rcpt_tos),
                raw=envelope.original_content or b"",
                status=status,
                user=session.auth_data,
                tls=self._connection.encrypted,
            )

        usual = "250 2.0.0 OK: kept"
        answer = self._sink.script("data").next(mail(usual))
        said = usual if answer is None else answer.status if isinstance(answer, Say) else usual if answer.keep else ""
        self._sink.journal.add(mail(said))
        return await self._connection.perform(answer) or usual

    async def handle_exception(self, error: Exception) -> str:
        # A client that does not trust the certificate ends up here: no news for anybody's log.
        return f"451 4.3.0 {type(error).__name__}"


class _Connection(SMTP):
    """One connection of a sink."""

    def __init__(self, sink: SmtpSink, loop: asyncio.AbstractEventLoop) -> None:
        self.sink = sink
        super().__init__(
            _Handler(self),
            hostname="localhost",
            ident="Pipebell sink",
            tls_context=sink.context(),
            require_starttls=sink.security == "starttls",
            auth_require_tls=sink.security == "starttls" or (sink.security == "none" and not sink.plaintext_auth),
            auth_exclude_mechanism={"PLAIN", "LOGIN"}.difference(sink.mechanisms if sink.users else ()),
            authenticator=self._login,
            enable_SMTPUTF8=True,
            loop=loop,
        )
        # Not by the constructor, which would warn of implicit TLS as if it were none.
        self._auth_required = bool(sink.users)

    @property
    def encrypted(self) -> bool:
        """Whether TLS is on."""
        return self.sink.security == "implicit" or self._tls_protocol is not None

    async def perform(self, answer: Say | Behaviour | None) -> str | None:
        """Wait and cut as the answer wishes; returns its status. Does not return after a cut."""
        if answer is None:
            return None
        if answer.wait:
            await asyncio.sleep(answer.wait)
        if answer.drop:
            self.cut()
            await asyncio.Event().wait()  # until the connection's loss cancels this task
        status = answer.status if isinstance(answer, Say) else None
        if status and status.startswith("421"):
            await self._say_goodbye(status)
            await asyncio.Event().wait()  # the same
        return status

    def cut(self) -> asyncio.Task[None] | None:
        """End the connection without a word; the task that ends with it."""
        for transport in (self._original_transport, self.transport):
            if isinstance(transport, asyncio.Transport):
                transport.abort()
        return self._handler_coroutine

    async def _say_goodbye(self, status: str) -> None:
        await self.push(status)
        self._writer.close()

    async def _handle_client(self) -> None:
        self.sink.opened(self)
        if status := await self.perform(self.sink.script("connect").next(self.session)):
            await self._say_goodbye(status)
            return
        with contextlib.suppress(ConnectionResetError):
            await super()._handle_client()

    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802  (aiosmtpd's name)
        """Answers as planned for logins, or checks the password."""
        if status := await self.perform(self.sink.script("login").next(arg)):
            await self.push(status)
            return
        await super().smtp_AUTH(arg)

    def _login(self, _: SMTP, __: Session, ___: Envelope, ____: str, given: LoginPassword) -> AuthResult:
        user = given.login.decode("utf-8", "replace")
        expected = (self.sink.users or {}).get(user)
        ok = expected is not None and hmac.compare_digest(given.password, expected.encode())
        self.sink.logins.append((user, ok))
        return AuthResult(success=ok, auth_data=user, handled=False)

    def _create_session(self) -> Session:
        return _Session(self.loop)

    def connection_lost(self, error: Exception | None) -> None:
        self.sink.closed(self)
        super().connection_lost(error)


def _text(status: int | str) -> str:
    return _TEXTS.get(status, f"{status} Planned by a test") if isinstance(status, int) else status


def _answer(given: Answer) -> Say | Behaviour | None:
    return Say(status=_text(given)) if isinstance(given, int | str) else given
