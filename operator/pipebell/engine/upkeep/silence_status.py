"""What Silences show of themselves: their phase, and how many events they have held back. Never on an event's path."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from pipebell.core.errors import ApiError, Conflict
from pipebell.core.shards import shard_of
from pipebell.core.silences.hold import QUIET_HOURS
from pipebell.core.status import epoch, rfc3339
from pipebell.core.vocabulary import Phase
from pipebell.engine.events.observer import Observer

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.core.event import Event
    from pipebell.core.policy.settle import EventSummary
    from pipebell.core.silences.resource import Silence
    from pipebell.engine.configs.silences import SilenceStore
    from pipebell.engine.events.state import EventState
    from pipebell.engine.ports import Ports, Silences

EVERY: Final = 60.0  # seconds between two writes of one replica's count on one silence
LOOK: Final = 1.0  # seconds between two looks
AT_ONCE: Final = 5  # writes at one look
REFUSED: Final = 30.0  # seconds until a write that was refused is tried again

# Whoever holds the first shard writes the phase of what concerns all organisations.
_OF_SHARD_00: Final = next(slug for slug in map(str, itertools.count()) if shard_of(slug) == 0)

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Count:
    """Events that this replica has held back by one silence and has not written yet."""

    uid: str
    matched: int = 0
    last: float = 0.0
    written: float = 0.0


class SilenceStatusWriter(Observer):
    """Writes phases when they change, and adds this replica's counts to those on the silences.

    What a replica counted and did not live to write is found by the pass over all events that follows (`fold`): there
    are at least as many as that pass meets. `folding` says that one is under way.
    """

    def __init__(
        self, ports: Ports, silences: Silences, store: SilenceStore, folding: Callable[[], bool] = lambda: False
    ) -> None:
        self._clock, self._ownership = ports.clock, ports.ownership
        self._silences, self._store = silences, store
        self._counts: dict[tuple[str, str], _Count] = {}
        self._not_before: dict[tuple[str, str], float] = {}
        self._served: dict[str, float] = {}  # namespaces whose turn it was, and when
        self._wanted, self._folding = asyncio.Event(), folding
        self._met: dict[tuple[str, str], dict[str, float]] = {}

    def on_change(self, namespace: str | None) -> None:  # noqa: ARG002  (those of all are looked at)
        """A silence has come, changed or gone."""
        self._wanted.set()

    def on_finished(self, state: EventState, summary: EventSummary, now: float) -> None:
        """See `Observer`."""
        record = state.catch_up
        if record is None or summary.phase is not Phase.SUPPRESSED:
            return
        silence = self._store.by(state.namespace, record.by) if record.by != QUIET_HOURS else None
        if silence is None:
            return
        count = self._count(silence)
        count.matched += 1
        count.last = max(count.last, now)

    def fold(self, event: Event) -> None:
        """An event of the past, as a pass over all of them meets it."""
        record = event.status.catch_up
        if record is None or record.by == QUIET_HOURS or event.status.phase is not Phase.SUPPRESSED:
            return
        silence = self._store.by(event.namespace, record.by)
        if silence is not None and event.created >= silence.created:
            ended = _since_epoch(event.status.completion_time, self._clock.now())
            self._met.setdefault(silence.key, {})[event.uid] = max(ended, event.created)

    def _repair(self) -> None:
        """Count what was held back and never written, once the pass has met all there is."""
        if not self._met or self._folding():
            return
        for key, met in self._met.items():
            silence = self._store.get(*key)
            if silence is None:
                continue
            count = self._count(silence)
            missing = len(met) - (silence.status.matched or 0) - count.matched
            if missing > 0:
                count.matched += missing
                count.last = max(count.last, *met.values())
        self._met.clear()

    def _count(self, silence: Silence) -> _Count:
        count = self._counts.get(silence.key)
        if count is None or count.uid != silence.uid:
            count = self._counts[silence.key] = _Count(silence.uid)
        return count

    async def run(self) -> None:
        """Write what there is to write, until cancelled. Nothing is done while there is no silence."""
        while True:
            if not len(self._store):
                self._counts.clear()
                await self._wanted.wait()
            self._wanted.clear()
            await self._clock.sleep(LOOK)
            await self._look()

    async def _look(self) -> None:
        self._repair()
        now = self._clock.now()
        for silence, status in self._turn(now):
            await self._write(silence, status, now)
        if len(self._not_before) > len(self._store):
            self._not_before = {key: at for key, at in self._not_before.items() if at > now}

    def _turn(self, now: float) -> list[tuple[Silence, dict[str, Any]]]:
        """What is written now. Namespaces take turns, whatever one of them has to write."""
        found: dict[str, list[tuple[Silence, dict[str, Any]]]] = {}
        for silence in self._store:
            of_namespace = found.get(silence.namespace, ())
            if len(of_namespace) == AT_ONCE or self._not_before.get(silence.key, 0.0) > now:
                continue
            if status := self._news(silence, now):
                found.setdefault(silence.namespace, []).append((silence, status))
        self._served = {name: at for name, at in self._served.items() if name in found}
        waiting = sorted(found, key=lambda name: self._served.get(name, 0.0))
        rounds = itertools.zip_longest(*(found[name] for name in waiting[:AT_ONCE]))
        todo = [item for items in rounds for item in items if item is not None][:AT_ONCE]
        self._served |= {silence.namespace: now for silence, _ in todo}
        return todo

    def _news(self, silence: Silence, now: float) -> dict[str, Any]:
        """What this replica has to write on a silence now."""
        status: dict[str, Any] = {}
        phase = silence.phase(now)
        if phase is not silence.status.phase and self._ownership.owns(silence.spec.org_slug or _OF_SHARD_00):
            status["phase"] = phase.value
        count = self._counts.get(silence.key)
        if count is not None and count.uid == silence.uid and count.matched and now - count.written >= EVERY:
            status["matched"] = (silence.status.matched or 0) + count.matched
            status["lastMatch"] = rfc3339(max(count.last, _since_epoch(silence.status.last_match, now)))
        return status

    async def _write(self, silence: Silence, status: dict[str, Any], now: float) -> None:
        count = self._counts.get(silence.key) if "matched" in status else None
        matched = count.matched if count is not None else 0
        try:
            written = await self._silences.patch_status(silence, status)
        except Conflict:
            return  # the watch tells what has changed, and then it is looked at again
        except ApiError as error:
            log.info("silence_not_written", namespace=silence.namespace, name=silence.name, error=str(error))
            self._not_before[silence.key] = now + REFUSED
            return
        if count is not None:
            count.matched -= matched
            count.written = now
        if written is not None:
            self._store.put(written)


def _since_epoch(text: str | None, now: float) -> float:
    """A time on a status, but none that is still to come: that was written by a clock that was wrong."""
    try:
        return min(epoch(text), now) if text else 0.0
    except ValueError:
        return 0.0
