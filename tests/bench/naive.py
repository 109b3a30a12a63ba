"""The yardstick: a kopf operator as one writes it first. It keeps nothing, retries by kopf, and knows one webhook."""

from __future__ import annotations

import asyncio
import os
import ssl

import aiohttp
import kopf


@kopf.on.startup()
async def start(memo: kopf.Memo, **_):
    tls = ssl.create_default_context(cafile=os.environ["SINK_CA"])
    memo.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls))


@kopf.on.create("pipebell.io", "v1alpha1", "pipelineevents")
async def notify(spec, patch, memo, uid, **_):
    text = f"{spec['event']} of {spec['orgSlug']}: {spec.get('errorMessage')}"
    headers = {"X-Pipebell-Delivery": f"{uid}.slack"}
    async with memo.session.post(os.environ["WEBHOOK"], json={"text": text}, headers=headers) as response:
        response.raise_for_status()
    patch.status["phase"] = "Delivered"


if __name__ == "__main__":
    kopf.configure(verbose=False)
    asyncio.run(kopf.operator(namespaces=[os.environ["NAMESPACE"]], standalone=True))
