"""Where the API server is and how we prove who we are, for pipelines and the command line.

In a pod this takes the standard library only. A kubeconfig is left to the official client, which knows every way to
log in (exec plugins, OIDC); importing it costs about 0.4 s of CPU, paid only by who has a kubeconfig, and in the
SDK's worker thread.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from pipebell.core.errors import SettingsError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
HOME_KUBECONFIG: Final = Path("~/.kube/config")
_REREAD_AFTER: Final = 60.0  # seconds; kubelet rotates the token in place


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An API server and an identity there. `namespace` is where events go unless somebody says otherwise."""

    server: str
    namespace: str
    token: Callable[[], str | None] = field(repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    tls_server_name: str | None = None
    proxy: str | None = field(default=None, repr=False)

    @property
    def url(self) -> SplitResult:
        """The server's URL in parts."""
        return urlsplit(self.server)


def find(
    kubeconfig: str | None = None,
    context: str | None = None,
    environ: Mapping[str, str] | None = None,
    service_account: Path = SERVICE_ACCOUNT,
) -> Endpoint:
    """The kubeconfig given, else KUBECONFIG's, else the pod's, else ~/.kube/config.

    Raises SettingsError with one line that says what is missing. May block (exec plugins): never call it on an event
    loop.
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
    return _kubeconfig(paths, context)


def _pod(environ: Mapping[str, str], folder: Path) -> Endpoint:
    from pipebell.tls import client_context  # noqa: PLC0415  (20 ms that the import of the SDK need not pay)

    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT") or "443"
    try:
        tls = client_context(cafile=folder / "ca.crt")
        token = _TokenFile(folder / "token")
        namespace = (folder / "namespace").read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(
            f"the pod's service account cannot be read ({error.strerror or type(error).__name__} in {folder}): "
            "set automountServiceAccountToken: true"
        ) from None
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Endpoint(server, namespace or "default", token, tls)


class _TokenFile:
    """A token in a file that the kubelet keeps fresh; the last one is kept while the file cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = self._read()
        self._read_at = time.monotonic()

    def __call__(self) -> str:
        if time.monotonic() - self._read_at >= _REREAD_AFTER:
            self._read_at = time.monotonic()
            with suppress(OSError):
                self._token = self._read() or self._token
        return self._token

    def _read(self) -> str:
        return self._path.read_text(encoding="utf-8").strip()


def _kubeconfig(paths: str, context: str | None) -> Endpoint:
    if not any(Path(path).expanduser().is_file() for path in paths.split(os.pathsep) if path):
        raise SettingsError(f"no cluster: there is no kubeconfig {paths}")
    try:
        configuration, namespace = _load(paths, context)
    except SettingsError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # The loader is not prepared for files that are no kubeconfig; its message may quote them, credentials and all.
        raise SettingsError(f"the kubeconfig {paths} is malformed ({type(error).__name__})") from None
    except Exception as error:  # noqa: BLE001  (the client's loader, and what it loads, raise as they like)
        if type(error).__module__.startswith("yaml"):
            raise SettingsError(f"the kubeconfig {paths} is not YAML") from None
        raise SettingsError(f"the kubeconfig {paths} cannot be used: {_first_line(error)}") from None
    server = str(configuration.host).rstrip("/")
    return Endpoint(
        server=server,
        namespace=namespace,
        token=lambda: _bearer(configuration),
        tls=_tls(configuration) if server.startswith("https://") else None,
        tls_server_name=configuration.tls_server_name or None,
        proxy=configuration.proxy or None,
    )


def _load(paths: str, context: str | None) -> tuple[Any, str]:
    """The official client's configuration of a context, and the context's namespace."""
    from kubernetes import client, config  # noqa: PLC0415  (0.4 s of CPU: see the module's docstring)

    kube_config: Any = config  # it has no types
    configuration: Any = client.Configuration()
    contexts, active = kube_config.list_kube_config_contexts(config_file=paths)
    chosen = next((item for item in contexts if item["name"] == context), None) if context else active
    if chosen is None:
        known = ", ".join(str(item["name"]) for item in contexts)
        raise SettingsError(f"the kubeconfig has no context {context!r}; it has: {known}")
    kube_config.load_kube_config(paths, context, client_configuration=configuration, persist_config=False)
    return configuration, str(chosen["context"].get("namespace") or "default")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _bearer(configuration: Any) -> str | None:  # noqa: ANN401  (the client has no types)
    """The token as it is now: the client runs an exec plugin again when its token has expired."""
    value = configuration.get_api_key_with_prefix("BearerToken", "authorization") or ""
    return value.removeprefix("Bearer ") or None


def _tls(configuration: Any) -> ssl.SSLContext:  # noqa: ANN401
    import ssl  # noqa: PLC0415

    from pipebell.tls import client_context  # noqa: PLC0415

    try:
        context = client_context(cafile=configuration.ssl_ca_cert)
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
    except OSError as error:
        raise SettingsError(
            f"the kubeconfig's certificates cannot be used: {error.strerror or type(error).__name__}"
        ) from None
    if configuration.verify_ssl is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
