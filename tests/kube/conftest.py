"""A small fake API server for what a real one does too rarely: failures, cut watches, forgotten history."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from pipebell.kube.client import ApiClient
from pipebell.kube.connection import Connection
from pipebell.kube.credentials import StaticToken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

TOKEN = "token-that-nobody-may-read"


@dataclass(frozen=True)
class Asked:
    """One request as the server saw it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class FakeApi:
    """Answers by script, in order; remembers what it was asked. Without a script it answers 404."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    script: deque[Callable[[web.Request], Awaitable[web.StreamResponse]]] = field(default_factory=deque)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked.append(
            Asked(
                request.method,
                request.path,
                dict(request.query),
                dict(request.headers),
                json.loads(body) if body else None,
            )
        )
        if not self.script:
            return web.json_response(status_of(404, "not in the script"), status=404)
        return await self.script.popleft()(request)

    def answers(self, body: Any, status: int = 200, **headers: str) -> None:
        async def answer(_: web.Request) -> web.Response:
            return web.json_response(body, status=status, headers=headers)

        self.script.append(answer)

    def fails(self, code: int, message: str = "no", **headers: str) -> None:
        self.answers(status_of(code, message), code, **{key.replace("_", "-"): value for key, value in headers.items()})

    def hangs(self) -> None:
        async def hang(_: web.Request) -> web.Response:
            await asyncio.sleep(30)
            return web.Response()

        self.script.append(hang)

    def grants_and_says_nothing(self) -> None:
        async def silent(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            await asyncio.sleep(30)
            return response

        self.script.append(silent)

    def watches(self, *events: tuple[str, dict[str, Any]], cut: bool = False, chunk: int = 1 << 20) -> None:
        """Stream these events in pieces of `chunk` bytes; then end well, or cut the connection in mid-line."""

        async def stream(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            text = b"".join(json.dumps({"type": kind, "object": item}).encode() + b"\n" for kind, item in events)
            for start in range(0, len(text), chunk):
                await response.write(text[start : start + chunk])
            if cut:
                await response.write(b'{"type":"ADDED","obj')
                assert request.transport is not None
                request.transport.abort()
            return response

        self.script.append(stream)


def status_of(code: int, message: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "code": code,
    }


@dataclass
class FakeClock:
    """Time moves when somebody sleeps."""

    time: float = 1_000_000.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    fake = FakeApi()
    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/{path:.*}", fake.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()


@pytest.fixture
async def client(api: FakeApi) -> AsyncIterator[ApiClient]:
    async with ApiClient(Connection(api.url, None, "default", StaticToken(TOKEN)), timeout=10.0) as client:
        yield client


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def event_item() -> Callable[..., dict[str, Any]]:
    """Makes PipelineEvents as the API gives them."""

    def make(name: str = "e1", namespace: str = "team", **spec: Any) -> dict[str, Any]:
        return {
            "apiVersion": "pipebell.io/v1alpha1",
            "kind": "PipelineEvent",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": f"uid-{name}",
                "resourceVersion": "7",
                "generation": 1,
                "creationTimestamp": "2026-01-02T03:04:05Z",
            },
            "spec": {"orgSlug": "acme", "event": "pipeline_failure", **spec},
        }

    return make


@pytest.fixture
def config_item() -> Callable[..., dict[str, Any]]:
    """Makes NotificationConfigs as the API gives them."""

    def make(name: str = "c1", namespace: str = "team", **spec: Any) -> dict[str, Any]:
        return {
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": f"uid-{name}",
                "resourceVersion": "8",
                "generation": 2,
                "creationTimestamp": "2026-01-02T03:04:05Z",
            },
            "spec": {"orgSlug": "acme", **spec},
        }

    return make
