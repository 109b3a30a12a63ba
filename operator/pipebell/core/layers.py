"""An organisation's configuration on top of root's: what each setting is in the end, and where it came from.

Objects merge field by field, lists replace each other as a whole. Credentials follow their endpoint: whoever sets
any part of a transport owns all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.backoff import RetryPolicy
from pipebell.core.errors import NotReady
from pipebell.core.placeholders import checked, fill
from pipebell.core.targets import EmailTarget, SlackTarget, Target
from pipebell.core.vocabulary import NotReadyReason, ProviderName, Severity, SmtpTls

if TYPE_CHECKING:
    from pipebell.core.models import NotificationSpec, TriggerSpec
    from pipebell.core.placeholders import Source

_SMTP: Final = (
    "smtp_host",
    "smtp_port",
    "smtp_username",
    "smtp_username_secret_ref",
    "smtp_password",
    "smtp_password_secret_ref",
    "smtp_use_tls",
    "smtp_tls",
    "smtp_helo",
)
_WEBHOOK: Final = ("webhook_url", "webhook_url_secret_ref")
_IMPLICIT_TLS_PORT: Final = 465
_DEFAULT_RETRY: Final = RetryPolicy()


@dataclass(frozen=True, slots=True)
class Layer:
    """One configuration with the source of its placeholders. `root` says whose hosts are trusted."""

    spec: NotificationSpec
    source: Source
    root: bool = False

    def raw(self, block: str, field: str) -> Any:  # noqa: ANN401  (a setting of any type)
        """What this layer itself says; None when it says nothing."""
        section = getattr(self.spec, block)
        return None if section is None else getattr(section, field)

    def text(self, block: str, field: str) -> str | None:
        """What this layer itself says, filled. Raises NotReady."""
        path = f"{block}.{_camel(field)}"
        value = self.raw(block, field)
        if value is not None:
            return fill(value, field, self.source, path)
        section = getattr(self.spec, block)
        reference = getattr(section, f"{field}_secret_ref", None)
        if reference is None:
            return None
        return checked(
            self.source.secret(reference, f"{path}SecretRef"),
            field,
            f"{path}SecretRef",
            f"key {reference.key} of Secret {reference.name}",
        )


@dataclass(frozen=True)
class Layers:
    """The configuration that applies: an organisation's over root's, or either alone."""

    org: Layer | None
    root: Layer | None

    def get(self, block: str, field: str) -> Any:  # noqa: ANN401
        """A setting after the merge, not filled; None when nobody set it."""
        for layer in self._stack:
            value = layer.raw(block, field)
            if value is not None:
                return value
        return None

    def filled(self, block: str, field: str) -> str | None:
        """A text after the merge, filled by the layer that set it. Raises NotReady."""
        return next((layer.text(block, field) for layer in self._stack if layer.raw(block, field) is not None), None)

    @cached_property
    def _stack(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in (self.org, self.root) if layer is not None)

    @property
    def triggers(self) -> list[TriggerSpec] | None:
        """The triggers that apply; None when nobody set any."""
        lists = (layer.spec.event_triggers for layer in self._stack)
        return next((triggers for triggers in lists if triggers is not None), None)

    @property
    def default_provider(self) -> ProviderName:
        """Provider of triggers that name none."""
        names = (layer.spec.default_provider for layer in self._stack)
        return next((name for name in names if name is not None), ProviderName.EMAIL)

    @property
    def retry(self) -> RetryPolicy:
        """How failed deliveries are tried again."""
        if all(layer.spec.retry_config is None for layer in self._stack):
            return _DEFAULT_RETRY
        given = {field: self.get("retry_config", field) for field in RetryPolicy.__dataclass_fields__}
        return RetryPolicy(**{field: value for field, value in given.items() if value is not None})

    def provider_enabled(self, provider: ProviderName) -> bool:
        """Whether this provider may be used: unset means yes."""
        return self.get(provider.value, "enabled") is not False

    def target(self, provider: ProviderName) -> Target:
        """The destination with everything filled and defaulted. Raises NotReady, naming the field or variable."""
        return self._slack() if provider is ProviderName.SLACK else self._email()

    def _owner(self, block: str, fields: tuple[str, ...]) -> Layer:
        """The layer whose endpoint applies: the organisation's if it sets any part of it, else root's."""
        if self.org is not None and (
            self.root is None or any(self.org.raw(block, field) is not None for field in fields)
        ):
            return self.org
        if self.root is None:
            raise NotReady(NotReadyReason.INCOMPLETE, "there is no configuration")
        return self.root

    def _email(self) -> EmailTarget:
        owner = self._owner("email", _SMTP)
        host = owner.text("email", "smtp_host")
        if host is None:
            own = owner is self.org and self.root is not None and any(owner.raw("email", f) is not None for f in _SMTP)
            hint = " (with an smtp setting of your own, none of root's transport is inherited)" if own else ""
            raise NotReady(NotReadyReason.INCOMPLETE, f"email.smtpHost is not set{hint}")
        port, use_tls, implicit = _smtp_tls(owner)
        username, password = owner.text("email", "smtp_username"), owner.text("email", "smtp_password")
        if (username is None) != (password is None):
            missing = "smtpPassword" if password is None else "smtpUsername"
            raise NotReady(NotReadyReason.INCOMPLETE, f"email.{missing} is not set, but its counterpart is")
        if username is not None and not use_tls:
            raise NotReady(
                NotReadyReason.INVALID,
                "email.smtpUseTls is false, and credentials are never sent without TLS: set it to true",
            )
        sender = owner.text("email", "from_email") if owner.root else self.filled("email", "from_email")
        reply_to = self.org.text("email", "from_email") if owner.root and self.org is not None else None
        if sender is None and reply_to is not None:
            raise NotReady(
                NotReadyReason.INCOMPLETE,
                "email.fromEmail is not set in the root configuration, whose transport is used",
            )
        if sender is None:
            raise NotReady(NotReadyReason.INCOMPLETE, "email.fromEmail is not set")
        to = self._addresses("to_emails")
        if not to:
            raise NotReady(NotReadyReason.INCOMPLETE, "email.toEmails names nobody")
        return EmailTarget(
            host=host.strip("[]"),
            port=port,
            use_tls=use_tls,
            trusted=owner.root,
            from_email=sender,
            from_name=self.get("email", "from_name"),
            to=to,
            cc=tuple(address for address in self._addresses("cc_emails") if address not in to),
            reply_to=reply_to if reply_to != sender else None,
            subject_prefix=self.get("email", "subject_prefix"),
            username=username,
            password=password,
            implicit_tls=implicit,
            helo=owner.raw("email", "smtp_helo"),
        )

    def _addresses(self, field: str) -> tuple[str, ...]:
        """A list of recipients, filled by the layer that set it, each once."""
        for layer in self._stack:
            items = layer.raw("email", field)
            if items is not None:
                path = f"email.{_camel(field)}"
                return tuple(
                    dict.fromkeys(fill(item, field, layer.source, f"{path}[{i}]") for i, item in enumerate(items))
                )
        return ()

    def _slack(self) -> SlackTarget:
        owner = self._owner("slack", _WEBHOOK)
        url = owner.text("slack", "webhook_url")
        if url is None:
            raise NotReady(NotReadyReason.INCOMPLETE, "slack.webhookUrl is not set")
        return SlackTarget(
            webhook_url=url,
            trusted=owner.root,
            channel=self.get("slack", "channel"),
            username=self.get("slack", "username"),
            icon_emoji=self.get("slack", "icon_emoji"),
            mention_users=tuple(self.get("slack", "mention_users") or ()),
            mention_channel=self.get("slack", "mention_channel") is True,
            mention_min_severity=self.get("slack", "mention_min_severity") or Severity.CRITICAL,
        )


def _smtp_tls(owner: Layer) -> tuple[int, bool, bool]:
    """The port, whether TLS is required there, and whether it begins at once. Raises NotReady."""
    port, mode = owner.raw("email", "smtp_port"), owner.raw("email", "smtp_tls")
    required = owner.raw("email", "smtp_use_tls")
    if mode is not None and required is not None:
        message = "email.smtpTls and email.smtpUseTls are both set: keep smtpTls"
        raise NotReady(NotReadyReason.INCOMPLETE, message)
    if mode is SmtpTls.IMPLICIT:
        return port or _IMPLICIT_TLS_PORT, True, True
    port = port or 587
    implicit = port == _IMPLICIT_TLS_PORT and mode is not SmtpTls.STARTTLS
    return port, required is not False or implicit, implicit


def _camel(field: str) -> str:
    head, *rest = field.split("_")
    return head + "".join(word.capitalize() for word in rest)
