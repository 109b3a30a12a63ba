"""Makes digests when they are due, and says of each whether it is."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from typing import TYPE_CHECKING, Final

import structlog

from pipebell.core.errors import ApiError, InvalidEvent, NotFound, NotReady, Unavailable
from pipebell.core.event import Event, PipelineEventSpec
from pipebell.core.layers import part_of
from pipebell.core.policy.budget import shared_name
from pipebell.core.policy.facts import Claim
from pipebell.core.policy.names import first_name
from pipebell.core.policy.situation import Resolved
from pipebell.core.silences.hold import held_by_quiet_hours, silent
from pipebell.core.status import EventStatus, rfc3339
from pipebell.core.vocabulary import NoticeKind, StageName
from pipebell.engine.events.batches import Stage
from pipebell.engine.timers import wait_for
from pipebell.engine.upkeep.notices import Made

if TYPE_CHECKING:
    from typing import Any

    from pipebell.core.digest import Member
    from pipebell.engine.configs.resolver import Resolver
    from pipebell.engine.events.batches import Batch
    from pipebell.engine.events.engine import Engine
    from pipebell.engine.events.ledger import CooldownLedger
    from pipebell.engine.ports import Ports
    from pipebell.engine.upkeep.notices import NoticeMaker

EVERY: Final = 1.0  # seconds between two looks at what is due, at least
LONGEST: Final = 60.0  # and at most: a clock that was set forward must not delay them
AFTER_REFUSAL: Final = 300.0  # seconds until what the API refuses is tried again
FORGET_EVERY: Final = 600.0  # seconds between two looks at what is over
HELD: Final = 60.0  # seconds until it is seen that what holds a digest back is over before its time
AT_ONCE: Final = 20  # digests made at the same time

log = structlog.get_logger(__name__)


class Digests:
    """Makes the event of each digest that is due, once all writes into it have ended.

    As a guard of what is swept it keeps members until their digest is finished, digests until no member is left, and
    what an hourly limit is counted by until the hour ends.
    """

    def __init__(
        self, ports: Ports, resolver: Resolver, ledger: CooldownLedger, engine: Engine, maker: NoticeMaker
    ) -> None:
        self._clock, self._ownership, self._events = ports.clock, ports.ownership, ports.events
        self._ledger, self._resolver, self._maker = ledger, resolver, maker
        self._batches, self._budgets, self._holds = engine.books.batches, engine.books.budgets, engine.books.holds
        engine.books.judges.subscribe(NoticeKind.DIGEST, self)

    async def run(self) -> None:
        """Make what is due, until cancelled."""
        forget_at = 0.0
        while True:
            await self._clock.sleep(EVERY)
            if self._clock.now() >= forget_at:
                self._batches.forget(self._clock.now())
                forget_at = self._clock.now() + FORGET_EVERY
            due = self._due()
            for start in range(0, len(due), AT_ONCE):
                some = [batch for batch in due[start : start + AT_ONCE] if self._ready(batch)]
                done = await asyncio.gather(*(self._try(batch) for batch in some))
                if not all(done):  # whatever ails the API ails it for the others as well
                    break
            self._batches.opened.clear()
            rest = self._rest()
            if rest > 0:
                await wait_for(self._batches.opened, self._clock, rest)

    def _rest(self) -> float:
        """Seconds for which nothing can become due, without the one that follows anyway."""
        first = min((_due_at(batch) for batch in self._batches.open()), default=math.inf)
        return min(first - self._clock.now(), LONGEST) - EVERY

    async def _try(self, batch: Batch) -> bool:
        """Whether the API has answered."""
        try:
            await self._make(batch)
        except ApiError as error:
            log.warning("digest_postponed", namespace=batch.namespace, name=batch.name, error=str(error))
            return False
        except Exception as error:  # a mistake, which is not the other digests' trouble
            log.exception("digest_failed_by_internal_error", namespace=batch.namespace, name=batch.name)
            batch.retry_at, batch.refusal = self._clock.now() + AFTER_REFUSAL, f"internal error: {type(error).__name__}"
        return True

    def _due(self) -> list[Batch]:
        """Namespaces take turns; in each, the longest due come first."""
        if not len(self._batches):
            return []
        now, places = self._clock.now(), Counter[str]()
        due = [batch for batch in self._batches.open() if _due_at(batch) <= now]
        turns = []
        for batch in sorted(due, key=lambda each: (each.retry_at, each.fires)):
            places[batch.namespace] += 1
            turns.append((places[batch.namespace], batch))
        return [batch for _, batch in sorted(turns, key=lambda turn: turn[0])]

    def _ready(self, batch: Batch) -> bool:
        """Whether all of its members are known and recorded."""
        opened = self._ledger.opened(batch.org) and self._ownership.may_send(batch.org)
        return opened and not batch.entering and bool(batch.tally.total)

    async def _make(self, batch: Batch) -> None:
        worst, oldest = batch.tally.worst, batch.tally.oldest
        if worst is None or oldest is None:
            return
        if batch.stage is Stage.OPEN:
            until = await self._held_until(batch, worst)
            if until is not None:
                batch.retry_at = min(until, self._clock.now() + HELD)
                return
            if not self._ready(batch):  # another member is being recorded meanwhile
                return
            self._batches.closed(batch, Stage.MAKING)
            worst, oldest = batch.tally.worst or worst, batch.tally.oldest or oldest
        spec: dict[str, Any] = {
            "orgSlug": await self._org_of(batch, oldest),
            "event": worst.event,
            "severity": worst.severity.value,
            "notice": {
                "kind": NoticeKind.DIGEST.value,
                "destination": batch.destination,
                "due": rfc3339(batch.due),
                "content": batch.content(),
            },
        }
        making = await self._maker.make(batch.namespace, batch.name, spec, batch.fires)
        if making.made is Made.REFUSED:
            batch.retry_at, batch.refusal = self._clock.now() + AFTER_REFUSAL, making.message
        else:
            self._batches.closed(batch, Stage.MADE)

    async def _org_of(self, batch: Batch, oldest: Member) -> str:
        """Whose configuration says where it goes: of several that share it, the first that still leads to the same."""
        orgs = batch.tally.orgs
        for org in (oldest.org, *sorted(orgs - {oldest.org})) if len(orgs) > 1 else ():
            try:
                found = await self._resolver.resolve(batch.namespace, org)
            except NotReady:
                continue
            if isinstance(found, Resolved) and batch.name == shared_name(
                found.layers, org, batch.namespace, batch.destination, batch.due
            ):
                return org
        return oldest.org

    async def _held_until(self, batch: Batch, worst: Member) -> float | None:
        """When what holds all of it back now is over; None where something of it may be sent."""
        ends = []
        for org in batch.tally.orgs:
            now = self._clock.now()
            silences, hold = self._holds.silences(batch.namespace, now), None
            if silences is None:
                return None
            if silences:
                spec = PipelineEventSpec(org_slug=org, event=worst.event)
                event = Event(batch.namespace, batch.name, "", "", 1, now, spec, EventStatus())
                hold = silent(silences, event, worst.severity, now)
            if hold is None:
                try:
                    resolved = await self._resolver.resolve(batch.namespace, org)
                except NotReady:
                    return None
                hours = resolved.layers.quiet_hours if isinstance(resolved, Resolved) else ()
                hold = held_by_quiet_hours(hours, worst.severity, now)
            if hold is None:
                return None
            ends.append(hold.until)
        return min(ends, default=None)

    # ------------------------------------------------------------------ keeping

    def needs(self, event: Event) -> bool:
        """See `Guard`: members until their digest is finished, and what an hour is counted by."""
        return self._batches.needs(event) or self._budgets.needs(event, self._clock.now())

    def reported_with(self, event: Event) -> list[tuple[str, str]]:
        """See `Guard`: digests by namespace and name."""
        return [(event.namespace, record.digest) for record in event.status.batch or ()]

    def members(self, event: Event) -> list[tuple[str, str]]:
        """See `Guard`."""
        notice = event.spec.notice
        of_digest = notice is not None and notice.kind is NoticeKind.DIGEST
        return [(event.namespace, first_name(event.name))] if of_digest else []

    # ------------------------------------------------------------------ judging

    async def judge(self, event: Event, resolved: Resolved) -> Claim:
        """A digest is due when members that the operator recorded name it and its moment has come; so is its replay."""
        notice, org = event.spec.notice, event.spec.org_slug
        if not self._ledger.opened(org):
            raise Unavailable("which digests are due is being read")
        destination = notice.destination if notice is not None else None
        if destination is None or not (self._known(event, destination) or await self._repeats(event)):
            return Claim(due=False, stage=StageName.DIGEST, message="no event that is known waits for this digest")
        names = resolved.layers.deliveries(destination)
        if event.spec.replay_of is not None and event.spec.replay_of.destinations is not None:
            again = event.spec.replay_of.destinations
            names = tuple(name for name in names if name in again or part_of(name)[0] in again)
        return Claim(due=True, stage=StageName.DIGEST, destinations=names, title=f"digest for {destination}")

    def _known(self, event: Event, destination: str) -> bool:
        batch = self._batches.get(event.namespace, first_name(event.name))
        if batch is None or not batch.vouched or batch.stage is Stage.OPEN or batch.destination != destination:
            return False
        said = event.spec.notice.content if event.spec.notice is not None else None
        return batch.stage is not Stage.MAKING or bool(event.status.deliveries) or said == batch.content()

    async def _repeats(self, event: Event) -> bool:
        """Whether it is a replay, word by word, of a digest that was sent for this organisation."""
        if event.spec.replay_of is None:
            return False
        try:
            found = await self._events.get(event.namespace, event.spec.replay_of.name)
        except (NotFound, InvalidEvent):
            return False
        same = found.spec.notice == event.spec.notice and found.spec.org_slug == event.spec.org_slug
        return same and found.status.finished and bool(found.status.deliveries)


def _due_at(batch: Batch) -> float:
    return max(batch.fires, batch.retry_at)
