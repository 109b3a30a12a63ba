"""Writes what happened on the PipelineEvent: fenced, merged on conflict, and patient while the API is away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from pipebell.core.errors import Conflict, Fenced, Forbidden, InvalidEvent, NotFound, Rejected
from pipebell.core.policy.settle import summarise
from pipebell.core.status import EventStatus
from pipebell.engine.events.state import status_patch
from pipebell.retry import retry_until_available

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pipebell.core.event import Event
    from pipebell.core.policy.settle import EventSummary
    from pipebell.core.ports import Clock
    from pipebell.engine.events.state import EventState
    from pipebell.engine.ports import Events, Ownership

Result = TypeVar("Result")
FIRST_BACK_OFF: Final = 0.05  # seconds, doubling
LONGEST_BACK_OFF: Final = 10.0
_VOLATILE: Final = ("completionTime", "conditions")

log = structlog.get_logger(__name__)


class Recorder:
    """Brings an event's state onto its resource."""

    def __init__(self, events: Events, clock: Clock, ownership: Ownership) -> None:
        self._events, self._clock, self._ownership = events, clock, ownership
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Writes and reads that the API has not answered yet."""
        return self._waiting

    async def _ask(self, call: Callable[[], Awaitable[Result]], what: str) -> Result:
        self._waiting += 1
        try:
            return await retry_until_available(call, what=what, also=(Forbidden,), sleep=self._clock.sleep)
        finally:
            self._waiting -= 1

    async def record(self, state: EventState, summary: EventSummary, extra: dict[str, Any] | None = None) -> bool:
        """Write where the event stands. False when the event is gone, or somebody else has finished it.

        Nothing is written when the resource says the same already. Returns only once it is written: what was sent is
        known to this process alone until then. Raises Fenced for what is a decision and no outcome, when deciding is
        another replica's by now, or another one has tried meanwhile: then it has to be decided anew. Raises Rejected
        when the API will never take it, not even phase and reason alone.
        """
        conflicts = 0
        while True:
            patch = status_patch(state, summary, self._clock.now(), extra)
            if (conflicts or not summary.phase.final) and _says(state.status, patch):
                return True
            if not (state.unrecorded or self._ownership.may_send(state.org)):
                raise Fenced("another replica decides for this organisation by now")
            try:
                await self._write(state, patch)
            except Conflict:
                await self._back_off(conflicts)
                conflicts += 1
                merged = await self._merge(state, summary, patch)
                if merged is None:
                    return False
                summary = merged
            except NotFound:
                return False
            else:
                state.unrecorded = False
                if not summary.phase.final:  # what is finished is not written again
                    state.status = EventStatus.model_validate(_shown(state.status, patch))
                return True

    async def _back_off(self, conflicts: int) -> None:
        """The first conflict is settled at once; somebody who writes all the time must not keep us busy."""
        if conflicts:
            await self._clock.sleep(min(FIRST_BACK_OFF * 2 ** (conflicts - 1), LONGEST_BACK_OFF))

    async def _write(self, state: EventState, patch: Mapping[str, Any]) -> None:
        """The whole status, or phase and reason where that is refused for good."""
        try:
            state.resource_version = await self._patch(state, patch)
        except Rejected as error:
            log.error("status_refused", namespace=state.namespace, name=state.name, error=str(error))  # noqa: TRY400
            least = {"phase": patch["phase"], "reason": patch.get("reason")}
            state.resource_version = await self._patch(state, least)

    async def _patch(self, state: EventState, patch: Mapping[str, Any]) -> str:
        return await self._ask(
            lambda: self._events.patch_status(state.namespace, state.name, state.uid, state.resource_version, patch),
            f"status of {state.namespace}/{state.name}",
        )

    async def _merge(self, state: EventState, summary: EventSummary, patch: Mapping[str, Any]) -> EventSummary | None:
        """After a conflict: read again and bring both together. None when there is nothing left to write."""
        without_deliveries = not state.deliveries
        if await self.reread(state) is None:
            return None
        if without_deliveries and not state.tried:  # it is about the event as a whole, whatever was listed before
            state.deliveries.clear()
        if _says(state.status, patch):  # it was written, but the answer was lost
            return summary
        if state.status.finished:
            log.info("event_finished_by_another_writer", namespace=state.namespace, name=state.name)
            return None
        if without_deliveries and state.tried:
            raise Fenced("another replica has tried meanwhile")
        return summarise(list(state.deliveries.values())) if state.deliveries else summary

    async def look_up(self, namespace: str, name: str) -> Event | None:
        """Another event as it is now; None when there is none that can be read."""
        try:
            return await self._ask(lambda: self._events.get(namespace, name), f"{namespace}/{name}")
        except (NotFound, InvalidEvent):
            return None

    async def reread(self, state: EventState) -> EventState | None:
        """Bring the state up to date with the resource. None when the event is gone (or another took its name)."""
        try:
            event = await self._ask(
                lambda: self._events.get(state.namespace, state.name),
                f"{state.namespace}/{state.name}",
            )
        except NotFound:
            return None
        if event.uid != state.uid:
            return None
        state.renew(event)
        return state


def _says(status: EventStatus, patch: Mapping[str, Any]) -> bool:
    """Whether the resource says all this already, times that only tell of the writing aside."""
    if status.phase is None:
        return False
    shown = status.model_dump(by_alias=True, exclude_none=True, mode="json")
    return all(shown.get(key) == value for key, value in patch.items() if key not in _VOLATILE)


def _shown(status: EventStatus, patch: Mapping[str, Any]) -> dict[str, Any]:
    """The status as the API server holds it after the patch."""
    merged = status.model_dump(by_alias=True, exclude_none=True, mode="json") | dict(patch)
    return {key: value for key, value in merged.items() if value is not None}
