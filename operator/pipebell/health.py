"""`/healthz`, `/readyz` and `/metrics`."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from prometheus_client import CollectorRegistry


class HealthServer:
    """A small HTTP server. `alive` and `ready` return None when all is well, else what is not."""

    def __init__(
        self, port: int, registry: CollectorRegistry, alive: Callable[[], str | None], ready: Callable[[], str | None]
    ) -> None:
        self._port, self._registry, self._alive, self._ready = port, registry, alive, ready
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen; returns the port. Raises OSError when it is taken."""
        app = web.Application()
        app.router.add_get("/healthz", _answering(self._alive))
        app.router.add_get("/readyz", _answering(self._ready))
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        listener = _listen(self._port)
        try:
            await web.SockSite(self._runner, listener).start()
        except BaseException:
            listener.close()
            raise
        return int(listener.getsockname()[1])

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()


def _listen(port: int) -> socket.socket:
    """One socket for IPv4 and IPv6: with two, "any free port" would be a different one for each."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _answering(trouble: Callable[[], str | None]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        text = trouble()
        return web.Response(text=text or "ok", status=503 if text else 200)

    return answer
