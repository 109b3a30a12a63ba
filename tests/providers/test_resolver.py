import asyncio
import socket

import pytest

from pipebell.providers import resolver as module
from pipebell.providers.resolver import Resolver


@pytest.fixture
def resolver():
    made = Resolver()
    yield made
    made.close()


async def test_addresses_need_no_name_server(resolver):
    assert await resolver.resolve("127.0.0.1", 25) == [(socket.AF_INET, ("127.0.0.1", 25))]
    assert await resolver.resolve("[::1]", 25) == [(socket.AF_INET6, ("::1", 25, 0, 0))]


async def test_names_that_cannot_be(resolver):
    with pytest.raises(socket.gaierror):
        await resolver.resolve("x" * 70 + ".example", 25)


async def test_one_question_for_all_who_ask(resolver, monkeypatch):
    asked = []

    def lookup(host, port):
        asked.append(host)
        return []

    monkeypatch.setattr(module, "_lookup", lookup)
    await asyncio.gather(*(resolver.resolve("smtp.example.com", 25) for _ in range(5)))
    assert asked == ["smtp.example.com"]
    await resolver.resolve("smtp.example.com", 25)
    assert len(asked) == 2


async def test_who_gives_up_leaves_the_question_to_the_others(resolver, monkeypatch):
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    def lookup(host, port):
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(5)
        return ["answer"]

    monkeypatch.setattr(module, "_lookup", lookup)
    hasty, patient = (asyncio.create_task(resolver.resolve("h", 25)) for _ in range(2))
    await asyncio.sleep(0)
    hasty.cancel()
    gate.set()
    assert await patient == ["answer"]
