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
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.providers.smtp_answers import Reply, Stage, rule_for, too_many_recipients
from pipebell.providers.smtp_outcomes import Receipt

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from pipebell.core.destinations.email import EmailTarget
    from pipebell.providers.dns import Address

# Over TLS the plainest is the safest bet. Only one is tried, unless the server says that it does not know it after
# all: every refused login brings an account nearer to being locked.
_AUTH_METHODS: Final = ("plain", "login", "cram-md5")
_UNKNOWN_METHOD: Final = (500, 501, 502, 504)  # some say 500 to an initial response (RFC 4954)
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_DOT: Final = re.compile(rb"^\.", re.MULTILINE)
_SHARES: Final = 3  # of the time to connect, when a host has many addresses


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and counts.

    `connect`: to connect. `command`: for one answer. `opening`: from connecting to the end of the login. `envelope`:
    from MAIL to the answer to DATA, and `per_recipient` more for each recipient. `final_dot`: from the end of the
    message to the answer (RFC 5321, 4.5.3.2.6). `transactions`: no further transaction of a message begins after that
    time. `connections`: at most, to one endpoint. `raise_after`: until one more is tried after a refusal, doubling.
    `idle`, `age`, `messages`: a connection's. `trial`: for all that `verify` tries.
    """

    connect: float = 10.0
    command: float = 30.0
    opening: float = 60.0
    envelope: float = 60.0
    per_recipient: float = 1.0
    final_dot: float = 600.0
    transactions: float = 300.0
    connections: int = 4
    raise_after: float = 60.0
    idle: float = 30.0
    age: float = 300.0
    messages: int = 100
    trial: float = 30.0


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message on its way: `data` is what goes over the wire; `allowed` says whether it still may.

    `lane` is whose turn it takes: connections go round by namespace, and by organisation in each.
    """

    sender: str
    recipients: tuple[str, ...]
    data: bytes
    message_id: str
    allowed: Callable[[], bool] = _always
    lane: tuple[str, str] = ("", "")


class Unusable(Exception):  # noqa: N818  (it names what the target is)
    """We will not go on with this target, whatever the server would say; `outcome` says why."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(outcome.reason)


class Session:
    """An open connection. `stage` tells how far it came when a method raised; `receipt` is the last message's.

    `stale` says that it was lost between two messages, as servers do with connections that were idle for too long.
    `crowded` is set from outside: the server wants fewer connections, so this one ends.
    """

    def __init__(self, limits: Limits, tls: ssl.SSLContext) -> None:
        self.stage = Stage.CONNECT
        self.receipt = Receipt()
        self._limits, self._tls = limits, tls
        self._smtp: aiosmtplib.SMTP | None = None
        self._born = 0.0
        self._messages = self._transactions = 0
        self._clean = True
        self.stale = False
        self.crowded = False

    @property
    def opened(self) -> bool:
        """Whether `open` was called."""
        return self._smtp is not None

    @property
    def usable(self) -> bool:
        """Whether another message may go this way."""
        age = asyncio.get_running_loop().time() - self._born
        if self.crowded or not self._clean or not self._alive:
            return False
        return age < self._limits.age and self._transactions < self._limits.messages

    @property
    def _alive(self) -> bool:
        return self._smtp is not None and self._smtp.is_connected

    async def open(self, target: EmailTarget, addresses: Sequence[Address]) -> None:
        """Connect to the first address that answers, secure, log in. Raises Unusable, OSError, SMTPException."""
        async with asyncio.timeout(self._limits.opening):
            await self._open(target, addresses)

    async def _open(self, target: EmailTarget, addresses: Sequence[Address]) -> None:
        name = target.host.strip("[]")
        sock = await _connected(addresses, self._limits.connect)
        smtp = self._smtp = aiosmtplib.SMTP(
            hostname=name,
            sock=sock,
            use_tls=target.implicit_tls,
            start_tls=False,
            tls_context=self._tls,
            local_hostname=target.helo or _own_name(sock),
            timeout=self._limits.command,
        )
        await smtp.connect()
        self._born = asyncio.get_running_loop().time()
        if target.use_tls and not target.implicit_tls:
            await smtp.ehlo()
            self.stage = Stage.TLS
            if not smtp.supports_extension("starttls"):
                raise Unusable(
                    Outcome(
                        OutcomeKind.PERMANENT,
                        "TlsRequired",
                        f"{name} offers no STARTTLS on port {target.port}: use port 587, or 465 (or smtpTls: Implicit) "
                        "for TLS from the start",
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
            raise Unusable(Outcome(OutcomeKind.PERMANENT, "SmtpAuthUnavailable", message))
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
        """One message to its recipients, in as many transactions as the server's limit on recipients asks for.

        Raises OSError, SMTPException: `receipt` says then who has the message already. Raises Fenced if the message may
        not go any more, and nobody has it yet: asked before DATA, and again right before it goes out.
        """
        smtp = self._smtp
        if smtp is None:
            raise aiosmtplib.SMTPServerDisconnected("not opened")
        self._messages += 1
        self.receipt = receipt = Receipt(envelope.recipients)
        clock = asyncio.get_running_loop().time
        end = clock() + self._limits.transactions
        waiting = list(envelope.recipients)
        size = len(waiting)
        while waiting and not receipt.busy and (clock() < end or not receipt.accepted):
            batch, waiting = waiting[:size], waiting[size:]
            try:
                took = await self._transaction(smtp, envelope, batch)
            except Fenced:
                if not receipt.accepted:
                    raise
                break  # whoever has it must not get it again from another replica
            if again := [who for who in batch if who not in receipt.refused and who not in receipt.accepted]:
                size = max(took, 1)
                waiting = [*again, *waiting]
        return receipt

    async def _transaction(self, smtp: aiosmtplib.SMTP, envelope: Envelope, batch: Sequence[str]) -> int:
        """One of them, for as many of the batch as the server takes: returns how many it would take at a time."""
        self._transactions += 1
        self._clean = False
        self.stage = Stage.MAIL
        async with asyncio.timeout(self._limits.envelope + len(batch) * self._limits.per_recipient):
            await self._mail(smtp, envelope)
            self.stage = Stage.RCPT
            accepted = await self._name(smtp, batch)
            if not accepted:
                await self._reset(smtp)
                return 0
            if not envelope.allowed():
                await self._reset(smtp)
                raise Fenced("this replica may not send any more")
            self.stage = Stage.DATA
            answer = await smtp.execute_command(b"DATA")
        if answer.code != aiosmtplib.SMTPStatus.start_input or smtp.protocol is None:
            await self._ended_by(smtp, answer.code)
            if len(accepted) > 1 and too_many_recipients(Reply(answer.code, answer.message)):
                return len(accepted) // 2
            raise aiosmtplib.SMTPDataError(answer.code, answer.message)
        answer = await self._hand_over(smtp, envelope)
        if answer.code == aiosmtplib.SMTPStatus.completed:
            self.receipt.accepted += accepted
            self._clean = True
            return len(accepted)
        self._clean = answer.code != aiosmtplib.SMTPStatus.domain_unavailable  # the transaction has ended all the same
        if len(accepted) > 1 and too_many_recipients(Reply(answer.code, answer.message)):
            return len(accepted) // 2
        raise aiosmtplib.SMTPDataError(answer.code, answer.message)

    async def _mail(self, smtp: aiosmtplib.SMTP, envelope: Envelope) -> None:
        try:
            await smtp.mail(envelope.sender)
        except (aiosmtplib.SMTPException, OSError) as error:
            self.stale = self._messages > 1 and not self._alive and not self.receipt.accepted
            if isinstance(error, aiosmtplib.SMTPResponseException):
                await self._ended_by(smtp, error.code)
            raise

    async def _name(self, smtp: aiosmtplib.SMTP, batch: Sequence[str]) -> list[str]:
        """The recipients of this transaction that the server accepts. Stops where it wants no more at a time."""
        accepted: list[str] = []
        for recipient in batch:
            try:
                await smtp.rcpt(recipient)
            except aiosmtplib.SMTPRecipientRefused as error:
                reply = Reply(error.code, error.message)
                if not smtp.is_connected or error.code == aiosmtplib.SMTPStatus.domain_unavailable:
                    raise
                if accepted and too_many_recipients(reply):
                    break
                self.receipt.refused[recipient] = reply
                if rule_for(Stage.RCPT, reply).kind is OutcomeKind.PAUSE:
                    self.receipt.busy = True
                    break
            else:
                accepted.append(recipient)
        return accepted

    async def _hand_over(self, smtp: aiosmtplib.SMTP, envelope: Envelope) -> aiosmtplib.SMTPResponse:
        """The message, once the server waits for it, which may take as long as it likes: so it is asked again.

        What does not end with the line of a dot must not be delivered (RFC 5321, 4.1.1.4 and 4.1.1.10): a connection
        that is closed at this point has sent nothing.
        """
        if smtp.protocol is None:
            raise aiosmtplib.SMTPServerDisconnected("lost")
        if not envelope.allowed():
            raise Fenced("this replica may not send any more")
        self.receipt.handed_over = True
        smtp.protocol.write(_dotted(envelope.data))
        answer = await smtp.protocol.read_response(timeout=self._limits.final_dot)
        self.receipt.handed_over = False
        return answer

    async def _ended_by(self, smtp: aiosmtplib.SMTP, code: int) -> None:
        """A refusal in the middle: the connection serves the next message, unless the server is about to close it."""
        if code != aiosmtplib.SMTPStatus.domain_unavailable and smtp.is_connected:
            await self._reset(smtp)

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
