"""E-mail: the message that is sent, and the provider that sends it by SMTP."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final

from pipebell.core.errors import NotReady
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.render.email import email_content
from pipebell.core.vocabulary import NotReadyReason
from pipebell.providers import mime
from pipebell.providers.smtp import Envelope, Smtp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from email.message import EmailMessage

    from pipebell.core.destinations.email import EmailTarget
    from pipebell.core.finding import Finding
    from pipebell.core.message import Message
    from pipebell.core.outcome import Attempt

_NOT_IN_IDS: Final = re.compile(r"[^A-Za-z0-9._-]")
_MESSAGE_ID: Final = re.compile(r"<[A-Za-z0-9._-]{1,300}@pipebell\.io>")


def build_message(message: Message, target: EmailTarget, attempt: Attempt, *, now: float) -> EmailMessage:
    """The message as it is sent at `now` (seconds since the epoch); it names all, whoever is still to be served.

    Programs must not answer it: `Auto-Submitted` by RFC 3834, 5; `X-Auto-Response-Suppress` is Exchange's word for it.
    """
    first = attempt.replies_to if attempt.replies_to and _MESSAGE_ID.fullmatch(attempt.replies_to) else ""
    content = email_content(message, target.subject_prefix, reply=bool(first))
    identity = _identity(attempt)
    headers = {
        "Subject": mime.words(content.subject),
        "From": mime.mailbox(target.from_name, target.from_email),
        "To": mime.mailboxes(target.to),
        "Cc": mime.mailboxes(target.cc),
        "Reply-To": target.reply_to or "",
        "Date": format_datetime(datetime.fromtimestamp(now, UTC)),
        "Message-ID": _message_id(attempt),
        "In-Reply-To": first,
        "References": first,
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "X-Pipebell-Delivery": identity,
    }
    return mime.message({name: value for name, value in headers.items() if value}, content.text, content.html)


class EmailProvider:
    """Sends notifications by e-mail."""

    def __init__(self, smtp: Smtp, now: Callable[[], float]) -> None:
        self._smtp, self._now = smtp, now

    async def send(self, message: Message, target: EmailTarget, attempt: Attempt) -> Outcome:
        """One attempt, for those recipients that are still to be served. Raises Fenced if it may no longer be made."""
        recipients = _recipients(target, attempt)
        if not recipients:
            return Outcome(
                OutcomeKind.DELIVERED, message="who was still to be served is not among the recipients any more"
            )
        mail = build_message(message, target, attempt, now=self._now())
        envelope = Envelope(
            target.from_email,
            recipients,
            mime.wire(mail),
            _message_id(attempt),
            attempt.allowed,
            (message.event.namespace, message.event.spec.org_slug),
        )
        outcome = await self._smtp.send(target, envelope)
        return hide(outcome, target, attempt) if target.hidden else outcome

    async def check(self, target: EmailTarget, namespace: str = "") -> None:
        """Raises NotReady(HostNotAllowed) if the host has addresses and none of them may be connected to."""
        try:
            refusal = await self._smtp.refusal(target, namespace)
        except OSError:
            return  # that its name cannot be resolved now says nothing about where it leads
        if refusal:
            raise NotReady(NotReadyReason.HOST_NOT_ALLOWED, refusal)

    async def verify(self, target: EmailTarget, namespace: str = "") -> Sequence[Finding]:
        """Everything short of a message: name, connection, TLS, login, sender, recipients."""
        return await self._smtp.verify(target, namespace)

    async def probe(self, target: EmailTarget, namespace: str = "") -> Outcome:
        """Connect, secure the connection and log in."""
        return await self._smtp.probe(target, namespace)

    async def close(self) -> None:
        """Say goodbye to all servers."""
        await self._smtp.close()


def _identity(attempt: Attempt) -> str:
    return _NOT_IN_IDS.sub("-", attempt.delivery_id)


def _message_id(attempt: Attempt) -> str:
    """The same for every attempt: a duplicate can be recognised by it, and many servers drop it by themselves."""
    return f"<{_identity(attempt)}@pipebell.io>"


def _recipients(target: EmailTarget, attempt: Attempt) -> tuple[str, ...]:
    """To and Cc in one envelope, each once; of these, those that earlier attempts left."""
    everybody = dict.fromkeys((*target.to, *target.cc))
    left = everybody if attempt.recipients is None else everybody.keys() & _named(target, attempt)
    return tuple(address for address in everybody if address in left)


def _alias(address: str, attempt: Attempt) -> str:
    """What stands for an address in an event's status: the same in every attempt of one delivery, and in no other."""
    digest = hashlib.sha256(f"{attempt.delivery_id}\0{address}".encode(errors="surrogatepass")).hexdigest()
    return f"platform-{digest[:12]}"


def _named(target: EmailTarget, attempt: Attempt) -> set[str]:
    """The addresses that earlier attempts left, also those that only an alias stood for."""
    aliases = {_alias(address, attempt): address for address in target.hidden}
    return {aliases.get(name, name) for name in attempt.recipients or ()}


def hide(outcome: Outcome, target: EmailTarget, attempt: Attempt) -> Outcome:
    """The outcome without root's addresses: they are not the organisation's to know, which reads the event's status."""
    aliases = {address.lower(): _alias(address, attempt) for address in target.hidden}
    some = re.compile("|".join(map(re.escape, sorted(aliases, key=len, reverse=True))), re.IGNORECASE)

    def without(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(aliases.get(name.lower(), name) for name in names)

    return replace(
        outcome,
        message=some.sub(lambda found: aliases[found[0].lower()], outcome.message),
        retry_recipients=without(outcome.retry_recipients),
        refused=without(outcome.refused),
    )
