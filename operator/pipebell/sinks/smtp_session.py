"""The server's side of one SMTP connection, as a sink wishes it; the protocol is aiosmtpd's."""

from __future__ import annotations

import asyncio
import hmac
from typing import TYPE_CHECKING, Any, AnyStr, Final, Literal, Protocol

from aiosmtpd.smtp import SMTP, AuthResult, Session

from pipebell.sinks.answers import Behaviour, Say
from pipebell.sinks.records import Mail
from pipebell.sinks.smtp_limits import TOO_MANY_ERRORS, TOO_MANY_RECIPIENTS

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from aiosmtpd.smtp import Envelope, LoginPassword

    from pipebell.sinks.answers import Script
    from pipebell.sinks.records import Journal
    from pipebell.sinks.smtp_limits import Stage, Throttle

_FIRST_ERROR: Final = 400  # the reply codes from here on refuse something


class Server(Protocol):
    """What a connection needs of the server that it belongs to."""

    security: Literal["starttls", "implicit", "none"]
    users: Mapping[str, str] | None
    mechanisms: tuple[str, ...]
    plaintext_auth: bool
    journal: Journal[Mail]
    logins: list[tuple[str, bool]]
    throttle: Throttle

    def script(self, stage: Stage = "data") -> Script[Say]:
        """The planned answers of this stage."""

    def refusal(self, recipient: str) -> str | None:
        """The answer to RCPT when this recipient is refused now."""

    def crowded(self, stage: Stage, connection: Connection) -> str | None:
        """The answer when there are too many connections."""

    def context(self) -> ssl.SSLContext | None:
        """For STARTTLS."""

    def opened(self, connection: Connection) -> None:
        """One more connection."""

    def closed(self, connection: Connection) -> None:
        """One less."""


class _Session(Session):
    """Without the property that logs a warning at each login."""

    login_data: Any = None


class Handler:
    """aiosmtpd's hooks for one connection. A hook's result is the answer."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sink = connection.sink

    async def handle_MAIL(  # noqa: N802  (aiosmtpd's name)
        self, _: SMTP, __: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Begins a transaction, or answers as planned."""
        status = (
            await self._connection.perform(self._sink.script("mail").next(address))
            or self._connection.throttled("mail")
            or "250 2.1.0 OK"
        )
        if status.startswith("2"):
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return status

    async def handle_RCPT(  # noqa: N802  (aiosmtpd's name)
        self, _: SMTP, __: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Takes the recipient, unless it is one to refuse."""
        limit = self._sink.throttle.limits.recipients
        planned = await self._connection.perform(self._sink.script("rcpt").next(address))
        refusal = planned or self._sink.refusal(address) or self._connection.throttled("rcpt")
        if limit is not None and len(envelope.rcpt_tos) >= limit:
            refusal = TOO_MANY_RECIPIENTS
        if refusal:
            return refusal
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  (aiosmtpd's name)
        """Records the transaction and answers."""

        def mail(status: str) -> Mail:
            return Mail(
                sender=envelope.mail_from or "",
                recipients=tuple(envelope.rcpt_tos),
                raw=envelope.original_content or b"",
                status=status,
                user=session.auth_data,
                tls=self._connection.encrypted,
                helo=session.host_name,
            )

        usual = "250 2.0.0 OK: kept"
        answer = self._sink.script("data").next(mail(usual))
        if refusal := self._connection.throttled("data"):
            answer = Say(status=refusal)
        said = usual if answer is None else answer.status if isinstance(answer, Say) else usual if answer.keep else ""
        self._sink.journal.add(mail(said))
        return await self._connection.perform(answer) or usual

    async def handle_exception(self, error: Exception) -> str:
        """Keeps quiet: a client that does not trust the certificate ends up here, which is no news for a log."""
        return f"451 4.3.0 {type(error).__name__}"


class Connection(SMTP):
    """One connection of a sink."""

    def __init__(self, sink: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.sink = sink
        self._errors = 0
        super().__init__(
            Handler(self),
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

    def throttled(self, stage: Stage) -> str | None:
        """The answer at this stage when the server is asked too much."""
        return self.sink.crowded(stage, self) or self.sink.throttle.too_fast(stage)

    async def push(self, status: AnyStr) -> None:
        """Answer; a client that makes too many errors is sent away."""
        self._errors += int(status[:3]) >= _FIRST_ERROR
        limit = self.sink.throttle.limits.errors
        if limit is None or self._errors <= limit:
            await super().push(status)
        else:
            await super().push(TOO_MANY_ERRORS)
            self._writer.close()

    async def perform(self, answer: Say | Behaviour | None) -> str | None:
        """Wait and cut as the answer wishes; returns its status. Does not return after a cut."""
        if answer is None:
            return None
        if answer.wait:
            await asyncio.sleep(answer.wait)
        if answer.drop:
            self.cut()
            await asyncio.Event().wait()  # until that has cancelled this task
        status = answer.status if isinstance(answer, Say) else None
        if status and status.startswith("421"):
            await self._say_goodbye(status)
            await asyncio.Event().wait()  # the same
        return status

    def cut(self) -> asyncio.Task[None] | None:
        """End the connection without a word; returns the task that ends with it."""
        for transport in (self._original_transport, self.transport):
            if isinstance(transport, asyncio.Transport):
                transport.abort()
        if self._handler_coroutine:
            self._handler_coroutine.cancel()
        return self._handler_coroutine

    async def _say_goodbye(self, status: str) -> None:
        await self.push(status)
        self._writer.close()

    async def _handle_client(self) -> None:
        self.sink.opened(self)
        try:
            planned = await self.perform(self.sink.script("connect").next(self.session))
            if status := planned or self.throttled("connect"):
                await self._say_goodbye(status)
            else:
                await super()._handle_client()
        except ConnectionResetError:
            pass  # the client has gone, as clients do
        finally:
            self.sink.closed(self)
            if self._timeout_handle:
                self._timeout_handle.cancel()

    async def smtp_STARTTLS(self, arg: str) -> None:  # noqa: N802  (aiosmtpd's name)
        """Ends when the client goes away during the handshake: asyncio reports that to nobody."""
        await super().smtp_STARTTLS(arg)
        if isinstance(self._original_transport, asyncio.Transport) and self._original_transport.is_closing():
            raise ConnectionResetError

    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802  (aiosmtpd's name)
        """Answers as planned for logins, or checks the password."""
        if status := await self.perform(self.sink.script("login").next(arg)) or self.throttled("login"):
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
