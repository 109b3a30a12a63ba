"""Where the API server is and how we prove who we are: `connect` finds it from KUBECONFIG or the pod."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from pipebell import tls
from pipebell.core.errors import SettingsError
from pipebell.kube.credentials import Credential, Plugin, StaticToken, TokenFile
from pipebell.kubeconfig import context as kubeconfig
from pipebell.kubeconfig.login import Login
from pipebell.version import __version__

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

USER_AGENT: Final = f"pipebell/{__version__}"  # also the field manager that the API server records
SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Connection:
    """An API server and an identity there. `server` has no trailing slash; `ssl_context` is None for plain http.

    `server_hostname` is the name to expect in the server's certificate when that differs from the URL's.
    """

    server: str
    ssl_context: ssl.SSLContext | None = field(repr=False)
    default_namespace: str
    credential: Credential = field(repr=False)
    server_hostname: str | None = None
    proxy: str | None = field(default=None, repr=False)

    def headers(self) -> dict[str, str]:
        """The headers that authenticate a request made now."""
        token = self.credential.token()
        return {"Authorization": f"Bearer {token}"} if token else {}

    async def renew(self) -> bool:
        """After a 401: whether there is another credential now, so that asking again makes sense."""
        return await self.credential.renew()

    def session(
        self, *, connections: int = 64, middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = ()
    ) -> aiohttp.ClientSession:
        """A new session, to be closed by the caller, whose every request is authenticated with the current token.

        A 401 renews the credential and repeats the request once. `connections` is how many may be open at once (0: any
        number); `middlewares` see each request before it is authenticated. Needs a running event loop.
        """
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, ssl=self.ssl_context or True, socket_factory=_probing),
            # Compression costs both ends more than the bytes cost a cluster's network.
            headers={"User-Agent": USER_AGENT, "Accept": "application/json", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            middlewares=(*middlewares, _Authenticator(self)),
            # Without its password, which aiohttp's messages would quote: `_Authenticator` has it.
            proxy=URL(self.proxy).with_user(None) if self.proxy else None,
            trust_env=False,
        )


def _probing(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that finds out within 30 s that the other end has gone without a word, which a quiet watch would not."""
    family, kind, protocol, _, _ = address
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):  # seconds, seconds, times
        if hasattr(socket, name):  # Linux has them all
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return sock


class _Authenticator:
    """Puts the current credential on each request to the API server (and to no other host that it redirects to)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._origin = URL(connection.server).origin()
        proxy = URL(connection.proxy or "")
        self._to_proxy = aiohttp.encode_basic_auth(proxy.user, proxy.password or "") if proxy.user else None

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if self._to_proxy is not None:
            request.proxy_headers = CIMultiDict({"Proxy-Authorization": self._to_proxy})
        if request.url.origin() != self._origin:
            return await handler(request)
        if self._connection.server_hostname is not None:
            request.server_hostname = self._connection.server_hostname
        headers = self._connection.headers()
        request.headers.update(headers)
        response = await handler(request)
        if response.status != HTTPStatus.UNAUTHORIZED:
            return response
        await self._connection.renew()
        renewed = self._connection.headers()
        if renewed == headers:  # compared with what was sent: another request's 401 may have renewed it meanwhile
            return response
        response.release()
        request.headers.update(renewed)
        return await handler(request)


class KopfAccess(NamedTuple):
    """What `kopf.AiohttpSession` takes, by the names of its fields. kopf closes the session."""

    server: str
    aiohttp_session: aiohttp.ClientSession
    default_namespace: str


def kopf_access(connection: Connection, *middlewares: aiohttp.ClientMiddlewareType) -> KopfAccess:
    """A session of kopf's own; `handlers` makes a `kopf.AiohttpSession(**access._asdict())` of it.

    Its connections are not limited: each namespace and kind that kopf watches holds one for good.
    """
    session = connection.session(connections=0, middlewares=middlewares)
    return KopfAccess(connection.server, session, connection.default_namespace)


def connect(environ: Mapping[str, str] | None = None, service_account: Path = SERVICE_ACCOUNT) -> Connection:
    """Find the cluster: KUBECONFIG when it is set, else the pod's. Raises SettingsError with one clear line."""
    environ = os.environ if environ is None else environ
    if paths := environ.get("KUBECONFIG"):
        return from_kubeconfig(paths)
    if host := environ.get("KUBERNETES_SERVICE_HOST"):
        return _from_pod(host, environ.get("KUBERNETES_SERVICE_PORT") or "443", service_account)
    raise SettingsError(
        "no cluster: set KUBECONFIG (for example to ~/.kube/config, or by `pipebell cluster env`), or run in a pod"
    )


def from_kubeconfig(paths: str) -> Connection:
    """The current context of these files (joined by `:`). Raises SettingsError that names the file or field.

    An exec plugin is run here once, and again when the server refuses what it gave.
    """
    context = kubeconfig.read(paths)
    login = Login(context)
    if context.user.get("exec"):
        credential: Credential = Plugin(lambda: Login(context).token(), first=login.token())
    elif context.user.get("tokenFile"):  # wins over token, as in kubectl
        credential = TokenFile(context.user["tokenFile"])
    else:
        credential = StaticToken(login.token())
    return Connection(
        server=context.server,
        ssl_context=login.tls(),
        default_namespace=context.namespace,
        credential=credential,
        server_hostname=context.cluster.get("tls-server-name") or None,
        proxy=context.cluster.get("proxy-url") or None,
    )


def _from_pod(host: str, port: str, folder: Path) -> Connection:
    authority = folder / "ca.crt"
    try:
        context = tls.client_context(cafile=authority)
    except OSError as error:
        raise SettingsError(
            f"cannot read {authority}: {error.strerror or 'not a certificate'}; "
            "the pod needs its service account mounted (automountServiceAccountToken)"
        ) from None
    try:
        namespace = (folder / "namespace").read_text(encoding="utf-8").strip()
    except OSError:
        namespace = ""
    return Connection(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        ssl_context=context,
        default_namespace=namespace or "default",
        credential=TokenFile(folder / "token"),
    )
