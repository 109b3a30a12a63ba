"""A proxy in front of the API server that does what networks and servers do: cut watches, forget history, fail."""

from __future__ import annotations

import asyncio
import json
import ssl

import aiohttp
import yaml
from aiohttp import web
from tests.e2e.harness import eventually

from pipebell.certificates import Authority

_GONE = {
    "type": "ERROR",
    "object": {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "too old resource version: 1 (2)",
        "reason": "Expired",
        "code": 410,
    },
}


class ApiProxy:
    """HTTPS with a certificate of its own; the token goes through. Its methods may be called from any thread."""

    def __init__(self, world):
        self._world = world
        self._authority = Authority("pipebell-e2e-proxy")
        self._watches: dict[asyncio.Task, web.StreamResponse] = {}
        self._runner = None
        self._session = None
        self._fail = lambda method, path: None
        self._lose = lambda method, path: False
        self.deaf = False
        self._muted: set[asyncio.Task] = set()

    # ------------------------------------------------------------------ faults

    def watched(self):
        """Wait until events, configurations, root and what else there is are watched; how many watches that are."""
        wanted = ("pipelineevents", "notificationconfigs", "configmaps", "silences", "incidents")

        def missing():
            paths = [response._req.path for response in list(self._watches.values())]
            return [name for name in wanted if not any(path.endswith(f"/{name}") for path in paths)]

        eventually(lambda: not missing(), 60, "a watch of each")
        return len(self._watches)

    def cut(self):
        """Break every watch off without a word; how many there were."""
        return self._world.run(self._cut())

    async def _cut(self):
        tasks = list(self._watches)
        for task, response in list(self._watches.items()):
            transport = response._req.transport
            task.cancel()
            if transport is not None:
                transport.abort()
        return len(tasks)

    def mute(self):
        """Every watch that is open now says nothing any more, and stays open; how many there are."""
        self._muted = set(self._watches)
        return len(self._muted)

    def gone(self):
        """Tell every watch that its history is forgotten, and end it; how many there were."""
        return self._world.run(self._say_gone())

    async def _say_gone(self):
        count = 0
        for task, response in list(self._watches.items()):
            await response.write(json.dumps(_GONE).encode() + b"\n")
            task.cancel()
            count += 1
        return count

    def fail(self, answer):
        """`answer(method, path)` may name a status to answer with instead of asking the API server."""
        self._fail = answer or (lambda method, path: None)

    def lose(self, which):
        """Where `which(method, path)` is true the request is done, and its answer is lost."""
        self._lose = which or (lambda method, path: False)

    # ------------------------------------------------------------------ serving

    async def start(self, folder):
        """Listen; returns the path of a kubeconfig for the operator's account by way of this proxy."""
        certificate, key = self._authority.server().write(folder, "proxy")
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(certificate, key)
        asking = ssl.create_default_context(cafile=str(self._world.cluster.authority))
        self._session = aiohttp.ClientSession(
            self._world.cluster.url,
            connector=aiohttp.TCPConnector(ssl=asking, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )
        self._runner = web.ServerRunner(
            web.Server(self._handle, handler_cancellation=True, access_log=None), shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=serving)
        await site.start()
        port = self._runner.addresses[0][1]
        authority = folder / "proxy-ca.crt"
        authority.write_bytes(self._authority.certificate)
        document = yaml.safe_load(self._world.kubeconfig.read_text(encoding="utf-8"))
        document["clusters"][0]["cluster"] = {
            "server": f"https://127.0.0.1:{port}",
            "certificate-authority": str(authority),
        }
        kubeconfig = folder / "kubeconfig-proxy"
        kubeconfig.write_text(yaml.safe_dump(document), encoding="utf-8")
        return kubeconfig

    async def stop(self):
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request):
        watching = request.query.get("watch") in ("1", "true")
        status = self._fail(request.method, request.path)
        if status:
            return web.json_response({"kind": "Status", "code": status, "message": "the proxy says no"}, status=status)
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in ("host", "connection", "content-length", "transfer-encoding")
        }
        try:
            async with self._session.request(
                request.method, request.rel_url, headers=headers, data=await request.read() or None
            ) as answer:
                if watching and answer.status == 200:
                    return await self._stream(request, answer)
                body = await answer.read()
        except aiohttp.ClientError:
            request.transport.abort()
            return web.Response(status=502)
        if self._lose(request.method, request.path):
            request.transport.abort()
        kept = {name: answer.headers[name] for name in ("Content-Type", "Content-Encoding") if name in answer.headers}
        return web.Response(status=answer.status, body=body, headers=kept)

    async def _stream(self, request, answer):
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        task = asyncio.current_task()
        self._watches[task] = response
        try:
            async for chunk in answer.content.iter_any():
                if not self.deaf and task not in self._muted:
                    await response.write(chunk)
        except asyncio.CancelledError:
            if request.transport is None or request.transport.is_closing():
                raise
            task.uncancel()
        finally:
            self._watches.pop(task, None)
        await response.write_eof()
        return response
