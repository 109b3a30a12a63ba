"""TLS for sinks, by a certificate authority of their own that a client has to be told of."""

from __future__ import annotations

import shutil
import ssl
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from pipebell import tls
from pipebell.certificates import LOOPBACK, Authority

if TYPE_CHECKING:
    from collections.abc import Iterable


class Trust:
    """A throw-away authority; `ca_file` is what PIPEBELL_CA_FILE takes. Sinks may share one.

    Its files are in the given folder, or in a temporary one that goes with this object. `identifiers` are those of
    `Authority`.
    """

    def __init__(self, folder: Path | None = None, *, identifiers: bool = True) -> None:
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="pipebell-sinks-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._folder = folder
        self._authority = Authority("pipebell-local-sinks", identifiers=identifiers)
        self.ca_file = folder / "sinks-ca.crt"
        self.ca_file.write_bytes(self._authority.certificate)

    def server(self, names: Iterable[str] = LOOPBACK) -> ssl.SSLContext:
        """A server's side, with a certificate for these names."""
        # `ssl` loads keys from files only.
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            certificate, key = self._authority.server(names).write(Path(folder), "sink")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
        return context

    def client(self) -> ssl.SSLContext:
        """A client's side that trusts this authority and no other."""
        return tls.client_context(cafile=self.ca_file)
