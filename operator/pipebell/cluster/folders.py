"""Where the local control plane keeps things: programs in the user's cache, clusters in the user's state folder.

XDG Base Directory Specification: https://specifications.freedesktop.org/basedir-spec/latest/. Nothing is ever written
into the source tree.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Final

from pipebell.cluster.errors import ClusterError

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
# sockaddr_un.sun_path holds 104 bytes on macOS and 108 on Linux, the closing NUL included.
_LONGEST_SOCKET: Final = 103


def cache() -> Path:
    """Programs that were built or installed once for all clones."""
    return _base("XDG_CACHE_HOME", ".cache")


def named(name: str) -> Path:
    """The directory of the cluster of this name. Raises ClusterError for a name that cannot be one."""
    if not _NAME.fullmatch(name):
        raise ClusterError(f"{name!r} cannot name a cluster: use lower-case letters, digits and '-', at most 40")
    return _clusters() / name


def names() -> list[str]:
    """The names of all named clusters."""
    return sorted(path.name for path in _clusters().iterdir()) if _clusters().is_dir() else []


def passing() -> Path:
    """The folder of nameless clusters, which end with the process that started them."""
    folder = Path(tempfile.gettempdir(), f"pipebell-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.is_symlink():
        raise ClusterError(f"{folder} belongs to somebody else: set TMPDIR to a folder of your own")
    return folder


def store_in(directory: Path) -> Path:
    """A new folder for etcd's sockets and data: inside the directory, or elsewhere when its path is too long."""
    store = directory / "store"
    if len(os.fsencode(store / "client.sock")) <= _LONGEST_SOCKET:
        store.mkdir(mode=0o700)
        return store
    return Path(tempfile.mkdtemp(prefix="pipebell-", dir="/tmp"))  # TMPDIR may be what is too long


def _clusters() -> Path:
    return _base("XDG_STATE_HOME", ".local/state") / "clusters"


def _base(variable: str, default: str) -> Path:
    given = os.environ.get(variable, "")
    # The specification: a relative path in the variable is to be ignored.
    return (Path(given) if Path(given).is_absolute() else Path.home() / default) / "pipebell"
