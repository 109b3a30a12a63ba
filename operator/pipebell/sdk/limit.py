"""`asyncio.timeout` for Python 3.10."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class Limit:
    """Cancels the task that entered it after `seconds`, and raises TimeoutError in the cancellation's place."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False

    async def __aenter__(self) -> Self:
        task: asyncio.Task[Any] | None = asyncio.current_task()
        assert task is not None  # noqa: S101  (a coroutine runs in one)
        self._handle = asyncio.get_running_loop().call_later(self._seconds, self._expire, task)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._handle.cancel()
        if self._expired and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self, task: asyncio.Task[Any]) -> None:
        self._expired = True
        task.cancel()
