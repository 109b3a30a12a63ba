"""Whom to trust: one TLS context for SMTP and HTTPS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import certifi

from pipebell import tls

if TYPE_CHECKING:
    import ssl


def client_context(ca_file: str = "") -> ssl.SSLContext:
    """Verifies certificates and host names by the system's CAs, certifi's and those in `ca_file` (a PEM bundle).

    certifi's, because slim images and some Pythons come without any. Raises OSError if `ca_file` cannot be used.
    """
    context = tls.client_context()
    context.load_verify_locations(certifi.where())
    if ca_file:
        context.load_verify_locations(ca_file)
    return context
