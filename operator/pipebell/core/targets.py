"""Where exactly a notification goes: a destination with all its settings resolved, filled and defaulted.

A target is made for one attempt from the current configuration and thrown away; secrets in it never reach a `repr`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipebell.core.vocabulary import ProviderName, Severity


@dataclass(frozen=True, slots=True)
class EmailTarget:
    """An SMTP transport and an envelope.

    `trusted` says that the host comes from root's configuration, which may name any address. `reply_to` is the
    organisation's own From on root's transport. TLS is required when `use_tls`: by STARTTLS, or from the start when
    `implicit_tls`. `helo` is the name for EHLO; None for the connection's own address.
    """

    host: str
    port: int
    use_tls: bool
    trusted: bool
    from_email: str
    from_name: str | None
    to: tuple[str, ...]
    cc: tuple[str, ...] = ()
    reply_to: str | None = None
    subject_prefix: str | None = None
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    implicit_tls: bool = False
    helo: str | None = None

    @property
    def provider(self) -> ProviderName:
        """The provider that serves this target; also the destination's name."""
        return ProviderName.EMAIL

    @property
    def endpoint(self) -> tuple[object, ...]:
        """What a "too many" answer pauses, and what connections may be shared for: the transport and its account."""
        account = (self.username, self.password)
        return (self.host, self.port, self.use_tls, self.implicit_tls, self.helo, self.trusted, account)


@dataclass(frozen=True, slots=True)
class SlackTarget:
    """An incoming webhook and how to post there. `trusted` as for `EmailTarget`."""

    webhook_url: str = field(repr=False)
    trusted: bool = False
    channel: str | None = None
    username: str | None = None
    icon_emoji: str | None = None
    mention_users: tuple[str, ...] = ()
    mention_channel: bool = False
    mention_min_severity: Severity = Severity.CRITICAL

    @property
    def provider(self) -> ProviderName:
        """The provider that serves this target; also the destination's name."""
        return ProviderName.SLACK

    @property
    def endpoint(self) -> tuple[object, ...]:
        """What a 429 pauses: the webhook."""
        return (self.webhook_url,)


Target = EmailTarget | SlackTarget
