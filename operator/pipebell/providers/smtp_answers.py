"""What a server's answers mean, as tables: SMTP's reply codes by stage (RFC 5321, 4.2; RFC 4954; RFC 3207)."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

from pipebell.core.outcome import Outcome, Verdict
from pipebell.providers.failures import masked

if TYPE_CHECKING:
    from pipebell.core.targets import EmailTarget


class Stage(Enum):
    """How far a conversation with a server has come."""

    CONNECT = auto()
    TLS = auto()
    AUTH = auto()
    MAIL = auto()
    RCPT = auto()
    DATA = auto()

    @property
    def opening(self) -> bool:
        """Whether it is about the connection and the account, not about one message."""
        return self in (Stage.CONNECT, Stage.TLS, Stage.AUTH)


@dataclass(frozen=True, slots=True)
class Rule:
    """`stage` None is any; `reason` "" is `Smtp<code>`; `mend` says what to do about it."""

    stage: Stage | None
    codes: range
    verdict: Verdict
    reason: str = ""
    mend: str = ""


_4XX: Final = range(400, 500)
_5XX: Final = range(500, 600)

# The first row that fits decides.
RULES: Final = (
    Rule(None, range(421, 422), Verdict.PAUSE, mend="the server asks for a pause"),
    Rule(Stage.TLS, _4XX, Verdict.RETRY, "TlsFailed", "the server cannot do TLS at the moment"),
    Rule(Stage.TLS, _5XX, Verdict.PERMANENT, "TlsRequired", "the server refuses STARTTLS: check smtpPort"),
    Rule(Stage.AUTH, _4XX, Verdict.RETRY, mend="the server cannot check the login at the moment"),
    Rule(
        Stage.AUTH,
        _5XX,
        Verdict.PERMANENT,
        "SmtpAuthFailed",
        "the server refused user name or password; Gmail needs an app password",
    ),
    Rule(
        None,
        range(530, 531),
        Verdict.PERMANENT,
        "SmtpAuthRequired",
        "the server wants a login first: set smtpUsername and smtpPassword, and smtpUseTls",
    ),
    Rule(Stage.MAIL, _5XX, Verdict.PERMANENT, mend="the server refused the sender: check fromEmail"),
    Rule(Stage.RCPT, _5XX, Verdict.PERMANENT, mend="the server refused the recipients: check toEmails and ccEmails"),
    Rule(None, _4XX, Verdict.RETRY),
    Rule(None, _5XX, Verdict.PERMANENT, mend="the server refused the message"),
)
_UNEXPECTED: Final = Rule(
    None, range(0), Verdict.RETRY, "SmtpProtocolError", "the server does not speak SMTP as it should"
)


def rule_for(stage: Stage, code: int) -> Rule:
    """What this answer means at this stage."""
    return next((rule for rule in RULES if rule.stage in (None, stage) and code in rule.codes), _UNEXPECTED)


class Reply(NamedTuple):
    """What a server answered."""

    code: int
    text: str

    @property
    def temporary(self) -> bool:
        """Whether asking again later may help."""
        return rule_for(Stage.RCPT, self.code).verdict is not Verdict.PERMANENT


@dataclass(slots=True)
class Receipt:
    """Which recipients of one message the server accepted, and what it answered about the others."""

    accepted: list[str] = field(default_factory=list)
    refused: dict[str, Reply] = field(default_factory=dict)

    def left(self) -> tuple[str, ...]:
        """Those refused for now."""
        return tuple(who for who, reply in self.refused.items() if reply.temporary)

    def lost(self) -> tuple[str, ...]:
        """Those refused for good."""
        return tuple(who for who, reply in self.refused.items() if not reply.temporary)


def answered(stage: Stage, reply: Reply, receipt: Receipt, target: EmailTarget) -> Outcome:
    """The outcome of an attempt that this answer ended."""
    rule = rule_for(stage, reply.code)
    said = masked(reply.text, *_secrets(target))
    code = f"{reply.code}: " if reply.code > 0 else ""  # what is no answer at all has a negative one
    message = code + "; ".join(part for part in (rule.mend, said and f"the server says: {said}") if part)
    again: tuple[str, ...] = ()
    if rule.verdict is Verdict.RETRY and receipt.lost():
        again = (*receipt.accepted, *receipt.left())
    return Outcome(
        rule.verdict, rule.reason or f"Smtp{reply.code}", message, retry_recipients=again, refused=receipt.lost()
    )


def misunderstood(target: EmailTarget) -> Outcome:
    """The outcome when the server and we do not understand each other."""
    return Outcome(_UNEXPECTED.verdict, _UNEXPECTED.reason, f"{target.host}: {_UNEXPECTED.mend}")


def settled(receipt: Receipt, message_id: str, target: EmailTarget) -> Outcome:
    """The outcome of an attempt that went through: who has the message, who has not, and why."""
    if not receipt.refused:
        return Outcome(Verdict.DELIVERED, message_id=message_id)
    left, lost = receipt.left(), receipt.lost()
    secrets = _secrets(target)
    message = "; ".join(
        f"refused for {how}: " + ", ".join(_why(who, receipt.refused[who], secrets) for who in whom)
        for how, whom in (("good", lost), ("now", left))
        if whom
    )
    if left:
        # When nobody has it yet and nobody is lost, the next attempt addresses whomever the configuration names then.
        again = left if receipt.accepted or lost else ()
        reason = f"Smtp{receipt.refused[left[0]].code}"
        sent = bool(receipt.accepted)
        return Outcome(
            Verdict.RETRY, reason, message, None, message_id if sent else None, again, refused=lost, accepted=sent
        )
    if receipt.accepted:
        return Outcome(Verdict.DELIVERED, "SomeRecipientsRefused", message, message_id=message_id, refused=lost)
    rule = rule_for(Stage.RCPT, receipt.refused[lost[0]].code)
    reason = rule.reason or f"Smtp{receipt.refused[lost[0]].code}"
    return Outcome(Verdict.PERMANENT, reason, f"{rule.mend}; {message}", refused=lost)


def _why(who: str, reply: Reply, secrets: tuple[str, ...]) -> str:
    said = masked(reply.text, *secrets, limit=100)
    return f"{who} ({reply.code}{': ' if said else ''}{said})"


def _secrets(target: EmailTarget) -> tuple[str, ...]:
    """User name and password, also the way they go over the wire (RFC 4616, and AUTH LOGIN)."""
    user, password = target.username or "", target.password or ""
    plain = (user, password, f"\0{user}\0{password}")
    return (*plain, *(base64.b64encode(text.encode()).decode() for text in plain if text))
