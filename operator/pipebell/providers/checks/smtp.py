"""Everything about an SMTP transport that can be tried without sending: from its name to the recipients."""

from __future__ import annotations

import base64
import hmac
import smtplib
import socket
import ssl
from typing import TYPE_CHECKING, Final

from pipebell.core.finding import Finding
from pipebell.core.outcome import OutcomeKind
from pipebell.core.render.text import masked, one_line
from pipebell.providers.smtp_answers import Reply, Stage, hint_for, reason_for, rule_for, too_many_recipients
from pipebell.providers.smtp_outcomes import secrets_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipebell.core.destinations.email import EmailTarget
    from pipebell.providers.checks.line import Line

_TIMEOUT: Final = 10.0  # seconds for each answer
_OK: Final = range(200, 300)  # RFC 5321, 4.2.1
_CONTINUE: Final = 334  # RFC 4954
_UNKNOWN_METHOD: Final = (500, 501, 502, 504)
_LINES: Final = 256  # of one answer
_LONGEST: Final = 8192  # bytes of a line
_PORTS: Final = "usual are 587 (STARTTLS) and 465 (TLS from the start)"

# What providers want instead of an account's password: their own pages say so.
_LOGIN_FIXES: Final = (
    ("gmail.com", "Gmail takes an app password only: https://myaccount.google.com/apppasswords"),
    ("googlemail.com", "Gmail takes an app password only: https://myaccount.google.com/apppasswords"),
    ("amazonaws.com", "SES wants the SMTP credentials of this region, made in its console; IAM keys are others"),
    ("sendgrid.net", "SendGrid's user name is literally `apikey`, the password is the API key"),
    ("office365.com", "Microsoft 365 needs SMTP AUTH enabled for the mailbox, and an app password with MFA"),
    ("outlook.com", "Microsoft 365 needs SMTP AUTH enabled for the mailbox, and an app password with MFA"),
)


class _Failed(Exception):  # noqa: N818  (it ends the trial, it is no error of ours)
    def __init__(self, what: str, reason: str, message: str, fix: str) -> None:
        super().__init__(message)
        self.finding = Finding(what, False, message, fix, reason)


class _Conversation(smtplib.SMTP):
    """smtplib's client on a connection of ours, which no answer, however long, makes take more memory."""

    def __init__(self, sock: socket.socket, target: EmailTarget) -> None:
        self._opened = sock
        # A name is given, or smtplib would ask the name server for ours.
        super().__init__(target.host, target.port, target.helo or _own_name(sock), timeout=_TIMEOUT)

    def _get_socket(self, *_: object) -> socket.socket:
        return self._opened

    def getreply(self) -> tuple[int, bytes]:
        """See smtplib.SMTP, which reads on for as long as a server says that more lines follow."""
        if self.file is None:
            self.file = self.sock.makefile("rb")  # type: ignore[union-attr]
        lines: list[bytes] = []
        while len(lines) < _LINES:
            try:
                line = self.file.readline(_LONGEST + 1)
            except OSError as error:
                self.close()
                raise smtplib.SMTPServerDisconnected(str(error)) from None
            if not line:
                self.close()
                raise smtplib.SMTPServerDisconnected("the connection was closed")
            if len(line) > _LONGEST:
                break
            lines.append(line[4:].strip())
            if not line[:3].isdigit():
                return -1, b"\n".join(lines)
            if line[3:4] != b"-":
                return int(line[:3]), b"\n".join(lines)
        self.close()
        raise smtplib.SMTPResponseException(500, b"an answer without end")


def check(
    target: EmailTarget, line: Line, context: ssl.SSLContext, *, login: bool = True, discreet: bool = False
) -> Iterator[Finding]:
    """Try one thing after the other; what fails ends it. Neither user names nor passwords are in any message.

    Without `login`, as far as one comes without credentials: name, port, TLS. `discreet` names no recipient that
    `target.recipients` does not name: it may be the platform's.
    """
    server: smtplib.SMTP | None = None
    try:
        yield _resolve(line, target)
        server = _connect(line, target, context)
        yield Finding("connection", True, f"{target.host}:{target.port} answers")
        yield _secure(server, target, context)
        if login:
            if target.username is not None:
                yield _login(server, target)
            yield _sender(server, target)
            yield _recipients(server, target, discreet=discreet)
            server.rset()
        server.quit()
    except _Failed as failed:
        yield _too_slow(line) or failed.finding
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        yield _too_slow(line) or _broken(error, target)
    finally:
        if server is not None:
            server.close()
        line.close()


def _too_slow(line: Line) -> Finding | None:
    """What is to be said where nothing has failed but our patience."""
    if not line.was_cut:
        return None
    message = f"the server is too slow: after {line.seconds:g} s it was not asked any more"
    return Finding("time", False, message, "try again; ask the server's operator", "Timeout")


def _broken(error: Exception, target: EmailTarget) -> Finding:
    if isinstance(error, UnicodeError):
        message = "an address has letters that this server does not take"
        return Finding("conversation", False, message, "check fromEmail, toEmails and ccEmails", "InvalidAddress")
    message = f"the conversation broke: {_said(error, target)}"
    return Finding("conversation", False, message, "try again; ask the server's operator", "ConnectionLost")


def _resolve(line: Line, target: EmailTarget) -> Finding:
    try:
        found = line.addresses(target.host, target.port)
    except (socket.gaierror, UnicodeError):
        fix = "check email.smtpHost for a typing mistake, and DNS"
        raise _Failed("name", "DnsFailed", f"the name {target.host} cannot be resolved", fix) from None
    addresses = ", ".join(sorted({str(address[0]) for _, address in found}))
    return Finding("name", True, f"{target.host} is {addresses}")


def _connect(line: Line, target: EmailTarget, context: ssl.SSLContext) -> smtplib.SMTP:
    sock: socket.socket | None = None
    try:
        sock = line.connect(target.host, target.port, _TIMEOUT)
        if target.implicit_tls:
            sock = context.wrap_socket(sock, server_hostname=target.host)
        return _Conversation(sock, target)
    except ssl.SSLCertVerificationError as error:
        failed = _certificate(error, target)
    except OSError as error:  # all that smtplib raises is one
        silent = isinstance(error, (TimeoutError, smtplib.SMTPServerDisconnected))
        if not target.implicit_tls and silent and _speaks_tls(line, target):
            failed = _tls_from_the_start(target)
        else:
            failed = _no_connection(error, target)
    if sock is not None:
        sock.close()
    raise failed


def _own_name(sock: socket.socket) -> str:
    """The connection's own address, as the operator gives it."""
    address = str(sock.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{address}]" if sock.family == socket.AF_INET6 else f"[{address}]"


def _no_connection(error: OSError, target: EmailTarget) -> _Failed:
    where = f"{target.host}:{target.port}"
    if isinstance(error, ssl.SSLError):
        fix = "set email.smtpPort to 587, or email.smtpTls to StartTls"
        return _Failed("TLS", "TlsFailed", f"{where} does not begin with TLS", fix)
    if isinstance(error, ConnectionRefusedError):
        fix = f"check email.smtpPort; {_PORTS}"
        return _Failed("connection", "ConnectionFailed", f"nothing listens at {where}", fix)
    if isinstance(error, TimeoutError) or "timed out" in str(error):  # smtplib calls it a disconnection
        fix = f"check email.smtpPort ({_PORTS}), and that a firewall lets it through"
        return _Failed("connection", "Timeout", f"{where} does not answer within {_TIMEOUT:g} s", fix)
    if isinstance(error, smtplib.SMTPServerDisconnected):
        fix = f"check email.smtpPort; {_PORTS}"
        return _Failed("connection", "ConnectionLost", "the server hung up at once", fix)
    if isinstance(error, smtplib.SMTPConnectError):
        reason = reason_for(Stage.CONNECT, Reply(error.smtp_code, ""))
        return _Failed("connection", reason, f"the server turns us away: {_said(error, target)}", "try again later")
    fix = f"check host and port; {_PORTS}"
    return _Failed("connection", "ConnectionFailed", f"no connection to {where}: {_said(error, target)}", fix)


def _speaks_tls(line: Line, target: EmailTarget) -> bool:
    """Whether the port begins with TLS, whatever its certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with line.connect(target.host, target.port, 3.0) as plain:
            context.wrap_socket(plain, server_hostname=target.host).close()
    except OSError:
        return False
    return True


def _tls_from_the_start(target: EmailTarget) -> _Failed:
    return _Failed(
        "TLS",
        "TlsFailed",
        f"{target.host}:{target.port} expects TLS from the start",
        "set email.smtpTls to Implicit, or use the server's port for STARTTLS (587)",
    )


def _secure(server: smtplib.SMTP, target: EmailTarget, context: ssl.SSLContext) -> Finding:
    if target.implicit_tls:
        return Finding("TLS", True, "TLS from the start, certificate trusted")
    if not target.use_tls:
        return Finding("TLS", True, "no TLS, as email.smtpUseTls says (credentials are never sent this way)")
    server.ehlo()
    if not server.has_extn("starttls"):
        message = f"{target.host}:{target.port} does not offer STARTTLS"
        raise _Failed("TLS", "TlsRequired", message, f"check email.smtpPort; {_PORTS}")
    try:
        server.starttls(context=context)
    except ssl.SSLCertVerificationError as error:
        raise _certificate(error, target) from None
    except (ssl.SSLError, smtplib.SMTPException) as error:
        message = f"STARTTLS failed: {_said(error, target)}"
        raise _Failed("TLS", "TlsFailed", message, f"check email.smtpPort; {_PORTS}") from None
    return Finding("TLS", True, f"STARTTLS ({server.sock.version()}), certificate trusted")  # type: ignore[union-attr]


def _certificate(error: ssl.SSLCertVerificationError, target: EmailTarget) -> _Failed:
    why = error.verify_message
    if "mismatch" in why.lower():
        fix = "set email.smtpHost to the name that the certificate is for"
    elif "expired" in why:
        fix = "the server's operator has to renew it"
    else:
        fix = "if it is your own CA, give its certificate by PIPEBELL_CA_FILE (operator and `pipebell verify`)"
    return _Failed(
        "certificate", "TlsCertificateInvalid", f"the certificate of {target.host} is not trusted: {why}", fix
    )


def _login(server: smtplib.SMTP, target: EmailTarget) -> Finding:
    server.ehlo()
    offered = str(server.esmtp_features.get("auth", "")).upper().split()
    methods = [method for method in ("PLAIN", "LOGIN", "CRAM-MD5") if method in offered]
    if not methods:
        fix = f"check email.smtpPort ({_PORTS}), or leave the credentials out"
        raise _Failed("login", "SmtpAuthUnavailable", "the server offers no login here", fix)
    for method in methods:
        reply = _authenticated(server, method, target.username or "", target.password or "")
        if reply.code not in _UNKNOWN_METHOD:
            break
    if reply.code in _OK:
        return Finding("login", True, "user name and password are right")
    text, reason = _text(reply, target), reason_for(Stage.AUTH, reply)
    if rule_for(Stage.AUTH, reply).kind is not OutcomeKind.PERMANENT:
        message = f"the server cannot check the login now: {text}"
        raise _Failed("login", reason, message, "try again later; perhaps a quota")
    fix = next((fix for end, fix in _LOGIN_FIXES if target.host.lower().endswith(end)), "")
    fix = fix or "check smtpUsername and smtpPassword; with two-factor login it takes an app password"
    raise _Failed("login", reason, f"user name or password is wrong: {text}", fix)


def _authenticated(server: smtplib.SMTP, method: str, user: str, password: str) -> Reply:
    """The answer to a login in UTF-8 (RFC 4616); smtplib's own is for ASCII only."""
    if method == "PLAIN":
        return _command(server, "AUTH PLAIN " + _base64(f"\0{user}\0{password}".encode()))
    if method == "LOGIN":
        reply = _command(server, f"AUTH LOGIN {_base64(user.encode())}")
        return _command(server, _base64(password.encode())) if reply.code == _CONTINUE else reply
    reply = _command(server, "AUTH CRAM-MD5")
    if reply.code != _CONTINUE:
        return reply
    try:
        challenge = base64.b64decode(reply.text, validate=True)
    except ValueError:
        return Reply(501, "its CRAM-MD5 challenge is none")
    digest = hmac.new(password.encode(), challenge, "md5").hexdigest()
    return _command(server, _base64(f"{user} {digest}".encode()))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _command(server: smtplib.SMTP, line: str) -> Reply:
    code, text = server.docmd(line)
    return Reply(code, text.decode("utf-8", "replace"))


def _sender(server: smtplib.SMTP, target: EmailTarget) -> Finding:
    """MAIL: what the server thinks of the sender."""
    server.ehlo_or_helo_if_needed()
    code, said = server.mail(target.from_email)
    reply = Reply(code, said.decode("utf-8", "replace"))
    if code in _OK:
        return Finding("sender", True, f"{target.from_email} may send")
    reason = reason_for(Stage.MAIL, reply)
    if rule_for(Stage.MAIL, reply).kind is not OutcomeKind.PERMANENT:
        fix = "a quota or rate limit, perhaps: wait, or have it raised at the provider"
        raise _Failed("sender", reason, f"not now: {_text(reply, target)}", fix)
    if code == 530:  # noqa: PLR2004  (RFC 4954, 6)
        message = f"a login is required: {_text(reply, target)}"
        raise _Failed("sender", reason, message, "set smtpUsername and smtpPassword")
    fix = "verify it at the provider, or change email.fromEmail"
    raise _Failed("sender", reason, f"{target.from_email} may not send: {_text(reply, target)}", fix)


def _recipients(server: smtplib.SMTP, target: EmailTarget, *, discreet: bool) -> Finding:
    """RCPT for each: whom the server would serve, as far as it says before it has the message."""
    everybody = tuple(dict.fromkeys((*target.to, *target.cc)))
    refused: list[tuple[str, Reply]] = []
    for number, recipient in enumerate(everybody):
        code, said = server.rcpt(recipient)
        reply = Reply(code, said.decode("utf-8", "replace"))
        if code in _OK:
            continue
        if number > len(refused) and too_many_recipients(reply):
            named = f"{number} of {len(everybody)} recipients; the server takes no more at a time, the rest follows"
            everybody = everybody[:number]
            break
        refused.append((recipient, reply))
        if code == 421:  # noqa: PLR2004  (RFC 5321, 3.8: the connection ends)
            break
    else:
        named = (
            f"all {len(everybody)} recipients"
            if len(everybody) > 1
            else _named(everybody[0], target, discreet=discreet)
        )
    if not refused:
        return Finding("recipients", True, f"the server takes {named}")
    recipient, reply = refused[0]
    more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    message = f"{_named(recipient, target, discreet=discreet)} is refused{more}: {_text(reply, target)}"
    for_now = rule_for(Stage.RCPT, reply).kind is not OutcomeKind.PERMANENT
    fix = hint_for(Stage.RCPT, reply) or "it may pass: try again later"
    reason = reason_for(Stage.RCPT, reply)
    raise _Failed("recipients", reason, f"not now: {message}" if for_now else message, fix)


def _named(recipient: str, target: EmailTarget, *, discreet: bool) -> str:
    return recipient if not discreet or recipient in target.recipients else "a recipient of the platform's"


def _text(reply: Reply, target: EmailTarget) -> str:
    """A server's answer on one line, without what it echoes of the login."""
    return f"{reply.code} {masked(reply.text, *secrets_of(target), limit=300)}"


def _said(error: Exception, target: EmailTarget) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        return f"{error.smtp_code} {masked(said, *secrets_of(target), limit=300)}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return one_line(str(error), 300) or type(error).__name__
