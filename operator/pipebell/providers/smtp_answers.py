"""What a server's answers mean, as tables: reply codes by stage, enhanced codes, and words (RFC 5321, 4.2; RFC 3463).

Three questions, each with its table: what follows (`RULES`), what people can do about it (`HINTS`), and whether an
answer is only about how many recipients one transaction may have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

from pipebell.core.outcome import OutcomeKind


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


_ENHANCED: Final = re.compile(r"\s*([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")


class Reply(NamedTuple):
    """What a server answered."""

    code: int
    text: str

    @property
    def enhanced(self) -> str:
        """The enhanced code's subject and detail, such as `7.1` (RFC 3463); "" when there is none."""
        found = _ENHANCED.match(self.text)
        return f"{found[2]}.{found[3]}" if found else ""


@dataclass(frozen=True, slots=True)
class Rule:
    """The codes that it is for, and the kind of outcome.

    `stages` empty is any; `enhanced` and `words` are patterns of which, if any is given, one has to fit. `reason` ""
    is `Smtp<code>`.
    """

    codes: range
    kind: OutcomeKind
    stages: frozenset[Stage] = frozenset()
    enhanced: str = ""
    words: str = ""
    reason: str = ""

    def fits(self, stage: Stage, reply: Reply) -> bool:
        """Whether it decides about this answer at this stage."""
        if reply.code not in self.codes or (self.stages and stage not in self.stages):
            return False
        return not (self.enhanced or self.words) or _says(reply, self.enhanced, self.words)


_LOOKED_AT: Final = 1_000  # characters of an answer; a server may send far more, and words are looked for at each


def _says(reply: Reply, enhanced: str, words: str) -> bool:
    if enhanced and re.fullmatch(enhanced, reply.enhanced):
        return True
    return bool(words) and _holds(reply, words)


def _holds(reply: Reply, words: str) -> bool:
    return re.search(words, reply.text[:_LOOKED_AT], re.IGNORECASE) is not None


_4XX: Final = range(400, 500)
_5XX: Final = range(500, 600)
_OPENING: Final = frozenset({Stage.CONNECT, Stage.AUTH})
_PER_RECIPIENT: Final = frozenset({Stage.RCPT, Stage.DATA})
_GREYLISTED: Final = r"gr[ea]y-?\s?list"
_THROTTLED: Final = (
    r"throttl|too (many|much|fast|frequent)|\brate\b|\bquota|slow down|concurren|"
    r"(sending|message|connection|thread|submission|daily|hourly)s? limit|limit[^.]*exceeded|exceed[^.]* limit|"
    r"insufficient system"
)

# The first row that fits decides.
RULES: Final = (
    # About one recipient, whatever the words: another server's patience, or a mailbox that is full or gets too much.
    Rule(_4XX, OutcomeKind.RETRY, words=_GREYLISTED),
    Rule(range(450, 453), OutcomeKind.RETRY, _PER_RECIPIENT, enhanced=r"2\.\d+"),
    # The endpoint is busy: no answer about this message, so no attempt is used up.
    Rule(range(421, 422), OutcomeKind.PAUSE),
    Rule(range(432, 433), OutcomeKind.PAUSE),
    Rule(_4XX, OutcomeKind.RETRY, frozenset({Stage.TLS}), reason="TlsFailed"),
    Rule(_5XX, OutcomeKind.PERMANENT, frozenset({Stage.TLS}), reason="TlsRequired"),
    Rule(_4XX, OutcomeKind.PAUSE, _OPENING),
    Rule(_4XX, OutcomeKind.PAUSE, enhanced=r"7\.\d+|3\.2|4\.5", words=_THROTTLED),
    Rule(_4XX, OutcomeKind.PAUSE, frozenset({Stage.MAIL}), enhanced=r"2\.\d+"),
    # Gmail's daily limit has a permanent code, and ends with the day.
    Rule(_5XX, OutcomeKind.PAUSE, enhanced=r"4\.5"),
    Rule(_5XX, OutcomeKind.PERMANENT, frozenset({Stage.AUTH}), reason="SmtpAuthFailed"),
    Rule(range(530, 531), OutcomeKind.PERMANENT, reason="SmtpAuthRequired"),
    Rule(_4XX, OutcomeKind.RETRY),
    Rule(_5XX, OutcomeKind.PERMANENT),
)
UNEXPECTED: Final = Rule(range(0), OutcomeKind.RETRY, reason="SmtpProtocolError")


def rule_for(stage: Stage, reply: Reply) -> Rule:
    """What this answer means at this stage."""
    return next((rule for rule in RULES if rule.fits(stage, reply)), UNEXPECTED)


def reason_for(stage: Stage, reply: Reply) -> str:
    """One word for machines, such as `Smtp550`."""
    return rule_for(stage, reply).reason or f"Smtp{reply.code}"


def throttled(reply: Reply) -> bool:
    """Whether the server says in words, or by closing, that it is asked too much."""
    return reply.code in (421, 432) or _holds(reply, _THROTTLED)


_TOO_MANY_CODES: Final = (452, 552, 550, 554)
_TOO_MANY: Final = r"too many recipients|recipients? (count )?limit|reciplimit|maximum number of recipients"
_FROM_ONE_CLIENT: Final = r"recipients from|per (minute|hour|day)"  # that is a rate


def too_many_recipients(reply: Reply) -> bool:
    """Whether the server only wants fewer recipients in one transaction (RFC 5321, 4.5.3.1.10; RFC 3463, X.5.3)."""
    if reply.code not in _TOO_MANY_CODES or _holds(reply, _FROM_ONE_CLIENT):
        return False
    return _says(reply, r"5\.3", _TOO_MANY)


def too_many_connections(reply: Reply) -> bool:
    """Whether the server may only want fewer connections at a time: closing one is worth a try."""
    return reply.code == 432 or _says(reply, r"3\.2", r"concurren|connections")  # noqa: PLR2004  (as Exchange has it)


@dataclass(frozen=True, slots=True)
class Hint:
    """What to do about an answer that fits, as for `Rule`."""

    text: str
    codes: range
    stages: frozenset[Stage] = frozenset()
    enhanced: str = ""
    words: str = ""


_ANY: Final = range(400, 600)
_SENDER: Final = "the server refused the sender: check fromEmail"
_RECIPIENTS: Final = "the server refused the recipients: check toEmails and ccEmails"
_LOGIN_FIRST: Final = "the server wants a login first: set smtpUsername and smtpPassword, and TLS"

# The first one that fits is shown. Enhanced codes and words come before the stage: many servers wait with a refusal of
# the sender until a recipient is named, or until the whole message has come.
HINTS: Final = (
    Hint("the server asks for a pause", range(421, 422)),
    Hint("the server takes a recipient that is new to it later", _4XX, words=_GREYLISTED),
    Hint("the server cannot do TLS at the moment", _4XX, frozenset({Stage.TLS})),
    Hint("the server refuses STARTTLS: check smtpPort and smtpTls", _5XX, frozenset({Stage.TLS})),
    Hint("the server takes fewer recipients", _ANY, _PER_RECIPIENT, enhanced=r"5\.3"),
    Hint("the account's limit is reached: wait, or have it raised", _ANY, enhanced=r"4\.5"),
    Hint("the server wants fewer messages, or fewer connections, at a time", _4XX, words=_THROTTLED),
    Hint("the server cannot check the login at the moment", _4XX, frozenset({Stage.AUTH})),
    Hint(
        "the server refused user name or password; Gmail needs an app password",
        _5XX,
        frozenset({Stage.AUTH}),
    ),
    Hint(_LOGIN_FIRST, range(530, 531)),
    Hint(_SENDER, _5XX, frozenset({Stage.MAIL})),
    Hint(_LOGIN_FIRST, _5XX, words=r"authenticat\w+ (is )?required|not authenticated|must (authenticate|log ?in)"),
    Hint(
        "the sender is not verified at the provider: verify it there, or change fromEmail", _5XX, words="not verified"
    ),
    Hint(
        _SENDER,
        _ANY,
        enhanced=r"1\.(0|7|8)|7\.(60|13|509)|2\.252",
        words=r"sender (address )?(rejected|denied|verif)|not (owned|allowed to send|permitted to send)|sendasdenied|"
        r"send as this sender|invalid sender|sender .*not allowed",
    ),
    Hint(
        "the server does not relay for us: check smtpHost and smtpPort, and whether it wants a login",
        _5XX,
        words=r"relay",
    ),
    Hint(_RECIPIENTS, _5XX, enhanced=r"1\.(1|2|3|6|10)"),
    Hint(
        "the message is too large for the server or a mailbox", _5XX, enhanced=r"3\.4|2\.3", words="too (large|big)\\b"
    ),
    Hint("a recipient's mailbox is full or not in use: check toEmails and ccEmails", _ANY, enhanced=r"2\.(0|1|2|4)"),
    Hint("the server's policy refused it; it says why", _5XX, enhanced=r"7\.\d+"),
    Hint(_RECIPIENTS, _5XX, frozenset({Stage.RCPT})),
    Hint("the server refused the message", _5XX),
)


def hint_for(stage: Stage, reply: Reply) -> str:
    """What people can do about this answer; "" when it is a matter of time only."""
    if rule_for(stage, reply) is UNEXPECTED:
        return "the server does not speak SMTP as it should"
    return next((hint.text for hint in HINTS if _hits(hint, stage, reply)), "")


def _hits(hint: Hint, stage: Stage, reply: Reply) -> bool:
    if reply.code not in hint.codes or (hint.stages and stage not in hint.stages):
        return False
    return not (hint.enhanced or hint.words) or _says(reply, hint.enhanced, hint.words)
