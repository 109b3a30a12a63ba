"""Everything about an SMTP transport that can be tried without sending: name, connection, TLS, login, sender."""

from __future__ import annotations

import smtplib
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipebell import tls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipebell.core.destinations.email import EmailTarget

_TIMEOUT: Final = 10.0  # seconds for each answer
_IMPLICIT: Final = 465  # RFC 8314
_PORTS: Final = "usual are 587 (STARTTLS) and 465 (TLS from the start)"

# What providers want instead of an account's password: their own pages say so.
_LOGIN_MENDS: Final = (
    ("gmail.com", "Gmail takes an app password only: https://myaccount.google.com/apppasswords"),
    ("googlemail.com", "Gmail takes an app password only: https://myaccount.google.com/apppasswords"),
    ("amazonaws.com", "SES wants the SMTP credentials of this region, made in its console; IAM keys are others"),
    ("sendgrid.net", "SendGrid's user name is literally `apikey`, the password is the API key"),
    ("office365.com", "Microsoft 365 needs SMTP AUTH enabled for the mailbox, and an app password with MFA"),
    ("outlook.com", "Microsoft 365 needs SMTP AUTH enabled for the mailbox, and an app password with MFA"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried. `mend` says what to do when it is not `ok`."""

    what: str
    ok: bool
    message: str
    mend: str = ""


class _Failed(Exception):  # noqa: N818  (it ends the trial, it is no error of ours)
    def __init__(self, what: str, message: str, mend: str) -> None:
        super().__init__(message)
        self.finding = Finding(what, False, message, mend)


def check(target: EmailTarget, ca_file: str = "") -> Iterator[Finding]:
    """Try one thing after the other; what fails ends it. Passwords are in no message."""
    server: smtplib.SMTP | None = None
    try:
        yield _resolve(target)
        server = _connect(target, _context(ca_file))
        yield Finding("connection", True, f"{target.host}:{target.port} answers")
        yield _secure(server, target, _context(ca_file))
        if target.username is not None:
            yield _login(server, target)
        yield _sender(server, target)
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
        if target.port == _IMPLICIT:
            return smtplib.SMTP_SSL(target.host, target.port, timeout=_TIMEOUT, context=context)
        return smtplib.SMTP(target.host, target.port, timeout=_TIMEOUT)
    except ssl.SSLCertVerificationError as error:
        raise _certificate(error, target) from None
    except OSError as error:  # all that smtplib raises is one
        if isinstance(error, (TimeoutError, smtplib.SMTPServerDisconnected)) and _speaks_tls(target):
            raise _tls_from_the_start(target) from None
        raise _Failed(*_no_connection(error, f"{target.host}:{target.port}")) from None


def _no_connection(error: OSError, where: str) -> tuple[str, str, str]:
    """What failed, how, and the mend."""
    if isinstance(error, ssl.SSLError):
        return "TLS", f"{where} does not begin with TLS", "set email.smtpPort to 587: it uses STARTTLS"
    if isinstance(error, ConnectionRefusedError):
        return "connection", f"nothing listens at {where}", f"check email.smtpPort; {_PORTS}"
    if isinstance(error, TimeoutError) or "timed out" in str(error):  # smtplib calls it a disconnection
        mend = f"check email.smtpPort ({_PORTS}), and that a firewall lets it through"
        return "connection", f"{where} does not answer within {_TIMEOUT:g} s", mend
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
        f"{target.host}:{target.port} expects TLS from the start, and Pipebell does that on port 465 only",
        "use the server's port 465, or its port for STARTTLS (587)",
    )


def _secure(server: smtplib.SMTP, target: EmailTarget, context: ssl.SSLContext) -> Finding:
    if target.port == _IMPLICIT:
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
        mend = "set email.smtpHost to the name that the certificate is for"
    elif "expired" in why:
        mend = "the server's operator has to renew it"
    else:
        mend = "if it is your own CA, give its certificate by PIPEBELL_CA_FILE (operator and `pipebell verify`)"
    return _Failed("certificate", f"the certificate of {target.host} is not trusted: {why}", mend)


def _login(server: smtplib.SMTP, target: EmailTarget) -> Finding:
    server.ehlo()
    try:
        server.login(target.username or "", target.password or "")
    except smtplib.SMTPAuthenticationError as error:
        mend = next((mend for end, mend in _LOGIN_MENDS if target.host.lower().endswith(end)), "")
        if error.smtp_code // 100 == 4:  # noqa: PLR2004  (temporary, RFC 4954)
            raise _Failed(
                "login", f"the server cannot check the login now: {_said(error)}", "try again later; perhaps a quota"
            ) from None
        mend = mend or "check smtpUsername and smtpPassword; with two-factor login it takes an app password"
        raise _Failed("login", f"user name or password is wrong: {_said(error)}", mend) from None
    except (smtplib.SMTPResponseException, smtplib.SMTPServerDisconnected):
        raise
    except smtplib.SMTPException:  # no AUTH at all, or no method that we know
        raise _Failed(
            "login", "the server offers no login here", f"check email.smtpPort ({_PORTS}), or leave the credentials out"
        ) from None
    return Finding("login", True, "user name and password are right")


def _sender(server: smtplib.SMTP, target: EmailTarget) -> Finding:
    """MAIL and RSET: the server says what it thinks of the sender, and forgets it."""
    server.ehlo_or_helo_if_needed()
    code, said = server.mail(target.from_email)
    server.rset()
    text = f"{code} {said.decode('utf-8', 'replace')}"
    server.quit()
    if code // 100 == 2:  # noqa: PLR2004  (RFC 5321, 4.2.1)
        return Finding("sender", True, f"{target.from_email} may send")
    if code in (421, 450, 451, 452, 454) or "quota" in text.lower() or "limit" in text.lower():
        return Finding("sender", False, f"not now: {text}", "a quota or rate limit: wait, or raise it at the provider")
    if code == 530:  # noqa: PLR2004  (RFC 4954, 6)
        return Finding("sender", False, f"a login is required: {text}", "set smtpUsername and smtpPassword")
    return Finding(
        "sender",
        False,
        f"{target.from_email} may not send: {text}",
        "verify it at the provider, or change email.fromEmail",
    )


def _said(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        return f"{error.smtp_code} {text.decode('utf-8', 'replace') if isinstance(text, bytes) else text}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
