"""List and watch: everything of one kind that a list shows, and then whatever becomes of it, for as long as we run."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from pipebell.core.errors import ApiError, Forbidden, Gone, NotFound, Unavailable
from pipebell.kube.client import PAGE_SIZE, Silent
from pipebell.retry import LONGEST_RETRY_AFTER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.core.ports import Clock
    from pipebell.kube.client import ApiClient
    from pipebell.kube.watches import Watches

_log = structlog.get_logger(__name__)

FIRST_WAIT: Final = 0.25  # seconds; doubled each time
LONGEST_WAIT: Final = 10.0
WATCH_SECONDS: Final = 240.0
_DOUBT_AFTER_FAILURES: Final = (
    4  # failures in a row after which the version to go on from is doubted (a restored store is older)
)
_SHORTEST_WATCH: Final = 1.0  # seconds; a watch that ends sooner, unasked, is not followed by the next one at once
_YIELD_EVERY: Final = 20  # objects handed over before everybody else gets a turn, however many more have arrived


class Listener(Protocol):
    """Hears of changes, in order. Must not block and must not raise."""

    def list_begins(self) -> None:
        """All that exists follows as ADDED; what was known and is not among it is gone, without a DELETED."""

    def on_event(self, kind: str, item: Mapping[str, Any]) -> None:
        """One object was ADDED, MODIFIED or DELETED (which is what leaving a field selector is called, too)."""

    def list_ends(self, version: str) -> None:
        """That was all there is, at this resourceVersion."""


class ListWatch:
    """Lists and watches the objects at `path` that `params` select, and retains nothing: all goes to the listener.

    `listed` is set after the first list. `trouble` says why nothing is known yet, or is not permitted any more; None
    when all is well, or the API is merely away. `hint` is for whoever has to give a missing permission.
    `patience` is for how many seconds one page of a list is asked for again before the list begins anew.
    """

    def __init__(
        self,
        client: ApiClient,
        clock: Clock,
        path: str,
        listener: Listener,
        *,
        hint: str,
        params: Mapping[str, str] | None = None,
        patience: float = 0.0,
        watches: Watches | None = None,
    ) -> None:
        self.listed = asyncio.Event()
        self.trouble: str | None = f"{path} has not been listed yet"
        self._client, self._clock, self._listener = client, clock, listener
        self._path, self._params, self._patience = path, dict(params or {}), patience
        self._hint, self._watches = hint, watches
        self._version: str | None = None  # where the watch goes on; None: list first

    async def run(self) -> None:
        """List and watch until cancelled; survives whatever the API does, by waiting and asking again."""
        failures = 0
        while True:
            began, asked = self._clock.now(), 0.0
            try:
                await self._round()
                if self._clock.now() - began >= _SHORTEST_WATCH:
                    failures = 0
                    continue
            except Gone:
                self._version = None
            except Silent as error:
                # A server that has seen no change since its own start sends no bookmarks, and then the list is short.
                # If the connection was dead, the list shows what came meanwhile.
                _log.info("watch_silent", path=self._path, error=str(error))
                self._version, failures = None, 0
                continue
            except (Forbidden, NotFound) as error:
                self._refused(error)
            except ApiError as error:
                asked = (error.retry_after or 0.0) if isinstance(error, Unavailable) else 0.0
                _log.info("watch_interrupted", path=self._path, error=str(error), failures=failures)
            except Exception:  # noqa: BLE001  (the watch must outlive a surprise)
                self._version = None
                _log.exception("watch_failed", path=self._path)
            if self._clock.now() - began >= _SHORTEST_WATCH:
                failures = 0  # it worked for a while: no reason to wait long
            failures += 1
            if failures % _DOUBT_AFTER_FAILURES == 0:
                self._version = None
            await self._clock.sleep(max(_wait(failures), min(asked, LONGEST_RETRY_AFTER)))

    async def _round(self) -> None:
        if self._watches is not None:
            self._watches.asked(self._path)
        if self._version is None:
            self._version = await self._list()
        await self._watch(self._version)

    async def _list(self) -> str:
        """Tell of all that exists; returns the version of that state. Raises Gone when it was not one state."""
        version = ""
        self._listener.list_begins()
        pages = self._client.pages(self._path, params=self._params, limit=PAGE_SIZE, patience=self._patience)
        async for page in pages:
            shown = page["metadata"].get("resourceVersion") or ""
            for number, item in enumerate(page.get("items") or (), 1):
                self._listener.on_event("ADDED", item)
                if number % _YIELD_EVERY == 0:
                    await asyncio.sleep(0)
            if shown != (version or shown):
                raise Gone(f"LIST {self._path}: the snapshot expired midway; what changed between was not shown")
            version = shown
        self._listener.list_ends(version)
        self._heard()
        self.trouble = None
        self.listed.set()
        return version

    async def _watch(self, version: str) -> None:
        # A little less or more each time: replicas started together do not come back together.
        seconds = WATCH_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311  (no secret depends on it)
        params = {**self._params, "resourceVersion": version}
        number = 0
        async for kind, item in self._client.watch(self._path, params=params, seconds=seconds, opened=self._opened):
            metadata = item.get("metadata")
            reached = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
            if not reached:
                raise Unavailable(f"WATCH {self._path}: an object without resourceVersion")
            if kind != "BOOKMARK":
                self._listener.on_event(kind, item)
            self._version = reached
            self._heard()
            number += 1
            if number % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
        self._heard()  # the server ended it as it was asked to

    def _heard(self) -> None:
        if self._watches is not None:
            self._watches.heard(self._path)

    def _opened(self) -> None:
        self.trouble = None
        if self._watches is not None:
            self._watches.granted(self._path)

    def _refused(self, error: ApiError) -> None:
        """Nobody but an administrator can help: the permission is missing, or the definition is."""
        if isinstance(error, NotFound):
            self._version = None  # the definition went, and took all objects with it
        self.trouble = str(error)
        hint = self._hint if isinstance(error, Forbidden) else "apply the CustomResourceDefinitions"
        _log.error("watch_refused", path=self._path, error=str(error), hint=hint)


def _wait(failures: int) -> float:
    """Seconds before asking again: doubling, and up to half of it at random."""
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 10))
    return wait * random.uniform(1.0, 1.5)  # noqa: S311  (no secret depends on it)
