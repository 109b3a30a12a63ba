"""One conversation with an SMTP server: opened as safely as the target wants it, used for message after message."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiosmtplib

from pipebell.core.errors import Fenced
from pipebell.core.outcome import Outcome, Verdict
from pipebell.providers.smtp_answers import Receipt, Reply, Stage

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from pipebell.core.targets import EmailTarget
    from pipebell.providers.resolver import Address

# Over TLS the plainest is the safest bet. Only one is tried, unless the server says that it does not know it after
# all: every refused login brings an account nearer to being locked.
_AUTH_METHODS: Final = ("plain", "login", "cram-md5")
_UNKNOWN_METHOD: Final = (502, 504)
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_DOT: Final = re.compile(rb"^\.", re.MULTILINE)
_SHARES: Final = 3  # of the time to connect, when a host has many addresses


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and counts. `attempt` bounds one attempt from resolving to the last answer, not waiting for a turn."""

    connect: float = 10.0
    command: float = 30.0
    attempt: float = 60.0
    connections: int = 4
    idle: float = 30.0
    age: float = 300.0
    messages: int = 100
    implicit_tls_port: int = 465


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message on its way: `data` is what goes over the wire; `allowed` says whether it still may."""

    sender: str
    recipients: tuple[str, ...]
    data: bytes
    message_id: str
    allowed: Callable[[], bool] = lambda: True


class Unusable(Exception):  # noqa: N818  (it names what the target is)
    """We will not go on with this target, whatever the server would say; `outcome` says why."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(outcome.reason)


class Session:
    """An open connection. `stage` tells how far it came when a method raised; `receipt` is the last message's.

    `stale` says that it was lost between two messages, as servers do with connections that were idle for too long.
    """

    def __init__(self, limits: Limits, tls: ssl.SSLContext) -> None:
        self.stage = Stage.CONNECT
        self.receipt = Receipt()
        self._limits, self._tls = limits, tls
        self._smtp: aiosmtplib.SMTP | None = None
        self._born = 0.0
        self._sent = 0
        self._clean = True
        self.stale = False

    @property
    def opened(self) -> bool:
        """Whether `open` was called."""
        return self._smtp is not None

    @property
    def usable(self) -> bool:
        """Whether another message may go this way."""
        age = asyncio.get_running_loop().time() - self._born
        return self._clean and self._alive and age < self._limits.age and self._sent < self._limits.messages

    @property
    def _alive(self) -> bool:
        return self._smtp is not None and self._smtp.is_connected

    async def open(self, target: EmailTarget, addresses: Sequence[Address]) -> None:
        """Connect to the first address that answers, secure, log in. Raises Unusable, OSError, SMTPException."""
        implicit = target.port == self._limits.implicit_tls_port
        name = target.host.strip("[]")
        sock = await _connected(addresses, self._limits.connect)
        smtp = self._smtp = aiosmtplib.SMTP(
            hostname=name,
            sock=sock,
            use_tls=implicit,
            start_tls=False,
            tls_context=self._tls,
            local_hostname=_own_name(sock),
            timeout=self._limits.command,
        )
        await smtp.connect()
        self._born = asyncio.get_running_loop().time()
        if target.use_tls and not implicit:
            await smtp.ehlo()
            self.stage = Stage.TLS
            if not smtp.supports_extension("starttls"):
                raise Unusable(
                    Outcome(
                        Verdict.PERMANENT,
                        "TlsRequired",
                        f"{name} offers no TLS on port {target.port}: use port 587 or 465, or ask its operator",
                    )
                )
            await smtp.starttls(server_hostname=name)
        if target.username is not None:
            self.stage = Stage.AUTH
            await self._login(smtp, target.username, target.password or "")

    async def _login(self, smtp: aiosmtplib.SMTP, username: str, password: str) -> None:
        await smtp.ehlo()
        offered = [method for method in _AUTH_METHODS if method in smtp.server_auth_methods]
        if not offered:
            message = "the server offers no login that we know: check smtpPort, or leave smtpUsername out"
            raise Unusable(Outcome(Verdict.PERMANENT, "SmtpAuthUnavailable", message))
        for method in offered:
            try:
                match method:
                    case "plain":
                        await smtp.auth_plain(username, password)
                    case "login":
                        await smtp.auth_login(username, password)
                    case _:
                        await smtp.auth_crammd5(username, password)
            except aiosmtplib.SMTPAuthenticationError as error:
                if error.code not in _UNKNOWN_METHOD or method == offered[-1]:
                    raise
            else:
                return

    async def transact(self, envelope: Envelope) -> Receipt:
        """One message to its recipients. Raises OSError, SMTPException: then this session is done for.

        Raises Fenced if the message may not go any more: asked before DATA, and again right before it goes out.
        """
        smtp = self._smtp
        if smtp is None:
            raise aiosmtplib.SMTPServerDisconnected("not opened")
        self.receipt = receipt = Receipt()
        self._sent += 1
        self._clean = False
        self.stage = Stage.MAIL
        try:
            await smtp.mail(envelope.sender)
        except (aiosmtplib.SMTPException, OSError):
            self.stale = self._sent > 1 and not self._alive
            raise
        self.stage = Stage.RCPT
        for recipient in envelope.recipients:
            try:
                await smtp.rcpt(recipient)
            except aiosmtplib.SMTPRecipientRefused as error:
                if not smtp.is_connected or error.code == aiosmtplib.SMTPStatus.domain_unavailable:
                    raise
                receipt.refused[recipient] = Reply(error.code, error.message)
            else:
                receipt.accepted.append(recipient)
        if not receipt.accepted:
            await self._reset(smtp)
            return receipt
        if not envelope.allowed():
            await self._reset(smtp)
            raise Fenced("this replica may not send any more")
        self.stage = Stage.DATA
        await self._hand_over(smtp, envelope)
        self._clean = True
        return receipt

    async def _hand_over(self, smtp: aiosmtplib.SMTP, envelope: Envelope) -> None:
        """The message, once the server waits for it, which may take as long as it likes: so it is asked again.

        What does not end with the line of a dot must not be delivered (RFC 5321, 4.1.1.4 and 4.1.1.10): a connection
        that is closed at this point has sent nothing.
        """
        answer = await smtp.execute_command(b"DATA")
        if answer.code != aiosmtplib.SMTPStatus.start_input or smtp.protocol is None:
            raise aiosmtplib.SMTPDataError(answer.code, answer.message)
        if not envelope.allowed():
            raise Fenced("this replica may not send any more")
        smtp.protocol.write(_dotted(envelope.data))
        answer = await smtp.protocol.read_response(timeout=self._limits.command)
        if answer.code != aiosmtplib.SMTPStatus.completed:
            raise aiosmtplib.SMTPDataError(answer.code, answer.message)

    async def _reset(self, smtp: aiosmtplib.SMTP) -> None:
        """Take back what was announced, so that the connection serves the next message; all is known without it."""
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            await smtp.rset()
            self._clean = True

    async def leave(self) -> None:
        """Say goodbye, if the server listens."""
        if self._smtp is not None and self._alive:
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                await self._smtp.quit(timeout=2)
        self.drop()

    def drop(self) -> None:
        """Close at once."""
        if self._smtp is not None:
            self._smtp.close()


def _dotted(message: bytes) -> bytes:
    """As it goes over the wire: lines end with CR LF, a dot that begins one is doubled, a line of one dot ends it."""
    lines = _LINE_END.sub(b"\r\n", message)
    return _DOT.sub(b"..", lines) + (b".\r\n" if lines.endswith(b"\r\n") else b"\r\n.\r\n")


async def _connected(addresses: Sequence[Address], seconds: float) -> socket.socket:
    """A socket connected to the first address that answers; each gets its share of the time. Raises OSError."""
    error = OSError()
    for family, address in addresses:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(seconds / min(len(addresses), _SHARES)):
                await asyncio.get_running_loop().sock_connect(sock, address)
        except OSError as failure:  # TimeoutError is one
            sock.close()
            error = failure
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise error


def _own_name(sock: socket.socket) -> str:
    """An address literal (RFC 5321, 4.1.3): a pod has no name that means anything outside, and asking DNS may block."""
    address = str(sock.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{address}]" if sock.family == socket.AF_INET6 else f"[{address}]"
