"""What can be found out about an HTTP endpoint without sending a message: its host, its form, and how it answers.

The URL is a credential: no message shows it.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipebell.core.destinations.http import judge_trial
from pipebell.core.finding import Finding
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.render.text import masked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipebell.core.destinations.http import HttpKind, HttpTarget, Response
    from pipebell.core.hosts import HostPolicy


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


def answered(kind: HttpKind, target: HttpTarget, response: Response, now: float = 0.0) -> Finding:
    """What an answer to the kind's trial says."""
    host, outcome = target.host, judge_trial(kind, response, target, now)
    if outcome.kind in (OutcomeKind.DELIVERED, OutcomeKind.PAUSE):
        login = outcome == Outcome(OutcomeKind.DELIVERED) and kind.look(target) is not None
        does = "takes the login" if login else "answers"
        return Finding("webhook", True, f"{host} {does}; whether it takes messages shows `pipebell test`")
    if outcome.kind is OutcomeKind.RETRY:
        fix = f"{kind.title} has a problem: try again later"
        return Finding("webhook", False, f"{host} answers {response.status}", fix, outcome.reason)
    if kind.look(target) is not None:
        fix = f"check the credentials of {target.where}"
        return Finding("login", False, f"{host} answers {outcome.message}", fix, outcome.reason)
    said = masked(response.text[:200], *target.secrets)
    word = f" ({said})" if said.isascii() and said.replace("_", "").isalpha() else ""
    message = f"{host} answers {response.status}{word}: the webhook was revoked or mistyped"
    fix = f"make a new one in {kind.title} and update the configuration"
    return Finding("webhook", False, message, fix, outcome.reason)


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
