import socket
import ssl

import aiosmtplib
import pytest

from pipebell.core.outcome import OutcomeKind
from pipebell.core.render.text import masked
from pipebell.providers.failures import FAILURES, outcome_of


def caused(error, cause):
    error.__cause__ = cause
    return error


CASES = [
    (ssl.SSLCertVerificationError(1, "certificate verify failed"), OutcomeKind.PERMANENT, "TlsCertificateInvalid"),
    (ssl.SSLError(1, "wrong version number"), OutcomeKind.RETRY, "TlsFailed"),
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), OutcomeKind.RETRY, "DnsFailed"),
    (TimeoutError(), OutcomeKind.RETRY, "Timeout"),
    (ConnectionRefusedError(111, "refused"), OutcomeKind.RETRY, "ConnectionFailed"),
    (ConnectionResetError(104, "reset"), OutcomeKind.RETRY, "ConnectionLost"),
    (OSError(113, "no route"), OutcomeKind.RETRY, "ConnectionFailed"),
    (aiosmtplib.SMTPServerDisconnected("gone"), OutcomeKind.RETRY, "ConnectionLost"),
    (aiosmtplib.SMTPReadTimeoutError("slow"), OutcomeKind.RETRY, "Timeout"),
    (
        caused(aiosmtplib.SMTPConnectError("x"), ssl.SSLCertVerificationError()),
        OutcomeKind.PERMANENT,
        "TlsCertificateInvalid",
    ),
    (caused(ConnectionError("x"), caused(ValueError("https://secret"), TimeoutError())), OutcomeKind.RETRY, "Timeout"),
]


@pytest.mark.parametrize(("error", "kind", "reason"), CASES, ids=lambda case: type(case).__name__)
def test_what_errors_mean(error, kind, reason):
    outcome = outcome_of(error, "smtp.example.com")
    assert (outcome.kind, outcome.reason) == (kind, reason)
    assert outcome.message.startswith("smtp.example.com: ")
    assert "secret" not in outcome.message


def test_the_table_is_whole():
    assert {row.reason for row in FAILURES} == {reason for _, _, reason in CASES}
    assert FAILURES[-1].error is OSError


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
