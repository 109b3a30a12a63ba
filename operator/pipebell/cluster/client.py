"""The driver's own small way to the API server, as its administrator: before anything else is installed or known."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipebell import tls
from pipebell.cluster.errors import ClusterError

if TYPE_CHECKING:
    from pathlib import Path


class Refused(ClusterError):  # noqa: N818  (it names what the server did)
    """The API server answered with an error. `code` is the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(f"{code}: {message}")


class Client:
    """Requests with JSON bodies, one connection each."""

    def __init__(self, url: str, authority: Path, certificate: Path, key: Path) -> None:
        self._host = urlsplit(url).netloc
        self._tls = tls.client_context(cafile=authority)
        self._tls.load_cert_chain(certificate, key)

    def request(self, method: str, path: str, body: Any = None, *, seconds: float = 30.0) -> Any:  # noqa: ANN401  (JSON)
        """The answer's JSON (or text). Raises Refused for an error answer, OSError when there is no answer."""
        connection = http.client.HTTPSConnection(self._host, timeout=seconds, context=self._tls)
        try:
            connection.request(
                method,
                path,
                body=None if body is None else json.dumps(body),
                headers={"Content-Type": "application/json", "Accept": "application/json, */*"},
            )
            answer = connection.getresponse()
            text = answer.read().decode()
        except http.client.HTTPException as error:
            raise ConnectionError(f"the API server's answer broke off ({type(error).__name__})") from error
        finally:
            connection.close()
        document = json.loads(text) if answer.getheader("Content-Type", "").startswith("application/json") else text
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            raise Refused(answer.status, document.get("message", "") if isinstance(document, dict) else text)
        return document
