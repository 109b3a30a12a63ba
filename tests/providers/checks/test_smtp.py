"""A wrong password is told from a wrong port from a certificate problem; nothing is ever sent."""

from __future__ import annotations

import itertools
import socket
import threading
import time

import pytest

from pipebell.core.destinations.email import EmailTarget
from pipebell.providers.checks import smtp
from pipebell.providers.checks.line import Line
from pipebell.providers.tls import client_context
from pipebell.sinks import Limits, SmtpSink, Trust, running

USERS = {"me@example.com": "right-password"}


@pytest.fixture(scope="module")
def trust(tmp_path_factory):
    return Trust(tmp_path_factory.mktemp("trust"))


@pytest.fixture
def serve(trust):
    """Starts a mail server of these options."""
    opened = []

    def start(**options) -> SmtpSink:
        sink = SmtpSink(**{"users": USERS, "trust": trust} | options)
        context = running(sink)
        context.__enter__()
        opened.append((context, sink))
        return sink

    yield start
    for context, sink in opened:
        assert sink.attempts == []  # no message ever came as far as its data
        context.__exit__(None, None, None)


def target(sink=None, **changes):
    given = {
        "host": "127.0.0.1",
        "port": sink.port if sink else 587,
        "use_tls": True,
        "trusted": True,
        "from_email": "me@example.com",
        "from_name": None,
        "to": ("you@example.com",),
        "username": "me@example.com",
        "password": "right-password",
    }
    return EmailTarget(**given | changes)


def finding(target, ca_file=""):
    *before, last = conversation(target, ca_file)
    assert all(finding.ok for finding in before)
    assert "right-password" not in repr((before, last))
    assert last.ok or last.reason
    return last


def conversation(target, ca_file="", line=None, **options):
    return list(smtp.check(target, line or Line(), client_context(str(ca_file)), **options))


def test_all_is_well(serve):
    sink = serve()
    found = conversation(target(sink), sink.ca_file)
    assert [(finding.what, finding.ok) for finding in found] == [
        ("name", True), ("connection", True), ("TLS", True), ("login", True), ("sender", True),
        ("recipients", True),
    ]  # fmt: skip


def test_a_wrong_password(serve):
    sink = serve()
    found = finding(target(sink, password="wrong"), sink.ca_file)
    assert (found.what, found.ok) == ("login", False)
    assert "user name or password is wrong: 535" in found.message
    assert "app password" in found.fix


@pytest.mark.parametrize(
    ("host", "fix"),
    [("smtp.gmail.com", "apppasswords"), ("smtp.sendgrid.net", "`apikey`"), ("x.amazonaws.com", "IAM")],
)
def test_each_provider_has_its_mend(serve, monkeypatch, host, fix):
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, port, *a, **k: real("127.0.0.1", port, *a, **k))
    sink = serve(names=[host])
    found = finding(target(sink, host=host, password="wrong"), sink.ca_file)
    assert (found.what, fix in found.fix) == ("login", True)


def test_a_wrong_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    found = finding(target(port=port))
    assert (found.what, f"nothing listens at 127.0.0.1:{port}") == ("connection", found.message)
    assert "587" in found.fix


def test_a_server_that_never_speaks(monkeypatch):
    monkeypatch.setattr(smtp, "_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = finding(target(port=listener.getsockname()[1]))
    assert (found.what, "firewall" in found.fix) == ("connection", True)


def test_a_certificate_of_nobody_we_know(serve):
    found = finding(target(serve()))
    assert (found.what, "PIPEBELL_CA_FILE" in found.fix) == ("certificate", True)


def test_a_certificate_for_another_name(serve):
    sink = serve(names=["mail.example.com"])
    found = finding(target(sink), sink.ca_file)
    assert (found.what, "name that the certificate is for" in found.fix) == ("certificate", True)


def test_tls_from_the_start_that_nobody_asked_for(serve, monkeypatch):
    monkeypatch.setattr(smtp, "_TIMEOUT", 0.5)
    found = finding(target(serve(security="implicit")))
    assert (found.what, "expects TLS from the start" in found.message) == ("TLS", True)
    assert "email.smtpTls to Implicit" in found.fix


def test_no_tls_from_the_start_where_it_is_asked_for(serve):
    sink = serve()
    found = finding(target(sink, implicit_tls=True), sink.ca_file)
    assert (found.what, "587" in found.fix) == ("TLS", True)
    assert "email.smtpTls to StartTls" in found.fix


def test_tls_from_the_start(serve):
    sink = serve(security="implicit")
    assert finding(target(sink, implicit_tls=True), sink.ca_file).ok


def test_letters_of_all_kinds(serve):
    """smtplib's own login knows ASCII only."""
    for mechanism in ("PLAIN", "LOGIN"):
        sink = serve(users={"müller": "pässwörd ☃"}, mechanisms=[mechanism])
        assert finding(target(sink, username="müller", password="pässwörd ☃"), sink.ca_file).ok
        wrong = finding(target(sink, username="müller", password="paßwort"), sink.ca_file)
        assert (wrong.what, "535" in wrong.message) == ("login", True)


def test_a_mechanism_that_the_server_does_not_know_after_all(serve):
    sink = serve()
    sink.plan("500 5.5.1 what?", at="login")
    assert finding(target(sink), sink.ca_file).ok


def test_the_name_for_ehlo(serve):
    said = []
    sink = serve()
    sink.script("mail").always = lambda _: said.extend(one.session.host_name for one in sink._sessions)
    assert finding(target(sink), sink.ca_file).ok
    assert finding(target(sink, helo="pipebell.example.com"), sink.ca_file).ok
    assert said == ["[127.0.0.1]", "pipebell.example.com"]


@pytest.mark.parametrize(
    ("answer", "message", "fix"),
    [
        ("550 5.1.1 No such user", "you@example.com is refused: 550", "toEmails"),
        ("553 5.7.1 <me@example.com>: Sender address rejected: not owned by user", "is refused", "fromEmail"),
        ("554 5.7.1 Relay access denied", "is refused", "relay"),
        ("450 4.2.0 Greylisted", "not now: you@example.com", "new to it"),
        ("421 4.7.0 bye", "not now: ", "pause"),
    ],
)
def test_a_recipient_that_is_refused(serve, answer, message, fix):
    sink = serve()
    sink.refuse("you@example.com", answer)
    found = finding(target(sink), sink.ca_file)
    assert (found.what, message in found.message, fix in found.fix) == ("recipients", True, True)


@pytest.mark.parametrize("stage", ["connect", "login", "mail"])
def test_no_answer_of_a_server_is_obeyed_by_a_terminal(serve, stage):
    sink = serve()
    sink.plan("554 \x1b]0;PWNED\x07\x1b]52;c;Y3VybA==\x07\x1b[2J no", at=stage)
    *_, last = conversation(target(sink), sink.ca_file)
    assert not last.ok
    assert last.message.isprintable()


def test_many_recipients(serve):
    sink = serve(limits=Limits(recipients=10))
    everybody = tuple(f"r{n}@example.com" for n in range(30))
    found = finding(target(sink, to=everybody), sink.ca_file)
    assert (found.ok, "10 of 30 recipients" in found.message) == (True, True)
    sink = serve()
    assert "all 30 recipients" in finding(target(sink, to=everybody), sink.ca_file).message
    for who in everybody[:3]:
        sink.refuse(who, 550)
    assert "r0@example.com is refused (and 2 more)" in finding(target(sink, to=everybody), sink.ca_file).message


def test_no_starttls(serve):
    found = finding(target(serve(security="none")))
    assert (found.what, "does not offer STARTTLS" in found.message) == ("TLS", True)


def test_no_login_where_one_is_needed(serve):
    sink = serve()
    found = finding(target(sink, username=None, password=None), sink.ca_file)
    assert (found.what, found.ok) == ("sender", False)
    assert "set smtpUsername and smtpPassword" in found.fix


def test_no_login_offered(serve):
    sink = serve(mechanisms=(), users=None)
    found = finding(target(sink), sink.ca_file)
    assert (found.what, "offers no login" in found.message) == ("login", True)


@pytest.mark.parametrize(
    ("answer", "fix"), [("452 4.5.3 Daily quota exceeded", "quota"), ("550 5.7.1 Sender not verified", "fromEmail")]
)
def test_a_sender_that_may_not(serve, answer, fix):
    sink = serve()
    sink.plan(answer, at="mail")
    found = finding(target(sink), sink.ca_file)
    assert (found.what, fix in found.fix) == ("sender", True)


def test_a_login_that_is_not_possible_now(serve):
    sink = serve()
    sink.plan(454, 454, at="login")
    found = finding(target(sink), sink.ca_file)
    assert (found.what, "try again later" in found.fix) == ("login", True)


def test_a_server_that_turns_us_away(serve):
    sink = serve()
    sink.plan(421, at="connect")
    found = finding(target(sink), sink.ca_file)
    assert (found.what, "421" in found.message) == ("connection", True)


def test_a_name_that_nobody_knows():
    found = finding(target(host="smtp.gmial.invalid"))
    assert (found.what, "cannot be resolved" in found.message) == ("name", True)


class Drip:
    """A server that greets, and then sends whatever `after` makes, for as long as somebody listens."""

    def __init__(self, after, greeting=b"220 hello\r\n"):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._after, self._greeting = after, greeting
        self.ended = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        connection, _ = self._listener.accept()
        with connection:
            try:
                connection.sendall(self._greeting)
                while True:
                    connection.sendall(self._after())
            except OSError:
                self.ended.set()

    def close(self):
        self._listener.close()


def test_an_answer_without_end_takes_no_memory():
    server = Drip(lambda: b"250-" + b"x" * 60 + b"\r\n")
    last = finding(target(port=server.port, use_tls=False, username=None, password=None))
    server.close()
    assert (last.ok, "answer without end" in last.message) == (False, True)
    assert server.ended.wait(30), "the connection is given up"


def test_a_line_without_end_is_given_up():
    server = Drip(lambda: b"250" + b"x" * 60)
    last = finding(target(port=server.port, use_tls=False, username=None, password=None))
    server.close()
    assert (last.ok, len(last.message) < 400) == (False, True)


def test_a_trickle_is_cut_off():
    """Each byte comes in time, and the answer never: only from outside can it be told that this takes too long."""

    line, sent = Line(seconds=30), itertools.count()

    def trickle():
        if next(sent) == 5:
            line.cut()
        time.sleep(0.05)
        return b"2"

    server = Drip(trickle)
    last = conversation(target(port=server.port, use_tls=False, username=None, password=None), line=line)[-1]
    server.close()
    assert (last.what, last.reason) == ("time", "Timeout")
    assert "after 30 s" in last.message
    assert server.ended.wait(30)


def test_a_line_that_was_cut_connects_no_more(serve):
    line = Line(seconds=30)
    line.cut()
    last = conversation(target(serve()), line=line)[-1]
    assert (last.ok, last.what) == (False, "time")


def test_neither_user_name_nor_password_is_quoted_however_it_is_echoed(serve):
    sink = serve()
    sink.plan("535 5.7.8 no AG1lQGV4YW1wbGUuY29tAHJpZ2h0LXBhc3N3b3Jk for me@example.com right-password", at="login")
    last = conversation(target(sink), sink.ca_file)[-1]
    assert last.reason == "SmtpAuthFailed"
    for secret in ("AG1lQGV4YW1wbGUuY29tAHJpZ2h0LXBhc3N3b3Jk", "me@example.com", "right-password"):
        assert secret not in repr(last)


def test_roots_recipients_are_not_named(serve):
    sink = serve()
    sink.refuse("hidden@platform.example", "550 5.1.1 No such user")
    roots = target(sink, to=("mine@example.com", "hidden@platform.example"), recipients="mine@example.com")
    last = conversation(roots, sink.ca_file, discreet=True)[-1]
    assert last.message.startswith("a recipient of the platform's is refused")
    alone = target(serve(), to=("hidden@platform.example",))
    assert "hidden" not in repr(conversation(alone, sink.ca_file, discreet=True))


def test_letters_that_smtp_does_not_take(serve):
    sink = serve()
    last = conversation(target(sink, to=("größe@example.com",)), sink.ca_file)[-1]
    assert last.ok is False
    assert last.message.isprintable()
