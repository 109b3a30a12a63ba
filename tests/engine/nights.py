"""An engine with silences around it: what is held back, and what is told afterwards."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tests.engine.fakes import House, settle_down

from pipebell.core.errors import ApiError, Conflict
from pipebell.core.silences.resource import Silence, SilenceSpec, SilenceStatus
from pipebell.core.vocabulary import NoticeKind
from pipebell.engine.configs.silences import SilenceStore
from pipebell.engine.upkeep.catch_ups import CatchUps
from pipebell.engine.upkeep.notices import NoticeMaker
from pipebell.engine.upkeep.silence_status import SilenceStatusWriter


class FakeSilences:
    """The API's silences: versions, conflicts, and what was written."""

    def __init__(self) -> None:
        self.store: dict[tuple[str, str], Silence] = {}
        self.writes: list[tuple[str, dict[str, Any]]] = []
        self.trouble: ApiError | None = None
        self._versions = itertools.count(1)

    def put(self, silence: Silence) -> Silence:
        made = replace(silence, resource_version=str(next(self._versions)))
        self.store[made.key] = made
        return made

    async def patch_status(self, silence: Silence, status: dict[str, Any]) -> Silence | None:
        if self.trouble is not None:
            raise self.trouble
        known = self.store[silence.key]
        if known.resource_version != silence.resource_version:
            raise Conflict(silence.name)
        self.writes.append((silence.name, dict(status)))
        old = known.status.model_dump(by_alias=True, exclude_none=True, mode="json")
        return self.put(replace(known, status=SilenceStatus.model_validate(old | status)))


class Night(House):
    """Also with silences, and with catch-ups. `silences` is what the API holds; `listed` what the replica knows."""

    def __init__(self, **given: Any) -> None:
        self.silences = FakeSilences()
        self.tasks: list[asyncio.Task[None]] = []
        super().__init__(**given)
        self.events.clock = self.clock.now
        self.events.on_created = lambda event: self.engine.submit(event)

    def start(self) -> None:
        super().start()
        for task in self.tasks:
            task.cancel()
        self.listed = SilenceStore("ops")
        for silence in self.silences.store.values():
            self.listed.put(silence)
        self.listed.keep(None, set(self.silences.store))
        holds = self.engine.books.holds
        maker = NoticeMaker(self.ports, self.max_age)
        self.catch_ups = CatchUps(self.ports, self.resolver, self.ledger, holds, self.listed, maker)
        self.status_writer = SilenceStatusWriter(self.ports, self.silences, self.listed, lambda: self.ledger.folding)
        holds.silences = self.listed.of
        holds.subscribe(self.catch_ups.on_hold)
        self.listed.subscribe(self.catch_ups.on_silence_change, self.status_writer.on_change)
        self.engine.books.judges.subscribe(NoticeKind.CATCH_UP, self.catch_ups)
        self.engine.observers.subscribe(self.catch_ups, self.status_writer)
        self.met = self.on_past_event
        self.tasks = []

    def on_past_event(self, event: Any) -> None:
        self.engine.books.holds.fold(event, self.clock.now())
        self.status_writer.fold(event)

    def run(self) -> None:
        """Start what runs in the background."""
        self.tasks += [asyncio.ensure_future(self.catch_ups.run()), asyncio.ensure_future(self.status_writer.run())]

    async def kill(self) -> None:
        """SIGKILL, and another process from what the API holds."""
        for task in self.tasks:
            task.cancel()
        await self.restart()
        self.run()

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await self.engine.close(0)

    def silence(self, name: str = "migration", namespace: str = "team", seconds: float = 600, **spec: Any) -> Silence:
        """Silence the team from now on, for so long."""
        ends = datetime.fromtimestamp(self.clock.now() + seconds, UTC).isoformat()
        spec = {"endsAt": ends, "reason": "the warehouse moves", **spec}
        uid = f"uid-{name}-{self.clock.now()}"
        made = self.silences.put(
            Silence(
                *(namespace, name, uid, "", self.clock.now()),
                SilenceSpec.model_validate(spec),
                SilenceStatus(),
                platform=namespace == "ops",
            )
        )
        self.listed.put(made)
        return made

    def lift(self, name: str = "migration", namespace: str = "team") -> None:
        """Delete a silence."""
        del self.silences.store[namespace, name]
        self.listed.remove(namespace, name)

    async def fails(self, *pipelines: str, **spec: Any) -> list[str]:
        """Something fails in each of these pipelines; the reasons that the events end by."""
        events = [self.event(pipelineId=name, **spec) for name in pipelines]
        await self.submit(*events)
        return [self.status(event).reason or self.status(event).phase for event in events]

    @property
    def told(self) -> list[str]:
        """What was sent by e-mail: of a catch-up, its title and how many events it tells of."""
        return [_said(message) for _, message, _, _ in self.email.sent]

    @property
    def catch_up_events(self) -> list[Any]:
        """The catch-ups that there are in the API."""
        return [event for event in self.events.store.values() if event.spec.notice is not None]


def _said(message: Any) -> str:
    notice = message.event.spec.notice
    if notice is None:
        return str(message.event.spec.pipeline_id)
    return f"{notice.content['title']}: {notice.content['total']}"


async def later(night: Night, seconds: float) -> None:
    """So much time passes, second by second as the background looks."""
    await night.clock.advance(seconds)
    await settle_down()
