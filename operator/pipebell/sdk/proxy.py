"""Which proxy leads to a server, as kubectl and everything else written in Go decides it.

https://pkg.go.dev/golang.org/x/net/http/httpproxy: HTTPS_PROXY or HTTP_PROXY by the URL's scheme, NO_PROXY's hosts,
domains, addresses and networks not, and this machine itself never. A kubeconfig's own proxy-url goes before all that.
"""

from __future__ import annotations

import base64
import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from pipebell.core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PORTS: Final = {"http": 80, "https": 443}


class Proxy(NamedTuple):
    """An HTTP proxy. `authorization` is the value of Proxy-Authorization, and secret."""

    host: str
    port: int
    authorization: str | None = None

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"


def parse(url: str) -> Proxy:
    """Raises SettingsError, which does not quote the URL: it may hold a password."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if not host or parts.scheme != "http":
        raise SettingsError(
            "the proxy in the kubeconfig's proxy-url or HTTPS_PROXY is no URL such as http://proxy:3128"
        )
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return Proxy(host, port or _PORTS["http"], authorization)


def find(url: SplitResult, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy that the environment names for this URL; None to connect directly. Raises SettingsError."""
    name = f"{url.scheme}_proxy"
    given = (environ.get(name.upper()) or environ.get(name) or "").strip()
    host, port = (url.hostname or "").lower(), url.port or _PORTS.get(url.scheme, 0)
    if not given or _is_this_machine(host):
        return None
    exceptions = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    if any(_matches(entry.strip().lower(), host, port) for entry in exceptions.split(",")):
        return None
    return parse(given)


def _is_this_machine(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _matches(entry: str, host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY means this host."""
    if entry in ("", "*"):
        return bool(entry)
    address = _address(host)
    if "/" in entry:
        return address is not None and _holds(entry, address)
    if _address(entry) is None:
        bare, mark, number = entry.rpartition(":")
        if mark and number.isdigit():
            if int(number) != port:
                return False
            entry = bare
    other = _address(entry)
    if other is not None or address is not None:
        return other is not None and other == address
    domain = entry.removeprefix("*")
    return host.endswith(domain) if domain.startswith(".") else host == domain or host.endswith(f".{domain}")


def _holds(network: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
