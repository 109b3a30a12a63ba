"""Where organisations may have the operator connect to: the guard against reaching into private networks."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

SLACK_HOSTS: Final = ("hooks.slack.com", "hooks.slack-gov.com")


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """The platform team's lists.

    `slack_hosts` are added to Slack's own; an entry is `host` (any port) or `host:port`. `private_hosts` are host
    names, addresses or CIDRs that organisations may reach by SMTP although private.
    """

    slack_hosts: tuple[str, ...] = ()
    private_hosts: tuple[str, ...] = ()

    def admits_webhook(self, url: str) -> bool:
        """Whether an organisation may post to this URL. The two hosts of Slack are admitted on port 443 only."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower().rstrip("."), parts.port or 443
        except ValueError:
            return False
        if parts.scheme != "https" or parts.username is not None or parts.password is not None:
            return False
        allowed = {entry.lower() for entry in self.slack_hosts}
        shown = f"[{host}]" if ":" in host else host
        return (host in SLACK_HOSTS and port == 443) or bool({host, f"{shown}:{port}"} & allowed)  # noqa: PLR2004

    def admits_address(self, host: str, address: str) -> bool:
        """Whether an organisation's SMTP host may be reached at this address (the one actually connected to)."""
        name = host.lower().rstrip(".").strip("[]")
        ip = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(ip, ipaddress.IPv6Address):
            ip = _embedded_ipv4(ip) or ip
        for entry in self.private_hosts:
            try:
                if ip in ipaddress.ip_network(entry, strict=False):
                    return True
            except ValueError:
                if entry.lower().rstrip(".") == name:
                    return True
        return ip.is_global and not ip.is_multicast


_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


def _embedded_ipv4(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one is translated to (RFC 4291 mapped, RFC 6052 NAT64, RFC 3056 6to4)."""
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour
