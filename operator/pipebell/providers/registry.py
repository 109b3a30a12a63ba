"""Who sends what: one HTTP provider for each kind that posts, and a provider of its own for a kind that needs more."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.destinations.http import HttpKind
from pipebell.core.models import KINDS
from pipebell.providers.budget import Budgeted
from pipebell.providers.dns import Dns
from pipebell.providers.email import EmailProvider
from pipebell.providers.http import Http
from pipebell.providers.smtp import Smtp
from pipebell.providers.tls import client_context
from pipebell.providers.webhook import HttpProvider

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from pipebell.core.ports import Clock, Provider
    from pipebell.settings import Settings

# Kinds that need more than one HTTP request.
SPECIAL: Final[dict[str, Callable[[Settings, ssl.SSLContext, Clock], Any]]] = {
    "email": lambda settings, tls, clock: EmailProvider(Smtp(settings.hosts, tls), clock.now),
}


def build_providers(settings: Settings, clock: Clock) -> dict[str, Provider]:
    """Every provider by kind, ready to send. Raises OSError if `settings.ca_file` cannot be used."""
    tls, dns = client_context(settings.ca_file), Dns()
    providers: dict[str, Provider] = {}
    for name, kind in KINDS.items():
        if name in SPECIAL:
            providers[name] = SPECIAL[name](settings, tls, clock)
        elif isinstance(kind, HttpKind):
            client = partial(Http, tls, dns=dns, proxy=settings.https_proxy, reads=kind.reads)
            guarded = client(admits=settings.hosts.admits_address) if kind.hosts.anywhere else None
            plain = client(admits=settings.hosts.lists_address) if kind.hosts.http else None
            provider = HttpProvider(kind, client(), settings.hosts, clock.now, guarded, plain)
            providers[name] = Budgeted(provider) if kind.budget else provider
        else:
            raise TypeError(f"providers.registry.SPECIAL has no provider for {name}")
    return providers
