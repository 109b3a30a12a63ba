"""What can be told about a Slack webhook without posting to it: its host, its address, its certificate, its answer."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx

from pipebell import tls
from pipebell.cli.smtp_check import Finding
from pipebell.core.hosts import SLACK_HOSTS, HostPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipebell.core.targets import SlackTarget

_TIMEOUT: Final = 10.0  # seconds
_GONE: Final = (403, 404, 410)


def check(target: SlackTarget, ca_file: str = "", hosts: tuple[str, ...] = ()) -> Iterator[Finding]:
    """Try one thing after the other; what fails ends it. The URL is a credential: no message shows it."""
    parts = urlsplit(target.webhook_url)
    host, port = parts.hostname or "", parts.port or 443
    if not target.trusted and not HostPolicy(hosts).admits_webhook(target.webhook_url):
        yield Finding(
            "host",
            False,
            f"{host}:{port} is not one of Slack's hosts ({', '.join(SLACK_HOSTS)})",
            "check webhookUrl; another host has to be allowed by the platform team (PIPEBELL_SLACK_HOSTS)",
        )
        return
    if host in SLACK_HOSTS and not _looks_right(parts.path):
        yield Finding(
            "form",
            False,
            "the URL does not look like a webhook's",
            "it is https://hooks.slack.com/services/T…/B…/… as Slack shows it",
        )
        return
    try:
        addresses = sorted({str(item[4][0]) for item in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
        yield Finding("name", True, f"{host} is {', '.join(addresses)}")
        yield _ask(target.webhook_url, host, ca_file)
    except socket.gaierror:
        yield Finding("name", False, f"the name {host} cannot be resolved", "check webhookUrl and DNS")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        yield _unreachable(error, f"{host}:{port}")


def _looks_right(path: str) -> bool:
    return path.startswith(("/services/", "/workflows/", "/triggers/")) and "YOUR/WEBHOOK" not in path


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


def _ask(url: str, host: str, ca_file: str) -> Finding:
    context = tls.client_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    headers = {"User-Agent": "pipebell verify", "Accept-Encoding": "identity"}
    with (
        httpx.Client(verify=context, timeout=_TIMEOUT, headers=headers, trust_env=False) as client,
        # GET posts nothing; Slack answers it with an error that depends on the webhook.
        client.stream("GET", url) as answer,
    ):
        status = answer.status_code
        said = next(answer.iter_raw(200), b"").decode("utf-8", "replace").strip()
    word = f" ({said})" if said.replace("_", "").isalpha() else ""
    if status in _GONE:
        return Finding(
            "webhook", False, f"{host} answers {status}{word}: the webhook was revoked or mistyped",
            "make a new one in Slack and update webhookUrl",
        )  # fmt: skip
    if status >= 500:  # noqa: PLR2004  (RFC 9110, 15.6)
        return Finding("webhook", False, f"{host} answers {status}", "Slack has a problem: try again later")
    return Finding("webhook", True, f"{host} answers; whether it takes messages shows `pipebell test`")
