"""Tasks that run beside the events: which there are, and which have ended though they never should."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Coroutine

log = structlog.get_logger(__name__)


class Background:
    """Starts tasks and ends them all together."""

    def __init__(self) -> None:
        self._lasting: list[asyncio.Task[None]] = []
        self._passing: set[asyncio.Task[None]] = set()

    def run_forever(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start what is to run for as long as the operator does."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_complain)
        self._lasting.append(task)
        return task

    def once(self, work: Coroutine[Any, Any, None]) -> None:
        """Start what ends by itself. It must not raise."""
        task = asyncio.create_task(work)
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    @property
    def ended(self) -> list[str]:
        """What was to last, and has ended."""
        return [task.get_name() for task in self._lasting if task.done()]

    async def close(self) -> None:
        """End everything."""
        tasks = [*self._lasting, *self._passing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _complain(task: asyncio.Task[None]) -> None:
    """What was to last has ended by a mistake of ours: `ended` makes the probes fail, and this says why."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("task_ended", task=task.get_name(), exc_info=error)
