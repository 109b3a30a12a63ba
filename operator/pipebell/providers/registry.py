"""All providers. A new one is a file here, a member of ProviderName, a line below, a golden test and a page of docs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from pipebell.core.vocabulary import ProviderName
from pipebell.providers.email import EmailProvider
from pipebell.providers.http import Http
from pipebell.providers.slack import SlackProvider
from pipebell.providers.smtp import Smtp
from pipebell.providers.tls import client_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from pipebell.core.event import Notification
    from pipebell.core.outcome import Attempt, Outcome
    from pipebell.settings import Settings


class Provider(Protocol):
    """Carries notifications of one kind to targets of one kind."""

    async def send(self, notification: Notification, target: Any, attempt: Attempt) -> Outcome:  # noqa: ANN401
        """One attempt. Never raises for what the other side does."""

    async def check(self, target: Any) -> None:  # noqa: ANN401
        """Raises NotReady(HostNotAllowed) if the target's host may not be connected to."""

    async def close(self) -> None:
        """Give connections back."""


class Clock(Protocol):
    """Time, injected."""

    def now(self) -> float:
        """Seconds since the epoch."""


PROVIDERS: Final[dict[ProviderName, Callable[[Settings, ssl.SSLContext, Clock], Provider]]] = {
    ProviderName.EMAIL: lambda settings, tls, clock: EmailProvider(Smtp(settings.hosts, tls), clock.now),
    ProviderName.SLACK: lambda settings, tls, clock: SlackProvider(
        Http(tls, proxy=settings.https_proxy), settings.hosts, clock.now
    ),
}


def build_providers(settings: Settings, clock: Clock) -> dict[ProviderName, Provider]:
    """Every provider, ready to send. Raises OSError if `settings.ca_file` cannot be used."""
    tls = client_context(settings.ca_file)
    return {name: build(settings, tls, clock) for name, build in PROVIDERS.items()}
