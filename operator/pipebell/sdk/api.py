"""Requests to the Kubernetes API with the standard library: kept-alive connections, one per thread, with deadlines."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pipebell.core.bounds import shallow
from pipebell.core.errors import Unavailable
from pipebell.version import __version__

if TYPE_CHECKING:
    import http.client
    import ssl
    from collections.abc import Callable

    from pipebell.sdk.access import Endpoint

_LONGEST_RETRY_AFTER: Final = 3_600.0  # seconds
_CHUNK: Final = 65_536  # bytes
_UNAUTHORIZED: Final = 401


class Answer(NamedTuple):
    """What the API server answered. `document` is empty when the body was no JSON object."""

    status: int
    document: dict[str, Any]
    retry_after: float | None = None

    @property
    def reason(self) -> str:
        """Kubernetes' word for the failure, such as AlreadyExists."""
        return str(self.document.get("reason") or "")

    @property
    def message(self) -> str:
        """The server's own sentence, or the status code."""
        return str(self.document.get("message") or f"HTTP {self.status}")


class Api:
    """The API server, found by `find` when the first request needs it. Safe to use from several threads."""

    def __init__(self, find: Callable[[], Endpoint]) -> None:
        self._find = find
        self.start_over()

    def start_over(self) -> None:
        """Forget connections, locks and who we are: what a forked child must do."""
        self._endpoint: Endpoint | None = None
        self._lock = threading.Lock()
        self._local = threading.local()

    @property
    def known(self) -> Endpoint | None:
        """The endpoint, if it was found already. Never blocks."""
        return self._endpoint

    @property
    def endpoint(self) -> Endpoint:
        """Find the cluster, once. Raises SettingsError; may block."""
        with self._lock:
            if self._endpoint is None:
                self._endpoint = self._find()
            return self._endpoint

    def request(self, method: str, path: str, body: bytes | None = None, *, timeout: float = 10.0) -> Answer:
        """One request, within `timeout` seconds unless the name lookup hangs. Any HTTP status is an answer.

        The body is JSON; that of a PATCH, a merge-patch.

        Raises SettingsError when there is no cluster and Unavailable when the server did not answer.
        """
        deadline = time.monotonic() + timeout
        answer = self._send(method, path, body, deadline)
        if answer.status == _UNAUTHORIZED:
            # The token may have been rotated or revoked: find out who we are once more.
            with self._lock:
                self._endpoint = None
            self.close()
            answer = self._send(method, path, body, deadline)
        return answer

    def _send(self, method: str, path: str, body: bytes | None, deadline: float) -> Answer:
        from http.client import HTTPException  # noqa: PLC0415  (30 ms that the import of the SDK need not pay)

        endpoint = self.endpoint
        reused = getattr(self._local, "connection", None) is not None
        while True:
            try:
                return self._exchange(endpoint, method, path, body, deadline)
            except (OSError, HTTPException) as error:
                self.close()
                # An idle connection that the server has closed says nothing about the server. Our writes may be
                # repeated: they carry their name.
                if reused and not isinstance(error, TimeoutError):
                    reused = False
                    continue
                by = f" through the proxy {endpoint.proxy.host}:{endpoint.proxy.port}" if endpoint.proxy else ""
                raise Unavailable(f"{endpoint.server} {_why(error)}{by}") from None

    def _exchange(self, endpoint: Endpoint, method: str, path: str, body: bytes | None, deadline: float) -> Answer:
        from pipebell.kubeconfig.login import clean_token  # noqa: PLC0415  (10 ms that the import need not pay)

        connection = self._connection(endpoint, deadline)
        headers = {"Accept": "application/json", "User-Agent": f"pipebell/{__version__}"}
        if token := clean_token(endpoint.token() or "", "the token"):
            headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json" if method == "PATCH" else "application/json"
        connection.request(method, endpoint.url.path.rstrip("/") + path, body=body, headers=headers)
        _patience(connection, deadline)
        response = connection.getresponse()
        data = bytearray()
        # One reception at a time, so that a trickle meets the deadline, too.
        while chunk := response.read1(_CHUNK):
            data += chunk
            _patience(connection, deadline)
        response.close()  # read1 does not, at the end of the body, and the connection's next answer needs it (3.11)
        if response.will_close:
            self.close()
        return Answer(response.status, _document(bytes(data)), _seconds(response.headers.get("Retry-After")))

    def _connection(self, endpoint: Endpoint, deadline: float) -> http.client.HTTPConnection:
        known: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if known is not None and known.sock is not None:
            _patience(known, deadline)
            return known
        self.close()
        self._local.connection = connection = _connect(endpoint, _left(deadline))
        return connection

    def close(self) -> None:
        """Close the calling thread's connection; the next request opens another."""
        connection = getattr(self._local, "connection", None)
        self._local.connection = None
        if connection is not None:
            connection.close()


def _connect(endpoint: Endpoint, timeout: float) -> http.client.HTTPConnection:
    from http.client import HTTPConnection, HTTPSConnection  # noqa: PLC0415

    url = endpoint.url
    target = (url.hostname or "", url.port or (443 if url.scheme == "https" else 80))
    via = endpoint.proxy
    address = (via.host, via.port) if via else target
    tls = endpoint.tls()
    if tls is None:
        connection = HTTPConnection(*address, timeout=timeout)
    else:
        connection = HTTPSConnection(*address, timeout=timeout, context=_named(tls, endpoint.tls_server_name))
    if via:
        headers = {"Proxy-Authorization": via.authorization} if via.authorization else {}
        connection.set_tunnel(*target, headers=headers)
    try:
        connection.connect()
    except BaseException:
        connection.close()  # a proxy that refuses, a certificate that is not known: the socket is there
        raise
    return connection


def _named(context: ssl.SSLContext, name: str | None) -> Any:  # noqa: ANN401  (it, or what looks like one)
    """The TLS context, made to expect another name than the URL's where the kubeconfig says so."""
    if name is None:
        return context

    class Renamed:
        check_hostname = context.check_hostname
        post_handshake_auth = context.post_handshake_auth

        def wrap_socket(self, sock: Any, server_hostname: str | None = None) -> Any:  # noqa: ANN401, ARG002
            return context.wrap_socket(sock, server_hostname=name)

    return Renamed()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _patience(connection: http.client.HTTPConnection, deadline: float) -> None:
    """No single wait may outlast the deadline."""
    left = _left(deadline)
    if connection.sock is not None:
        connection.sock.settimeout(left)


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "refused the connection"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"cannot be reached: {text}"


def _document(data: bytes) -> dict[str, Any]:
    try:
        try:
            document = json.loads(data)
        except RecursionError:
            document = json.loads(shallow(data))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text) if text else -1.0
    except ValueError:
        return None
    return min(seconds, _LONGEST_RETRY_AFTER) if seconds >= 0 else None  # NaN is not
