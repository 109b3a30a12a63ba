"""The operator's settings: environment variables, each with a flag of the same name in kebab case."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pipebell.core.errors import SettingsError
from pipebell.core.fields import canonical
from pipebell.core.hosts import HostPolicy
from pipebell.core.models import KINDS
from pipebell.tls import check_ca_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_ORG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_IDENTITY: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("is not a Kubernetes name (lower-case letters, digits, '-')")
    return text


def _namespace(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError(f"{text!r} is no namespace's name (lower-case letters, digits, '-', at most 63)")
    return text


def _namespaces(text: str) -> tuple[str, ...]:
    return tuple(_namespace(part) for part in _words(text))


def _identity(text: str) -> str:
    if not _IDENTITY.fullmatch(text):
        raise ValueError("is not a name of at most 63 letters, digits, '-', '_' and '.'")
    return text


def _org(text: str) -> str:
    if not _ORG.fullmatch(text):
        raise ValueError("is not an organisation's slug (letters, digits, '_', '.' and '-', at most 63)")
    return text


def _heartbeat(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and text.isprintable()
    except ValueError:  # its message quotes the text, and that may hold a key
        good = False
    if not good:
        raise ValueError("is not a URL to request, such as https://hc-ping.com/…")
    return text


def _words(text: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"[,\s]+", text) if part)


def _hosts(text: str) -> tuple[str, ...]:
    for part in _words(text):
        if "://" in part or ("/" in part and not _is_network(part)):
            raise ValueError(f"{part!r} is not a host, an address or a CIDR (no scheme, no path)")
        if "*" in part:
            raise ValueError(f"{part!r} has a wildcard, which would never match: name each host")
    return _words(text)


def _kinds_hosts(text: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for part in _words(text):
        kind, separator, host = part.partition("=")
        if not separator or not host:
            raise ValueError(f"{part!r} is not kind=host or kind=host:port")
        kind = canonical(kind)
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of destination; there are: {', '.join(KINDS)}")
        pairs.append((kind, _hosts(host)[0]))
    return tuple(pairs)


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _proxy(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # its message quotes the text, and that may hold a password
        good = False
    if not good:
        raise ValueError("is not a proxy's URL, such as http://proxy.example:3128")
    return text


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < 10**9:
        raise ValueError("is not a number of seconds from 0 on")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:  # noqa: PLR2004
        raise ValueError("is not a port (0 to 65535; 0 takes any free one)")
    return number


def _ca_file(text: str) -> str:
    check_ca_file(text)
    return text


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text.lower()

    return parse


def _setting(default: Any, parse: Callable[[str], Any], text: str, *, secret: bool = False) -> Any:  # noqa: ANN401
    """A `secret` one may hold a password: its value is in no error and no repr."""
    return field(default=default, repr=not secret, metadata={"parse": parse, "help": text, "secret": secret})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of `pipebell run`; durations are in seconds. `from_env` reads `PIPEBELL_<NAME>`."""

    namespace: str = _setting("", _namespace, "The operator's own namespace [default: the pod's, else pipebell-system]")
    installation: str = _setting(
        "", _name, "Replicas of one installation share the work [default: by the name of the root ConfigMap]"
    )
    installation_id: str = _setting(
        "",
        _identity,
        "Names this installation to receivers that several send to; keep it for good [default: its namespace's uid]",
    )
    root_configmap: str = _setting("pipebell-root", _name, "Name of the ConfigMap with the root configuration")
    watch_namespaces: tuple[str, ...] = _setting((), _namespaces, "Namespaces to serve, comma-separated [default: all]")
    shared_namespaces: tuple[str, ...] = _setting(
        (), _namespaces, "Namespaces whose configurations may serve others [default: the operator's own]"
    )
    allowed_hosts: tuple[tuple[str, str], ...] = _setting(
        (), _kinds_hosts, "Hosts that organisations may reach besides a kind's own: kind=host[:port], comma-separated"
    )
    slack_hosts: tuple[str, ...] = _setting((), _hosts, "The same for slack alone, without kind=")
    platform_org: str = _setting(
        "pipebell-platform",
        _org,
        "The organisation, in the operator's own namespace, that hears of the platform's failing destinations",
    )
    heartbeat_url: str = _setting(
        "",
        _heartbeat,
        "URL that is requested every minute while the operator is well: a dead man's switch",
        secret=True,
    )
    private_hosts: tuple[str, ...] = _setting((), _hosts, "Private hosts or CIDRs that organisations may reach")
    https_proxy: str = _setting("", _proxy, "URL of a proxy for webhooks (SMTP connects directly)", secret=True)
    ca_file: str = _setting("", _ca_file, "Extra CA bundle for SMTP and HTTPS")
    event_max_age: float = _setting(86_400.0, _seconds, "Events older than this are not attempted any more")
    ttl_delivered: float = _setting(86_400.0, _seconds, "Keep Delivered, Suppressed and Skipped events for so long")
    ttl_failed: float = _setting(604_800.0, _seconds, "Keep Failed and PartiallyDelivered events for so long")
    incident_ttl: float = _setting(2_592_000.0, _seconds, "Keep resolved Incidents for so long")
    http_port: int = _setting(8080, _port, "Port of /healthz, /readyz and /metrics")
    log_format: str = _setting("json", _one_of("json", "text"), "json or text")
    log_level: str = _setting("info", _one_of("debug", "info", "warning", "error"), "debug, info, warning or error")

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check everything at once. Raises SettingsError that names the variable and the fix."""
        given = {}
        known = {f"PIPEBELL_{item.name.upper()}": item for item in fields(cls)}
        for variable, item in known.items():
            text = environ.get(variable, "").strip()
            if not text:
                continue
            try:
                given[item.name] = item.metadata["parse"](text)
            except ValueError as error:
                shown = "" if item.metadata["secret"] else f"={text!r}"
                raise SettingsError(f"{variable}{shown}: {error}") from None
        given.setdefault("namespace", _own_namespace())
        given.setdefault("shared_namespaces", (given["namespace"],))
        return cls(**given)

    @property
    def hosts(self) -> HostPolicy:
        """The lists of hosts as the guard that uses them."""
        allowed: dict[str, tuple[str, ...]] = {}
        for kind, host in (*self.allowed_hosts, *(("slack", host) for host in self.slack_hosts)):
            allowed[kind] = (*allowed.get(kind, ()), host)
        return HostPolicy(allowed, self.private_hosts)


def _own_namespace() -> str:
    try:
        return _POD_NAMESPACE.read_text(encoding="ascii").strip() or "pipebell-system"
    except OSError:
        return "pipebell-system"
