"""The health endpoint answers where it says it listens."""

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from pipebell.health import HealthServer


@pytest.mark.parametrize("trouble", [None, "the root configuration has not been read yet"])
async def test_any_free_port_is_one_port_for_everybody(trouble):
    server = HealthServer(0, CollectorRegistry(), lambda: None, lambda: trouble)
    port = await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
                assert (answer.status, await answer.text()) == (200, "ok")
            async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                assert (answer.status, await answer.text()) == ((503, trouble) if trouble else (200, "ok"))
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                assert answer.status == 200
    finally:
        await server.close()


async def test_a_port_that_is_taken_is_said():
    first = HealthServer(0, CollectorRegistry(), lambda: None, lambda: None)
    port = await first.start()
    second = HealthServer(port, CollectorRegistry(), lambda: None, lambda: None)
    try:
        with pytest.raises(OSError, match="in use"):
            await second.start()
    finally:
        await second.close()
        await first.close()
