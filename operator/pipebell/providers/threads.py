"""Work that blocks, in threads of its own: the loop's few are for what surely ends soon."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


def in_a_thread(work: Callable[[], Result], name: str) -> asyncio.Future[Result]:
    """Start `work` in a daemon thread, which does not hold up the end of the process; whoever starts it bounds it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def succeed(result: Result) -> None:
        if not future.done():
            future.set_result(result)

    def fail(error: Exception) -> None:
        if not future.done():
            future.set_exception(error)

    def run() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            try:
                result = work()
            except Exception as error:  # noqa: BLE001  (whoever asked gets it)
                loop.call_soon_threadsafe(fail, error)
            else:
                loop.call_soon_threadsafe(succeed, result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
