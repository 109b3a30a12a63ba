"""What configurations did of late, on their status: for people, written seldom, never on an event's path."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from pipebell.core.errors import ApiError, Fenced
from pipebell.core.status import Counters, LastDelivery, NotificationConfigStatus, TriggerRecord, rfc3339
from pipebell.core.vocabulary import EventType, Phase
from pipebell.engine.events.observer import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipebell.core.config import ConfigObject
    from pipebell.core.policy.settle import EventSummary
    from pipebell.core.vocabulary import Reason
    from pipebell.engine.configs.store import ConfigStore, Key
    from pipebell.engine.events.ledger import CooldownKey, CooldownLedger
    from pipebell.engine.events.state import EventState
    from pipebell.engine.ports import Ports
    from pipebell.engine.upkeep.health import HealthBoard

PER_CONFIG: Final = 60.0  # seconds between two writes for one configuration
OVERALL: Final = 0.5  # seconds between two writes at all
HEALTH_WAITS: Final = 3.0  # seconds for the end of the event that showed it: both are one write then

log = structlog.get_logger(__name__)


class _Last(NamedTuple):
    """A `LastDelivery` to be: most are overtaken by another one before they are written."""

    event: str
    phase: Phase
    reason: Reason | None
    at: float


@dataclass(slots=True)
class _Page:
    """What is not written yet for one configuration, and when that was last done."""

    written: float = 0.0
    keys: dict[EventType, CooldownKey] = field(default_factory=dict)
    last: _Last | None = None
    counts: dict[str, int] = field(default_factory=dict)
    health: float | None = None
    """When a destination's health has changed."""

    @property
    def clean(self) -> bool:
        """Whether all of it is written."""
        return self.last is None and self.health is None

    def due(self, now: float) -> bool:
        """Whether there is something to write by now: an event's end at once, so that what comes with it goes along."""
        if now - self.written < PER_CONFIG:
            return False
        return self.last is not None or (self.health is not None and abs(now - self.health) >= HEALTH_WAITS)


class UsageWriter(Observer):
    """Collects outcomes per configuration and writes them at most once a minute each, two a second in all.

    With them goes what `health` knows of the destinations, and `conditions`, where these are to change for it.
    """

    def __init__(
        self,
        ports: Ports,
        store: ConfigStore,
        ledger: CooldownLedger,
        health: HealthBoard | None = None,
        conditions: Callable[[ConfigObject], list[dict[str, Any]] | None] = lambda _: None,
    ) -> None:
        self._store, self._ledger, self._health, self._conditions = store, ledger, health, conditions
        self._configs, self._clock, self._ownership = ports.configs, ports.clock, ports.ownership
        self._pages: dict[Key, _Page] = {}
        self._noted = asyncio.Event()

    def on_finished(self, state: EventState, summary: EventSummary, now: float) -> None:
        """Note an event's end. Events of the root configuration have no resource to note it on."""
        reference = state.config
        if reference is None or reference.kind != "NotificationConfig" or state.event is None:
            return
        page = self._pages.get((reference.namespace, reference.name))
        if page is None:
            page = self._pages[reference.namespace, reference.name] = _Page()
        if state.key is not None:
            page.keys[state.key.event] = state.key
        page.last = _Last(f"{state.namespace}/{state.name}", summary.phase, summary.reason, now)
        page.counts[summary.phase.value] = page.counts.get(summary.phase.value, 0) + 1
        self._noted.set()

    def on_health(self, key: Key) -> None:
        """A destination of this configuration has turned out to work, or not to."""
        page = self._pages.setdefault(key, _Page())
        if page.health is None:
            page.health = self._clock.now()
        self._noted.set()

    async def run(self) -> None:
        """Write what there is to write, until cancelled."""
        while True:
            self._noted.clear()
            if all(page.clean for page in self._pages.values()):
                await self._noted.wait()
            await self._clock.sleep(OVERALL)
            now = self._clock.now()
            due = next((key for key, page in self._pages.items() if page.due(now)), None)
            if due is not None:
                await self._write(due, now)

    async def _write(self, key: Key, now: float) -> None:
        config, page = self._store.get(key), self._pages[key]
        if config is None or not self._ownership.owns(config.org_slug):  # another replica writes there now
            del self._pages[key]
            return
        written = _merged(config, page, self._ledger) if page.last is not None else NotificationConfigStatus()
        # Moved to the end, so that everybody gets a turn.
        del self._pages[key]
        self._pages[key] = _Page(written=now)
        document = written.model_dump(by_alias=True, exclude_none=True, mode="json")
        try:
            await self._configs.patch_status(
                config, partial(self._document, config, document), partial(self._ownership.owns, config.org_slug)
            )
        except (ApiError, Fenced) as error:
            log.info("usage_not_written", namespace=key[0], name=key[1], error=str(error))
            self._pages[key].health = page.health  # else nobody would say so before the next change

    def _document(self, config: ConfigObject, counted: Mapping[str, Any]) -> dict[str, Any]:
        """What is to be written now. Conditions belong to several, so they are those of this very moment."""
        document = dict(counted)
        config = self._store.get(config.key) or config
        if self._health is not None:
            records = [
                item.model_dump(by_alias=True, exclude_none=True, mode="json") for item in self._health.records(config)
            ]
            if records or config.status.destinations:
                document["destinations"] = records or None
        conditions = self._conditions(config)
        if conditions is not None:
            document["conditions"] = conditions
        return document


def _merged(config: ConfigObject, page: _Page, ledger: CooldownLedger) -> NotificationConfigStatus:
    """The bookkeeping part of the status: what stands there, and what came since."""
    old, last = config.status, page.last
    triggers = {item.event: item for item in old.triggers or []}
    for kind, key in page.keys.items():
        sent = ledger.last(key)
        known = triggers.get(kind)
        triggers[kind] = TriggerRecord(
            event=kind,
            last_sent_time=rfc3339(sent.at) if sent else known.last_sent_time if known else None,
            suppressed_since_last_sent=ledger.suppressed(key),
        )
    counters = old.counters or Counters(delivered=0, suppressed=0, failed=0)
    counts = page.counts
    return NotificationConfigStatus(
        conditions=None,
        observed_generation=None,
        triggers=[triggers[kind] for kind in EventType if kind in triggers],
        last_delivery=LastDelivery(event=last.event, phase=last.phase, time=rfc3339(last.at), reason=last.reason)
        if last
        else None,
        counters=Counters(
            delivered=counters.delivered
            + counts.get(Phase.DELIVERED.value, 0)
            + counts.get(Phase.PARTIALLY_DELIVERED.value, 0),
            suppressed=counters.suppressed + counts.get(Phase.SUPPRESSED.value, 0),
            failed=counters.failed + counts.get(Phase.FAILED.value, 0),
        ),
    )
