"""Events that could not be sent, on disk until they can: one file each, written atomically, bounded in number and age.

Several processes may share a folder: files have distinct names, a reader takes the lock without waiting for it, and
sending one twice is harmless because the event's name decides. Files are private (0600): errors tell internals.
"""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pipebell.sdk import log
from pipebell.sdk.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_RECORDS: Final = 10_000
MAX_BYTES: Final = 64 * 1024 * 1024
# The operator deletes finished events after a day at the earliest: until then the name tells a duplicate.
MAX_AGE: Final = 86_400.0  # seconds
_LARGEST: Final = 4 * 1024 * 1024  # bytes; the API server takes no event of more than 1.5 MB
_LATEST: Final = 1e11  # seconds since the epoch
_RECOUNT_EVERY: Final = 64
_ABANDONED: Final = 3_600.0  # seconds; a temporary file this old has no writer any more
_SUFFIX: Final = ".json"
_WRITING: Final = ".writing-"
_REJECTED: Final = "rejected"
_KEPT: Final = 100  # files that are set aside
# Never waits (a pipe), never follows a link.
_LOCK_FLAGS: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
_NAME: Final = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")


class Waiting(NamedTuple):
    """A record in the spool. `server` is where it was meant to go; None when no cluster was known at the time.

    `place` is then where one was looked for (see `access.Place`).
    """

    path: Path
    record: Record
    server: str | None
    place: str | None = None


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
    nearest = next((path for path in (folder, *folder.parents) if _exists(path)), None)
    return nearest is not None and nearest != Path("/") and os.access(nearest, os.W_OK)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False  # in a folder that we may not look into


class Spool:
    """A folder of waiting records. Its methods raise OSError; nothing here talks to the network.

    A folder that is given as a function is looked for when it is first needed: it may be on a disk that hangs.
    """

    def __init__(
        self, folder: Path | Callable[[], Path], *, max_records: int = MAX_RECORDS, max_bytes: int = MAX_BYTES
    ) -> None:
        self._given = folder
        self._max_records, self._max_bytes = max_records, max_bytes
        self._since_count = _RECOUNT_EVERY
        self._skipped: set[str] = set()

    @property
    def folder(self) -> Path:
        """Where it is."""
        if not isinstance(self._given, Path):
            self._given = self._given()
        return self._given

    @folder.setter
    def folder(self, folder: Path) -> None:
        self._given = folder

    def put(self, record: Record, server: str | None, place: str | None = None) -> tuple[Path, int]:
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
        if server is None and place is not None:
            document["place"] = place
        temporary = self.folder / f"{_WRITING}{os.getpid()}-{record.name}"
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
        """What is there, the oldest first. Files that are no records are set aside; what nobody may read is left."""
        for path in self._files():
            try:
                yield _parse(path, _read(path))
            except FileNotFoundError:
                continue  # another process was faster
            except OSError as error:
                self._skip(path, error.strerror or type(error).__name__)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                log.error("pipebell: %s in the spool is no event: set aside in %s/", path.name, _REJECTED)
                self.set_aside(path)

    def __len__(self) -> int:
        return len(self._files())

    def rejected(self) -> int:
        """How many files are set aside."""
        try:
            return sum(1 for path in (self.folder / _REJECTED).iterdir() if path.suffix == _SUFFIX)
        except OSError:
            return 0

    def done(self, path: Path) -> None:
        """The record was sent, or is not wanted any more."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._skip(path, f"it was sent, but cannot be removed: {error.strerror}")

    def set_aside(self, path: Path) -> None:
        """The API server will never take this record: keep it for people, in the folder `rejected`."""
        folder = self.folder / _REJECTED
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            for old in sorted(folder.iterdir())[:-_KEPT]:
                with suppress(OSError):
                    old.unlink()
            path.rename(folder / path.name)
        except FileNotFoundError:
            pass  # another process was faster
        except OSError as error:
            self._skip(path, f"it cannot be set aside: {error.strerror}")

    def _skip(self, path: Path, reason: str) -> None:
        """This process does not look at the file again."""
        self._skipped.add(path.name)
        log.warning("pipebell: %s in the spool %s is left alone: %s", path.name, self.folder, reason)

    @contextmanager
    def claim(self) -> Iterator[bool]:
        """Whether this process may empty the spool now; false while another one does. A crash gives the claim back.

        Where there can be no lock (no such call, another user's file) two processes may send the same, harmlessly.
        """
        self._open()
        try:
            import fcntl  # noqa: PLC0415  (not everywhere)

            descriptor = os.open(self.folder / ".lock", _LOCK_FLAGS, 0o600)
        except (ImportError, OSError):
            yield True
            return
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                mine = False
            except OSError:
                mine = True  # a file system without locks
            else:
                mine = True
            yield mine
        finally:
            os.close(descriptor)

    def _open(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = self.folder.lstat()
        if hasattr(os, "getuid") and status.st_uid not in (os.getuid(), 0):
            # Among the temporary files, anybody may have been there first.
            raise PermissionError(f"{self.folder} belongs to another user: set PIPEBELL_SPOOL_DIR")

    def _files(self) -> list[Path]:
        """Records by name: regular files only, since a link or a pipe is nothing that we wrote."""
        try:
            with os.scandir(self.folder) as entries:
                names = [
                    entry.name
                    for entry in entries
                    if entry.name.endswith(_SUFFIX)
                    and entry.name[0] != "."
                    and entry.name not in self._skipped
                    and entry.is_file(follow_symlinks=False)
                ]
        except OSError:
            return []  # no such folder (yet), or not ours
        return [self.folder / name for name in sorted(names)]

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
            self.done(oldest)
            removed += 1
        return removed

    def _sweep(self) -> None:
        """Remove what writers left that were killed in the middle."""
        for path in self.folder.glob(f"{_WRITING}*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()


def _read(path: Path) -> bytes:
    """Never waits: what was a file a moment ago may be a pipe by now."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError
    return content


def _parse(path: Path, content: bytes) -> Waiting:
    """Raises ValueError, KeyError, TypeError, AttributeError or RecursionError for what is no record."""
    document: dict[str, Any] = json.loads(content)
    name, created, namespace, spec = (document[key] for key in ("name", "created", "namespace", "spec"))
    server, place = document["server"], document.get("place")
    texts = (value is None or isinstance(value, str) for value in (namespace, server, place))
    number = isinstance(created, (int, float)) and not isinstance(created, bool) and 0 <= created < _LATEST  # no NaN
    if not (isinstance(spec, dict) and number and all(texts) and _NAME.fullmatch(name)):
        raise ValueError
    return Waiting(path, Record(name, float(created), namespace, spec), server, place)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
