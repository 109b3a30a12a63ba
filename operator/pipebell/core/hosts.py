"""Where organisations may have the operator connect to: the guard against reaching into private networks."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.core.destinations.base import Kind


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """The platform team's lists.

    `allowed` are hosts by kind of destination, beside the kind's own; an entry is `host` (any port) or `host:port`.
    `private_hosts` are host names, addresses or CIDRs that organisations may reach although private.
    """

    allowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    private_hosts: tuple[str, ...] = ()

    def admits_url(self, kind: Kind, url: str) -> bool:
        """Whether an organisation may have this kind connect to the URL's host. The kind's own hosts: on port 443 only.

        Of a kind that goes anywhere, the address it connects to is checked too: by `admits_address`, or without TLS
        by `lists_address`.
        """
        try:
            parts = urlsplit(url)
            host = (parts.hostname or "").lower().rstrip(".")
            given = parts.port
        except ValueError:
            return False
        if not host or "@" in parts.netloc:  # no name and password in a URL
            return False
        port = given if given is not None else 80 if parts.scheme == "http" else 443
        if parts.scheme != "https" and not (kind.hosts.http and parts.scheme == "http"):
            return False
        listed = {entry.lower() for entry in self.allowed.get(kind.name, ())}
        shown = f"[{host}]" if ":" in host else host
        if {host, shown, f"{shown}:{port}"} & listed:
            return True
        if kind.hosts.anywhere:
            return not listed
        return port == 443 and (host in kind.hosts.exact or host.endswith(kind.hosts.suffixes))  # noqa: PLR2004  (https)

    def admits_address(self, host: str, address: str) -> bool:
        """Whether an organisation's host may be reached at this address (the one actually connected to).

        Raises ValueError when `address` is no IP address.
        """
        ip = _ip(address)
        return self.lists_address(host, address) or _public(_embedded_ipv4(ip) or ip)

    def lists_address(self, host: str, address: str) -> bool:
        """Whether the platform team listed this host, or the address that it leads to, among the private ones.

        Raises ValueError when `address` is no IP address.
        """
        name = host.lower().rstrip(".").strip("[]")
        ip = _ip(address)
        reached = _embedded_ipv4(ip) or ip
        for entry in self.private_hosts:
            try:
                network = ipaddress.ip_network(entry, strict=False)
            except ValueError:
                if entry.lower().rstrip(".") == name:
                    return True
            else:
                if ip in network or reached in network:
                    return True
        return False


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(address.partition("%")[0])


# A list of our own: what Python calls global differs from version to version, and leaves addresses out that clouds and
# networks use for themselves. Sources: the IANA registries of special-purpose addresses, and the clouds' own pages.
_NOT_PUBLIC: Final = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network (RFC 791)
        "10.0.0.0/8",  # private (RFC 1918)
        "100.64.0.0/10",  # carriers' (RFC 6598), and Alibaba Cloud's metadata at 100.100.100.200
        "127.0.0.0/8",  # loopback (RFC 1122)
        "168.63.129.16/32",  # Azure's own services on each machine
        "169.254.0.0/16",  # link-local (RFC 3927), and most clouds' metadata
        "172.16.0.0/12",  # private (RFC 1918)
        "192.0.0.0/24",  # protocol assignments (RFC 6890), and Oracle Cloud's metadata at 192.0.0.192
        "192.0.2.0/24",  # documentation (RFC 5737)
        "192.88.99.0/24",  # 6to4 relays (RFC 7526)
        "192.168.0.0/16",  # private (RFC 1918)
        "198.18.0.0/15",  # benchmarks (RFC 2544)
        "198.51.100.0/24",  # documentation (RFC 5737)
        "203.0.113.0/24",  # documentation (RFC 5737)
        "224.0.0.0/4",  # multicast (RFC 5771)
        "240.0.0.0/4",  # reserved (RFC 1112), and broadcast
    )
)
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")  # all that IANA has given out (RFC 4291)
_NOT_PUBLIC_6: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments (RFC 2928): Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation (RFC 3849)
        "2002::/16",  # 6to4 (RFC 3056): it leads to an IPv4 address, perhaps of ours
        "3fff::/20",  # documentation (RFC 9637)
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def _public(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether anybody on the Internet might be there, and nobody else."""
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in _NOT_PUBLIC)
    return ip in _GLOBAL_UNICAST and not any(ip in network for network in _NOT_PUBLIC_6)


def _embedded_ipv4(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one is translated to (RFC 4291 mapped, RFC 6052 NAT64)."""
    if isinstance(ip, ipaddress.IPv4Address):
        return None
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped
