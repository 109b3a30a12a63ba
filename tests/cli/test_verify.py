"""`pipebell verify` tells a wrong password from a wrong port from a certificate problem; nothing is ever sent."""

from __future__ import annotations

import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from pipebell.cli import smtp_check, webhook_check
from pipebell.core.destinations.alertmanager import ALERTMANAGER, AlertmanagerTarget
from pipebell.core.destinations.email import EmailTarget
from pipebell.core.destinations.slack import SLACK, SlackTarget
from pipebell.core.hosts import HostPolicy
from pipebell.sinks import Limits, SlackSink, SmtpSink, Trust, running

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


def verdict(target, ca_file=""):
    *before, last = smtp_check.check(target, str(ca_file))
    assert all(finding.ok for finding in before)
    assert "right-password" not in repr((before, last))
    return last


def test_all_is_well(serve):
    sink = serve()
    found = list(smtp_check.check(target(sink), str(sink.ca_file)))
    assert [(finding.what, finding.ok) for finding in found] == [
        ("name", True), ("connection", True), ("TLS", True), ("login", True), ("sender", True),
        ("recipients", True),
    ]  # fmt: skip


def test_a_wrong_password(serve):
    sink = serve()
    found = verdict(target(sink, password="wrong"), sink.ca_file)
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
    found = verdict(target(sink, host=host, password="wrong"), sink.ca_file)
    assert (found.what, fix in found.fix) == ("login", True)


def test_a_wrong_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    found = verdict(target(port=port))
    assert (found.what, f"nothing listens at 127.0.0.1:{port}") == ("connection", found.message)
    assert "587" in found.fix


def test_a_server_that_never_speaks(monkeypatch):
    monkeypatch.setattr(smtp_check, "_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = verdict(target(port=listener.getsockname()[1]))
    assert (found.what, "firewall" in found.fix) == ("connection", True)


def test_a_certificate_of_nobody_we_know(serve):
    found = verdict(target(serve()))
    assert (found.what, "PIPEBELL_CA_FILE" in found.fix) == ("certificate", True)


def test_a_certificate_for_another_name(serve):
    sink = serve(names=["mail.example.com"])
    found = verdict(target(sink), sink.ca_file)
    assert (found.what, "name that the certificate is for" in found.fix) == ("certificate", True)


def test_tls_from_the_start_that_nobody_asked_for(serve, monkeypatch):
    monkeypatch.setattr(smtp_check, "_TIMEOUT", 0.5)
    found = verdict(target(serve(security="implicit")))
    assert (found.what, "expects TLS from the start" in found.message) == ("TLS", True)
    assert "email.smtpTls to Implicit" in found.fix


def test_no_tls_from_the_start_where_it_is_asked_for(serve):
    sink = serve()
    found = verdict(target(sink, implicit_tls=True), sink.ca_file)
    assert (found.what, "587" in found.fix) == ("TLS", True)
    assert "email.smtpTls to StartTls" in found.fix


def test_tls_from_the_start(serve):
    sink = serve(security="implicit")
    assert verdict(target(sink, implicit_tls=True), sink.ca_file).ok


def test_letters_of_all_kinds(serve):
    """smtplib's own login knows ASCII only."""
    for mechanism in ("PLAIN", "LOGIN"):
        sink = serve(users={"müller": "pässwörd ☃"}, mechanisms=[mechanism])
        assert verdict(target(sink, username="müller", password="pässwörd ☃"), sink.ca_file).ok
        wrong = verdict(target(sink, username="müller", password="paßwort"), sink.ca_file)
        assert (wrong.what, "535" in wrong.message) == ("login", True)


def test_a_mechanism_that_the_server_does_not_know_after_all(serve):
    sink = serve()
    sink.plan("500 5.5.1 what?", at="login")
    assert verdict(target(sink), sink.ca_file).ok


def test_the_name_for_ehlo(serve):
    said = []
    sink = serve()
    sink.script("mail").always = lambda _: said.extend(one.session.host_name for one in sink._sessions)
    assert verdict(target(sink), sink.ca_file).ok
    assert verdict(target(sink, helo="pipebell.example.com"), sink.ca_file).ok
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
    found = verdict(target(sink), sink.ca_file)
    assert (found.what, message in found.message, fix in found.fix) == ("recipients", True, True)


@pytest.mark.parametrize("stage", ["connect", "login", "mail"])
def test_no_answer_of_a_server_is_obeyed_by_a_terminal(serve, stage):
    sink = serve()
    sink.plan("554 \x1b]0;PWNED\x07\x1b]52;c;Y3VybA==\x07\x1b[2J no", at=stage)
    *_, last = smtp_check.check(target(sink), str(sink.ca_file))
    assert not last.ok
    assert last.message.isprintable()


def test_many_recipients(serve):
    sink = serve(limits=Limits(recipients=10))
    everybody = tuple(f"r{n}@example.com" for n in range(30))
    found = verdict(target(sink, to=everybody), sink.ca_file)
    assert (found.ok, "10 of 30 recipients" in found.message) == (True, True)
    sink = serve()
    assert "all 30 recipients" in verdict(target(sink, to=everybody), sink.ca_file).message
    for who in everybody[:3]:
        sink.refuse(who, 550)
    assert "r0@example.com is refused (and 2 more)" in verdict(target(sink, to=everybody), sink.ca_file).message


def test_no_starttls(serve):
    found = verdict(target(serve(security="none")))
    assert (found.what, "does not offer STARTTLS" in found.message) == ("TLS", True)


def test_no_login_where_one_is_needed(serve):
    sink = serve()
    found = verdict(target(sink, username=None, password=None), sink.ca_file)
    assert (found.what, found.ok) == ("sender", False)
    assert "set smtpUsername and smtpPassword" in found.fix


def test_no_login_offered(serve):
    sink = serve(mechanisms=(), users=None)
    found = verdict(target(sink), sink.ca_file)
    assert (found.what, "offers no login" in found.message) == ("login", True)


@pytest.mark.parametrize(
    ("answer", "fix"), [("452 4.5.3 Daily quota exceeded", "quota"), ("550 5.7.1 Sender not verified", "fromEmail")]
)
def test_a_sender_that_may_not(serve, answer, fix):
    sink = serve()
    sink.plan(answer, at="mail")
    found = verdict(target(sink), sink.ca_file)
    assert (found.what, fix in found.fix) == ("sender", True)


def test_a_login_that_is_not_possible_now(serve):
    sink = serve()
    sink.plan(454, 454, at="login")
    found = verdict(target(sink), sink.ca_file)
    assert (found.what, "try again later" in found.fix) == ("login", True)


def test_a_server_that_turns_us_away(serve):
    sink = serve()
    sink.plan(421, at="connect")
    found = verdict(target(sink), sink.ca_file)
    assert (found.what, "421" in found.message) == ("connection", True)


def test_a_name_that_nobody_knows():
    found = verdict(target(host="smtp.gmial.invalid"))
    assert (found.what, "cannot be resolved" in found.message) == ("name", True)


def webhook(target, ca_file="", hosts=()):
    *before, last = webhook_check.check(SLACK, target, HostPolicy({"slack": hosts}), ca_file)
    assert "services" not in repr((before, last)).replace("hooks.slack.com/services/T…", "")
    return last


def test_webhooks(trust):
    with running(SlackSink(trust=trust)) as _:
        pass
    sink = SlackSink(trust=trust)
    with running(sink):
        good, host = SlackTarget(sink.webhook("Tgood")), (f"{sink.host}:{sink.port}",)
        assert webhook(good, str(sink.ca_file), host).ok
        assert sink.posts == []
        assert webhook(good, "", host).what == "certificate"
        refused = webhook(good, str(sink.ca_file))
        assert (refused.what, "PIPEBELL_ALLOWED_HOSTS" in refused.fix) == ("host", True)
    assert webhook(good, str(sink.ca_file), host).what == "connection"
    example = SlackTarget("https://hooks.slack.com/services/YOUR/WEBHOOK/URL")
    assert (webhook(example).what, webhook(example).ok) == ("form", False)


def test_an_alertmanager_without_tls():
    class Ready(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    asked = []
    server = HTTPServer(("127.0.0.1", 0), Ready)
    Thread(target=server.serve_forever, daemon=True).start()
    target = AlertmanagerTarget(f"http://127.0.0.1:{server.server_port}/api/v2/alerts", trusted=True)
    *_, last = webhook_check.check(ALERTMANAGER, target, HostPolicy())
    server.shutdown()
    server.server_close()
    assert (last.ok, asked) == (True, ["/"])


def test_by_command_with_the_clusters_secrets(on_stage, make_config, stage):
    make_config("acme", webhook="Tverify", email=["data@acme.example"])
    done = on_stage("verify", "acme")
    assert done.code == 0, done.out
    assert "acme: NotificationConfig" in done.out
    assert "ok    email: login: user name and password are right" in done.out
    assert "ok    slack: webhook" in done.out
    assert stage.smtp.mails == []
    assert stage.slack.posts == []


def test_by_command_for_everybody_in_the_namespace(on_stage, apply, make_config, stage):
    make_config("acme", webhook="Tall")
    email = {
        "smtpHost": stage.smtp.host, "smtpPort": stage.smtp.port, "smtpUsername": "globex",
        "smtpPassword": "${SMTP_PASSWORD}", "fromEmail": "a@globex.example", "toEmails": ["b@globex.example"],
    }  # fmt: skip
    apply("Secret", "globex-secret", stringData={"SMTP_PASSWORD": "wrong"})
    apply(
        "NotificationConfig",
        "globex",
        spec={"orgSlug": "globex", "email": email, "secretRef": {"name": "globex-secret"}},
    )
    done = on_stage("verify", "-o", "json")
    assert done.code == 1
    results = {result["org"]: result for result in done.json}
    assert results["acme"]["ok"] is True
    assert results["globex"]["checks"]["email"][-1]["what"] == "login"
    assert stage.users["globex"] not in done.out


def test_what_is_missing_is_named(on_stage, apply):
    apply("NotificationConfig", "late", spec={
        "orgSlug": "late", "slack": {"enabled": True, "webhookUrl": "${X}"}, "secretRef": {"name": "missing"},
        "eventTriggers": [{"event": "pipeline_failure", "providers": ["slack"]}],
    })  # fmt: skip
    done = on_stage("verify", "late")
    assert done.code == 1
    assert "slack.webhookUrl: there is no Secret missing" in done.out


def test_name_port_and_tls_without_the_credentials(on_stage, apply, stage, place):
    """Whoever may see configurations but no Secrets still learns of a wrong name, port or certificate."""
    stage.cluster.kubectl("create", "serviceaccount", "viewer", "-n", place)
    role = ("--clusterrole=pipebell-view", f"--serviceaccount={place}:viewer")
    stage.cluster.kubectl("create", "rolebinding", "viewer", "-n", place, *role)
    kubeconfig = stage.cluster.kubeconfig_for_service_account(place, "viewer")
    email = {
        "smtpHost": stage.smtp.host, "smtpPort": stage.smtp.port, "smtpUsername": "globex",
        "smtpPassword": "${SMTP_PASSWORD}", "fromEmail": "a@globex.example", "toEmails": ["b@globex.example"],
    }  # fmt: skip
    apply("Secret", "s", stringData={"SMTP_PASSWORD": stage.users["globex"]})
    apply("NotificationConfig", "globex", spec={"orgSlug": "globex", "email": email, "secretRef": {"name": "s"}})
    done = on_stage("verify", "globex", "-o", "json", "--kubeconfig", kubeconfig)
    found = [(finding["what"], finding["ok"]) for finding in done.json[0]["checks"]["email"]]
    assert found == [("name", True), ("connection", True), ("TLS", True), ("secrets", False)]
    done = on_stage("verify", "globex", "--kubeconfig", kubeconfig, env={"PIPEBELL_CA_FILE": ""})
    assert "wrong email: certificate" in done.out
