"""Look-ups: shared, bounded by namespace, given up after a while, and failures remembered for a moment."""

import asyncio
import socket
import subprocess
import sys
import threading

import pytest

from pipebell.providers.dns import Dns

FOUND = [(socket.AF_INET, ("192.0.2.1", 0))]


class Names:
    """A resolver whose silent names answer when the test ends."""

    def __init__(self):
        self.asked = []
        self.end = threading.Event()

    def __call__(self, host):
        self.asked.append(host)
        if host.startswith("silent"):
            self.end.wait(60)
        if host.startswith(("silent", "unknown")):
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        return FOUND


@pytest.fixture
def names():
    made = Names()
    yield made
    made.end.set()


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
async def dns(names, now):
    made = Dns(lookup=names, now=lambda: now[0])
    yield made
    names.end.set()


async def test_addresses_need_no_name_server(dns, names):
    assert await dns.resolve("127.0.0.1", 25) == [(socket.AF_INET, ("127.0.0.1", 25))]
    assert await dns.resolve("[::1]", 25) == [(socket.AF_INET6, ("::1", 25, 0, 0))]
    assert names.asked == []


async def test_names_that_cannot_be():
    dns = Dns()
    with pytest.raises(socket.gaierror):
        await dns.resolve("x" * 70 + ".example", 25)
    assert await dns.resolve("localhost", 25)


async def test_one_question_for_all_who_ask(dns, names):
    found = await asyncio.gather(*(dns.resolve("smtp.example.com", port) for port in (25, 25, 587)))
    assert [place[0][1] for place in found] == [("192.0.2.1", 25), ("192.0.2.1", 25), ("192.0.2.1", 587)]
    assert names.asked == ["smtp.example.com"]
    await dns.resolve("smtp.example.com", 25)
    assert len(names.asked) == 2


async def test_who_gives_up_leaves_the_question_to_the_others(dns):
    hasty, patient = (asyncio.create_task(dns.resolve("h", 25)) for _ in range(2))
    await asyncio.sleep(0)
    hasty.cancel()
    assert await patient == [(socket.AF_INET, ("192.0.2.1", 25))]


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  (threads raise no event)
            await asyncio.sleep(0.01)


async def test_a_silent_name_server_holds_up_nobody_elses_look_up(dns, names):
    """Nor does it take more than the namespace's own share of threads, whatever the number of names."""
    evil = [asyncio.create_task(dns.resolve(f"silent-{n}.example", 25, "evil")) for n in range(100)]
    await until(lambda: len(names.asked) == 2)
    assert await dns.resolve("smtp.example.com", 25, "victim")
    assert len(names.asked) == 3
    assert not any(task.done() for task in evil), "they wait for their namespace's turn, which is no failure"
    for task in evil:
        task.cancel()
    await asyncio.gather(*evil, return_exceptions=True)
    assert dns._lanes["evil"].slots.locked(), "the threads are not free yet, and so the slots are not"
    names.end.set()
    await until(lambda: dns._lanes == {})
    assert await dns.resolve("smtp.example.com", 25, "evil")


async def test_a_name_server_that_is_silent_is_given_up(names, now):
    dns = Dns(deadline=0.1, lookup=names, now=lambda: now[0])
    for now[0] in (10.0, 19.9, 20.0):
        with pytest.raises(socket.gaierror, match="does not answer"):
            await dns.resolve("silent.example", 25)
    assert names.asked == ["silent.example"], "the first question is under way still"


async def test_failures_are_believed_for_a_moment(dns, names, now):
    for now[0] in (0.0, 2.9, 3.0):
        with pytest.raises(socket.gaierror):
            await dns.resolve("unknown.example", 25, f"ns-{now[0]}")
    assert names.asked == ["unknown.example"] * 2


async def test_failures_are_not_remembered_without_end(dns, monkeypatch):
    monkeypatch.setattr("pipebell.providers.dns._REMEMBERED", 3)
    for n in range(9):
        with pytest.raises(socket.gaierror):
            await dns.resolve(f"unknown-{n}.example", 25)
    assert len(dns._failures) == 3


def test_a_look_up_under_way_does_not_hold_up_the_end_of_the_process():
    program = """
import asyncio, time
from pipebell.providers.dns import Dns

async def main():
    try:
        await Dns(deadline=0.1, lookup=lambda host: time.sleep(60)).resolve("silent.example", 25)
    except OSError as error:
        print(error)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    assert "does not answer" in done.stdout
