"""Sending without waiting at all: for schedulers, which must not stand still, whatever the API server does.

One thread for each process takes events in turn. A forked child has none of its parent's: it starts its own.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
from typing import TYPE_CHECKING, Final

from pipebell.integrations.events import send
from pipebell.sdk.factory import get_notification_service

if TYPE_CHECKING:
    from pipebell.integrations.events import Event

log = logging.getLogger("pipebell")

_TIMEOUT: Final = 10.0  # seconds for each event, of the thread's time
_LAST: Final = 0.5  # seconds for each at the interpreter's end: what is not sent then is kept in the spool
_MAX_WAITING: Final = 10_000


class Courier:
    """Takes events and sends them in a thread of its own. `put` never blocks and never raises."""

    def __init__(self) -> None:
        self._start_over()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._start_over)

    def _start_over(self) -> None:
        self._waiting: queue.Queue[tuple[Event, str | None]] = queue.Queue(_MAX_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, event: Event, *, namespace: str | None = None) -> None:
        """Have it sent soon."""
        try:
            self._waiting.put_nowait((event, namespace))
            self._ensure_running()
        except queue.Full:
            log.error("pipebell: too many events wait to be sent: %s of %s is lost", event.event, event.pipeline)  # noqa: TRY400  (the line says it all)
        except RuntimeError as error:  # no thread can be started any more
            log.warning("pipebell: %s of %s waits for the end of the process: %s", event.event, event.pipeline, error)

    def _ensure_running(self) -> None:
        with self._lock:
            if self._thread is None:
                get_notification_service()  # it ends after what is registered later: `_drain` still has it
                atexit.register(self._drain)
                self._thread = threading.Thread(target=self._run, name="pipebell-courier", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            event, namespace = self._waiting.get()
            send(event, namespace=namespace, timeout=_TIMEOUT)

    def _drain(self) -> None:
        while True:
            try:
                event, namespace = self._waiting.get_nowait()
            except queue.Empty:
                return
            send(event, namespace=namespace, timeout=_LAST)


courier: Final = Courier()
