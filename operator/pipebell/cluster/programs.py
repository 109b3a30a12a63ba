"""Which programs make a control plane: our single one, built once, or those that KUBEBUILDER_ASSETS names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipebell.cluster import build, flags
from pipebell.cluster.errors import ClusterError

if TYPE_CHECKING:
    from pipebell.cluster.progress import Progress


@dataclass(frozen=True, slots=True)
class Programs:
    """`etcd` is None when the API server's program brings its own."""

    api_server: Path
    etcd: Path | None = None

    def commands(self, store: Path, api_server_flags: list[str]) -> list[tuple[str, list[str]]]:
        """Name and command of each process, in the order of their start."""
        if self.etcd is None:
            return [("control-plane", [str(self.api_server), str(store), *api_server_flags])]
        server = [str(self.api_server), f"--etcd-servers={flags.store_address(store)}", *api_server_flags]
        return [("etcd", flags.etcd(self.etcd, store)), ("kube-apiserver", server)]


def find(progress: Progress) -> Programs:
    """The programs to use; builds ours if it must. Raises ClusterError."""
    assets = os.environ.get("KUBEBUILDER_ASSETS", "")
    if not assets:
        return Programs(build.control_plane(progress))
    found = {name: Path(assets, name).absolute() for name in ("etcd", "kube-apiserver")}
    for name, path in found.items():
        if not os.access(path, os.X_OK):
            raise ClusterError(f"KUBEBUILDER_ASSETS={assets} holds no program {name}: hint the variable or unset it")
    return Programs(found["kube-apiserver"], found["etcd"])
