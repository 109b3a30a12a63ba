"""The tables: what follows an answer, what it tells people to do, and whose limit it is about."""

import time

import pytest

from pipebell.core.outcome import OutcomeKind
from pipebell.providers.smtp_answers import (
    HINTS,
    RULES,
    Reply,
    Stage,
    hint_for,
    reason_for,
    rule_for,
    throttled,
    too_many_connections,
    too_many_recipients,
)

RETRY, PERMANENT, PAUSE = OutcomeKind.RETRY, OutcomeKind.PERMANENT, OutcomeKind.PAUSE
CONNECT, TLS, AUTH, MAIL, RCPT, DATA = Stage

# By stage: an answer, what follows, and the reason. Texts are those of servers in use.
TABLE = [
    (CONNECT, 421, "4.7.0 Too many concurrent SMTP connections", PAUSE, "Smtp421"),
    (CONNECT, 432, "4.3.2 Concurrent connections limit exceeded", PAUSE, "Smtp432"),
    (CONNECT, 450, "4.7.25 Client host rejected: cannot find your reverse hostname", PAUSE, "Smtp450"),
    (CONNECT, 451, "local problem", PAUSE, "Smtp451"),
    (CONNECT, 530, "5.7.0 authentication required", PERMANENT, "SmtpAuthRequired"),
    (CONNECT, 554, "5.7.1 no SMTP service here", PERMANENT, "Smtp554"),
    (CONNECT, 220, "what?", RETRY, "SmtpProtocolError"),
    (CONNECT, -1, "malformed", RETRY, "SmtpProtocolError"),
    (TLS, 421, "4.3.2 closing", PAUSE, "Smtp421"),
    (TLS, 454, "4.7.0 TLS not available due to temporary reason", RETRY, "TlsFailed"),
    (TLS, 502, "5.5.1 not implemented", PERMANENT, "TlsRequired"),
    (AUTH, 421, "4.7.0 bye", PAUSE, "Smtp421"),
    (AUTH, 432, "4.7.12 a password transition is needed", PAUSE, "Smtp432"),
    (AUTH, 454, "4.7.0 Too many login attempts, please try again later", PAUSE, "Smtp454"),
    (AUTH, 454, "Temporary authentication failure", PAUSE, "Smtp454"),
    (AUTH, 530, "5.7.0 Must issue a STARTTLS command first", PERMANENT, "SmtpAuthFailed"),
    (AUTH, 535, "5.7.8 Username and Password not accepted", PERMANENT, "SmtpAuthFailed"),
    (AUTH, 538, "5.7.11 encryption required", PERMANENT, "SmtpAuthFailed"),
    (AUTH, 334, "", RETRY, "SmtpProtocolError"),
    (MAIL, 421, "4.7.0 Try again later", PAUSE, "Smtp421"),
    (MAIL, 450, "4.7.1 Error: too much mail from 192.0.2.1", PAUSE, "Smtp450"),
    (MAIL, 450, "4.2.0 sender's mailbox is locked", PAUSE, "Smtp450"),
    (MAIL, 451, "4.3.0 Local error in processing", RETRY, "Smtp451"),
    (MAIL, 451, "4.7.500 Server busy", PAUSE, "Smtp451"),
    (MAIL, 452, "4.3.1 Insufficient system resources", PAUSE, "Smtp452"),
    (MAIL, 452, "4.4.5 congestion", PAUSE, "Smtp452"),
    (MAIL, 530, "5.7.57 Client not authenticated", PERMANENT, "SmtpAuthRequired"),
    (MAIL, 550, "5.7.1 not you", PERMANENT, "Smtp550"),
    (MAIL, 552, "5.3.4 too large", PERMANENT, "Smtp552"),
    (RCPT, 421, "4.7.0 Error: too many errors", PAUSE, "Smtp421"),
    (RCPT, 450, "4.2.0 Recipient address rejected: Greylisted", RETRY, "Smtp450"),
    (RCPT, 451, "4.7.1 Greylisting in action, please come back in 00:05:00", RETRY, "Smtp451"),
    (RCPT, 450, "4.7.1 Recipient address rejected: grey listed", RETRY, "Smtp450"),
    (RCPT, 450, "4.2.1 The user you are trying to contact is receiving mail at a rate that", RETRY, "Smtp450"),
    (RCPT, 450, "4.7.1 Error: too many recipients from 192.0.2.1", PAUSE, "Smtp450"),
    (RCPT, 451, "4.3.0 Temporary lookup failure", RETRY, "Smtp451"),
    (RCPT, 452, "4.2.2 Mailbox full", RETRY, "Smtp452"),
    (RCPT, 550, "5.1.1 User unknown", PERMANENT, "Smtp550"),
    (RCPT, 553, "sorry", PERMANENT, "Smtp553"),
    (DATA, 421, "4.7.28 unusual rate", PAUSE, "Smtp421"),
    (DATA, 432, "4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", PAUSE, "Smtp432"),
    (DATA, 450, "4.2.1 user receives mail too quickly", RETRY, "Smtp450"),
    (DATA, 451, "4.3.0 Local error", RETRY, "Smtp451"),
    (DATA, 451, "4.7.0 Temporary server error", PAUSE, "Smtp451"),
    (DATA, 452, "4.2.2 Mailbox full", RETRY, "Smtp452"),
    (DATA, 454, "Throttling failure: Maximum sending rate exceeded.", PAUSE, "Smtp454"),
    (DATA, 454, "Throttling failure: Daily message quota exceeded.", PAUSE, "Smtp454"),
    (DATA, 550, "5.4.5 Daily user sending limit exceeded", PAUSE, "Smtp550"),
    (DATA, 550, "5.7.1 spam", PERMANENT, "Smtp550"),
    (DATA, 552, "5.2.3 too long", PERMANENT, "Smtp552"),
    (DATA, 554, "Message rejected", PERMANENT, "Smtp554"),
    (DATA, 354, "", RETRY, "SmtpProtocolError"),
]


@pytest.mark.parametrize(("stage", "code", "text", "kind", "reason"), TABLE)
def test_what_answers_mean(stage, code, text, kind, reason):
    reply = Reply(code, text)
    assert (rule_for(stage, reply).kind, reason_for(stage, reply)) == (kind, reason)


def test_every_rule_is_used():
    used = {rule_for(stage, Reply(code, text)) for stage, code, text, _, _ in TABLE}
    assert used.issuperset(RULES)
    assert {stage for stage, *_ in TABLE} == set(Stage)


@pytest.mark.parametrize(
    ("stage", "code", "text", "hint"),
    [
        (CONNECT, 421, "busy", "pause"),
        (RCPT, 451, "Greylisted", "new to it"),
        (TLS, 454, "not now", "TLS at the moment"),
        (TLS, 502, "no", "STARTTLS"),
        (RCPT, 452, "4.5.3 Too many recipients", "fewer recipients"),
        (DATA, 550, "5.4.5 Daily user sending limit exceeded", "limit is reached"),
        (DATA, 454, "Throttling failure", "fewer messages"),
        (AUTH, 454, "4.7.0 backend away", "check the login at the moment"),
        (AUTH, 535, "no", "app password"),
        (MAIL, 530, "5.7.0", "login first"),
        (MAIL, 550, "5.7.1 no", "fromEmail"),
        (RCPT, 550, "5.7.1 Authentication required", "login first"),
        (DATA, 554, "Message rejected: Email address is not verified.", "verify it there"),
        (RCPT, 553, "5.7.1 <a@b>: Sender address rejected: not owned by user x", "fromEmail"),
        (RCPT, 550, "5.1.8 <a@b>: Domain not found", "fromEmail"),
        (RCPT, 450, "4.1.8 <a@b>: Sender address rejected: Domain not found", "fromEmail"),
        (DATA, 554, "5.2.252 SendAsDenied; a@b not allowed to send as c@d", "fromEmail"),
        (DATA, 550, "5.7.60 Client does not have permissions to send as this sender", "fromEmail"),
        (RCPT, 554, "5.7.1 <x@y>: Relay access denied", "relay"),
        (RCPT, 550, "5.1.1 unknown", "toEmails"),
        (DATA, 550, "5.1.10 recipient not found", "toEmails"),
        (RCPT, 550, "unknown", "toEmails"),
        (DATA, 552, "5.3.4 size", "too large"),
        (RCPT, 552, "5.2.2 over quota", "full"),
        (DATA, 550, "5.7.26 unauthenticated mail", "policy"),
        (RCPT, 550, "5.7.1 no", "policy"),
        (DATA, 554, "no", "refused the message"),
        (DATA, 354, "", "does not speak SMTP"),
    ],
)
def test_what_people_are_told(stage, code, text, hint):
    assert hint in hint_for(stage, Reply(code, text))


def test_a_refused_sender_is_not_a_matter_of_the_recipients():
    for text in ("5.7.1 <a@b>: Sender address rejected: not owned by user x", "5.1.8 Domain not found", "5.7.1 no"):
        assert "toEmails" not in hint_for(RCPT, Reply(550, text))


def test_each_hint_has_a_text_of_its_own_or_another_way_there():
    assert all(hint.text for hint in HINTS)


@pytest.mark.parametrize(
    ("code", "text", "limit"),
    [
        (452, "4.5.3 Too many recipients", True),
        (452, "too many recipients", True),
        (552, "5.5.3 Recipients limit exceeded", True),
        (550, "5.5.3 RESOLVER.ADR.RecipLimit; too many recipients", True),
        (452, "4.2.2 Mailbox full", False),
        (450, "4.7.1 Error: too many recipients from 192.0.2.1", False),
        (452, "4.7.1 too many recipients per hour", False),
        (550, "5.1.1 unknown", False),
    ],
)
def test_a_limit_on_recipients_is_told_from_a_rate(code, text, limit):
    assert too_many_recipients(Reply(code, text)) is limit


@pytest.mark.parametrize(
    ("code", "text", "limit"),
    [
        (432, "4.3.2 whatever", True),
        (421, "4.7.0 Too many concurrent SMTP connections", True),
        (421, "4.3.2 shutting down", True),
        (421, "4.7.0 Try again later", False),
        (454, "Throttling failure: Maximum sending rate exceeded.", False),
    ],
)
def test_a_limit_on_connections_is_told_from_a_rate(code, text, limit):
    assert too_many_connections(Reply(code, text)) is limit


def test_what_only_looks_like_an_enhanced_code():
    assert Reply(450, "4.7.1 so").enhanced == "7.1"
    assert Reply(450, "4.7.1").enhanced == "7.1"
    assert [Reply(450, text).enhanced for text in ("", "192.0.2.1 is busy", "4.7.1.2 x", "see 4.7.1")] == [""] * 4


def test_words_and_codes_of_throttling():
    assert throttled(Reply(421, ""))
    assert throttled(Reply(451, "Sending rate too high"))
    assert not throttled(Reply(450, "4.7.1 later"))


@pytest.mark.parametrize("word", ["sender ", "limit ", "grey-", "recipients ", "authentication ", "sending ", "a"])
@pytest.mark.parametrize("stage", Stage)
def test_an_endless_answer_is_not_searched_for_seconds(stage, word):
    reply = Reply(550, word * (60_000 // len(word)))
    began = time.process_time()
    rule_for(stage, reply), hint_for(stage, reply), throttled(reply)
    too_many_recipients(reply), too_many_connections(reply)
    assert time.process_time() - began < 0.5
