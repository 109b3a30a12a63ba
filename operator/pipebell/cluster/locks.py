"""One at a time, across processes."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipebell.cluster.progress import Progress

_POLL: Final = 0.2


@contextmanager
def alone(folder: Path, progress: Progress, waiting_for: str) -> Iterator[None]:
    """Hold the folder's lock (of the folder itself: no file stays behind); it goes with its process."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    started = time.monotonic()
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                progress.tick(f"waiting for {waiting_for} in another process", started)
                time.sleep(_POLL)
        yield
    finally:
        os.close(handle)
