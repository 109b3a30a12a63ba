"""The cluster's certificates, keys and kubeconfigs."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

import yaml

from pipebell import certificates

if TYPE_CHECKING:
    from pathlib import Path

_SERVER_NAMES: Final = (
    *certificates.LOOPBACK,
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "10.0.0.1",
)


def create(folder: Path, *, identifiers: bool = True) -> None:
    """Fill the folder: `ca.crt`, `server.*`, `admin.*` (group system:masters) and `tokens.*` (service accounts).

    Without `identifiers`, the certificates are as many clusters' own (see `certificates.Authority`).
    """
    folder.mkdir(mode=0o700)
    authority = certificates.Authority("pipebell-local-cluster", identifiers=identifiers)
    (folder / "ca.crt").write_bytes(authority.certificate)
    authority.server(_SERVER_NAMES).write(folder, "server")
    authority.client("pipebell-admin", ["system:masters"]).write(folder, "admin")
    private, public = certificates.signing_keys()
    certificates.write_private(folder / "tokens.key", private)
    (folder / "tokens.pub").write_bytes(public)


def admin(folder: Path) -> dict[str, str]:
    """The administrator as a kubeconfig's user."""
    return {
        "client-certificate-data": _base64(folder / "admin.crt"),
        "client-key-data": _base64(folder / "admin.key"),
    }


def write_kubeconfig(
    path: Path, *, url: str, authority: Path, user: dict[str, str], namespace: str = "default"
) -> None:
    """A kubeconfig that needs no other file; `user` holds a certificate or `{"token": …}`."""
    name = "pipebell"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url, "certificate-authority-data": _base64(authority)}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
        "current-context": name,
    }
    certificates.write_private(path, yaml.safe_dump(document, sort_keys=False).encode())


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
