"""What can be found out about an HTTP endpoint without sending a message: its host, its form, and how it answers a GET.

The URL is a credential: no message shows it.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pipebell.core.finding import Finding
from pipebell.core.render.text import masked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipebell.core.destinations.http import HttpKind, HttpTarget
    from pipebell.core.hosts import HostPolicy

_GONE: Final = (403, 404, 410)


def place(url: str) -> tuple[str, int]:
    """The URL's host and port. Raises ValueError when it is none."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)


def objection(kind: HttpKind, target: HttpTarget, hosts: HostPolicy) -> Finding | None:
    """What is wrong with the URL itself; None when it may be asked."""
    try:
        host, port = place(target.url)
    except ValueError:
        return Finding("form", False, "the URL is none", f"check {target.where}", "InvalidUrl")
    if not target.trusted and not hosts.admits_url(kind, target.url):
        own = ", ".join((*kind.hosts.exact, *(f"*{suffix}" for suffix in kind.hosts.suffixes)))
        return Finding(
            "host",
            False,
            f"{host}:{port} is not one of the hosts of {kind.title}" + (f" ({own})" if own else ""),
            f"check {target.where}; another host has to be allowed by the platform team "
            f"(PIPEBELL_ALLOWED_HOSTS, {kind.name}=HOST)",
            "HostNotAllowed",
        )
    if complaint := kind.form(target.url):
        return Finding("form", False, f"the URL does not look like one of {kind.title}", complaint, "InvalidUrl")
    return None


def question(kind: HttpKind, url: str) -> str:
    """What is asked for by GET: the endpoint where that is harmless, else only its host."""
    parts = urlsplit(url)
    return url if kind.probe else f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"


def answered(kind: HttpKind, target: HttpTarget, status: int, body: bytes) -> Finding:
    """What an answer to that says. `body` is its beginning, which may repeat what was asked for."""
    host = target.host
    said = masked(body[:200].decode("utf-8", "replace"), *target.secrets)
    word = f" ({said})" if said.isascii() and said.replace("_", "").isalpha() else ""
    if kind.probe and status in _GONE:
        message = f"{host} answers {status}{word}: the webhook was revoked or mistyped"
        fix = f"make a new one in {kind.title} and update the configuration"
        return Finding("webhook", False, message, fix, f"Http{status}")
    if kind.probe and status >= 500:  # noqa: PLR2004  (RFC 9110, 15.6)
        fix = f"{kind.title} has a problem: try again later"
        return Finding("webhook", False, f"{host} answers {status}", fix, f"Http{status}")
    return Finding("webhook", True, f"{host} answers; whether it takes messages shows `pipebell test`")


def unresolved(target: HttpTarget) -> Finding:
    """The host has no address."""
    fix = f"check {target.where} and DNS"
    return Finding("name", False, f"the name {target.host} cannot be resolved", fix, "DnsFailed")


def unreachable(error: BaseException, url: str) -> Finding:
    """What went wrong, by what the operating system or OpenSSL said of it: a client's own text may quote the URL."""
    where = "{}:{}".format(*place(url))
    why, reason = "no connection", "ConnectionFailed"
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError) and (said := getattr(cause, "verify_message", "")):
            message = f"the certificate of {where} is not trusted: {said}"
            fix = "if it is your own CA, give its certificate by PIPEBELL_CA_FILE"
            return Finding("certificate", False, message, fix, "TlsCertificateInvalid")
        if isinstance(cause, ssl.SSLError):
            if said := getattr(cause, "reason", None):  # aiohttp's own have none, but a cause
                message = f"no TLS connection to {where}: {said.replace('_', ' ').lower()}"
                return Finding("TLS", False, message, "check the URL's port", "TlsFailed")
        elif isinstance(cause, TimeoutError) or "Timeout" in type(cause).__name__:
            why, reason = "no answer in time", "Timeout"
        elif isinstance(cause, OSError) and cause.errno:
            why = os.strerror(cause.errno)
    fix = "check that a firewall lets it through"
    return Finding("connection", False, f"{where} cannot be reached: {why}", fix, reason)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
