"""A name for this process that no other living one has, and that its successor in the same place gets again.

A process that is killed cannot give its Leases back. Others have to wait until they are sure that it is dead; its
successor need not, if it can prove that: the name stands in a locked file, and the system takes the lock off a file
when the process that holds it ends, however it ends. A pod's /tmp outlives its containers and is shared with no other
pod, so a container that starts anew has its predecessor's name.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import structlog

try:
    import fcntl
except ImportError:  # Windows: a name of its own for each process
    fcntl = None  # type: ignore[assignment]

SLOTS: Final = 64  # processes of one key at the same time
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9-]+")
_LONGEST: Final = 50  # characters of the host's name: a pod's is up to 63, a label's value too
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,61}[a-z0-9]")

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Identity:
    """A name, for as long as it is not closed. `lock` is the descriptor of the file `path`; None: no lasting name."""

    name: str
    path: Path | None = None
    lock: int | None = None

    def close(self, *, keep: bool = False) -> None:
        """Let go of the name; `keep` it for a successor, if there is something to succeed to."""
        if self.path is not None and self.lock is not None:
            if not keep:
                self.path.unlink(missing_ok=True)
            os.close(self.lock)
            self.lock = None


def claim(key: str, folder: str | None = None) -> Identity:
    """The first free name of this key, which tells clusters and installations apart that share a host."""
    place = Path(folder or tempfile.gettempdir())
    user = os.getuid() if hasattr(os, "getuid") else 0
    stem = f"pipebell-replica-{user}-{sha256(key.encode()).hexdigest()[:12]}"
    if fcntl is not None:
        for slot in range(SLOTS):
            try:
                identity = _lock(place / f"{stem}-{slot}")
            except OSError as error:
                log.info("replica_name_not_kept", folder=str(place), error=str(error))
                break
            if identity is not None:
                return identity
    return Identity(_new_name())


def _lock(path: Path) -> Identity | None:
    """The name in this file, which is made if need be; None while another process has it. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        name = os.read(descriptor, 100).decode("ascii", "replace")
        if not _NAME.fullmatch(name):
            name = _new_name()
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, name.encode(), 0)
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise
    return Identity(name, path, descriptor)


def _new_name() -> str:
    host = _NOT_IN_NAMES.sub("-", socket.gethostname().lower()).strip("-")[:_LONGEST].strip("-") or "replica"
    return f"{host}-{secrets.token_hex(3)}"
