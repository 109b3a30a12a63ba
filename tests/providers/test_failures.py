import socket
import ssl

import aiosmtplib
import pytest

from pipebell.core.outcome import Verdict
from pipebell.core.render.text import masked
from pipebell.providers.failures import FAILURES, outcome_of


def caused(error, cause):
    error.__cause__ = cause
    return error


CASES = [
    (ssl.SSLCertVerificationError(1, "certificate verify failed"), Verdict.PERMANENT, "TlsCertificateInvalid"),
    (ssl.SSLError(1, "wrong version number"), Verdict.RETRY, "TlsFailed"),
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), Verdict.RETRY, "DnsFailed"),
    (TimeoutError(), Verdict.RETRY, "Timeout"),
    (ConnectionRefusedError(111, "refused"), Verdict.RETRY, "ConnectionFailed"),
    (ConnectionResetError(104, "reset"), Verdict.RETRY, "ConnectionLost"),
    (OSError(113, "no route"), Verdict.RETRY, "ConnectionFailed"),
    (aiosmtplib.SMTPServerDisconnected("gone"), Verdict.RETRY, "ConnectionLost"),
    (aiosmtplib.SMTPReadTimeoutError("slow"), Verdict.RETRY, "Timeout"),
    (
        caused(aiosmtplib.SMTPConnectError("x"), ssl.SSLCertVerificationError()),
        Verdict.PERMANENT,
        "TlsCertificateInvalid",
    ),
    (caused(ConnectionError("x"), caused(ValueError("https://secret"), TimeoutError())), Verdict.RETRY, "Timeout"),
]


@pytest.mark.parametrize(("error", "verdict", "reason"), CASES, ids=lambda case: type(case).__name__)
def test_what_errors_mean(error, verdict, reason):
    outcome = outcome_of(error, "smtp.example.com")
    assert (outcome.verdict, outcome.reason) == (verdict, reason)
    assert outcome.message.startswith("smtp.example.com: ")
    assert "secret" not in outcome.message


def test_the_table_is_whole():
    assert {row.reason for row in FAILURES} == {reason for _, _, reason in CASES}
    assert FAILURES[-1].kind is OSError


def test_the_operating_systems_words_are_told():
    assert outcome_of(ConnectionRefusedError(111, "x"), "h").message.endswith("(Connection refused)")


def test_masked_strikes_out_the_longest_first():
    assert masked("https://h/T1/B2 and B2", "B2", "https://h/T1/B2", None, "") == "*** and ***"


@pytest.mark.parametrize(
    "echoed",
    [
        "pass\u200bword-1",
        "pa\x1b[31mss\x1b[0mword-1",
        "pass\u202eword-1",
        "\x1b[1mpassword-1",
        "x" * 190 + "password-1",
    ],
)
def test_what_is_cleaned_away_hides_no_secret_and_a_cut_leaves_no_half_of_one(echoed):
    shown = masked(f"no {echoed} here", "password-1")
    assert "password-1" not in shown
    assert not shown.endswith(("pass…", "passw…", "p…"))
    assert "***" in shown
