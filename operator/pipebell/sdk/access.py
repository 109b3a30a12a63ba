"""Where the API server is and how we prove who we are, for pipelines and the command line.

By the standard library: a pod's service account, and kubeconfigs with tokens, client certificates, token files and exec
plugins. Finding the server reads a file or two; plugins and certificates wait until the first connection needs them. A
kubeconfig whose way to log in only the official client knows is left to that, where it is installed.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from pipebell.core.errors import SettingsError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from pipebell.sdk.proxy import Proxy

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
HOME_KUBECONFIG: Final = Path("~/.kube/config")


@dataclass(frozen=True)
class Endpoint:
    """An API server and an identity there. `namespace` is where events go unless somebody says otherwise.

    `token` and `tls` may block and raise SettingsError; they are called for each request and each connection.
    """

    server: str
    namespace: str
    token: Callable[[], str | None] = field(repr=False)
    tls: Callable[[], ssl.SSLContext | None] = field(default=lambda: None, repr=False)
    tls_server_name: str | None = None
    proxy: Proxy | None = field(default=None, repr=False)

    @property
    def url(self) -> SplitResult:
        """The server's URL in parts."""
        return urlsplit(self.server)


@dataclass(frozen=True)
class Place:
    """Where a cluster is looked for, as the spool remembers it: the files of a kubeconfig and a context, or the pod."""

    kubeconfig: str | None
    context: str | None

    @property
    def key(self) -> str:
        """The same text for the same place, on this machine."""
        return f"{self.kubeconfig or 'pod'}#{self.context or ''}"


def place(kubeconfig: str | None, context: str | None, environ: Mapping[str, str]) -> Place:
    """The kubeconfig given, else KUBECONFIG's, else the pod's, else ~/.kube/config. Looks at no file."""
    paths = kubeconfig or environ.get("KUBECONFIG")
    if not paths and not context and environ.get("KUBERNETES_SERVICE_HOST"):
        return Place(None, None)
    names = (paths or str(HOME_KUBECONFIG)).split(os.pathsep)
    files = [str(Path(name).expanduser().absolute()) for name in names if name]
    return Place(os.pathsep.join(files), context)


def find(
    kubeconfig: str | None = None,
    context: str | None = None,
    environ: Mapping[str, str] | None = None,
    service_account: Path = SERVICE_ACCOUNT,
) -> Endpoint:
    """The cluster at the `place` that these arguments mean.

    Raises SettingsError with one line that says what is missing. May block (a home folder on a network).
    """
    environ = os.environ if environ is None else environ
    paths = kubeconfig or environ.get("KUBECONFIG")
    if not paths and not context and environ.get("KUBERNETES_SERVICE_HOST"):
        return _pod(environ, service_account)
    if not paths and HOME_KUBECONFIG.expanduser().is_file():
        paths = str(HOME_KUBECONFIG.expanduser())
    if not paths:
        raise SettingsError(
            "no cluster: there is no KUBECONFIG, no ~/.kube/config, and this is no pod; "
            "give --kubeconfig FILE, or start one with `pipebell cluster up`"
        )
    return _kubeconfig(paths, context, environ)


def _pod(environ: Mapping[str, str], folder: Path) -> Endpoint:
    """The service account. HTTPS_PROXY is not for the cluster's own network."""
    from pipebell.kubeconfig.context import Context  # noqa: PLC0415  (5 ms that the import of the SDK need not pay)
    from pipebell.kubeconfig.login import Login  # noqa: PLC0415  (the same)

    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT") or "443"
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    try:
        namespace = (folder / "namespace").read_text(encoding="utf-8").strip()
        login = Login(
            Context(
                "pod",
                server,
                namespace,
                {"certificate-authority": str(folder / "ca.crt")},
                {"tokenFile": str(folder / "token")},
            )
        )
        login.token()
    except OSError as error:
        raise SettingsError(
            f"the pod's service account cannot be read ({error.strerror or type(error).__name__} in {folder}): "
            "set automountServiceAccountToken: true"
        ) from None
    except SettingsError as error:
        raise SettingsError(f"{error}: set automountServiceAccountToken: true") from None
    return Endpoint(server, namespace or "default", login.token, login.tls)


def _kubeconfig(paths: str, context: str | None, environ: Mapping[str, str]) -> Endpoint:
    from pipebell.kubeconfig.context import NotHonouredError, read  # noqa: PLC0415  (see above)
    from pipebell.kubeconfig.login import Login  # noqa: PLC0415
    from pipebell.sdk import proxy  # noqa: PLC0415

    if not any(Path(path).expanduser().is_file() for path in paths.split(os.pathsep) if path):
        raise SettingsError(f"no cluster: there is no kubeconfig {paths}")
    found = read(paths, context)
    token: Callable[[], str | None] | None = None
    try:
        login = Login(found)
    except NotHonouredError as error:
        if error.field != "auth-provider":
            raise
        token = _Official(paths, found.name, error).token
        login = Login(found._replace(user={key: value for key, value in found.user.items() if key != error.field}))
    own = found.cluster.get("proxy-url")
    return Endpoint(
        server=found.server,
        namespace=found.namespace,
        token=token or login.token,
        tls=login.tls,
        tls_server_name=found.cluster.get("tls-server-name") or None,
        proxy=proxy.parse(str(own)) if own else proxy.find(urlsplit(found.server), environ),
    )


class _Official:
    """A context's token by the official client, which knows auth-providers (OIDC)."""

    def __init__(self, paths: str, context: str, reason: SettingsError) -> None:
        self._paths, self._context, self._reason = paths, context, reason
        self._lock = threading.Lock()
        self._configuration: Any = None

    def token(self) -> str | None:
        """The token as it is now, which the client renews by itself. Blocks. Raises SettingsError."""
        from pipebell.kubeconfig.login import clean_token  # noqa: PLC0415  (see `_pod`)

        with self._lock:
            if self._configuration is None:
                self._configuration = self._load()
            of_it = self._configuration.get_api_key_with_prefix  # its name for it has changed with version 29
            value = str(of_it("BearerToken") or of_it("authorization") or "").removeprefix("Bearer ")
        if not value:
            raise SettingsError(f"{self._reason}; nor does the package kubernetes know it")
        return clean_token(value, "the token that the package kubernetes gave")

    def _load(self) -> Any:  # noqa: ANN401  (the client has no types)
        try:
            from kubernetes import client, config  # noqa: PLC0415  (0.4 s of CPU that hardly anybody needs)
        except ImportError:
            raise SettingsError(f"{self._reason}: pip install 'pipebell[kubeconfig]'") from None
        configuration: Any = client.Configuration()
        loader: Any = config
        try:
            loader.load_kube_config(
                self._paths, self._context, client_configuration=configuration, persist_config=False
            )
        except Exception as error:  # noqa: BLE001  (the loader, and what it loads, raise as they like, and quote)
            failed = type(error).__name__
            raise SettingsError(f"{self._reason}, and the package kubernetes failed ({failed})") from None
        return configuration
