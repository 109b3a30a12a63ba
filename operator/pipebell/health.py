"""`/healthz`, `/readyz` and `/metrics`."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from prometheus_client import CollectorRegistry

READERS: Final = 4  # of /metrics at the same time; several Prometheis scrape one after the other
READ_TIME: Final = 10.0  # seconds that one of them may take, which is Prometheus' own scrape timeout
SHARE: Final = 20  # a text is kept for as many times the CPU time that it took: a twentieth of a core at most


class Exposition:
    """The registry as text, made in a thread so that the event loop goes on, once for all who ask at the same time.

    `refresh` is called in the event loop's thread before. `now` and `spent` (the thread's CPU time) are clocks in
    seconds. What was made is given out again while it is young: whoever asks all the time costs a twentieth of a core.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        refresh: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.monotonic,
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        self._registry, self._refresh, self._now, self._spent = registry, refresh, now, spent
        self._text, self._until = b"", 0.0
        self._making: asyncio.Task[bytes] | None = None

    async def text(self) -> bytes:
        """The metrics as they are, or were a moment ago."""
        if self._now() < self._until:
            return self._text
        if self._making is None:
            self._making = asyncio.create_task(self._make())
        return await asyncio.shield(self._making)  # who gives up takes nothing away from the others

    async def _make(self) -> bytes:
        try:
            self._refresh()
            self._text, took = await asyncio.to_thread(self._generate)
            self._until = self._now() + SHARE * took
        finally:
            self._making = None
        return self._text

    def _generate(self) -> tuple[bytes, float]:
        """The text, and the CPU time that it took: on a busy machine it takes longer without costing more."""
        began = self._spent()
        return generate_latest(self._registry), self._spent() - began


class HealthServer:
    """A small HTTP server. `alive` and `ready` return None when all is well, else what is not.

    `remarks` are added to the answer of a process that is ready: what no restart and no other replica would fix.
    """

    def __init__(
        self,
        port: int,
        metrics: Exposition,
        alive: Callable[[], str | None],
        ready: Callable[[], str | None],
        remarks: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._port, self._metrics, self._alive, self._ready = port, metrics, alive, ready
        self._remarks = remarks
        self._runner: web.AppRunner | None = None
        self._readers = 0

    async def start(self) -> int:
        """Listen; returns the port. Raises OSError when it is taken."""
        app = web.Application()
        app.router.add_get("/healthz", _answering(self._alive))
        app.router.add_get("/readyz", _answering(self._ready, self._remarks))
        app.router.add_get("/metrics", self._give_metrics)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        listener = _listen(self._port)
        try:
            await web.SockSite(self._runner, listener).start()
        except BaseException:
            listener.close()
            raise
        return int(listener.getsockname()[1])

    async def _give_metrics(self, request: web.Request) -> web.StreamResponse:
        """To a few at the same time: each may read slowly, and a text for each is kept until it has."""
        if self._readers >= READERS:
            return web.Response(status=503, text="others are reading the metrics", headers={"Retry-After": "1"})
        self._readers += 1
        try:
            async with asyncio.timeout(READ_TIME):
                text = await self._metrics.text()
                response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE_LATEST})
                response.content_length = len(text)
                await response.prepare(request)
                await response.write(text)
                await response.write_eof()
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise
        finally:
            self._readers -= 1
        return response

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()


def _listen(port: int) -> socket.socket:
    """One socket for IPv4 and IPv6: with two, "any free port" would be a different one for each."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _answering(
    trouble: Callable[[], str | None], remarks: Callable[[], Sequence[str]] = tuple
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        text = trouble()
        return web.Response(text=text or "\n".join(("ok", *remarks())), status=503 if text else 200)

    return answer
