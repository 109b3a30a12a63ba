"""Whom a client of ours trusts: TLS contexts that work with the certificates that private CAs really issue."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import os

_LARGEST: Final = 16 << 20  # bytes; the public CAs of the whole world take 250 KB
_BLOCK: Final = re.compile(
    rb"^-----BEGIN (?P<label>[A-Z0-9 ]+)-----[ \t]*\r?$(?P<body>.*?)^-----END (?P=label)-----[ \t]*\r?$",
    re.MULTILINE | re.DOTALL,
)
_BEGIN: Final = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----", re.MULTILINE)
_CERTIFICATES: Final = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"})
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_SEQUENCE: Final = b"\x30"  # with which DER begins


def client_context(
    *, cafile: str | os.PathLike[str] | None = None, cadata: str | bytes | None = None
) -> ssl.SSLContext:
    """Verifies certificates and host names by these CAs, or by the system's when none is given.

    RFC 5280's formalities are not asked for: Python 3.13 began to refuse a CA without Authority Key Identifier or key
    usage, as many clusters and mail servers have one. A CA in the middle of a chain may be trusted by itself, as in
    kubectl. Nothing else is relaxed: an unknown CA, another name and an expired certificate are refused. Raises OSError
    (ssl.SSLError is one) when the CAs cannot be read.
    """
    context = ssl.create_default_context(cafile=cafile, cadata=cadata)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def check_ca_file(path: str | os.PathLike[str]) -> None:
    """Raises ValueError that says what is wrong with a bundle of PEM certificates, and how to put it right."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raise ValueError("there is no such file") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if problem := _problem(content):
        raise ValueError(problem)
    try:
        client_context(cafile=path)
    except OSError as error:  # what only the whole file shows
        raise ValueError(f"cannot be used: {getattr(error, 'reason', None) or error.strerror}") from None


def _problem(content: bytes) -> str | None:
    blocks = [(match["label"], match[0]) for match in _BLOCK.finditer(content)]
    certificates = [text for label, text in blocks if label in _CERTIFICATES]
    begun = _BEGIN.findall(content)
    problem: str | None = None
    if not content.strip():
        problem = "is empty; it has to hold the CA's certificate as PEM"
    elif len(content) > _LARGEST:
        problem = f"is larger than {_LARGEST >> 20} MiB; it has to hold CA certificates as PEM, and nothing else"
    elif content.startswith(_UTF16):
        problem = "is UTF-16 text; save it as plain ASCII"
    elif content.startswith(b"\xef\xbb\xbf"):
        problem = "begins with a byte order mark; save it as plain ASCII"
    elif content.startswith(_SEQUENCE) and not begun:
        problem = "is DER, not PEM; convert it by `openssl x509 -inform der -in FILE -out ca.pem`"
    elif len(begun) > len(blocks):
        problem = "is cut short: a -----BEGIN … has no -----END … of its own"
    elif not certificates and any(label.endswith(b"KEY") for label in begun):
        problem = "holds a key and no certificate; name the CA's certificate (-----BEGIN CERTIFICATE-----)"
    elif not certificates:
        problem = "holds no certificate (-----BEGIN CERTIFICATE-----)"
    else:
        problem = next(filter(None, (_broken(number, text) for number, text in enumerate(certificates, 1))), None)
    return problem


def _broken(number: int, text: bytes) -> str | None:
    """What is wrong with one certificate of a bundle, in which OpenSSL would silently skip it or name no place."""
    if b"TRUSTED" in text.splitlines()[0]:
        return None  # OpenSSL's own form, with trust settings behind the certificate: it alone can read it
    pem = text.decode("ascii", "replace").replace("X509 CERTIFICATE", "CERTIFICATE")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=ssl.PEM_cert_to_DER_cert(pem))
    except (ValueError, OSError):
        return f"holds a certificate (number {number}) that is damaged or cut short; export it again"
    return None
