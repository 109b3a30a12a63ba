"""A kubeconfig's current context as a `Connection`.

Format: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/. Several files joined by `:` are merged as
kubectl does it: the first file to name an entry wins. What we cannot honour is refused by name, not ignored.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import yaml

from pipebell import tls
from pipebell.core.errors import SettingsError
from pipebell.kube.connection import Connection
from pipebell.kube.credentials import Credential, Plugin, StaticToken, TokenFile

if TYPE_CHECKING:
    from collections.abc import Mapping

_LISTS: Final = ("clusters", "users", "contexts")
_PATHS: Final = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_NOT_HONOURED: Final = ("auth-provider", "username", "as", "as-groups", "as-uid", "as-user-extra")


def from_kubeconfig(paths: str) -> Connection:
    """The current context of these files (joined by `:`). Raises SettingsError that names the file or field."""
    config = _merged([path for path in paths.split(os.pathsep) if path], paths)
    context_name = config["current-context"]
    if not context_name:
        raise SettingsError(f"KUBECONFIG={paths}: no current-context; choose one with `kubectl config use-context`")
    context = _named(config, "contexts", context_name)
    cluster = _named(config, "clusters", str(context.get("cluster", "")))
    user = _named(config, "users", str(context["user"])) if context.get("user") else {}
    server = str(cluster.get("server") or "")
    if not server.startswith(("https://", "http://")):
        raise SettingsError(f"cluster {context.get('cluster')!r} in the kubeconfig has no server URL")
    for field in _NOT_HONOURED:
        if user.get(field):
            raise SettingsError(f"the kubeconfig's user {context['user']!r} uses {field}, which is not supported here")
    certificate: tuple[str, str] | None = None
    if user.get("exec"):
        credential, certificate = _plugin(paths)
    else:
        credential = _credential(user)
    return Connection(
        server=server.rstrip("/"),
        ssl_context=_tls(cluster, user, certificate) if server.startswith("https://") else None,
        default_namespace=str(context.get("namespace") or "default"),
        credential=credential,
        server_hostname=cluster.get("tls-server-name") or None,
        proxy=cluster.get("proxy-url") or None,
    )


def _merged(files: list[str], given: str) -> dict[str, Any]:
    merged: dict[str, Any] = {"current-context": "", **{kind: {} for kind in _LISTS}}
    present = [path for file in files if (path := Path(file).expanduser()).is_file()]
    if not present:
        raise SettingsError(f"KUBECONFIG={given}: there is no such file")
    for path in present:
        document = _load(path)
        merged["current-context"] = merged["current-context"] or document.get("current-context") or ""
        for kind in _LISTS:
            for entry in document.get(kind) or ():
                value = dict(entry.get(kind.removesuffix("s")) or {})
                for field in _PATHS:
                    if value.get(field):  # relative to the file that says it
                        value[field] = str(path.parent / value[field])
                merged[kind].setdefault(str(entry.get("name")), value)
    return merged


def _load(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the kubeconfig {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        # The parser's message would quote the line, and that may be a token.
        raise SettingsError(f"the kubeconfig {path} is not YAML") from None
    if not isinstance(document, dict):
        raise SettingsError(f"the kubeconfig {path} is not a kubeconfig")
    return document


def _named(config: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] | None = config[kind].get(name)
    if found is None:
        known = ", ".join(config[kind]) or "none"
        raise SettingsError(f"the kubeconfig names no {kind.removesuffix('s')} {name!r}; it has: {known}")
    return found


def _credential(user: Mapping[str, Any]) -> Credential:
    if user.get("tokenFile"):  # wins over token, as in kubectl
        return TokenFile(user["tokenFile"])
    return StaticToken(user.get("token") or None)


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], certificate: tuple[str, str] | None) -> ssl.SSLContext:
    authority = _data(cluster, "certificate-authority-data")
    try:
        context = tls.client_context(
            cafile=None if authority else cluster.get("certificate-authority"),
            cadata=authority.decode() if authority else None,
        )
        if certificate := certificate or _certificate(user):
            context.load_cert_chain(*certificate)
        elif user.get("client-certificate-data"):
            _load_pair(context, user)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise SettingsError(f"the kubeconfig's certificates cannot be used: {reason}") from None
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _certificate(user: Mapping[str, Any]) -> tuple[str, str] | None:
    if user.get("client-certificate-data") or not user.get("client-certificate"):
        return None
    return user["client-certificate"], str(user.get("client-key"))


def _load_pair(context: ssl.SSLContext, user: Mapping[str, Any]) -> None:
    """`ssl` loads certificates from files only: two private ones, for a moment."""
    with TemporaryDirectory(prefix="pipebell-") as folder:  # made with mode 0700
        certificate, key = Path(folder, "certificate.pem"), Path(folder, "key.pem")
        certificate.write_bytes(_data(user, "client-certificate-data"))
        key.write_bytes(_data(user, "client-key-data"))
        context.load_cert_chain(certificate, key)


def _data(entry: Mapping[str, Any], field: str) -> bytes:
    try:
        return base64.b64decode("".join(str(entry.get(field) or "").split()), validate=True)
    except binascii.Error:
        raise SettingsError(f"{field} in the kubeconfig is not base64") from None


def _plugin(paths: str) -> tuple[Credential, tuple[str, str] | None]:
    """The token (and perhaps the certificate's files) of an `exec` user, by the official client, which is heavy."""
    from kubernetes.client import Configuration  # noqa: PLC0415  (30 MB and half a second: only who needs it pays)
    from kubernetes.config import load_kube_config  # noqa: PLC0415  (the same)

    def load() -> Configuration:
        configuration = Configuration()
        try:
            load_kube_config(  # type: ignore[no-untyped-call]
                config_file=paths, client_configuration=configuration, persist_config=False
            )
        except Exception as error:  # noqa: BLE001  (the plugin is foreign: whatever it raises, the start says so)
            raise SettingsError(f"the kubeconfig's exec plugin failed ({type(error).__name__})") from None
        if not (token(configuration) or configuration.cert_file):  # its failure was only logged, by that client
            raise SettingsError("the kubeconfig's exec plugin gave neither a token nor a certificate")
        return configuration

    def token(configuration: Configuration) -> str | None:
        value = str(configuration.auth_settings().get("BearerToken", {}).get("value") or "")
        return value.removeprefix("Bearer ") or None

    first = load()
    pair = (first.cert_file, first.key_file) if first.cert_file and first.key_file else None
    return Plugin(lambda: token(load()), first=token(first)), pair
