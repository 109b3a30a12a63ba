"""How the API server is run: on loopback, with what a Pipebell needs of a cluster and without what has no controller.

Flags: https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/. There is no controller
manager, so a namespace gets no `default` ServiceAccount (hence no ServiceAccount admission: Pods could not be created)
and a deleted namespace is not emptied (`Cluster.delete_namespace` does that).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

_AUDITED: Final = (
    {"group": "pipebell.io"},
    {"group": "events.k8s.io"},
    {"group": "coordination.k8s.io"},
    {"group": "", "resources": ["events", "secrets", "configmaps", "namespaces"]},
)

#: Who did what to Pipebell's resources and to those that it may touch; one line per answered request, no contents.
AUDIT_POLICY: Final[dict[str, Any]] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "resources": list(_AUDITED)}, {"level": "None"}],
}


def api_server(credentials: Path, port: int, audit: tuple[Path, Path] | None) -> list[str]:
    """kube-apiserver's flags; `credentials` is the folder of `credentials.create`, `audit` a policy and a log."""
    flags = [
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={credentials}",
        f"--tls-cert-file={credentials / 'server.crt'}",
        f"--tls-private-key-file={credentials / 'server.key'}",
        f"--client-ca-file={credentials / 'ca.crt'}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={credentials / 'tokens.pub'}",
        f"--service-account-signing-key-file={credentials / 'tokens.key'}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--endpoint-reconciler-type=none",
        "--disable-admission-plugins=ServiceAccount",
        # Everybody here is a guest of one small machine, and nobody else is to be protected from them.
        "--max-requests-inflight=2000",
        "--max-mutating-requests-inflight=1000",
        "--profiling=false",
        "--v=0",
    ]
    if audit:
        policy, log = audit
        flags += [
            f"--audit-policy-file={policy}",
            f"--audit-log-path={log}",
            # A request is answered after its line is written: who waits for the answer can count.
            "--audit-log-mode=blocking-strict",
            "--audit-log-maxsize=1000",
        ]
    return flags


def etcd(binary: Path, store: Path) -> list[str]:
    """The command of an etcd of its own on unix sockets; nothing here outlives a trial, so no fsync."""
    client, peer = store_address(store), f"unix://{store / 'peer.sock'}"
    return [
        str(binary),
        f"--data-dir={store / 'data'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=error",
        f"--quota-backend-bytes={8 << 30}",
    ]


def store_address(store: Path) -> str:
    """Where an etcd of its own listens for the API server."""
    return f"unix://{store / 'client.sock'}"
