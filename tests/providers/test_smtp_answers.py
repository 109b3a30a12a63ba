import base64

import pytest

from pipebell.core.outcome import Verdict
from pipebell.providers.smtp_answers import RULES, Receipt, Reply, Stage, answered, rule_for, settled

RETRY, PERMANENT, PAUSE, DELIVERED = Verdict.RETRY, Verdict.PERMANENT, Verdict.PAUSE, Verdict.DELIVERED

# The whole table: by stage, what each code means.
TABLE = {
    Stage.CONNECT: {
        421: (PAUSE, "Smtp421"),
        450: (RETRY, "Smtp450"),
        530: (PERMANENT, "SmtpAuthRequired"),
        554: (PERMANENT, "Smtp554"),
        220: (RETRY, "SmtpProtocolError"),
        -1: (RETRY, "SmtpProtocolError"),
    },
    Stage.TLS: {421: (PAUSE, "Smtp421"), 454: (RETRY, "TlsFailed"), 502: (PERMANENT, "TlsRequired")},
    Stage.AUTH: {
        421: (PAUSE, "Smtp421"),
        432: (RETRY, "Smtp432"),
        454: (RETRY, "Smtp454"),
        530: (PERMANENT, "SmtpAuthFailed"),
        534: (PERMANENT, "SmtpAuthFailed"),
        535: (PERMANENT, "SmtpAuthFailed"),
        538: (PERMANENT, "SmtpAuthFailed"),
        334: (RETRY, "SmtpProtocolError"),
    },
    Stage.MAIL: {
        421: (PAUSE, "Smtp421"),
        451: (RETRY, "Smtp451"),
        452: (RETRY, "Smtp452"),
        530: (PERMANENT, "SmtpAuthRequired"),
        550: (PERMANENT, "Smtp550"),
        552: (PERMANENT, "Smtp552"),
    },
    Stage.RCPT: {
        421: (PAUSE, "Smtp421"),
        450: (RETRY, "Smtp450"),
        452: (RETRY, "Smtp452"),
        550: (PERMANENT, "Smtp550"),
        553: (PERMANENT, "Smtp553"),
    },
    Stage.DATA: {
        421: (PAUSE, "Smtp421"),
        451: (RETRY, "Smtp451"),
        452: (RETRY, "Smtp452"),
        550: (PERMANENT, "Smtp550"),
        552: (PERMANENT, "Smtp552"),
        554: (PERMANENT, "Smtp554"),
        354: (RETRY, "SmtpProtocolError"),
    },
}
CASES = [(stage, code, *meaning) for stage, codes in TABLE.items() for code, meaning in codes.items()]


@pytest.mark.parametrize(("stage", "code", "verdict", "reason"), CASES)
def test_what_answers_mean(stage, code, verdict, reason, at):
    outcome = answered(stage, Reply(code, "5.7.1 so it is"), Receipt(), at(587))
    assert (outcome.verdict, outcome.reason) == (verdict, reason)
    assert "5.7.1 so it is" in outcome.message
    assert "\n" not in outcome.message


def test_the_table_is_whole():
    assert set(TABLE) == set(Stage)
    used = {rule_for(stage, code) for stage, code, _, _ in CASES}
    assert used.issuperset(RULES)


def test_what_a_server_echoes_is_struck_out(at):
    target = at(587)
    encoded = base64.b64encode(f"\0{target.username}\0{target.password}".encode()).decode()
    alone = base64.b64encode(target.password.encode()).decode()
    text = f"bad: AUTH PLAIN {encoded} {target.password} {target.username}\r\n{alone}"
    message = answered(Stage.AUTH, Reply(535, text), Receipt(), target).message
    assert message.endswith("the server says: bad: AUTH PLAIN *** *** *** ***")


def test_the_servers_text_is_clipped_to_one_clean_line(at):
    message = answered(Stage.DATA, Reply(554, "a\nb\x1b[31m\udcff" + "x" * 999), Receipt(), at(587)).message
    assert message.isprintable()
    assert len(message) < 300


def test_a_refused_login_names_the_mend(at):
    assert "app password" in answered(Stage.AUTH, Reply(535, "no"), Receipt(), at(587)).message


A, B, C = "a@x", "b@x", "c@x"
OK, BUSY, WRONG = None, Reply(451, "busy"), Reply(550, "unknown")


@pytest.mark.parametrize(
    ("answers", "verdict", "again", "lost", "sent", "reason"),
    [
        ((OK, OK, OK), DELIVERED, (), (), False, ""),
        ((OK, WRONG, WRONG), DELIVERED, (), (B, C), False, "SomeRecipientsRefused"),
        ((OK, BUSY, OK), RETRY, (B,), (), True, "Smtp451"),
        ((OK, BUSY, WRONG), RETRY, (B,), (C,), True, "Smtp451"),
        ((WRONG, BUSY, WRONG), RETRY, (B,), (A, C), False, "Smtp451"),
        ((BUSY, BUSY, BUSY), RETRY, (), (), False, "Smtp451"),
        ((WRONG, WRONG, WRONG), PERMANENT, (), (A, B, C), False, "Smtp550"),
    ],
)
def test_recipients_one_by_one(answers, verdict, again, lost, sent, reason, at):
    refused = {who: reply for who, reply in zip((A, B, C), answers, strict=True) if reply}
    receipt = Receipt([who for who in (A, B, C) if who not in refused], refused)
    outcome = settled(receipt, "<id>", at(587))
    assert (outcome.verdict, outcome.retry_recipients, outcome.refused) == (verdict, again, lost)
    assert (outcome.accepted, outcome.reason) == (sent, reason)
    assert all(f"{who} ({reply.code}: {reply.text})" in outcome.message for who, reply in refused.items())
    assert outcome.message_id == ("<id>" if receipt.accepted else None)


@pytest.mark.parametrize(("code", "again"), [(451, (A, C)), (554, ())])
def test_a_message_refused_after_some_recipients_were(code, again, at):
    receipt = Receipt([A], {B: WRONG, C: BUSY})
    outcome = answered(Stage.DATA, Reply(code, "no"), receipt, at(587))
    assert (outcome.retry_recipients, outcome.refused) == (again, (B,))
