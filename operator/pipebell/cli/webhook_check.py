"""What can be told about an HTTP endpoint without sending a message: its host, its address, its certificate."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx

from pipebell import tls
from pipebell.cli.smtp_check import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipebell.core.destinations.http import HttpKind, HttpTarget
    from pipebell.core.hosts import HostPolicy

_TIMEOUT: Final = 10.0  # seconds
_GONE: Final = (403, 404, 410)


def check(kind: HttpKind, target: HttpTarget, hosts: HostPolicy, ca_file: str = "") -> Iterator[Finding]:
    """Try one thing after the other; what fails ends it. The URL is a credential: no message shows it."""
    parts = urlsplit(target.url)
    host, port = parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)
    if not target.trusted and not hosts.admits_url(kind, target.url):
        own = ", ".join((*kind.hosts.exact, *(f"*{suffix}" for suffix in kind.hosts.suffixes)))
        yield Finding(
            "host",
            False,
            f"{host}:{port} is not one of the hosts of {kind.title}" + (f" ({own})" if own else ""),
            f"check {target.where}; another host has to be allowed by the platform team "
            f"(PIPEBELL_ALLOWED_HOSTS, {kind.name}=HOST)",
        )
        return
    if complaint := kind.form(target.url):
        yield Finding("form", False, f"the URL does not look like one of {kind.title}", complaint)
        return
    try:
        addresses = sorted({str(item[4][0]) for item in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
        yield Finding("name", True, f"{host} is {', '.join(addresses)}")
        yield _ask(kind, target.url if kind.probe else f"{parts.scheme}://{parts.netloc}/", host, ca_file)
    except socket.gaierror:
        yield Finding("name", False, f"the name {host} cannot be resolved", f"check {target.where} and DNS")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        yield _unreachable(error, f"{host}:{port}")


def _unreachable(error: Exception, host: str) -> Finding:
    """What httpx could not do, by what the operating system or OpenSSL said of it: theirs may quote the URL."""
    cause: BaseException | None = error
    why = type(error).__name__
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Finding(
                "certificate", False, f"the certificate of {host} is not trusted: {cause.verify_message}",
                "if it is your own CA, give its certificate by PIPEBELL_CA_FILE",
            )  # fmt: skip
        why = getattr(cause, "strerror", None) or why
        cause = cause.__cause__ or cause.__context__
    return Finding("connection", False, f"{host} cannot be reached: {why}", "check that a firewall lets it through")


def _ask(kind: HttpKind, url: str, host: str, ca_file: str) -> Finding:
    context = tls.client_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    headers = {"User-Agent": "pipebell verify", "Accept-Encoding": "identity"}
    with (
        httpx.Client(verify=context, timeout=_TIMEOUT, headers=headers, trust_env=False) as client,
        # A GET sends no message; where the kind says so, its answer tells whether the endpoint is there.
        client.stream("GET", url) as answer,
    ):
        status = answer.status_code
        said = next(answer.iter_raw(200), b"").decode("utf-8", "replace").strip()
    word = f" ({said})" if said.replace("_", "").isalpha() else ""
    if kind.probe and status in _GONE:
        return Finding(
            "webhook", False, f"{host} answers {status}{word}: the webhook was revoked or mistyped",
            f"make a new one in {kind.title} and update the configuration",
        )  # fmt: skip
    if kind.probe and status >= 500:  # noqa: PLR2004  (RFC 9110, 15.6)
        return Finding("webhook", False, f"{host} answers {status}", f"{kind.title} has a problem: try again later")
    return Finding("webhook", True, f"{host} answers; whether it takes messages shows `pipebell test`")
