"""The threads behind every call: some that send, one that spools what takes too long, one that empties the spool.

A caller waits for its own call only, and never longer than its timeout, whatever hangs: name lookup, connection, API
server, disk, or the text of an object. No thread holds up the interpreter's end. Nothing here takes a lock in the
caller's thread: that may be a signal's handler, anywhere in here.
"""

from __future__ import annotations

import _thread
import atexit
import os
import queue
import random
import threading
import time
import weakref
from typing import TYPE_CHECKING, Final

from pipebell.sdk import log
from pipebell.sdk.call import Call
from pipebell.sdk.delivery import SendResult, State, create, empty

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.sdk.api import Api
    from pipebell.sdk.record import Draft
    from pipebell.sdk.spool import Spool

WORKERS: Final = 4
_SLOW: Final = 0.5  # seconds; an API server that fails faster than that needs no sparing
_SPARE: Final = 5.0  # seconds during which calls go to disk at once, after one that was slow and failed
_FIRST_PAUSE: Final = 0.1  # seconds after an unexpected error
_LONGEST_PAUSE: Final = 30.0
_CHANCE: Final = random.SystemRandom()  # not `random` itself, whose state is the program's
_POLL: Final = 0.02  # seconds
_EXIT: Final = 2.0  # seconds that the interpreter's end may take for what is still waiting


class Sender:
    """Takes drafts, sends them, spools what cannot be sent. `longest_wait` between retries is in seconds.

    `place` is where its cluster is looked for (see `access.Place`): the spool remembers it of events for which none was
    found.
    """

    place = ""

    def __init__(
        self, api: Api, spool: Spool, *, workers: int = WORKERS, longest_wait: float = 60.0, place: str = ""
    ) -> None:
        self.api, self.spool, self.place = api, spool, place
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
        self._calls: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._late: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._open: set[Call] = set()
        self._running: set[str] = set()
        self._spare_until = 0.0
        self._wake, self._closing, self._emptied = threading.Event(), threading.Event(), threading.Event()

    def submit(self, draft: Draft, timeout: float) -> Call:
        """Begin to send an event. Returns at once, except where no thread can be started: then it is on disk."""
        call = Call(draft, timeout)
        self._open.add(call)
        call.then(lambda: self._open.discard(call))
        try:
            self._ensure_started()
            if not draft.plain:
                _start_thread("pipebell-read", lambda: self._read(call))
        except RuntimeError as error:  # a container at its limit of processes; or the interpreter's end (Python 3.12)
            call.hurry()
            if not self._started:
                self._keep(call, f"no thread can be started ({error})")
                return call
        if draft.plain:
            call.read()
        if call.ready:
            self._enqueue(call)
        return call

    def refuse(self, draft: Draft, reason: str) -> Call:
        """An event that the API server would never take: set aside. Returns at once."""
        call = Call(draft, 0.0)
        log.error("pipebell: %s of %s is rejected: %s", draft.event, draft.name, reason)
        call.end(SendResult(State.REJECTED, reason))
        try:
            self._ensure_started()
        except RuntimeError:
            self._set_aside(call)
        else:
            self._late.put(lambda: self._set_aside(call))
        return call

    def _read(self, call: Call) -> None:
        if call.read():
            self._enqueue(call)

    def hurry(self, call: Call) -> None:
        """Reading the arguments takes too long: go on without what is not read. Returns at once."""
        if call.hurry():
            log.warning("pipebell: %s goes without what took too long to read", call.record.label)
            self._enqueue(call)

    def _enqueue(self, call: Call) -> None:
        if time.monotonic() < self._spare_until:
            self._to_disk(call, "the API server did not answer a moment ago")
        else:
            self._calls.put(call)

    @property
    def _started(self) -> bool:
        """Whether there are threads enough: one that sends, and one that keeps."""
        return "pipebell-keep" in self._running and any(name.startswith("pipebell-send") for name in self._running)

    def _ensure_started(self) -> None:
        """Start all threads with the first call: at the interpreter's end no more can be started (Python 3.12).

        Raises RuntimeError; the next call tries again to start those that are missing.
        """
        if len(self._running) < self._workers + 2:
            self._start()

    def _start(self) -> None:
        """Start the threads that are missing; twice, if a signal's handler comes in between, which harms nobody."""
        steps = {f"pipebell-send-{number}": self._send_one for number in range(self._workers)}
        steps |= {"pipebell-keep": self._keep_one, "pipebell-empty": self._empty_when_woken}
        for name, step in steps.items():
            if name not in self._running:
                _start_thread(name, lambda step=step: _repeat(step))  # type: ignore[misc]
                self._running.add(name)

    def overdue(self, call: Call) -> None:
        """The caller has waited long enough: on disk with it, and spare the next callers the same. Returns at once."""
        self._spare_until = time.monotonic() + _SPARE
        self._to_disk(call, "the API server did not answer in time")

    def _to_disk(self, call: Call, reason: str) -> None:
        self._late.put(lambda: None if call.ended else self._keep(call, reason))

    def _send_one(self) -> None:
        call = self._calls.get()
        if call.ended:
            return
        began = time.monotonic()
        if began >= call.deadline:
            self._to_disk(call, "too many calls at once")
            return
        result = create(self.api, call.record, call.deadline - began)
        if result.state is not State.SPOOLED:
            self._finish(call, result)
            return
        ended = time.monotonic()
        if result.again and (ended - began >= _SLOW or ended >= call.deadline):
            self._spare_until = ended + _SPARE
        self._to_disk(call, result.reason)

    def _finish(self, call: Call, result: SendResult) -> None:
        if result.state is State.SENT:
            self._spare_until = 0.0
            call.sent = True
            if call.path is not None:
                self.spool.done(call.path)  # it was late and is on disk
            call.end(result)
            self._wake.set()
        else:
            log.error("pipebell: %s was rejected: %s", call.record.label, result.reason)
            self._set_aside(call)
            call.end(result)

    def _set_aside(self, call: Call) -> None:
        try:
            path, _ = self.spool.put(call.record, None)
            self.spool.set_aside(path)
        except OSError as error:
            log.warning("pipebell: %s could not be set aside: %s", call.record.label, error)

    def _keep_one(self) -> None:
        self._late.get()()

    def _keep(self, call: Call, reason: str) -> None:
        try:
            endpoint = self.api.known
            record = call.record.with_namespace(endpoint.namespace if endpoint else None)
            call.path, removed = self.spool.put(record, endpoint.server if endpoint else None, self.place)
        except OSError as error:
            # A traceback would tell nothing that this line does not.
            log.error("pipebell: %s is lost: %s; and not on disk: %s", call.record.label, reason, error)
            call.end(SendResult(State.LOST, f"{reason}; and not on disk: {error}"))
            return
        if removed:
            log.error("pipebell: the spool is full: the %d oldest events were dropped", removed)
        if call.sent:
            self.spool.done(call.path)  # after all, meanwhile
            return
        log.warning("pipebell: %s will be sent later: %s", call.record.label, reason)
        call.end(SendResult(State.SPOOLED, reason))
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
            self._pause(_CHANCE.uniform(0, min(ceiling, self._longest_wait)))
            ceiling = min(ceiling * 2, self._longest_wait)

    def _pause(self, seconds: float) -> None:
        """Wait for the next try; a call that got through ends the waiting."""
        self._wake.wait(seconds)
        self._wake.clear()

    def _empty(self) -> int:
        try:
            emptied = empty(self.spool, self.api, timeout=10.0, place=self.place)
        except Exception as error:  # noqa: BLE001  (a disk that fails must not end this thread)
            log.warning("pipebell: the spool cannot be emptied: %s", error)
            return 0
        if emptied.sent:
            self._spare_until = 0.0
            log.info("pipebell: %d events from the spool were sent", emptied.sent)
        return emptied.left

    def close(self, timeout: float = _EXIT) -> None:
        """Give what is under way, then the spool, a last chance; what remains stays on disk. Never raises."""
        if not self._running:
            return
        end = time.monotonic() + timeout
        for call in list(self._open):
            call.wait(end - timeout / 2)
        for call in list(self._open):
            self.hurry(call)
            self._to_disk(call, "the program ended")
        for call in list(self._open):
            if not call.wait(end):
                log.error("pipebell: %s is lost, or late: neither API server nor disk answered", call.record.label)
        self._emptied.clear()
        self._closing.set()
        while "pipebell-empty" in self._running and not self._emptied.wait(_POLL) and time.monotonic() < end:
            self._wake.set()  # again and again: a retry that was pausing takes one of them for itself
        self._closing.clear()


def _start_thread(name: str, work: Callable[[], object]) -> None:
    """A thread that nobody waits for. Raises RuntimeError when there can be none.

    `threading.Thread.start` takes a lock of its own, in which a signal's handler that notifies would wait for ever.
    """

    def named() -> None:
        threading.current_thread().name = name  # for logs and debuggers
        work()

    _thread.start_new_thread(named, ())


def _repeat(step: Callable[[], object]) -> None:
    """Repeat a step for ever; no failure ends it, and none keeps a processor busy."""
    pause = _FIRST_PAUSE
    while True:
        try:
            step()
        except Exception:  # noqa: BLE001  (it is logged, with its traceback)
            log.exception("pipebell: unexpected")
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        else:
            pause = _FIRST_PAUSE


def _of(this: weakref.ref[Sender], method: Callable[[Sender], None]) -> Callable[[], None]:
    """A method of an object that may be gone when it is called."""

    def call() -> None:
        if (sender := this()) is not None:
            method(sender)

    return call
