"""Who has the message, who has not, and what that means for the next attempt."""

import base64

import pytest

from pipebell.core.outcome import OutcomeKind
from pipebell.providers.smtp_answers import Reply, Stage
from pipebell.providers.smtp_outcomes import Receipt, answered, broken, misunderstood, settled

RETRY, PERMANENT, PAUSE, DELIVERED = OutcomeKind.RETRY, OutcomeKind.PERMANENT, OutcomeKind.PAUSE, OutcomeKind.DELIVERED
A, B, C = EVERYBODY = ("a@x", "b@x", "c@x")
OK, BUSY, WRONG = None, Reply(451, "busy"), Reply(550, "unknown")
SLOWER, LATER = Reply(450, "4.7.1 too much mail"), Reply(450, "4.7.1 later")


def receipt_of(*answers):
    refused = {who: reply for who, reply in zip(EVERYBODY, answers, strict=False) if reply}
    accepted = [who for who, _ in zip(EVERYBODY, answers, strict=False) if who not in refused]
    return Receipt(EVERYBODY, accepted, refused)


def test_what_a_server_echoes_is_struck_out(at):
    target = at(587)
    encoded = base64.b64encode(f"\0{target.username}\0{target.password}".encode()).decode()
    alone = base64.b64encode(target.password.encode()).decode()
    text = f"bad: AUTH PLAIN {encoded} {target.password} {target.username}\r\n{alone}"
    message = answered(Stage.AUTH, Reply(535, text), Receipt(), "<id>", target).message
    assert message.endswith("the server says: bad: AUTH PLAIN *** *** *** ***")


def test_the_servers_text_is_clipped_to_one_clean_line(at):
    message = answered(Stage.DATA, Reply(554, "a\nb\x1b[31m\udcff" + "x" * 999), Receipt(), "<id>", at(587)).message
    assert message.isprintable()
    assert len(message) < 300


@pytest.mark.parametrize(
    ("answers", "kind", "again", "lost", "sent", "reason"),
    [
        ((OK, OK, OK), DELIVERED, (), (), False, ""),
        ((OK, WRONG, WRONG), DELIVERED, (), (B, C), False, "SomeRecipientsRefused"),
        ((OK, BUSY, OK), RETRY, (B,), (), True, "Smtp451"),
        ((OK, BUSY, WRONG), RETRY, (B,), (C,), True, "Smtp451"),
        ((WRONG, BUSY, WRONG), RETRY, (B,), (A, C), False, "Smtp451"),
        ((BUSY, BUSY, BUSY), RETRY, (), (), False, "Smtp451"),
        ((WRONG, WRONG, WRONG), PERMANENT, (), (A, B, C), False, "Smtp550"),
        ((SLOWER,), PAUSE, (), (), False, "Smtp450"),
        ((WRONG, SLOWER), PAUSE, (B, C), (A,), False, "Smtp450"),
        ((OK, SLOWER), PAUSE, (B, C), (), True, "Smtp450"),
        ((LATER,), PAUSE, (), (), False, "Smtp450"),
        ((OK, LATER, OK), RETRY, (B,), (), True, "Smtp450"),
        ((OK,), RETRY, (B, C), (), True, "MoreTransactions"),
    ],
)
def test_recipients_one_by_one(answers, kind, again, lost, sent, reason, at):
    receipt = receipt_of(*answers)
    outcome = settled(receipt, "<id>", at(587))
    assert (outcome.kind, outcome.retry_recipients, outcome.refused) == (kind, again, lost)
    assert (outcome.accepted, outcome.reason) == (sent, reason)
    assert all(f"{who} ({reply.code}: {reply.text})" in outcome.message for who, reply in receipt.refused.items())
    assert outcome.message_id == ("<id>" if receipt.accepted else None)


def test_how_many_are_served_is_said_and_not_all_are_named(at):
    everybody = tuple(f"r{n}@example.com" for n in range(120))
    receipt = Receipt(everybody, list(everybody[:30]), dict.fromkeys(everybody[30:], WRONG))
    outcome = settled(receipt, "<id>", at(587))
    assert outcome.message.startswith("30 of 120 recipients served; refused for good: r30@example.com (550: unknown)")
    assert outcome.message.endswith("and 80 more")
    assert len(outcome.message) < 1000
    assert outcome.refused == everybody[30:]


@pytest.mark.parametrize(
    ("reply", "again", "refused"),
    [
        (Reply(451, "no"), (A, C), (B,)),
        (Reply(421, "4.7.0 Error: too many errors"), (A, C), (B,)),
        (Reply(554, "no"), (), (B,)),
    ],
)
def test_those_refused_for_good_are_remembered_whatever_ends_the_attempt(reply, again, refused, at):
    receipt = Receipt(EVERYBODY, [], {B: WRONG, C: BUSY})
    outcome = answered(Stage.DATA, reply, receipt, "<id>", at(587))
    assert (outcome.retry_recipients, outcome.refused, outcome.accepted) == (again, refused, False)


def test_an_attempt_that_ends_between_two_transactions_knows_who_has_it(at):
    receipt = Receipt(EVERYBODY, [A])
    for outcome in (
        answered(Stage.MAIL, Reply(421, "bye"), receipt, "<id>", at(587)),
        broken(ConnectionResetError(), receipt, "<id>", at(587)),
        misunderstood(receipt, "<id>", at(587)),
    ):
        assert (outcome.accepted, outcome.retry_recipients, outcome.message_id) == (True, (B, C), "<id>")
    outcome = answered(Stage.DATA, Reply(554, "spam"), receipt, "<id>", at(587))
    assert (outcome.accepted, outcome.retry_recipients, outcome.refused) == (True, (), (B, C))


def test_when_everybody_is_settled_it_does_not_matter_how_the_conversation_ends(at):
    receipt = Receipt(EVERYBODY, [], dict.fromkeys(EVERYBODY, WRONG))
    for outcome in (
        answered(Stage.RCPT, Reply(421, "4.7.0 Error: too many errors"), receipt, "<id>", at(587)),
        broken(ConnectionResetError(), receipt, "<id>", at(587)),
    ):
        assert (outcome.kind, outcome.refused) == (PERMANENT, EVERYBODY)


def test_a_message_without_an_answer_may_have_arrived(at):
    receipt = Receipt(EVERYBODY, handed_over=True)
    assert broken(TimeoutError(), receipt, "<id>", at(587)).unanswered
    assert not broken(TimeoutError(), Receipt(EVERYBODY), "<id>", at(587)).unanswered
