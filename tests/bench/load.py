"""The load generator: creates events, and watches what becomes of them. `python -m bench.load < order.json`.

Every job prints one JSON document. Times are seconds since the epoch, of this machine's one clock.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import time
from contextlib import suppress
from typing import Any

import aiohttp
from yarl import URL

from pipebell.core.wire import decode
from pipebell.kube.connection import connect

FINAL = frozenset({"Delivered", "PartiallyDelivered", "Suppressed", "Skipped", "Failed"})
DONE = "status.phase!=,status.phase!=Pending,status.phase!=Delivering"
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
JSON = {"Content-Type": "application/json"}


class Api:
    """The bare client: aiohttp with JSON, nothing else."""

    def __init__(self, kubeconfig: str, namespace: str, connections: int) -> None:
        self.connection = connect({"KUBECONFIG": kubeconfig})
        self.session = self.connection.session(connections=connections)
        self._base = f"{self.connection.server}/apis/pipebell.io/v1alpha1/namespaces/{namespace}"

    def url(self, rest: str) -> URL:
        return URL(f"{self._base}/{rest}", encoded=True)

    async def send(self, method: str, url: URL, body: Any, headers: dict[str, str] = JSON) -> Any:
        data = json.dumps(body).encode()
        async with self.session.request(method, url, data=data, headers=headers) as response:
            answer = await response.read()
            if response.status >= 300:
                raise RuntimeError(f"{method} {url.path}: {response.status} {answer[:500]!r}")
        return json.loads(answer)


def event(name: str, org: str, extra: dict[str, Any]) -> dict[str, Any]:
    """An event of ordinary size."""
    spec = {
        "orgSlug": org,
        "event": "pipeline_failure",
        "pipelineId": "nightly-billing-load",
        "pipelineLoggingId": f"run-{name}",
        "errorMessage": 'Traceback (most recent call last):\n  File "load.py", line 17, in main\n'
        "ValueError: column total_cost: cannot convert 'n/a' to NUMERIC\n",
        "details": {"rows_read": 48_213, "rows_written": 0, "step": "transform", "warehouse": "bq-eu"},
        **extra,
    }
    return {
        "apiVersion": "pipebell.io/v1alpha1",
        "kind": "PipelineEvent",
        "metadata": {"name": name},
        "spec": spec,
    }


def finished(item: dict[str, Any], number: int) -> dict[str, Any]:
    """The status write that Pipebell makes for a delivered event, with the same fields and fence."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    generation = item["metadata"]["generation"]
    condition = {"status": "True", "message": "", "lastTransitionTime": now, "observedGeneration": generation}
    status = {
        "phase": "Delivered",
        "message": "delivered by slack",
        "observedGeneration": generation,
        "conditions": [
            {"type": "Accepted", "reason": "Accepted", **condition},
            {"type": "Delivered", "reason": "Delivered", **condition},
        ],
        "severity": "error",
        "configRef": {"kind": "NotificationConfig", "namespace": "bench", "name": "org0", "generation": 1},
        "decision": {"stage": "deliver", "matched": "eventTriggers[pipeline_failure]"},
        "deliveries": [
            {
                "provider": "slack",
                "destination": "slack",
                "phase": "Delivered",
                "recipients": "#pipelines",
                "attempts": 1,
                "firstAttemptTime": now,
                "lastAttemptTime": now,
                "deliveredTime": now,
            }
        ],
        "completionTime": now,
    }
    metadata = {name: item["metadata"][name] for name in ("resourceVersion", "uid")}
    return {"metadata": metadata, "status": status}


async def spread(count: int, concurrency: int, work) -> None:
    """`work(i)` for every i below count, so many at once."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await work(number)

    await asyncio.gather(*(worker() for _ in range(concurrency)))


async def ceiling(api: Api, order: dict[str, Any]) -> dict[str, Any]:
    """Create and status PATCH by one client: what the API server and this machine allow without any operator."""

    async def one(number: int) -> None:
        name = f"{order['prefix']}-{number}"
        item = await api.send("POST", api.url("pipelineevents"), event(name, order["org"], {}))
        await api.send("PATCH", api.url(f"pipelineevents/{name}/status"), finished(item, number), MERGE_PATCH)

    began = time.time()
    await spread(order["count"], order["concurrency"], one)
    return {"began": began, "ended": time.time(), "cpu": _cpu()}


async def events(api: Api, order: dict[str, Any]) -> dict[str, Any]:
    """Create events as fast as they are taken, or one every `gap` seconds; watch until all are finished.

    With `after`, an event is only made once the one before it is finished and so many seconds have passed. With
    `bystander`, a second watch notes when the API server tells of these events to anybody who listens. With
    `annotation`, an event counts as finished once it carries that one. With `pipelines`, they are so many pipelines'.
    """
    annotation = order.get("annotation")
    seen = (
        Annotated(order["prefix"], order["count"], annotation) if annotation else Seen(order["prefix"], order["count"])
    )
    watch = await seen.start(api)
    bystander = Told(order["prefix"], order["count"], f"spec.orgSlug={order['orgs'][0]}")
    told = await bystander.start(api) if order.get("bystander") else None
    sent: dict[str, tuple[float, float]] = {}
    extra = order.get("spec") or {}

    async def one(number: int) -> None:
        name = f"{order['prefix']}-{number}"
        of = {"pipelineId": f"pipeline-{number % order['pipelines']}"} if order.get("pipelines") else {}
        document = event(name, order["orgs"][number % len(order["orgs"])], extra | of)
        before = time.time()
        await api.send("POST", api.url("pipelineevents"), document)
        sent[name] = (before, time.time())

    began = time.time()
    if "after" in order:
        for number in range(order["count"]):
            await one(number)
            await seen.finished(f"{order['prefix']}-{number}", 30.0)
            await asyncio.sleep(order["after"] * random.uniform(0.5, 1.5))
    elif "gap" in order:
        for number in range(order["count"]):
            await one(number)
            await asyncio.sleep(order["gap"] * random.uniform(0.5, 1.5))
    else:
        await spread(order["count"], order["concurrency"], one)
    created = time.time()
    waiting = asyncio.create_task(seen.all.wait())
    await asyncio.wait({waiting, watch}, timeout=order.get("timeout", 120.0), return_when=asyncio.FIRST_COMPLETED)
    cpu = _cpu()
    if watch.done():
        watch.result()
    background = [watch, waiting, *([told] if told else [])]
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    rows = [[*sent[name], *seen.rows.get(name, (None, None, None))] for name in sent]
    ended = max((row[3] for row in rows if row[3]), default=created)
    heard = {row[0]: row[1] for row in bystander.rows.values()}
    return {"began": began, "created": created, "ended": ended, "rows": rows, "cpu": cpu, "bystander": heard}


class Seen:
    """Events of one run that the watch has shown as finished: when, how, and their uid."""

    def __init__(self, prefix: str, count: int, selector: str = DONE) -> None:
        self._prefix, self._count, self._selector = f"{prefix}-", count, selector
        self.rows: dict[str, tuple[str, float, str]] = {}
        self.all = asyncio.Event()
        self._waiting: dict[str, asyncio.Event] = {}

    async def start(self, api: Api) -> asyncio.Task[None]:
        async with api.session.get(api.url("pipelineevents?limit=1")) as response:
            version = (await response.json())["metadata"]["resourceVersion"]
        return asyncio.create_task(self._follow(api, await self._open(api, version)))

    async def _open(self, api: Api, version: str) -> aiohttp.ClientResponse:
        query = f"pipelineevents?watch=1&resourceVersion={version}&fieldSelector={self._selector.replace('=', '%3D')}"
        limits = aiohttp.ClientTimeout(total=None)
        return await api.session.get(api.url(query), timeout=limits, read_bufsize=1 << 20)

    async def _follow(self, api: Api, response: aiohttp.ClientResponse) -> None:
        """The API server ends watches of clients that are too slow for it: begin again where it ended."""
        version = ""
        while True:
            rest = b""
            with suppress(aiohttp.ClientError):
                async for chunk in response.content.iter_any():
                    now = time.time()
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        item = decode(line)["object"]
                        if item["kind"] == "Status":
                            raise RuntimeError(f"watch: {item['message']}")
                        version = item["metadata"]["resourceVersion"]
                        self._note(item, now)
            sys.stderr.write("the load generator's watch was ended and begins again\n")
            response = await self._open(api, version)

    def _note(self, item: dict[str, Any], now: float) -> None:
        name = item["metadata"]["name"]
        phase = item.get("status", {}).get("phase", "")
        if not name.startswith(self._prefix) or name in self.rows or not self._wanted(phase):
            return
        self.rows[name] = (item["metadata"]["uid"], now, phase)
        if waiting := self._waiting.pop(name, None):
            waiting.set()
        if len(self.rows) == self._count:
            self.all.set()

    def _wanted(self, phase: str) -> bool:
        return phase in FINAL

    async def finished(self, name: str, seconds: float) -> None:
        if name not in self.rows:
            waiting = self._waiting.setdefault(name, asyncio.Event())
            await asyncio.wait_for(waiting.wait(), seconds)


class Told(Seen):
    """Events of one run that a watch has shown at all, and when first."""

    def _wanted(self, phase: str) -> bool:
        return True


class Annotated(Seen):
    """Events of one run that carry an annotation: how a controller that knows no phase says that it is done."""

    def __init__(self, prefix: str, count: int, annotation: str) -> None:
        super().__init__(prefix, count, "")
        self._annotation = annotation

    def _note(self, item: dict[str, Any], now: float) -> None:
        if self._annotation in (item["metadata"].get("annotations") or {}):
            super()._note(item, now)

    def _wanted(self, phase: str) -> bool:
        return True


async def configs(api: Api, order: dict[str, Any]) -> dict[str, Any]:
    """Create a NotificationConfig per organisation; with `ready`, wait until all of them say Ready."""
    began = time.time()
    left = {org for org, _ in order["configs"]}

    async def one(number: int) -> None:
        org, spec = order["configs"][number]
        document = {
            "apiVersion": "pipebell.io/v1alpha1",
            "kind": "NotificationConfig",
            "metadata": {"name": org},
            "spec": {"orgSlug": org, **spec},
        }
        await api.send("POST", api.url("notificationconfigs"), document)

    await spread(len(order["configs"]), order["concurrency"], one)
    created = time.time()
    while order["ready"] and left:
        async with api.session.get(api.url("notificationconfigs?resourceVersion=0")) as response:
            for item in (await response.json())["items"]:
                if any(c["status"] == "True" for c in item.get("status", {}).get("conditions", ())):
                    left.discard(item["metadata"]["name"])
        if left and time.time() - began > 300:
            raise RuntimeError(f"{len(left)} configurations are not Ready, such as {min(left)}")
        await asyncio.sleep(1.0 if left else 0)
    return {"began": began, "created": created, "ended": time.time()}


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def main() -> None:
    order = json.load(sys.stdin)
    api = Api(order["kubeconfig"], order["namespace"], order.get("concurrency", 1) + 4)
    try:
        result = await {"ceiling": ceiling, "events": events, "configs": configs}[order["job"]](api, order)
    finally:
        await api.session.close()
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
