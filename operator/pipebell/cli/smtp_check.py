"""Everything about an SMTP transport that can be tried without sending: from its name to the recipients."""

from __future__ import annotations

import base64
import hmac
import smtplib
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipebell import tls
from pipebell.core.outcome import Verdict
from pipebell.core.render.text import one_line
from pipebell.providers.smtp_answers import Reply, Stage, hint_for, rule_for, too_many_recipients

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipebell.core.destinations.email import EmailTarget

_TIMEOUT: Final = 10.0  # seconds for each answer
_OK: Final = range(200, 300)  # RFC 5321, 4.2.1
_CONTINUE: Final = 334  # RFC 4954
_UNKNOWN_METHOD: Final = (500, 501, 502, 504)
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


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried. `fix` says what to do when it is not `ok`."""

    what: str
    ok: bool
    message: str
    fix: str = ""


class _Failed(Exception):  # noqa: N818  (it ends the trial, it is no error of ours)
    def __init__(self, what: str, message: str, fix: str) -> None:
        super().__init__(message)
        self.finding = Finding(what, False, message, fix)


def check(target: EmailTarget, ca_file: str = "", *, login: bool = True) -> Iterator[Finding]:
    """Try one thing after the other; what fails ends it. Passwords are in no message.

    Without `login`, as far as one comes without credentials: name, port, TLS.
    """
    server: smtplib.SMTP | None = None
    try:
        yield _resolve(target)
        server = _connect(target, _context(ca_file))
        yield Finding("connection", True, f"{target.host}:{target.port} answers")
        yield _secure(server, target, _context(ca_file))
        if login:
            if target.username is not None:
                yield _login(server, target)
            yield _sender(server, target)
            yield _recipients(server, target)
            server.rset()
        server.quit()
    except _Failed as failed:
        yield failed.finding
    except (smtplib.SMTPException, OSError) as error:
        yield Finding(
            "conversation", False, f"the conversation broke: {_said(error)}", "try again; ask the server's operator"
        )
    finally:
        if server is not None:
            server.close()


def _context(ca_file: str) -> ssl.SSLContext:
    context = tls.client_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    return context


def _resolve(target: EmailTarget) -> Finding:
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise _Failed(
            "name", f"the name {target.host} cannot be resolved", "check email.smtpHost for a typing mistake, and DNS"
        ) from None
    addresses = ", ".join(sorted({str(item[4][0]) for item in found}))
    return Finding("name", True, f"{target.host} is {addresses}")


def _connect(target: EmailTarget, context: ssl.SSLContext) -> smtplib.SMTP:
    try:
        # A name is given, or smtplib would ask the name server for ours.
        name = target.helo or "[127.0.0.1]"
        server: smtplib.SMTP
        if target.implicit_tls:
            server = smtplib.SMTP_SSL(target.host, target.port, name, timeout=_TIMEOUT, context=context)
        else:
            server = smtplib.SMTP(target.host, target.port, name, timeout=_TIMEOUT)
        if target.helo is None and isinstance(server.sock, socket.socket):
            server.local_hostname = _own_name(server.sock)
    except ssl.SSLCertVerificationError as error:
        raise _certificate(error, target) from None
    except OSError as error:  # all that smtplib raises is one
        if (
            not target.implicit_tls
            and isinstance(error, (TimeoutError, smtplib.SMTPServerDisconnected))
            and _speaks_tls(target)
        ):
            raise _tls_from_the_start(target) from None
        raise _Failed(*_no_connection(error, f"{target.host}:{target.port}")) from None
    else:
        return server


def _own_name(sock: socket.socket) -> str:
    """The connection's own address, as the operator gives it."""
    address = str(sock.getsockname()[0]).partition("%")[0]
    return f"[IPv6:{address}]" if sock.family == socket.AF_INET6 else f"[{address}]"


def _no_connection(error: OSError, where: str) -> tuple[str, str, str]:
    """What failed, how, and the fix."""
    if isinstance(error, ssl.SSLError):
        fix = "set email.smtpPort to 587, or email.smtpTls to StartTls"
        return "TLS", f"{where} does not begin with TLS", fix
    if isinstance(error, ConnectionRefusedError):
        return "connection", f"nothing listens at {where}", f"check email.smtpPort; {_PORTS}"
    if isinstance(error, TimeoutError) or "timed out" in str(error):  # smtplib calls it a disconnection
        fix = f"check email.smtpPort ({_PORTS}), and that a firewall lets it through"
        return "connection", f"{where} does not answer within {_TIMEOUT:g} s", fix
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return "connection", "the server hung up at once", f"check email.smtpPort; {_PORTS}"
    if isinstance(error, smtplib.SMTPConnectError):
        return "connection", f"the server turns us away: {_said(error)}", "try again later"
    return "connection", f"no connection to {where}: {_said(error)}", f"check host and port; {_PORTS}"


def _speaks_tls(target: EmailTarget) -> bool:
    """Whether the port begins with TLS, whatever its certificate."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((target.host, target.port), timeout=3.0) as plain:
            context.wrap_socket(plain, server_hostname=target.host).close()
    except OSError:
        return False
    return True


def _tls_from_the_start(target: EmailTarget) -> _Failed:
    return _Failed(
        "TLS",
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
        raise _Failed("TLS", f"{target.host}:{target.port} does not offer STARTTLS", f"check email.smtpPort; {_PORTS}")
    try:
        server.starttls(context=context)
    except ssl.SSLCertVerificationError as error:
        raise _certificate(error, target) from None
    except (ssl.SSLError, smtplib.SMTPException) as error:
        raise _Failed("TLS", f"STARTTLS failed: {_said(error)}", f"check email.smtpPort; {_PORTS}") from None
    return Finding("TLS", True, f"STARTTLS ({server.sock.version()}), certificate trusted")  # type: ignore[union-attr]


def _certificate(error: ssl.SSLCertVerificationError, target: EmailTarget) -> _Failed:
    why = error.verify_message
    if "mismatch" in why.lower():
        fix = "set email.smtpHost to the name that the certificate is for"
    elif "expired" in why:
        fix = "the server's operator has to renew it"
    else:
        fix = "if it is your own CA, give its certificate by PIPEBELL_CA_FILE (operator and `pipebell verify`)"
    return _Failed("certificate", f"the certificate of {target.host} is not trusted: {why}", fix)


def _login(server: smtplib.SMTP, target: EmailTarget) -> Finding:
    server.ehlo()
    offered = str(server.esmtp_features.get("auth", "")).upper().split()
    methods = [method for method in ("PLAIN", "LOGIN", "CRAM-MD5") if method in offered]
    if not methods:
        raise _Failed(
            "login", "the server offers no login here", f"check email.smtpPort ({_PORTS}), or leave the credentials out"
        )
    for method in methods:
        reply = _authenticated(server, method, target.username or "", target.password or "")
        if reply.code not in _UNKNOWN_METHOD:
            break
    if reply.code in _OK:
        return Finding("login", True, "user name and password are right")
    text = _text(reply, target)
    if rule_for(Stage.AUTH, reply).verdict is not Verdict.PERMANENT:
        raise _Failed("login", f"the server cannot check the login now: {text}", "try again later; perhaps a quota")
    fix = next((fix for end, fix in _LOGIN_FIXES if target.host.lower().endswith(end)), "")
    fix = fix or "check smtpUsername and smtpPassword; with two-factor login it takes an app password"
    raise _Failed("login", f"user name or password is wrong: {text}", fix)


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
    if rule_for(Stage.MAIL, reply).verdict is not Verdict.PERMANENT:
        fix = "a quota or rate limit, perhaps: wait, or have it raised at the provider"
        raise _Failed("sender", f"not now: {_text(reply, target)}", fix)
    if code == 530:  # noqa: PLR2004  (RFC 4954, 6)
        raise _Failed("sender", f"a login is required: {_text(reply, target)}", "set smtpUsername and smtpPassword")
    fix = "verify it at the provider, or change email.fromEmail"
    raise _Failed("sender", f"{target.from_email} may not send: {_text(reply, target)}", fix)


def _recipients(server: smtplib.SMTP, target: EmailTarget) -> Finding:
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
        named = f"all {len(everybody)} recipients" if len(everybody) > 1 else everybody[0]
    if not refused:
        return Finding("recipients", True, f"the server takes {named}")
    recipient, reply = refused[0]
    more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    message = f"{recipient} is refused{more}: {_text(reply, target)}"
    for_now = rule_for(Stage.RCPT, reply).verdict is not Verdict.PERMANENT
    fix = hint_for(Stage.RCPT, reply) or "it may pass: try again later"
    raise _Failed("recipients", f"not now: {message}" if for_now else message, fix)


def _text(reply: Reply, target: EmailTarget) -> str:
    """A server's answer on one line, without what it echoes of the login."""
    said = reply.text
    for secret in filter(None, (target.password, target.password and _base64(target.password.encode()))):
        said = said.replace(secret, "***")
    return f"{reply.code} {one_line(said, 300)}"


def _said(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        return f"{error.smtp_code} {one_line(said, 300)}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
