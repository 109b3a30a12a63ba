"""Brings incidents onto their resources: transitions at once, counts when there is time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import structlog

from pipebell.core.errors import ApiError, Conflict, NotFound, Unavailable
from pipebell.core.incidents.record import status_of
from pipebell.engine.timers import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.core.incidents.book import Entry
    from pipebell.core.incidents.resource import Incident as Resource
    from pipebell.core.ports import Clock
    from pipebell.engine.events.part import Stored
    from pipebell.engine.ports import Incidents, Ownership

EACH: Final = 10.0  # seconds between two writes of one incident's counts
OVERALL: Final = 0.05  # seconds between two writes of counts at all
AT_ONCE: Final = 16  # writes of transitions under way
AGAIN, MUCH_LATER = 1.0, 60.0  # seconds until what could not be written is tried again

log = structlog.get_logger(__name__)


class IncidentWriter:
    """Writes what has changed of entries that are `known`.

    `on_seen(entry, resource)` hears of the resource where somebody else had changed it.
    """

    def __init__(
        self,
        api: Incidents,
        clock: Clock,
        ownership: Ownership,
        known: Callable[[Entry], bool],
        on_seen: Callable[[Entry, Resource], None],
        on_gone: Callable[[Entry], None],
    ) -> None:
        self._api, self._clock, self._ownership = api, clock, ownership
        self._known, self._on_seen, self._on_gone = known, on_seen, on_gone
        self._urgent: dict[Entry, None] = {}
        self._counts: dict[Entry, float] = {}  # and when, at the earliest
        self._busy: dict[Entry, None] = {}
        self._not_before = 0.0  # when counts may be written again
        self._news = asyncio.Event()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Incidents that are to be written."""
        return len(self._urgent) + len(self._counts)

    def add(self, entry: Entry, *, urgent: bool) -> None:
        """An incident has changed."""
        if urgent:
            self._counts.pop(entry, None)
            self._urgent[entry] = None
            self._news.set()
        elif entry not in self._urgent and entry not in self._counts:
            stored: Stored = entry.extra
            self._counts[entry] = stored.at + EACH
            self._news.set()

    def forget(self, entry: Entry) -> None:
        """It is not to be written any more."""
        self._urgent.pop(entry, None)
        self._counts.pop(entry, None)

    async def run(self) -> None:
        """Write until cancelled."""
        try:
            while True:
                self._news.clear()
                for entry in [entry for entry in self._urgent if entry not in self._busy]:
                    await self._slots.acquire()
                    if entry in self._urgent:
                        del self._urgent[entry]
                        self._start(entry)
                    else:  # it was forgotten meanwhile
                        self._slots.release()
                due = self._next_count()
                if due is None:
                    await self._news.wait()
                elif due > self._clock.now():
                    await wait_for(self._news, self._clock, due - self._clock.now())
                else:
                    await self._count()
        finally:
            for task in self._tasks:
                task.cancel()

    def _next_count(self) -> float | None:
        first = min(self._counts.values(), default=None)
        return None if first is None else max(first, self._not_before)

    async def _count(self) -> None:
        now = self._clock.now()
        entry = min(self._counts, key=self._counts.__getitem__)
        del self._counts[entry]
        if entry in self._busy:
            self._counts[entry] = now + OVERALL
        else:
            await self._slots.acquire()
            self._start(entry)
        self._not_before = now + OVERALL

    def _start(self, entry: Entry) -> None:
        self._busy[entry] = None
        task = asyncio.create_task(self._write(entry))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, entry: Entry) -> None:
        again: float | None = None
        try:
            if self._known(entry):  # else its shard was lost meanwhile, and may be ours again: as another entry
                again = await self._patch(entry)
        except Exception:
            log.exception("incident_not_written", name=entry.incident.name)
            again = MUCH_LATER
        finally:
            self._busy.pop(entry, None)
            self._slots.release()
            if again is not None:
                self._counts.setdefault(entry, self._clock.now() + again)
            self._news.set()

    async def _patch(self, entry: Entry) -> float | None:
        """Write it. Seconds until it is tried again; None when it need not be."""
        stored: Stored = entry.extra
        incident = entry.incident
        if stored.resource is None:
            return AGAIN if stored.creating is not None and not stored.refused else None
        status = status_of(incident, entry.confirmed, stored.resource.generation)
        patch = _changed(status, stored.written)
        if not patch:
            return None
        # It may say that something was made that is not there yet; and what is not ours for long is forgotten.
        if stored.making or not self._ownership.may_send(incident.key.org):
            return AGAIN
        try:
            version = await self._api.patch_status(stored.resource, patch)
        except Conflict:
            return await self._read_again(entry, stored)
        except NotFound:
            self._on_gone(entry)
        except ApiError as error:
            log.warning("incident_not_written", namespace=incident.key.namespace, name=incident.name, error=str(error))
            return AGAIN if isinstance(error, Unavailable) else MUCH_LATER
        else:
            stored.resource = replace(stored.resource, resource_version=version)
            stored.written, stored.at = status, self._clock.now()
        return None

    async def _read_again(self, entry: Entry, stored: Stored) -> float | None:
        incident = entry.incident
        try:
            resource = await self._api.get(incident.key.namespace, incident.name)
        except NotFound:
            self._on_gone(entry)
            return None
        except ApiError:
            return AGAIN
        if resource.uid != incident.uid:
            self._on_gone(entry)
            return None
        stored.written = {}
        self._on_seen(entry, resource)
        return 0.0


def _changed(status: dict[str, Any], written: dict[str, Any]) -> dict[str, Any]:
    """What of a status does not stand there yet."""
    return {name: value for name, value in status.items() if written.get(name) != value}
