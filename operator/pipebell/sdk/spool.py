"""Events that could not be sent, on disk until they can: one file each, written atomically, bounded in number and age.

Several processes may share a folder: files have distinct names, a reader takes the lock without waiting for it, and
sending one twice is harmless because the event's name decides. Files are private (0600): errors tell internals.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from pipebell.sdk.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_RECORDS: Final = 10_000
MAX_BYTES: Final = 64 * 1024 * 1024
# The operator deletes finished events after a day at the earliest: until then the name tells a duplicate.
MAX_AGE: Final = 86_400.0  # seconds
_RECOUNT_EVERY: Final = 64
_ABANDONED: Final = 3_600.0  # seconds; a temporary file this old has no writer any more
_SUFFIX: Final = ".json"
_WRITING: Final = ".writing-"


class Waiting(NamedTuple):
    """A record in the spool. `server` is where it was meant to go; None when no cluster was found at the time."""

    path: Path
    record: Record
    server: str | None


def default_folder(environ: Mapping[str, str]) -> Path:
    """PIPEBELL_SPOOL_DIR, else the user's state folder, else a private one among the temporary files."""
    if given := environ.get("PIPEBELL_SPOOL_DIR"):
        return Path(given)
    state = environ.get("XDG_STATE_HOME") or (f"{home}/.local/state" if (home := environ.get("HOME")) else "")
    if state and _writable(Path(state)):
        return Path(state, "pipebell", "spool")
    import tempfile  # noqa: PLC0415  (10 ms that hardly anybody needs to pay)

    return Path(tempfile.gettempdir(), f"pipebell-spool-{os.getuid() if hasattr(os, 'getuid') else 'user'}")


def _writable(folder: Path) -> bool:
    """Whether the folder, or the nearest one above it that exists, may be written to (a container's HOME may not)."""
    nearest = next((path for path in (folder, *folder.parents) if path.exists()), None)
    return nearest is not None and nearest != Path("/") and os.access(nearest, os.W_OK)


class Spool:
    """A folder of waiting records. Its methods raise OSError; nothing here talks to the network."""

    def __init__(self, folder: Path, *, max_records: int = MAX_RECORDS, max_bytes: int = MAX_BYTES) -> None:
        self.folder = folder
        self._max_records, self._max_bytes = max_records, max_bytes
        self._since_count = _RECOUNT_EVERY

    def put(self, record: Record, server: str | None) -> tuple[Path, int]:
        """Keep a record; its file, and how many of the oldest had to go to make room."""
        self._open()
        removed = self._make_room()
        path = self.folder / f"{int(record.created * 1000):014d}-{record.name}{_SUFFIX}"
        document = {
            "version": 1,
            "server": server,
            "name": record.name,
            "created": record.created,
            "namespace": record.namespace,
            "spec": dict(record.spec),
        }
        temporary = self.folder / f"{_WRITING}{record.name}"
        try:
            with open(temporary, "w", encoding="utf-8", opener=_private) as file:
                json.dump(document, file, separators=(",", ":"))
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        return path, removed

    def waiting(self) -> Iterator[Waiting]:
        """What is there, the oldest first. Files that are no records are set aside."""
        for path in self._files():
            try:
                document = json.loads(path.read_text(encoding="utf-8"))
                record = Record(document["name"], document["created"], document["namespace"], document["spec"])
                yield Waiting(path, record, document["server"])
            except FileNotFoundError:
                continue  # another process was faster
            except (ValueError, KeyError, TypeError):
                self.set_aside(path)

    def __len__(self) -> int:
        return len(self._files())

    def done(self, path: Path) -> None:
        """The record was sent, or is not wanted any more."""
        path.unlink(missing_ok=True)

    def set_aside(self, path: Path) -> None:
        """The API server will never take this record: keep it for people, in the folder `rejected`."""
        folder = self.folder / "rejected"
        folder.mkdir(mode=0o700, exist_ok=True)
        for old in sorted(folder.iterdir())[:-100]:
            old.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            path.rename(folder / path.name)

    @contextmanager
    def claim(self) -> Iterator[bool]:
        """Whether this process may empty the spool now; false while another one does. A crash gives the claim back."""
        try:
            import fcntl  # noqa: PLC0415  (not everywhere: without it two processes may send the same, harmlessly)
        except ImportError:
            yield True
            return
        self._open()
        with (self.folder / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def _open(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self.folder.lstat()
        if hasattr(os, "getuid") and status.st_uid not in (os.getuid(), 0):
            # Among the temporary files, anybody may have been there first.
            raise PermissionError(f"{self.folder} belongs to another user: set PIPEBELL_SPOOL_DIR")

    def _files(self) -> list[Path]:
        try:
            return sorted(path for path in self.folder.iterdir() if path.suffix == _SUFFIX and path.name[0] != ".")
        except OSError:
            return []  # no such folder (yet), or not ours

    def _make_room(self) -> int:
        """Remove the oldest records when there are too many; counted now and then, for a count reads the folder."""
        self._since_count += 1
        if self._since_count < _RECOUNT_EVERY:
            return 0
        self._since_count = 0
        self._sweep()
        files = self._files()
        sizes = {path: _size(path) for path in files}
        total, removed = sum(sizes.values()), 0
        while files and (len(files) >= self._max_records or total >= self._max_bytes):
            oldest = files.pop(0)
            total -= sizes[oldest]
            oldest.unlink(missing_ok=True)
            removed += 1
        return removed

    def _sweep(self) -> None:
        """Remove what writers left that were killed in the middle."""
        for path in self.folder.glob(f"{_WRITING}*"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
