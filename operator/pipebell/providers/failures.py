"""What a broken connection means: errors of sockets, names, TLS and time, sorted by one table."""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.render.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator


class Unanswered(ConnectionError):  # noqa: N818  (it names the message's state)
    """A request was written, and no answer to it came: it may have arrived."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A kind of error, and what it means for the attempt."""

    error: type[BaseException]
    kind: OutcomeKind
    reason: str
    words: str


# The first row that fits decides: special errors stand above what they inherit from, and the last one fits all.
FAILURES: Final = (
    Failure(
        ssl.SSLCertVerificationError,
        OutcomeKind.PERMANENT,
        "TlsCertificateInvalid",
        "the server's certificate cannot be trusted: check the host name, or add its CA to PIPEBELL_CA_FILE",
    ),
    Failure(
        ssl.SSLError, OutcomeKind.RETRY, "TlsFailed", "no TLS connection came about: check the port and its TLS mode"
    ),
    Failure(socket.gaierror, OutcomeKind.RETRY, "DnsFailed", "the host's name cannot be resolved"),
    Failure(TimeoutError, OutcomeKind.RETRY, "Timeout", "no answer in time"),
    Failure(ConnectionRefusedError, OutcomeKind.RETRY, "ConnectionFailed", "no connection to the server"),
    Failure(ConnectionError, OutcomeKind.RETRY, "ConnectionLost", "the connection broke"),
    Failure(OSError, OutcomeKind.RETRY, "ConnectionFailed", "no connection to the server"),
)


def outcome_of(error: OSError, host: str) -> Outcome:
    """What the attempt ends with that this error ended, or an error that it stands for (its cause)."""
    row, cause = next((row, cause) for row in FAILURES for cause in _chain(error) if isinstance(cause, row.error))
    said = _said(cause)
    doubt = "; the message may have arrived" if any(isinstance(each, Unanswered) for each in _chain(error)) else ""
    return Outcome(row.kind, row.reason, f"{host}: {row.words}{f' ({said})' if said else ''}{doubt}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _said(error: BaseException) -> str:
    """What the operating system or OpenSSL says; never an exception's own text, which may hold a URL."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return one_line(getattr(error, "verify_message", "") or "", 200)
    if isinstance(error, ssl.SSLError):
        return (getattr(error, "reason", None) or "").replace("_", " ").lower()
    if isinstance(error, socket.gaierror):
        return error.strerror or ""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return ""
