"""What is said of an endpoint that could not be asked, or that answered: why, and never with its URL."""

import errno
import itertools
import socket
import ssl

import pytest

from pipebell.core.destinations.http import Response
from pipebell.core.destinations.pagerduty import PAGERDUTY, PagerDutyTarget
from pipebell.core.destinations.slack import SLACK, SlackTarget
from pipebell.core.hosts import HostPolicy
from pipebell.providers.checks import webhook

URL = "https://hooks.slack.com:8443/services/T0/B0/very-secret"


def chained(*errors):
    """The first, caused by the second, and so on."""
    for error, cause in itertools.pairwise(errors):
        error.__cause__ = cause
    return errors[0]


def tls(reason):
    error = ssl.SSLError(1, f"[SSL: {reason}] {URL}")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "what", "reason", "why"),
    [
        (OSError(errno.ECONNREFUSED, f"Connect call failed {URL}"), "connection", "ConnectionFailed", "refused"),
        (OSError(errno.EHOSTUNREACH, ""), "connection", "ConnectionFailed", "No route"),
        (ConnectionResetError(errno.ECONNRESET, "x"), "connection", "ConnectionFailed", "reset"),
        (TimeoutError(), "connection", "Timeout", "no answer in time"),
        (tls("WRONG_VERSION_NUMBER"), "TLS", "TlsFailed", "wrong version number"),
        (RuntimeError(URL), "connection", "ConnectionFailed", "no connection"),
    ],
)
def test_why_it_cannot_be_reached(error, what, reason, why):
    found = webhook.unreachable(chained(ConnectionError("the request failed"), error), URL)
    assert (found.ok, found.what, found.reason) == (False, what, reason)
    assert why in found.message
    assert "hooks.slack.com:8443" in found.message
    assert "very-secret" not in repr(found)


def test_a_certificate_that_is_not_trusted():
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_message = "self-signed certificate"
    found = webhook.unreachable(chained(ConnectionError(), error), URL)
    assert (found.what, found.reason) == ("certificate", "TlsCertificateInvalid")
    assert "self-signed certificate" in found.message


@pytest.mark.parametrize(
    ("status", "body", "ok", "said"),
    [
        (200, b"ok", True, "answers"),
        (302, b"", True, "answers"),
        (405, b"", True, "answers"),
        (404, b"no_service", False, "404 (no_service)"),
        (404, b"very-secret", False, "404: "),
        (410, b"\x1b[2J<html>", False, "410: "),
        (503, b"", False, "503"),
    ],
)
def test_what_an_answer_says(status, body, ok, said):
    found = webhook.answered(SLACK, SlackTarget(URL), Response(status, {}, body))
    assert (found.ok, said in found.message) == (ok, True)
    assert ok or found.reason == f"Http{status}"
    assert "very-secret" not in repr(found)
    assert found.message.isprintable()


@pytest.mark.parametrize(
    ("answer", "ok", "what", "said"),
    [
        (Response(200, {}, b'{"ok":true}'), True, "webhook", "takes the login"),
        (Response(200, {}, b'{"ok":false,"error":"invalid_auth"}'), False, "login", "invalid_auth"),
        (Response(401, {}, b"very-secret"), False, "login", "401"),
        (Response(429, {}, b""), True, "webhook", "answers"),
        (Response(500, {}, b""), False, "webhook", "500"),
    ],
)
def test_what_an_answer_says_of_a_login(answer, ok, what, said):
    target = SlackTarget(URL, where="spec.slack", bot_token="very-secret", channel="#data")
    found = webhook.answered(SLACK, target, answer)
    assert (found.ok, found.what, said in found.message) == (ok, what, True)
    assert "very-secret" not in repr(found)


def test_whoever_has_only_a_host_to_ask_is_told_that_it_answers():
    for answer in (200, 404, 401, 500):
        found = webhook.answered(
            PAGERDUTY, PagerDutyTarget("https://events.pagerduty.com/x"), Response(answer, {}, b"")
        )
        assert (found.ok, found.message.split(";")[0]) == (True, "events.pagerduty.com answers")


def test_what_is_wrong_with_a_url_is_said_before_anybody_is_asked():
    for url, reason in (("https://[::1/x", "InvalidUrl"), ("https://evil.example/x", "HostNotAllowed")):
        found = webhook.objection(SLACK, SlackTarget(url), HostPolicy())
        assert (found.ok, found.reason) == (False, reason)
    assert webhook.objection(SLACK, SlackTarget("https://hooks.slack.com/services/T00/B00/x9"), HostPolicy()) is None


def test_the_error_of_a_real_refusal_names_it():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefusedError) as refused:
        socket.create_connection(("127.0.0.1", port))
    assert "refused" in webhook.unreachable(refused.value, f"https://127.0.0.1:{port}/x").message
