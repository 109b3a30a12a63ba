"""An HTTP endpoint as it is seen from here, with httpx; what it is asked and what that means: `providers.checks`."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Final

import httpx

from pipebell.core.destinations.http import Response
from pipebell.core.finding import Finding
from pipebell.providers.checks import webhook

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from pipebell.core.destinations.http import HttpKind, HttpTarget
    from pipebell.core.hosts import HostPolicy

_TIMEOUT: Final = 10.0  # seconds


def check(kind: HttpKind, target: HttpTarget, hosts: HostPolicy, context: ssl.SSLContext) -> Iterator[Finding]:
    """Try one thing after the other; what fails ends it."""
    if objection := webhook.objection(kind, target, hosts):
        yield objection
        return
    host, port = webhook.place(target.url)
    try:
        addresses = sorted({str(item[4][0]) for item in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
        yield Finding("name", True, f"{host} is {', '.join(addresses)}")
        yield _ask(kind, target, context)
    except (socket.gaierror, UnicodeError):
        yield webhook.unresolved(target)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        yield webhook.unreachable(error, target.url)


def _ask(kind: HttpKind, target: HttpTarget, context: ssl.SSLContext) -> Finding:
    headers, asked = {"User-Agent": "pipebell verify", "Accept-Encoding": "identity"}, kind.trial(target)
    with (
        httpx.Client(verify=context, timeout=_TIMEOUT, headers=headers, trust_env=False) as client,
        client.stream(asked.method, asked.url, content=asked.body, headers=dict(asked.headers)) as answer,
    ):
        body = b""
        for chunk in answer.iter_raw():
            body += chunk
            if len(body) >= kind.reads:
                break
        response = Response(answer.status_code, answer.headers, body[: kind.reads], target.host)
        return webhook.answered(kind, target, response, time.time())
