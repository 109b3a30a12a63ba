"""The threads behind every call: some that send, one that spools what takes too long, one that empties the spool.

A caller waits for its own call only, and never longer than its timeout, whatever hangs: name lookup, connection, API
server or disk. All threads are daemons, so that none of that can hold up the interpreter's end either.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import random
import threading
import time
import weakref
from typing import TYPE_CHECKING, Final

from pipebell.sdk.call import Call
from pipebell.sdk.delivery import State, Verdict, create, empty

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.sdk.api import Api
    from pipebell.sdk.record import Record
    from pipebell.sdk.spool import Spool

log = logging.getLogger("pipebell")

WORKERS: Final = 4
_SLOW: Final = 0.5  # seconds; an API server that fails faster than that needs no sparing
_SPARE: Final = 5.0  # seconds during which calls go to disk at once, after one that was slow and failed
_FIRST_PAUSE: Final = 0.1  # seconds after an unexpected error
_LONGEST_PAUSE: Final = 30.0
_POLL: Final = 0.02  # seconds
_EXIT: Final = 2.0  # seconds that the interpreter's end may take for what is still waiting


class Sender:
    """Takes records, sends them, spools what cannot be sent. `longest_wait` between retries is in seconds."""

    def __init__(self, api: Api, spool: Spool, *, workers: int = WORKERS, longest_wait: float = 60.0) -> None:
        self.api, self.spool = api, spool
        self._workers = workers
        self._longest_wait = longest_wait
        self._start_over()
        this = weakref.ref(self)
        atexit.register(_of(this, Sender.close))
        if hasattr(os, "register_at_fork"):
            # A forked child has none of these threads: it starts its own. The parent's calls stay the parent's.
            os.register_at_fork(after_in_child=_of(this, Sender._start_over))

    def _start_over(self) -> None:
        self.api.start_over()
        self._lock = threading.Lock()
        self._calls: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._late: queue.SimpleQueue[tuple[Call, str]] = queue.SimpleQueue()
        self._open: set[Call] = set()
        self._started = False
        self._spare_until = 0.0
        self._wake, self._closing, self._emptied = threading.Event(), threading.Event(), threading.Event()

    def submit(self, record: Record, timeout: float) -> Call:
        """Begin to send a record. Returns at once."""
        call = Call(record, timeout)
        with self._lock:
            self._open.add(call)
            if not self._started:
                self._started = True
                self._start()
        call.then(lambda: self._open.discard(call))
        if time.monotonic() < self._spare_until:
            self._late.put((call, "the API server did not answer a moment ago"))
        else:
            self._calls.put(call)
        return call

    def _start(self) -> None:
        """Start all threads with the first call: at the interpreter's end no more can be started (Python 3.12)."""
        for number in range(self._workers):
            _thread(f"pipebell-send-{number}", self._send_one)
        _thread("pipebell-keep", self._keep_one)
        _thread("pipebell-empty", self._empty_when_woken)

    def overdue(self, call: Call) -> None:
        """The caller has waited long enough: on disk with it, and spare the next callers the same. Returns at once."""
        self._spare_until = time.monotonic() + _SPARE
        self._late.put((call, "the API server did not answer in time"))

    def _send_one(self) -> None:
        call = self._calls.get()
        if call.ended:
            return
        began = time.monotonic()
        if began >= call.deadline:
            self._late.put((call, "too many calls at once"))
            return
        verdict = create(self.api, call.record, call.deadline - began)
        if verdict.state is not State.SPOOLED:
            self._finish(call, verdict)
            return
        ended = time.monotonic()
        if verdict.again and (ended - began >= _SLOW or ended >= call.deadline):
            self._spare_until = ended + _SPARE
        self._late.put((call, verdict.reason))

    def _finish(self, call: Call, verdict: Verdict) -> None:
        if verdict.state is State.SENT:
            self._spare_until = 0.0
            self._wake.set()
        else:
            log.error("pipebell: %s was rejected: %s", call.record.label, verdict.reason)
            self._set_aside(call)
        call.end(verdict)

    def _set_aside(self, call: Call) -> None:
        try:
            path, _ = self.spool.put(call.record, None)
            self.spool.set_aside(path)
        except OSError as error:
            log.warning("pipebell: %s could not be set aside: %s", call.record.label, error)

    def _keep_one(self) -> None:
        call, reason = self._late.get()
        if not call.ended:
            self._keep(call, reason)

    def _keep(self, call: Call, reason: str) -> None:
        try:
            endpoint = self.api.known
            record = call.record.at_home(endpoint.namespace if endpoint else None)
            path, removed = self.spool.put(record, endpoint.server if endpoint else None)
        except OSError as error:
            # A traceback would tell nothing that this line does not.
            log.error("pipebell: %s is lost: %s; and not on disk: %s", call.record.label, reason, error)  # noqa: TRY400  (see above)
            call.end(Verdict(State.LOST, f"{reason}; and not on disk: {error}"))
            return
        if removed:
            log.error("pipebell: the spool is full: the %d oldest events were dropped", removed)
        if call.ended:
            self.spool.done(path)  # it was sent after all, meanwhile
            return
        log.warning("pipebell: %s will be sent later: %s", call.record.label, reason)
        call.end(Verdict(State.SPOOLED, reason))
        self._wake.set()

    def _empty_when_woken(self) -> None:
        self._wake.wait()
        self._wake.clear()
        last = self._closing.is_set()
        if len(self.spool):
            self._retry()
        if last:
            self._emptied.set()

    def _retry(self) -> None:
        """Try until nothing is left, after a time drawn below 1 s, then 2 s, 4 s and so on."""
        ceiling = 1.0
        while self._empty() and not self._closing.is_set():
            self._pause(random.uniform(0, min(ceiling, self._longest_wait)))  # noqa: S311  (nobody guesses it)
            ceiling *= 2

    def _pause(self, seconds: float) -> None:
        """Wait for the next try; a call that got through ends the waiting."""
        self._wake.wait(seconds)
        self._wake.clear()

    def _empty(self) -> int:
        try:
            emptied = empty(self.spool, self.api, timeout=10.0)
        except Exception as error:  # noqa: BLE001  (a disk that fails must not end this thread)
            log.warning("pipebell: the spool %s cannot be emptied: %s", self.spool.folder, error)
            return 0
        if emptied.sent:
            self._spare_until = 0.0
            log.info("pipebell: %d events from the spool were sent", emptied.sent)
        return emptied.left

    def close(self, timeout: float = _EXIT) -> None:
        """Give what is under way, then the spool, a last chance; what remains stays on disk. Never raises."""
        if not self._started:
            return
        end = time.monotonic() + timeout
        for call in list(self._open):
            call.wait(end - timeout / 2 - time.monotonic())
        for call in list(self._open):
            self._late.put((call, "the program ended"))
        for call in list(self._open):
            call.wait(end - time.monotonic())
        self._emptied.clear()
        self._closing.set()
        while not self._emptied.wait(_POLL) and time.monotonic() < end:
            self._wake.set()  # again and again: a retry that was pausing takes one of them for itself
        self._closing.clear()


def _thread(name: str, step: Callable[[], object]) -> None:
    """Repeat a step for ever, in a thread that no failure ends."""

    def repeat() -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                step()
            except Exception:
                log.exception("pipebell: unexpected")
                time.sleep(pause)  # what fails at once would take a whole processor
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                pause = _FIRST_PAUSE

    threading.Thread(target=repeat, name=name, daemon=True).start()


def _of(this: weakref.ref[Sender], method: Callable[[Sender], None]) -> Callable[[], None]:
    """A method of an object that may be gone when it is called."""

    def call() -> None:
        if (sender := this()) is not None:
            method(sender)

    return call
