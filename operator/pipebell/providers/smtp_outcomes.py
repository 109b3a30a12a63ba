"""From what a server answered about one message to the outcome of the attempt: who has it, who has not, and why."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.render.text import masked
from pipebell.providers.failures import outcome_of
from pipebell.providers.smtp_answers import UNEXPECTED, Reply, Stage, hint_for, reason_for, rule_for, throttled

if TYPE_CHECKING:
    from pipebell.core.destinations.email import EmailTarget

_NAMED: Final = 10  # recipients in a message; the status lists all


@dataclass(slots=True)
class Receipt:
    """Who is addressed, for whom the server took the message over, and what it answered about others."""

    recipients: tuple[str, ...] = ()
    accepted: list[str] = field(default_factory=list)
    refused: dict[str, Reply] = field(default_factory=dict)
    busy: bool = False
    """The server said at a recipient that it is asked too much: nobody else was named."""
    handed_over: bool = False
    """The message was written and not answered: it may have arrived for those addressed last."""

    def lost(self) -> tuple[str, ...]:
        """Those refused for good."""
        return tuple(who for who, reply in self.refused.items() if _kind(reply) is OutcomeKind.PERMANENT)

    def left(self) -> tuple[str, ...]:
        """Those to try again: refused for now, or not asked about yet."""
        done = {*self.accepted, *self.lost()}
        return tuple(who for who in self.recipients if who not in done)


def _kind(reply: Reply) -> OutcomeKind:
    return rule_for(Stage.RCPT, reply).kind


def settled(receipt: Receipt, message_id: str, target: EmailTarget) -> Outcome:
    """The outcome of an attempt in which every recipient was asked about or left for the next one."""
    left, lost = receipt.left(), receipt.lost()
    sent = bool(receipt.accepted)
    if not left and not lost:
        return Outcome(OutcomeKind.DELIVERED, message_id=message_id)
    message = _account(receipt, target)
    if left:
        # A server that takes the message for others is not busy, unless it says so in words.
        busy = any(
            _kind(reply) is OutcomeKind.PAUSE and (not sent or throttled(reply)) for reply in receipt.refused.values()
        )
        first = next((receipt.refused[who] for who in left if who in receipt.refused), None)
        return Outcome(
            OutcomeKind.PAUSE if busy else OutcomeKind.RETRY,
            "MoreTransactions" if first is None else reason_for(Stage.RCPT, first),
            message,
            message_id=message_id if sent else None,
            retry_recipients=_again(receipt),
            refused=lost,
            accepted=sent,
        )
    if sent:
        return Outcome(OutcomeKind.DELIVERED, "SomeRecipientsRefused", message, message_id=message_id, refused=lost)
    reply = receipt.refused[lost[0]]
    hint = hint_for(Stage.RCPT, reply)
    return Outcome(OutcomeKind.PERMANENT, reason_for(Stage.RCPT, reply), f"{hint}; {message}", refused=lost)


def answered(stage: Stage, reply: Reply, receipt: Receipt, message_id: str, target: EmailTarget) -> Outcome:
    """The outcome of an attempt that this answer ended."""
    said = masked(reply.text, *secrets_of(target))
    code = f"{reply.code}: " if reply.code > 0 else ""  # what is no answer at all has a negative one
    message = code + "; ".join(part for part in (hint_for(stage, reply), said and f"the server says: {said}") if part)
    if receipt.recipients and not receipt.left():
        return settled(receipt, message_id, target)  # it was about everybody already
    return _ended(rule_for(stage, reply).kind, reason_for(stage, reply), message, receipt, message_id)


def broken(error: OSError, receipt: Receipt, message_id: str, target: EmailTarget) -> Outcome:
    """The outcome of an attempt that ended with the connection, or for want of an answer."""
    if receipt.recipients and not receipt.left():
        return settled(receipt, message_id, target)
    failure = outcome_of(error, target.host)
    return _ended(failure.kind, failure.reason, failure.message, receipt, message_id)


def misunderstood(receipt: Receipt, message_id: str, target: EmailTarget) -> Outcome:
    """The outcome when the server and we do not understand each other."""
    hint = f"{target.host}: {hint_for(Stage.CONNECT, Reply(-1, ''))}"
    return _ended(UNEXPECTED.kind, UNEXPECTED.reason, hint, receipt, message_id)


def _ended(kind: OutcomeKind, reason: str, message: str, receipt: Receipt, message_id: str) -> Outcome:
    sent = bool(receipt.accepted)
    for_good = kind is OutcomeKind.PERMANENT
    return Outcome(
        kind,
        reason,
        message,
        message_id=message_id if sent else None,
        retry_recipients=() if for_good else _again(receipt),
        refused=(*receipt.lost(), *receipt.left()) if for_good and sent else receipt.lost(),
        accepted=sent,
        unanswered=receipt.handed_over,
    )


def _again(receipt: Receipt) -> tuple[str, ...]:
    """Whom the next attempt addresses; () for whomever the configuration names then: nobody has it or is lost yet."""
    return receipt.left() if receipt.accepted or receipt.lost() else ()


def _account(receipt: Receipt, target: EmailTarget) -> str:
    secrets = secrets_of(target)
    left = tuple(who for who in receipt.left() if who in receipt.refused)
    unasked = len(receipt.left()) - len(left)
    parts = [f"{len(receipt.accepted)} of {len(receipt.recipients)} recipients served"]
    for how, whom in (("good", receipt.lost()), ("now", left)):
        if whom:
            named = ", ".join(_why(who, receipt.refused[who], secrets) for who in whom[:_NAMED])
            more = f" and {len(whom) - _NAMED} more" if len(whom) > _NAMED else ""
            parts.append(f"refused for {how}: {named}{more}")
    if unasked:
        parts.append(f"{unasked} left for the next attempt")
    return "; ".join(parts)


def _why(who: str, reply: Reply, secrets: tuple[str, ...]) -> str:
    said = masked(reply.text, *secrets, limit=100)
    return f"{who} ({reply.code}{': ' if said else ''}{said})"


def secrets_of(target: EmailTarget) -> tuple[str, ...]:
    """User name and password, also the way they go over the wire (RFC 4616, and AUTH LOGIN)."""
    user, password = target.username or "", target.password or ""
    plain = (user, password, f"\0{user}\0{password}")
    return (*plain, *(base64.b64encode(text.encode()).decode() for text in plain if text))
