"""Sinks in a thread and as a process of their own."""

import asyncio
import json
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from email.message import EmailMessage

import pytest

from pipebell.sinks import SlackSink, SmtpSink, Trust, read, running


def letter():
    message = EmailMessage()
    message["From"], message["To"] = "a@example.com", "b@example.com"
    message.set_content("hello")
    return message


def post(url, ca_file):
    request = urllib.request.Request(url, data=b'{"text": "hello"}', method="POST")
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=ca_file)) as answer:
        return answer.read()


def test_in_a_thread():
    trust = Trust()
    smtp, slack = SmtpSink(trust=trust), SlackSink(trust=trust)
    with running(smtp, slack) as loop:
        with smtplib.SMTP("localhost", smtp.port) as client:
            client.starttls(context=trust.client())
            client.send_message(letter())
        assert post(slack.webhook(), slack.ca_file) == b"ok"
        assert len(smtp.journal.wait(1)) == len(slack.journal.wait(1)) == 1
        with pytest.raises(TimeoutError, match="1 of 2"):
            smtp.journal.wait(2, 0.05)
        asyncio.run_coroutine_threadsafe(smtp.stop(), loop).result()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", smtp.port))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", slack.port))


def test_a_port_that_is_taken_is_told_to_who_asked():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"), running(SmtpSink(port=port)):
            pass


def test_a_temporary_trust_leaves_no_file():
    trust = Trust()
    folder = trust.ca_file.parent
    assert folder.exists()
    del trust
    assert not folder.exists()


def test_as_a_process(tmp_path):
    ready, record = tmp_path / "ready", tmp_path / "record"
    options = ["--user", "me:secret", "--smtp-answers", "451", "--slack-answers", "500,200", "--smtp-rate", "2/60"]
    places = ["--ready-file", ready, "--record", record, "--tls-directory", tmp_path / "tls"]
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "pipebell.sinks", *options, *places],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60.0
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        facts = json.loads(ready.read_text())
        assert facts["ca_file"] == str(tmp_path / "tls" / "sinks-ca.crt")
        host, _, port = facts["smtp"].partition(":")
        with smtplib.SMTP(host, int(port)) as client:
            client.starttls(context=ssl.create_default_context(cafile=facts["ca_file"]))
            client.login("me", "secret")
            with pytest.raises(smtplib.SMTPDataError):
                client.send_message(letter())
            client.send_message(letter())
            with pytest.raises(smtplib.SMTPDataError, match="Maximum sending rate exceeded"):
                client.send_message(letter())
        webhook = f"{facts['slack']}/services/T0/B0/x"
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(webhook, facts["ca_file"])
        caught.value.close()
        assert post(webhook, facts["ca_file"]) == b"ok"
        mails, posts = read(record)
        assert [mail.status[:3] for mail in mails] == ["451", "250", "454"]
        assert [request.status for request in posts] == [500, 200]
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60.0)
    assert process.returncode == 0
    assert json.loads(said) == facts


@pytest.mark.parametrize("wrong", [["--user", "nobody"], ["--smtp-answers", "many"], ["--smtp-rate", "0/5"]])
def test_wrong_options_are_a_usage_error(wrong):
    done = subprocess.run([sys.executable, "-m", "pipebell.sinks", *wrong], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
