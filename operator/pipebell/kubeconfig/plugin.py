"""Exec plugins: programs that print a token or a client certificate.

Protocol: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pipebell.core.errors import SettingsError
from pipebell.kubeconfig.context import flag

if TYPE_CHECKING:
    from pipebell.kubeconfig.context import Context

_VERSIONS: Final = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_CLUSTER: Final = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url")
TIMEOUT: Final = 60.0  # seconds; a cloud's own tools take up to ten


class Credential(NamedTuple):
    """What a plugin gave: a token, or a certificate with its key (PEM), or both. `expires`: seconds since the epoch."""

    token: str | None
    certificate: str | None
    key: str | None
    expires: float | None

    def __repr__(self) -> str:
        return f"Credential(expires={self.expires})"


def run(context: Context, timeout: float = TIMEOUT) -> Credential:
    """Run the context's plugin. Blocks. Raises SettingsError that names it, never what it said."""
    plugin = context.user["exec"]
    if not isinstance(plugin, dict) or not plugin.get("command"):
        raise SettingsError(f"the kubeconfig's context {context.name!r} has an exec plugin without a command")
    name = Path(str(plugin["command"])).name
    version = str(plugin.get("apiVersion") or "")
    if version not in _VERSIONS:
        raise SettingsError(f"the kubeconfig's exec plugin {name} speaks {version or 'no version'}, not {_VERSIONS[0]}")
    if plugin.get("interactiveMode") == "Always":
        raise SettingsError(f"the kubeconfig's exec plugin {name} wants to ask at a terminal: give a token instead")
    command = [str(plugin["command"]), *(str(item) for item in plugin.get("args") or ())]
    try:
        done = subprocess.run(  # noqa: S603  (what the user's kubeconfig says)
            command, env=_environment(context, plugin, version), stdin=subprocess.DEVNULL,
            capture_output=True, timeout=timeout, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        hint = " ".join(str(plugin.get("installHint") or "").split())[:300]
        raise SettingsError(
            f"the kubeconfig's exec plugin {name} is not installed{f': {hint}' if hint else ''}"
        ) from None
    except subprocess.TimeoutExpired:
        raise SettingsError(f"the kubeconfig's exec plugin {name} did not end within {timeout:g} s") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise SettingsError(f"the kubeconfig's exec plugin {name} cannot be run: {reason}") from None
    if done.returncode != 0:
        raise SettingsError(f"the kubeconfig's exec plugin {name} failed (exit code {done.returncode}); run it by hand")
    return _credential(done.stdout, name)


def _environment(context: Context, plugin: dict[str, Any], version: str) -> dict[str, str]:
    spec: dict[str, Any] = {"interactive": False}
    if flag(plugin, "provideClusterInfo"):
        spec["cluster"] = {key: context.cluster[key] for key in _CLUSTER if context.cluster.get(key)}
        spec["cluster"]["server"] = context.server
        if "insecure-skip-tls-verify" in spec["cluster"]:
            spec["cluster"]["insecure-skip-tls-verify"] = flag(context.cluster, "insecure-skip-tls-verify")
    info = {"apiVersion": version, "kind": "ExecCredential", "spec": spec}
    own = {str(item.get("name")): str(item.get("value") or "") for item in plugin.get("env") or () if item.get("name")}
    return {**os.environ, **own, "KUBERNETES_EXEC_INFO": json.dumps(info)}


def _credential(output: bytes, name: str) -> Credential:
    try:
        status = json.loads(output)["status"]
        token, certificate, key = (status.get(field) for field in ("token", "clientCertificateData", "clientKeyData"))
        expires = status.get("expirationTimestamp")
        moment = _seconds(str(expires)) if expires else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SettingsError(f"the kubeconfig's exec plugin {name} printed no ExecCredential") from None
    if not token and not (certificate and key):
        raise SettingsError(f"the kubeconfig's exec plugin {name} gave neither a token nor a certificate")
    return Credential(token and str(token), certificate and str(certificate), key and str(key), moment)


def _seconds(text: str) -> float:
    """RFC 3339 as seconds since the epoch; Python 3.10 knows neither the Z nor nanoseconds."""
    whole, zone = re.fullmatch(r"([^.]+?)(?:\.\d+)?(Z|z|[+-]\d\d:\d\d)", text).groups()  # type: ignore[union-attr]
    return datetime.fromisoformat(whole + ("+00:00" if zone in "Zz" else zone)).timestamp()


def fresh(credential: Credential, now: float | None = None) -> bool:
    """Whether it may still be used; without a time it lasts until the server refuses it."""
    return credential.expires is None or (time.time() if now is None else now) < credential.expires - 10
