"""Who we are in a context: its token, its client certificate, and whom we trust there."""

from __future__ import annotations

import base64
import binascii
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.errors import SettingsError
from pipebell.kubeconfig import plugin
from pipebell.kubeconfig.context import flag

if TYPE_CHECKING:
    import ssl

    from pipebell.kubeconfig.context import Context

_REREAD_AFTER: Final = 60.0  # seconds; whoever rotates a token does it in place
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")


def clean_token(text: str, whose: str) -> str | None:
    """A token without the line break that editors and YAML put behind it; None when there is none.

    Raises SettingsError for what no HTTP header can hold: the library's own message would quote it.
    """
    token = text.strip()
    if token and not _TOKEN.fullmatch(token):
        raise SettingsError(f"{whose} holds a line break, a space or another character that no token has")
    return token or None


class Login:
    """A context's identity, for any thread. Its methods may block (files, exec plugins) and raise SettingsError."""

    def __init__(self, context: Context) -> None:
        context.check()
        self._context = context
        self._lock = threading.Lock()
        self._kept: str | None = None
        self._read_at: float | None = None
        self._credential: plugin.Credential | None = None
        self._tls: ssl.SSLContext | None = None
        self._tls_for: plugin.Credential | None = None

    def token(self) -> str | None:
        """The bearer token to use now; None when the connection needs none."""
        user, whose = self._context.user, f"the token of the kubeconfig's context {self._context.name!r}"
        if user.get("exec"):
            return clean_token(self._plugin().token or "", whose)
        if user.get("tokenFile"):  # wins over token, as in kubectl
            return self._from_file(Path(user["tokenFile"]).expanduser())
        return clean_token(str(user.get("token") or ""), whose)

    def tls(self) -> ssl.SSLContext | None:
        """The context for connections to the server; None for plain http."""
        if not self._context.server.startswith("https://"):
            return None
        given = self._plugin() if self._context.user.get("exec") else None
        if self._tls is None or given is not self._tls_for:
            self._tls, self._tls_for = self._make_tls(given), given
        return self._tls

    def _make_tls(self, given: plugin.Credential | None) -> ssl.SSLContext:
        from pipebell.tls import client_context  # noqa: PLC0415  (20 ms that only connections need)

        cluster, user = self._context.cluster, self._context.user
        authority = _data(cluster, "certificate-authority-data")
        try:
            context = client_context(
                cafile=None if authority else cluster.get("certificate-authority"),
                cadata=_pem_or_der(authority) if authority else None,
            )
            self._present(context, user, given)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            raise SettingsError(f"the kubeconfig's certificates cannot be used: {reason}") from None
        if flag(cluster, "insecure-skip-tls-verify"):
            import ssl  # noqa: PLC0415

            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _present(self, context: ssl.SSLContext, user: dict[str, Any], given: plugin.Credential | None) -> None:
        """The client certificate, wherever it is."""
        if given is not None:
            if given.certificate and given.key:
                _load_pair(context, given.certificate.encode(), given.key.encode())
            return
        certificate = _data(user, "client-certificate-data") or _content(user, "client-certificate")
        key = _data(user, "client-key-data") or _content(user, "client-key")
        if certificate or key:
            if not (certificate and key):
                missing = "client-key" if certificate else "client-certificate"
                raise SettingsError(f"the kubeconfig's context {self._context.name!r} has a user without {missing}")
            _load_pair(context, certificate, key)

    def _plugin(self) -> plugin.Credential:
        with self._lock:
            if self._credential is None or not plugin.fresh(self._credential):
                self._credential = plugin.run(self._context)
            return self._credential

    def _from_file(self, path: Path) -> str | None:
        """The file's token; the last one is kept while the file cannot be read."""
        now = time.monotonic()
        if self._read_at is None or now - self._read_at >= _REREAD_AFTER:
            try:
                self._kept = clean_token(path.read_text(encoding="utf-8"), f"the token file {path}") or self._kept
            except (OSError, UnicodeDecodeError) as error:
                if self._kept is None:
                    reason = getattr(error, "strerror", None) or "not text"
                    raise SettingsError(f"cannot read the token file {path}: {reason}") from None
            if self._kept is None:
                raise SettingsError(f"the token file {path} is empty")
            self._read_at = now
        return self._kept


def _data(entry: dict[str, Any], field: str) -> bytes:
    try:
        return base64.b64decode("".join(str(entry.get(field) or "").split()), validate=True)
    except (binascii.Error, ValueError):
        raise SettingsError(f"{field} in the kubeconfig is not base64") from None


def _content(entry: dict[str, Any], field: str) -> bytes:
    path = entry.get(field)
    try:
        return Path(path).expanduser().read_bytes() if path else b""
    except OSError as error:
        raise SettingsError(f"cannot read the kubeconfig's {field} {path}: {error.strerror}") from None


def _pem_or_der(data: bytes) -> str | bytes:
    return data.decode("ascii") if b"-----BEGIN" in data else data


def _load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """`ssl` loads certificates from files only: two private ones, for a moment."""
    from tempfile import TemporaryDirectory  # noqa: PLC0415  (10 ms that tokens need not pay)

    with TemporaryDirectory(prefix="pipebell-") as folder:  # made with mode 0700
        places = Path(folder, "certificate.pem"), Path(folder, "key.pem")
        for place, content in zip(places, (certificate, key), strict=True):
            place.write_bytes(content)
        # Without a password OpenSSL would ask for one at the terminal.
        context.load_cert_chain(*places, password="")
