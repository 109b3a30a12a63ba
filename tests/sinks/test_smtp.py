import asyncio
import gc
import time
from email.message import EmailMessage

import aiosmtplib
import pytest

from pipebell.sinks import DROP, HANG, KEEP_AND_DROP, Behaviour, Limits, Rate, Say, SmtpSink, Trust, read

USER, PASSWORD = "pipebell", "pass word"


def letter(subject="hello", to="ops@example.com"):
    message = EmailMessage()
    message["From"] = "pipebell@example.com"
    message["To"] = to
    message["Subject"] = subject
    message.set_content("Grüße\n.a line that begins with a dot\n")
    return message


def client(sink, **options):
    """A client as strict as ours: STARTTLS, a verified certificate, a login."""
    given = {
        "hostname": "localhost",
        "port": sink.port,
        "start_tls": sink.security == "starttls",
        "use_tls": sink.security == "implicit",
        "tls_context": None if sink.security == "none" else sink.trust.client(),
        "username": USER if sink.users else None,
        "password": PASSWORD if sink.users else None,
        "timeout": 5.0,
    }
    return aiosmtplib.SMTP(**given | options)


async def send(sink, message=None, **options):
    async with client(sink, **options) as connection:
        return await connection.send_message(message or letter())


@pytest.fixture(scope="module")
def trust(tmp_path_factory):
    return Trust(tmp_path_factory.mktemp("trust"))


@pytest.fixture
async def sink(trust):
    async with SmtpSink(users={USER: PASSWORD}, trust=trust) as serving:
        yield serving


async def test_it_keeps_what_arrived(sink):
    before = time.time()
    await send(sink, letter("Näme"))
    (mail,) = sink.mails
    assert (mail.sender, mail.recipients) == ("pipebell@example.com", ("ops@example.com",))
    assert (mail.user, mail.tls, mail.accepted) == (USER, True, True)
    assert mail.message["Subject"] == "Näme"
    assert mail.message.get_content().splitlines() == ["Grüße", ".a line that begins with a dot"]
    assert b"Subject: =?utf-8?" in mail.raw
    assert before <= mail.time <= time.time()


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_each_login_mechanism(trust, mechanism):
    async with SmtpSink(users={USER: PASSWORD}, mechanisms=[mechanism], trust=trust) as sink:
        await send(sink)
    assert sink.logins == [(USER, True)]
    assert sink.mails[0].user == USER


async def test_a_wrong_password_is_535_and_remembered(sink):
    with pytest.raises(aiosmtplib.SMTPAuthenticationError) as caught:
        await send(sink, password="wrong")
    assert caught.value.code == 535
    assert set(sink.logins) == {(USER, False)}  # by each mechanism
    assert sink.attempts == []


async def test_without_a_login_nothing_is_taken(sink):
    with pytest.raises(aiosmtplib.SMTPSenderRefused) as caught:
        await send(sink, username=None, password=None)
    assert caught.value.code == 530


async def test_login_is_not_offered_before_tls_and_mail_is_refused(sink):
    async with client(sink, start_tls=False, username=None, password=None) as connection:
        await connection.ehlo()
        assert connection.supports_extension("starttls")
        assert not connection.supports_extension("auth")
        code, _ = await connection.execute_command(b"AUTH PLAIN AHBpcGViZWxsAHBhc3Mgd29yZA==")
        assert code == 530
        with pytest.raises(aiosmtplib.SMTPSenderRefused, match="STARTTLS"):
            await connection.sendmail("a@example.com", ["b@example.com"], b"x")


async def test_implicit_tls(trust):
    async with SmtpSink(security="implicit", users={USER: PASSWORD}, trust=trust) as sink:
        await send(sink)
        assert (sink.mails[0].tls, sink.mails[0].user) == (True, USER)


async def test_plain_text_and_nobody_asked(trust):
    async with SmtpSink(security="none", trust=trust) as sink:
        await send(sink)
        assert (sink.mails[0].tls, sink.mails[0].user) == (False, None)


@pytest.mark.parametrize("offered", [True, False])
async def test_logins_in_plain_text_only_if_asked_for(trust, offered):
    async with (
        SmtpSink(security="none", users={USER: PASSWORD}, plaintext_auth=offered, trust=trust) as sink,
        client(sink, username=None, password=None) as connection,
    ):
        await connection.ehlo()
        assert connection.supports_extension("auth") is offered


# The client does not always close a socket whose TLS handshake it has refused: that is not for the sink to answer for.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_who_does_not_trust_its_authority_does_not_get_in(sink, trust):
    for context in (None, Trust().client()):
        with pytest.raises((aiosmtplib.SMTPConnectError, OSError)):
            await send(sink, tls_context=context)
    await send(sink)  # and it goes on serving the others
    gc.collect()


async def test_a_certificate_for_another_name(trust):
    async with SmtpSink(names=["elsewhere.example.com"], trust=trust) as sink:
        with pytest.raises(Exception, match="Hostname mismatch"):
            await send(sink)


async def test_planned_answers_come_once_each_and_in_order(sink):
    sink.plan(421, 450, None, "554 5.7.1 Your kind is not welcome", Say(status="250 2.0.0 Queued as 7"))
    codes = []
    for _ in range(6):
        try:
            codes.append((await send(sink))[1])
        except aiosmtplib.SMTPDataError as error:
            codes.append((error.code, error.message))
    assert codes == [
        (421, "4.3.2 Service shutting down"),
        (450, "4.2.0 Mailbox busy"),
        "2.0.0 OK: kept",
        (554, "5.7.1 Your kind is not welcome"),
        "2.0.0 Queued as 7",
        "2.0.0 OK: kept",
    ]
    assert [mail.status[:3] for mail in sink.attempts] == ["421", "450", "250", "554", "250", "250"]
    assert len(sink.mails) == 3


async def test_a_421_closes_the_connection_and_others_do_not(sink):
    async with client(sink) as connection:
        sink.plan(451)
        with pytest.raises(aiosmtplib.SMTPDataError):
            await connection.send_message(letter())
        await connection.send_message(letter())
        assert sink.connections == 1
        sink.plan(421)
        with pytest.raises(aiosmtplib.SMTPDataError):
            await connection.send_message(letter())
        with pytest.raises(aiosmtplib.SMTPServerDisconnected):
            await connection.send_message(letter())


async def test_a_function_may_decide(sink):
    sink.script().always = lambda mail: Say(status="552 5.3.4 Too big") if "big" in mail.message["Subject"] else None
    await send(sink, letter("small"))
    with pytest.raises(aiosmtplib.SMTPDataError, match="Too big"):
        await send(sink, letter("big"))


@pytest.mark.parametrize(
    ("stage", "planned", "expected"),
    [
        ("connect", 421, aiosmtplib.SMTPConnectResponseError),
        ("connect", DROP, (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPConnectError)),
        ("login", 454, aiosmtplib.SMTPAuthenticationError),
        ("mail", 451, aiosmtplib.SMTPSenderRefused),
    ],
)
async def test_answers_at_other_stages(sink, stage, planned, expected):
    sink.script(stage).always = lambda _: planned if planned is DROP else Say(status=f"{planned} Planned")
    with pytest.raises(expected):
        await send(sink)
    sink.script(stage).clear()
    assert sink.attempts == []
    await send(sink)
    assert len(sink.mails) == 1


@pytest.mark.parametrize(("cut", "taken"), [(DROP, 0), (KEEP_AND_DROP, 1)])
async def test_a_connection_cut_instead_of_an_answer(sink, cut, taken):
    sink.plan(cut)
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await send(sink)
    assert len(sink.attempts) == 1
    assert len(sink.mails) == taken


async def test_one_that_hangs_until_the_client_has_had_enough(sink):
    sink.plan(HANG)
    with pytest.raises(aiosmtplib.SMTPReadTimeoutError):
        await send(sink, timeout=0.1)


async def test_a_late_answer_holds_up_nobody_else(sink):
    sink.plan(Behaviour(wait=2.0))
    slow = asyncio.create_task(send(sink))
    await sink.journal.arrived(1, refused=True)
    await asyncio.wait_for(send(sink), 1.5)
    assert not slow.done()
    await slow


async def test_recipients_are_refused_one_by_one_and_for_a_while(sink):
    sink.refuse("Gone@example.com", 550)
    sink.refuse("busy@example.com", 450, times=1)
    both = letter(to="ops@example.com, gone@example.com, busy@example.com")
    refused, _ = await send(sink, both)
    assert {address: error.code for address, error in refused.items()} == {
        "gone@example.com": 550,
        "busy@example.com": 450,
    }
    refused, _ = await send(sink, both)
    assert set(refused) == {"gone@example.com"}
    assert [mail.recipients for mail in sink.mails] == [
        ("ops@example.com",),
        ("ops@example.com", "busy@example.com"),
    ]


async def test_connections_are_counted(sink):
    async with client(sink), client(sink):
        assert (sink.open, sink.connections) == (2, 2)
    await send(sink)
    assert (sink.connections, sink.most_open) == (3, 2)
    await sink.stop()
    assert sink.open == 0


async def test_a_client_that_goes_away_in_the_middle_leaves_nothing_open(sink):
    for said in (b"", b"EHLO me\r\n", b"EHLO me\r\nSTARTTLS\r\n"):
        reader, writer = await asyncio.open_connection(sink.host, sink.port)
        writer.write(said)
        for _ in range(1 + said.count(b"\r\n")):
            await reader.readline()
        writer.close()
        await writer.wait_closed()
    await send(sink)
    async with asyncio.timeout(60.0):
        while sink.open:  # noqa: ASYNC110  (the client's end says nothing of the server's)
            await asyncio.sleep(0.01)


async def test_stopped_it_refuses_and_started_again_it_goes_on(sink):
    async with client(sink) as connection:
        sink.plan(451)
        await sink.stop()
        await sink.stop()
        with pytest.raises(aiosmtplib.SMTPServerDisconnected):
            await connection.send_message(letter())
    with pytest.raises(aiosmtplib.SMTPConnectError):
        await send(sink)
    await sink.start()
    with pytest.raises(aiosmtplib.SMTPDataError):
        await send(sink)
    await send(sink)
    assert len(sink.mails) == 1


async def test_waiting_for_mail(sink):
    waiting = asyncio.create_task(sink.journal.arrived(2))
    await send(sink)
    assert not waiting.done()
    await send(sink)
    assert len(await waiting) == 2
    with pytest.raises(TimeoutError, match=r"2 of 3 arrived within 0\.01 s"):
        await sink.journal.arrived(3, 0.01)


async def test_the_file_holds_the_same(trust, tmp_path):
    async with SmtpSink(trust=trust, record=tmp_path / "mails") as sink:
        sink.plan(None, 550)
        await send(sink)
        with pytest.raises(aiosmtplib.SMTPDataError):
            await send(sink)
        async with client(sink) as connection:
            await connection.sendmail("a@example.com", ["b@example.com"], b"Subject: \xff\xfe\r\n\r\nno UTF-8 \x80\r\n")
    mails, posts = read(tmp_path / "mails")
    assert (mails, posts) == (sink.attempts, [])
    assert b"\xff\xfe" in mails[2].raw


async def test_it_keeps_up_with_300_mails_a_second(sink):
    """With the client in the same process and thread, so this is far below what it can do."""
    number = 300
    async with client(sink) as connection:
        started = time.process_time()
        for _ in range(number):
            await connection.send_message(letter())
        spent = time.process_time() - started
    assert len(sink.mails) == number
    assert spent / number < 1 / 100  # CPU of both sides; the machine may be busy with other things


async def codes_of(sink, count, **options):
    """The answers to so many messages over one connection."""
    codes = []
    async with client(sink, **options) as connection:
        for _ in range(count):
            try:
                await connection.send_message(letter())
            except aiosmtplib.SMTPResponseException as error:
                codes.append(error.code)
            else:
                codes.append(250)
    return codes


@pytest.mark.parametrize(
    ("rate", "refusal"),
    [(Rate(2, 60.0), 454), (Rate(2, 60.0, "450 4.7.1 Error: too much mail from 127.0.0.1", at="mail"), 450)],
)
async def test_a_rate_is_kept(sink, rate, refusal):
    sink.limit(Limits(rate=rate))
    assert await codes_of(sink, 4) == [250, 250, refusal, refusal]
    assert len(sink.mails) == 2


async def test_connections_beyond_the_limit_are_refused_until_others_end(sink):
    sink.limit(Limits(connections=1))
    async with client(sink):
        with pytest.raises(aiosmtplib.SMTPConnectResponseError, match="Concurrent connections"):
            await send(sink)
    await send(sink)
    sink.limit(Limits(connections=1, connections_at="mail"))
    async with client(sink) as older:
        assert await codes_of(sink, 1) == [432]
        await older.send_message(letter())
    assert len(sink.mails) == 2


async def test_recipients_beyond_the_limit_are_refused(sink):
    sink.limit(Limits(recipients=2))
    refused, _ = await send(sink, letter(to="a@example.com, b@example.com, c@example.com, d@example.com"))
    assert {who: error.code for who, error in refused.items()} == {"c@example.com": 452, "d@example.com": 452}
    assert sink.mails[0].recipients == ("a@example.com", "b@example.com")


async def test_too_many_errors_end_the_connection(sink):
    sink.limit(Limits(errors=2))
    everybody = [f"{who}@example.com" for who in "abcd"]
    for who in everybody:
        sink.refuse(who, 550)
    async with client(sink) as connection:
        await connection.mail("a@example.com")
        codes = []
        for who in everybody[:3]:
            with pytest.raises(aiosmtplib.SMTPRecipientRefused) as caught:
                await connection.rcpt(who)
            codes.append(caught.value.code)
        assert codes == [550, 550, 421]
        with pytest.raises(aiosmtplib.SMTPServerDisconnected):
            await connection.rcpt(everybody[3])
