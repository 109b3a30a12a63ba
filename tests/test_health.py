"""The health endpoint answers where it says it listens."""

import asyncio
import threading
import time

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from pipebell import health
from pipebell.health import READERS, Exposition, HealthServer


@pytest.mark.parametrize("trouble", [None, "the root configuration has not been read yet"])
async def test_any_free_port_is_one_port_for_everybody(trouble):
    server = HealthServer(0, Exposition(CollectorRegistry()), lambda: None, lambda: trouble)
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
    first = HealthServer(0, Exposition(CollectorRegistry()), lambda: None, lambda: None)
    port = await first.start()
    second = HealthServer(port, Exposition(CollectorRegistry()), lambda: None, lambda: None)
    try:
        with pytest.raises(OSError, match="in use"):
            await second.start()
    finally:
        await second.close()
        await first.close()


def large_registry(series=20_000):
    registry = CollectorRegistry()
    counter = Counter("pipebell_test_total", "Test.", ("org",), registry=registry)
    for number in range(series):
        counter.labels(f"organisation-number-{number}").inc()
    return registry


async def longest_pause(work):
    """Seconds that the event loop did nothing else while `work` was done."""
    worst = 0.0
    task = asyncio.create_task(work)
    while not task.done():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        worst = max(worst, time.perf_counter() - began)
    await task
    return worst


async def test_the_text_is_made_in_another_thread_and_once_for_all_who_ask(monkeypatch):
    threads = []
    generate = health.generate_latest
    monkeypatch.setattr(health, "generate_latest", lambda r: (threads.append(threading.get_ident()), generate(r))[1])
    refreshed = []
    exposition = Exposition(large_registry(100), lambda: refreshed.append(threading.get_ident()))
    texts = await asyncio.gather(*(exposition.text() for _ in range(50)))
    assert len(set(texts)) == 1
    assert b"organisation-number-99" in texts[0]
    assert len(threads) == 1
    assert threads != [threading.get_ident()]
    assert refreshed == [threading.get_ident()], "gauges read what the event loop changes"


async def test_a_text_is_kept_for_twenty_times_the_cpu_time_that_it_took():
    now, spent = [100.0], iter([0.0, 0.2, 5.0, 5.2])
    registry = CollectorRegistry()
    gauge = Gauge("pipebell_test", "Test.", registry=registry)
    makes = []

    def refresh():
        makes.append(now[0])
        gauge.set(len(makes))

    exposition = Exposition(registry, refresh, lambda: now[0], lambda: next(spent))
    assert b"pipebell_test 1.0" in await exposition.text()
    now[0] += 3.9
    assert b"pipebell_test 1.0" in await exposition.text()
    now[0] += 0.2
    assert b"pipebell_test 2.0" in await exposition.text()
    assert len(makes) == 2


async def test_who_gives_up_takes_nothing_from_the_others_and_a_failure_is_no_end():
    fail = [True]

    def refresh():
        if fail:
            fail.pop()
            raise RuntimeError("boom")

    exposition = Exposition(large_registry(100), refresh)
    with pytest.raises(RuntimeError):
        await exposition.text()
    first, second = asyncio.create_task(exposition.text()), asyncio.create_task(exposition.text())
    await asyncio.sleep(0)
    first.cancel()
    assert b"pipebell_test_total" in await second


async def test_the_event_loop_goes_on_while_everybody_asks():
    """A hundred at the same time, as long as eight scrapes by themselves would take; a lease is valid for 6 s."""
    registry = large_registry()
    began = time.perf_counter()
    health.generate_latest(registry)
    alone = time.perf_counter() - began
    server = HealthServer(0, Exposition(registry), lambda: None, lambda: None)
    port = await server.start()
    answers = []

    async def ask(session, end):
        while time.perf_counter() < end:
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                await answer.read()
                answers.append(answer.status)
            await asyncio.sleep(0.05)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        end = time.perf_counter() + 8 * alone
        pause = await longest_pause(asyncio.wait([asyncio.create_task(ask(session, end)) for _ in range(100)]))
    await server.close()
    assert set(answers) <= {200, 503}
    assert answers.count(200) >= 1
    assert pause < 6.0, f"{pause:.2f} s"


async def test_those_who_read_slowly_are_few_and_are_cut_off(monkeypatch):
    monkeypatch.setattr(health, "READ_TIME", 4.0)  # all of them are there at once, also on a busy machine
    server = HealthServer(0, Exposition(large_registry(200_000)), lambda: None, lambda: None)
    port = await server.start()
    slow = []
    for _ in range(READERS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        slow.append((reader, writer))
    async with asyncio.timeout(30):
        while server._readers < READERS:  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0.01)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            assert answer.status == 503
        async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
            assert answer.status == 200, "the kubelet is not held up"
    async with asyncio.timeout(30):
        while server._readers:  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0.01)
    for _, writer in slow:
        writer.close()
    await server.close()


async def test_what_no_restart_would_mend_is_a_remark_of_a_process_that_is_ready():
    remarks = []
    server = HealthServer(0, Exposition(CollectorRegistry()), lambda: None, lambda: None, lambda: remarks)
    port = await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            remarks.append("2 events' status is refused")
            async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                assert (answer.status, await answer.text()) == (200, "ok\n2 events' status is refused")
            async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
                assert (answer.status, await answer.text()) == (200, "ok")
    finally:
        await server.close()
