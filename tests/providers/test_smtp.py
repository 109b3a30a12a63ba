import asyncio
import socket
import threading
from dataclasses import replace

import pytest

from pipebell.core.errors import Fenced, NotReady
from pipebell.core.hosts import HostPolicy
from pipebell.core.outcome import Attempt, OutcomeKind
from pipebell.core.vocabulary import NotReadyReason
from pipebell.providers.tls import client_context
from pipebell.sinks import DROP, HANG, KEEP_AND_DROP, Behaviour, Limits, Rate, Say, SmtpSink

IDENTITY = "<0b54f1c2.email@pipebell.io>"


@pytest.fixture
def send(notification, attempt):
    async def send(provider, target, attempt=attempt):
        return await provider.send(notification, target, attempt)

    return send


async def test_delivers_over_starttls_with_login(send, email, sink, at):
    outcome = await send(email, at(sink.port))
    assert (outcome.kind, outcome.reason, outcome.message) == (OutcomeKind.DELIVERED, "", "")
    assert outcome.message_id == IDENTITY
    (mail,) = sink.mails
    assert mail.tls
    assert mail.user == "robot-user@example.com"
    assert mail.sender == "noreply@cloudact.io"
    assert mail.recipients == ("a@example.com", "b@example.com", "c@example.com")
    assert mail.message["Message-ID"] == IDENTITY
    text = mail.message.get_body(("plain",)).get_content()
    assert "\n.\n..\nFrom here on\n" in text.replace("\r\n", "\n")
    assert max(map(len, mail.raw.split(b"\r\n"))) <= 998
    assert mail.raw.isascii()


async def test_implicit_tls(send, email_with, trust, at):
    users = {"u": "p"}
    async with SmtpSink(security="implicit", users=users, trust=trust) as sink:
        target = at(sink.port, username="u", password="p", implicit_tls=True)
        assert (await send(email_with(), target)).kind is OutcomeKind.DELIVERED
        assert sink.mails[0].tls


async def test_without_tls_and_login(send, email, trust, at):
    async with SmtpSink(security="none", trust=trust) as sink:
        outcome = await send(email, at(sink.port, use_tls=False, username=None, password=None))
        assert outcome.kind is OutcomeKind.DELIVERED
        assert not sink.mails[0].tls


async def test_credentials_never_go_without_tls(send, email, trust, at):
    async with SmtpSink(security="none", plaintext_auth=True, users={"u": "p"}, trust=trust) as sink:
        outcome = await send(email, at(sink.port, use_tls=False))
        assert (outcome.kind, outcome.reason) == (OutcomeKind.PERMANENT, "TlsRequired")
        outcome = await send(email, at(sink.port))
        assert (outcome.kind, outcome.reason) == (OutcomeKind.PERMANENT, "TlsRequired")
        assert "offers no STARTTLS" in outcome.message
        assert sink.logins == []
        assert sink.connections == 1


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_whatever_login_the_server_offers(send, email, trust, at, mechanism):
    async with SmtpSink(users={"u": "p"}, mechanisms=(mechanism,), trust=trust) as sink:
        assert (await send(email, at(sink.port, username="u", password="p"))).kind is OutcomeKind.DELIVERED


async def test_no_login_offered(send, email, trust, at):
    async with SmtpSink(trust=trust) as sink:
        outcome = await send(email, at(sink.port))
        assert (outcome.kind, outcome.reason) == (OutcomeKind.PERMANENT, "SmtpAuthUnavailable")


async def test_a_refused_login_is_tried_once(send, email, sink, at):
    outcome = await send(email, at(sink.port, password="wrong"))
    assert (outcome.kind, outcome.reason) == (OutcomeKind.PERMANENT, "SmtpAuthFailed")
    assert sink.logins == [("robot-user@example.com", False)]
    assert (await send(email, at(sink.port))).kind is OutcomeKind.DELIVERED


async def test_a_login_that_fails_for_now(send, email, sink, at):
    sink.plan(454, at="login")
    outcome = await send(email, at(sink.port))
    assert (outcome.kind, outcome.reason) == (OutcomeKind.PAUSE, "Smtp454")


@pytest.mark.parametrize("answer", ["504 5.5.4 Unrecognized authentication type", "500 5.5.1 what?", "501 5.5.2 no"])
async def test_a_mechanism_unknown_after_all(send, email, sink, at, answer):
    sink.plan(answer, at="login")
    assert (await send(email, at(sink.port))).kind is OutcomeKind.DELIVERED
    assert sink.logins == [("robot-user@example.com", True)]


async def test_a_password_of_any_letters(send, email, trust, at):
    async with SmtpSink(users={"müller": "pässwörd ☃"}, trust=trust) as sink:
        outcome = await send(email, at(sink.port, username="müller", password="pässwörd ☃"))
        assert outcome.kind is OutcomeKind.DELIVERED


async def test_the_name_for_ehlo(send, email, sink, at):
    await send(email, at(sink.port))
    await send(email, at(sink.port, helo="pipebell.example.com"))
    assert [mail.helo for mail in sink.mails] == ["[127.0.0.1]", "pipebell.example.com"]


@pytest.mark.parametrize("stage", ["connect", "mail", "data"])
@pytest.mark.parametrize(
    ("code", "kind"),
    [(421, OutcomeKind.PAUSE), (451, OutcomeKind.RETRY), (554, OutcomeKind.PERMANENT)],
)
async def test_codes_at_every_stage(send, email, sink, at, stage, code, kind):
    sink.plan(code, at=stage)
    if (stage, code) == ("connect", 451):
        kind = OutcomeKind.PAUSE  # it is about no message
    outcome = await send(email, at(sink.port))
    assert (outcome.kind, outcome.reason) == (kind, f"Smtp{code}")
    assert (await send(email, at(sink.port))).kind is OutcomeKind.DELIVERED


async def test_421_at_a_recipient_pauses_and_serves_nobody(send, email, sink, at):
    sink.refuse("b@example.com", 421, 1)
    assert (await send(email, at(sink.port))).kind is OutcomeKind.PAUSE
    assert sink.attempts == []


async def test_a_pause_forgets_nobody_who_was_refused_for_good(send, email, sink, at):
    """Postfix ends the connection after some errors: the dead recipients are not named again."""
    sink.limit(Limits(errors=2))
    for who in ("a@example.com", "b@example.com"):
        sink.refuse(who, 550)
    sink.refuse("c@example.com", 451, 1)
    outcome = await send(email, at(sink.port))
    assert (outcome.kind, outcome.refused) == (OutcomeKind.PAUSE, ("a@example.com", "b@example.com"))
    assert outcome.retry_recipients == ("c@example.com",)
    assert (await send(email, at(sink.port), Attempt("x", outcome.retry_recipients))).kind is OutcomeKind.DELIVERED


MANY = tuple(f"r{n}@example.com" for n in range(120))


@pytest.mark.parametrize("per_transaction", [1, 10, 50, 119])
async def test_a_limit_on_recipients_is_worked_off_in_further_transactions(send, email, sink, at, per_transaction):
    sink.limit(Limits(recipients=per_transaction))
    outcome = await send(email, at(sink.port, to=MANY, cc=()))
    assert (outcome.kind, outcome.message) == (OutcomeKind.DELIVERED, "")
    served = [who for mail in sink.mails for who in mail.recipients]
    assert served == list(MANY)
    assert len(sink.mails) == -(-len(MANY) // per_transaction)
    assert len({mail.message["Message-ID"] for mail in sink.mails}) == 1
    assert sink.connections == -(-len(sink.mails) // 100) if per_transaction > 1 else sink.connections >= 1


@pytest.mark.parametrize("answer", ["452 4.5.3 Too many recipients", "554 5.5.3 RecipLimit exceeded"])
async def test_a_limit_on_recipients_that_is_told_after_the_data(send, email, sink, at, answer):
    sink.script().always = lambda mail: Say(status=answer) if len(mail.recipients) > 25 else None
    outcome = await send(email, at(sink.port, to=MANY, cc=()))
    assert outcome.kind is OutcomeKind.DELIVERED
    assert sorted(who for mail in sink.mails for who in mail.recipients) == sorted(MANY)


async def test_among_many_transactions_the_refused_and_the_late_are_told_apart(send, email, sink, at):
    sink.limit(Limits(recipients=50))
    sink.refuse(MANY[3], 550)
    sink.refuse(MANY[70], 450, 1)
    sink.plan(None, None, 451)
    first = await send(email, at(sink.port, to=MANY, cc=()))
    assert (first.kind, first.accepted, first.refused) == (OutcomeKind.RETRY, True, (MANY[3],))
    rest = set(MANY) - {who for mail in sink.mails for who in mail.recipients} - {MANY[3]}
    assert set(first.retry_recipients) == rest
    assert MANY[70] in rest
    second = await send(email, at(sink.port, to=MANY, cc=()), Attempt("0b54f1c2.email", first.retry_recipients))
    assert second.kind is OutcomeKind.DELIVERED
    served = [who for mail in sink.mails for who in mail.recipients]
    assert sorted(served) == sorted(set(MANY) - {MANY[3]})


@pytest.mark.parametrize("stage", ["connect", "login", "mail", "data"])
@pytest.mark.parametrize("most", [1, 3])
async def test_a_server_that_takes_few_connections_gets_few(send, email, sink, at, stage, most):
    sink.limit(Limits(connections=most, connections_at=stage))
    sink.script().always = lambda _: Say(wait=0.01)
    outcomes = await asyncio.gather(*(send(email, at(sink.port)) for _ in range(40)))
    assert [outcome.reason for outcome in outcomes if outcome.kind is not OutcomeKind.DELIVERED] == []
    assert len(sink.mails) == 40
    assert sink.connections == 4, "asked once each, and believed"


@pytest.mark.parametrize("asked", [3, 4])
async def test_whoever_may_not_send_any_more_between_two_transactions_says_who_has_it(
    email, sink, at, notification, asked
):
    sink.limit(Limits(recipients=50))
    answers = [True] * asked
    attempt = Attempt("e.email", allowed=lambda: bool(answers) and answers.pop())
    outcome = await email.send(notification, at(sink.port, to=MANY, cc=()), attempt)
    assert (outcome.kind, outcome.accepted, outcome.reason) == (OutcomeKind.RETRY, True, "MoreTransactions")
    assert [mail.recipients for mail in sink.mails] == [MANY[:50]]
    assert outcome.retry_recipients == MANY[50:]


async def test_a_server_that_is_asked_too_fast_is_left_alone_by_all_who_wait(send, email, sink, at):
    sink.limit(Limits(rate=Rate(5, 600.0)))
    outcomes = await asyncio.gather(*(send(email, at(sink.port)) for _ in range(60)))
    kinds = [outcome.kind for outcome in outcomes]
    assert kinds.count(OutcomeKind.DELIVERED) == 5
    assert kinds.count(OutcomeKind.PAUSE) == 55
    assert len(sink.attempts) <= 5 + 4, "no more than those under way were refused"
    assert sum(outcome.untried for outcome in outcomes) >= 51
    assert sink.connections == 4, "the connections are good still"


async def test_an_answer_may_come_late_after_the_final_dot(send, email_with, sink, at):
    sink.plan(Behaviour(wait=3.0))
    outcome = await send(email_with(command=2.0), at(sink.port))
    assert outcome.kind is OutcomeKind.DELIVERED
    assert len(sink.attempts) == 1


async def test_only_what_was_handed_over_may_have_arrived(send, email_with, sink, at):
    provider = email_with(command=1.0, final_dot=0.3)
    sink.plan(HANG, KEEP_AND_DROP, DROP)
    for _ in range(3):
        assert (await send(provider, at(sink.port))).unanswered
    sink.plan(HANG, DROP, at="mail")
    for _ in range(2):
        assert not (await send(provider, at(sink.port))).unanswered
    sink.plan(451)
    assert not (await send(provider, at(sink.port))).unanswered


async def test_recipients_refused_for_good_are_named(send, email, sink, at):
    sink.refuse("b@example.com", 550)
    outcome = await send(email, at(sink.port))
    assert (outcome.kind, outcome.refused) == (OutcomeKind.DELIVERED, ("b@example.com",))
    assert "b@example.com (550: 5.1.1 No such user)" in outcome.message
    assert sink.mails[0].recipients == ("a@example.com", "c@example.com")


async def test_recipients_refused_for_now_are_tried_again_alone(send, email, sink, at):
    sink.refuse("b@example.com", 450, 1)
    first = await send(email, at(sink.port))
    assert (first.kind, first.retry_recipients, first.accepted) == (OutcomeKind.RETRY, ("b@example.com",), True)
    second = await send(email, at(sink.port), Attempt("0b54f1c2.email", first.retry_recipients))
    assert second.kind is OutcomeKind.DELIVERED
    assert [mail.recipients for mail in sink.mails] == [("a@example.com", "c@example.com"), ("b@example.com",)]
    assert {mail.message["To"] for mail in sink.mails} == {"a@example.com, b@example.com"}


async def test_all_recipients_refused_leaves_the_connection_usable(send, email, sink, at):
    for who in "abc":
        sink.refuse(f"{who}@example.com", 550, 1)
    outcome = await send(email, at(sink.port))
    assert (outcome.kind, len(outcome.refused)) == (OutcomeKind.PERMANENT, 3)
    assert sink.attempts == []
    assert (await send(email, at(sink.port))).kind is OutcomeKind.DELIVERED
    assert sink.connections == 1


async def test_connections_are_reused_up_to_four(send, email, sink, at):
    for _ in range(3):
        await send(email, at(sink.port))
    assert sink.connections == 1
    outcomes = await asyncio.gather(*(send(email, at(sink.port)) for _ in range(40)))
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.DELIVERED}
    assert sink.most_open == sink.connections == 4


async def test_another_account_gets_another_connection(send, email, trust, at):
    async with SmtpSink(users={"u": "p", "v": "p"}, trust=trust) as sink:
        for user in ("u", "v", "u", "v"):
            await send(email, at(sink.port, username=user, password="p"))
        assert [mail.user for mail in sink.mails] == ["u", "v", "u", "v"]
        assert sink.connections == 2


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  (a sink's counters raise no event)
            await asyncio.sleep(0.01)


async def test_idle_connections_say_goodbye_and_are_forgotten(send, email_with, sink, at):
    provider = email_with(idle=0.05)
    await send(provider, at(sink.port))
    assert sink.open == 1
    await until(lambda: sink.open == 0)
    assert provider._smtp._endpoints == {}


@pytest.mark.parametrize("limits", [{"messages": 2}, {"age": 0.0}])
async def test_old_connections_are_replaced(send, email_with, sink, at, limits):
    provider = email_with(**limits)
    for _ in range(4):
        assert (await send(provider, at(sink.port))).kind is OutcomeKind.DELIVERED
    assert sink.connections == (2 if "messages" in limits else 4)


async def test_a_connection_that_died_meanwhile_is_replaced(send, email, sink, at):
    await send(email, at(sink.port))
    await sink.stop()
    await sink.start()
    assert (await send(email, at(sink.port))).kind is OutcomeKind.DELIVERED


@pytest.mark.parametrize("answer", [DROP, 421])
async def test_a_connection_that_dies_at_the_next_message_is_replaced_once(send, email, sink, at, answer):
    await send(email, at(sink.port))
    sink.plan(answer, at="mail")
    assert (await send(email, at(sink.port))).kind is OutcomeKind.DELIVERED
    assert sink.connections == 2
    sink.plan(answer, answer, at="mail")
    assert (await send(email, at(sink.port))).kind is (OutcomeKind.PAUSE if answer == 421 else OutcomeKind.RETRY)


async def test_a_refused_sender_on_a_used_connection_is_no_reason_to_repeat(send, email, sink, at):
    await send(email, at(sink.port))
    sink.plan(550, at="mail")
    assert (await send(email, at(sink.port))).kind is OutcomeKind.PERMANENT
    assert len(sink.mails) == 1


@pytest.mark.parametrize("answer", [DROP, KEEP_AND_DROP])
@pytest.mark.parametrize("warm", [False, True])
async def test_what_is_lost_after_the_data_is_tried_again_not_replaced(send, email, sink, at, answer, warm):
    if warm:
        await send(email, at(sink.port))
    before = len(sink.attempts)
    sink.plan(answer)
    outcome = await send(email, at(sink.port))
    assert (outcome.kind, outcome.reason) == (OutcomeKind.RETRY, "ConnectionLost")
    assert len(sink.attempts) == before + 1


@pytest.mark.parametrize("stage", ["connect", "login", "mail", "data"])
async def test_time_is_bounded(send, email_with, sink, at, stage):
    sink.plan(HANG, at=stage)
    async with asyncio.timeout(60):
        outcome = await send(email_with(command=0.2, final_dot=0.2), at(sink.port))
        assert (outcome.kind, outcome.reason) == (OutcomeKind.RETRY, "Timeout")
        sink.script(stage).clear()
        sink.plan(HANG, at=stage)
        outcome = await send(email_with(opening=0.2, envelope=0.2, per_recipient=0, final_dot=0.2), at(sink.port))
        assert (outcome.kind, outcome.reason) == (OutcomeKind.RETRY, "Timeout")


async def test_a_server_that_does_not_accept(send, email_with, at):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        outcome = await send(email_with(connect=0.2), at(listener.getsockname()[1]))
    assert (outcome.kind, outcome.reason) == (OutcomeKind.RETRY, "ConnectionFailed")


async def test_who_waits_for_a_dead_server_hears_of_it(send, email_with, sink, at):
    sink.script("connect").always = lambda _: HANG
    provider = email_with(command=0.3, connections=1)
    async with asyncio.timeout(2):
        outcomes = await asyncio.gather(*(send(provider, at(sink.port)) for _ in range(50)))
    assert {outcome.reason for outcome in outcomes} == {"Timeout"}
    assert sink.connections == 1
    sink.script("connect").clear()
    assert (await send(provider, at(sink.port))).kind is OutcomeKind.DELIVERED


async def test_a_failed_login_is_not_repeated_by_those_who_wait(send, email, sink, at):
    outcomes = await asyncio.gather(*(send(email, at(sink.port, password="wrong")) for _ in range(20)))
    assert {outcome.reason for outcome in outcomes} == {"SmtpAuthFailed"}
    assert len(sink.logins) == 4


async def test_certificates_are_verified(send, email_with, trust, at):
    async with SmtpSink(trust=trust, names=("mail.example.com",)) as sink:
        outcome = await send(email_with(), at(sink.port))
        assert (outcome.kind, outcome.reason) == (OutcomeKind.PERMANENT, "TlsCertificateInvalid")
        assert "mismatch" in outcome.message
        outcome = await send(email_with(tls=client_context()), at(sink.port))
        assert (outcome.kind, outcome.reason) == (OutcomeKind.PERMANENT, "TlsCertificateInvalid")
        assert "PIPEBELL_CA_FILE" in outcome.message
        await until(lambda: sink.open == 0)


async def test_certificates_are_verified_with_implicit_tls(send, email_with, trust, at):
    async with SmtpSink(security="implicit", trust=trust, names=("mail.example.com",)) as sink:
        outcome = await send(email_with(), at(sink.port, implicit_tls=True))
        assert (outcome.kind, outcome.reason) == (OutcomeKind.PERMANENT, "TlsCertificateInvalid")


async def test_the_certificate_is_for_the_host_not_its_address(send, email, trust, at):
    async with SmtpSink(trust=trust, users={"u": "p"}, names=("localhost",)) as sink:
        target = at(sink.port, host="localhost", username="u", password="p")
        assert (await send(email, target)).kind is OutcomeKind.DELIVERED


async def test_tls_where_none_is_spoken(send, email_with, trust, at):
    async with SmtpSink(security="none", trust=trust) as sink:
        outcome = await send(email_with(), at(sink.port, implicit_tls=True))
        assert (outcome.kind, outcome.reason) == (OutcomeKind.RETRY, "TlsFailed")


async def test_names_that_nobody_knows(send, email, at):
    outcome = await send(email, at(25, host="nowhere.invalid"))
    assert (outcome.kind, outcome.reason) == (OutcomeKind.RETRY, "DnsFailed")
    await email.check(at(25, host="nowhere.invalid"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.1", "169.254.169.254", "[::1]", "[fe80::1]"])
async def test_private_addresses_are_refused_unless_trusted(send, email_with, sink, at, host):
    provider = email_with(hosts=HostPolicy())
    target = at(sink.port, host=host)
    outcome = await send(provider, target)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.HOST_NOT_ALLOWED, "HostNotAllowed")
    assert "PIPEBELL_PRIVATE_HOSTS" in outcome.message
    with pytest.raises(NotReady) as refused:
        await provider.check(target)
    assert refused.value.reason is NotReadyReason.HOST_NOT_ALLOWED
    assert sink.connections == 0
    await provider.check(replace(target, trusted=True))


async def test_root_may_use_a_private_address(send, email_with, sink, at):
    outcome = await send(email_with(hosts=HostPolicy()), at(sink.port, trusted=True))
    assert outcome.kind is OutcomeKind.DELIVERED


async def test_only_the_allowed_of_several_addresses_are_connected_to(send, email, sink, at, monkeypatch):
    async def resolve(host, port, namespace):
        return [(socket.AF_INET, (address, port)) for address in ("10.0.0.1", "127.0.0.1")]

    monkeypatch.setattr(email._smtp._dns, "resolve", resolve)
    connected = []
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect

    async def watched(sock, address):
        connected.append(address[0])
        await connect(sock, address)

    monkeypatch.setattr(loop, "sock_connect", watched)
    assert (await send(email, at(sink.port, host="localhost"))).kind is OutcomeKind.DELIVERED
    assert connected == ["127.0.0.1"]


async def test_the_next_address_is_tried(send, email, sink, at, monkeypatch):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        dead = listener.getsockname()[1]

        async def resolve(host, port, namespace):
            return [(socket.AF_INET, ("127.0.0.1", port)) for port in (dead, sink.port)]

        monkeypatch.setattr(email._smtp._dns, "resolve", resolve)
        assert (await send(email, at(sink.port))).kind is OutcomeKind.DELIVERED


async def test_nonsense_instead_of_smtp(send, email, at):
    async def talk(reader, writer):
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    outcome = await send(email, at(server.sockets[0].getsockname()[1]))
    assert (outcome.kind, outcome.reason) == (OutcomeKind.RETRY, "SmtpProtocolError")
    server.close()


async def test_cancelled_in_the_middle_leaves_nothing_open(send, email, sink, at):
    sink.plan(HANG)
    task = asyncio.create_task(send(email, at(sink.port)))
    await until(lambda: sink.attempts)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: sink.open == 0)
    assert (await send(email, at(sink.port))).kind is OutcomeKind.DELIVERED


async def test_secrets_are_not_in_texts_that_servers_make_of_them(send, email, sink, at):
    sink.plan(Say(status="535 user robot-user@example.com may not use pass-word-of-the-robot"), at="login")
    outcome = await send(email, at(sink.port))
    assert "pass-word" not in outcome.message
    assert "robot-user" not in outcome.message


async def test_whoever_may_not_send_opens_no_connection(email, sink, at, notification):
    with pytest.raises(Fenced):
        await email.send(notification, at(sink.port), Attempt("e.email", allowed=lambda: False))
    assert sink.logins == []
    assert sink.mails == []


async def test_whoever_may_not_send_any_more_takes_back_what_was_announced(send, email, sink, at, notification):
    """The lease ran out between the login and the message: asked again right before DATA."""
    answers = iter([True, False])
    with pytest.raises(Fenced):
        await email.send(notification, at(sink.port), Attempt("e.email", allowed=lambda: next(answers)))
    assert list(answers) == [], "asked twice"
    assert sink.mails == []
    assert (await send(email, at(sink.port))).kind is OutcomeKind.DELIVERED
    assert len(sink.logins) == 1, "over the same connection"
    assert len(sink.mails) == 1


async def test_whoever_may_not_send_while_the_server_makes_up_its_mind_hands_nothing_over(
    send, email, sink, at, notification
):
    """The server waits for the message, which is the last moment: the connection is closed, and there is none."""
    answers = iter([True, True, False])
    with pytest.raises(Fenced):
        await email.send(notification, at(sink.port), Attempt("e.email", allowed=lambda: next(answers)))
    assert list(answers) == [], "asked three times"
    assert sink.mails == []
    assert (await send(email, at(sink.port))).kind is OutcomeKind.DELIVERED
    assert len(sink.logins) == 2, "over a new connection"
    assert len(sink.mails) == 1


async def test_whoever_may_not_send_any_more_leaves_the_queue(send, email_with, sink, at, notification, monkeypatch):
    monkeypatch.setattr("pipebell.providers.turns._LOOK", 0.05)
    email = email_with(connections=1)
    sink.plan(Say(wait=5.0))
    first = asyncio.create_task(send(email, at(sink.port)))
    await asyncio.sleep(0.2)
    may = [True]
    second = asyncio.create_task(email.send(notification, at(sink.port), Attempt("e2.email", allowed=lambda: may[0])))
    await asyncio.sleep(0.2)
    assert not second.done()
    may[0] = False
    began = asyncio.get_running_loop().time()
    with pytest.raises(Fenced):
        await second
    assert asyncio.get_running_loop().time() - began < 3.0
    assert (await first).kind is OutcomeKind.DELIVERED
    assert (await send(email, at(sink.port))).kind is OutcomeKind.DELIVERED, "the connection was given back"


async def test_being_fenced_says_nothing_about_the_server(send, email_with, sink, at, notification):
    email = email_with(connections=1)
    fenced = email.send(notification, at(sink.port), Attempt("e.email", allowed=lambda: False))
    first, *others = await asyncio.gather(
        fenced, *(send(email, at(sink.port)) for _ in range(3)), return_exceptions=True
    )
    assert isinstance(first, Fenced)
    assert [outcome.kind for outcome in others] == [OutcomeKind.DELIVERED] * 3


async def test_verifying_goes_no_further_than_sending_would(email_with, sink, at):
    """Private addresses, and names that lead nowhere; what the organisation may reach is tried to the end."""
    last = (await email_with().verify(at(sink.port)))[-1]
    assert (last.ok, last.what) == (True, "recipients")
    (refused,) = await email_with(hosts=HostPolicy()).verify(at(sink.port))
    assert (refused.ok, refused.reason) == (False, "HostNotAllowed")
    (nowhere,) = await email_with().verify(at(sink.port, host="nowhere.invalid"))
    assert (nowhere.ok, nowhere.reason) == (False, "DnsFailed")
    assert sink.mails == []


async def test_verifying_a_server_that_never_speaks_ends_in_time_and_leaves_no_thread(email_with, at):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        email = email_with(trial=0.3)
        before = {thread for thread in threading.enumerate() if thread.name == "verify"}
        async with asyncio.timeout(60):
            last = (await email.verify(at(silent.getsockname()[1])))[-1]
        assert (last.ok, last.reason) == (False, "Timeout")
        given_up = asyncio.create_task(email_with(trial=600.0).verify(at(silent.getsockname()[1])))
        await asyncio.sleep(0.2)
        given_up.cancel()
        async with asyncio.timeout(60):
            while {thread for thread in threading.enumerate() if thread.name == "verify"} - before:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
