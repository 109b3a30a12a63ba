"""Sinks for code that has no event loop."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipebell.sinks.http import HttpSink
    from pipebell.sinks.outside import Outside
    from pipebell.sinks.smtp import SmtpSink


@contextmanager
def running(*sinks: SmtpSink | HttpSink | Outside) -> Iterator[asyncio.AbstractEventLoop]:
    """Run the sinks in a thread of their own; `journal.wait` waits for what arrives.

    Yields the loop, for `asyncio.run_coroutine_threadsafe(sink.stop(), loop)` and the like.
    """
    started: Future[asyncio.AbstractEventLoop] = Future()
    ended = asyncio.Event()

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            for sink in sinks:
                await stack.enter_async_context(sink)
            started.set_result(asyncio.get_running_loop())
            await ended.wait()

    def work() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=work, name="pipebell-sinks", daemon=True)
    thread.start()
    loop = started.result()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
