"""The dead man's switch: requested every minute by the one whose turn it is, while all is well, and never quoted."""

from __future__ import annotations

import asyncio

import pytest
import structlog
from tests.engine.fakes import FakeClock, settle_down

from pipebell.heartbeat import Heartbeat
from pipebell.settings import Settings
from pipebell.sinks.http import HttpSink


class Switch:
    """A heartbeat with a clock that is moved by hand."""

    def __init__(self, url, ca_file=""):
        self.clock, self.mine, self.trouble, self.heard = FakeClock(), True, None, []
        environ = {"PIPEBELL_HEARTBEAT_URL": url, "PIPEBELL_NAMESPACE": "ops", "PIPEBELL_CA_FILE": str(ca_file)}
        self.settings = Settings.from_env(environ)
        self.answered = asyncio.Event()
        self.heartbeat = Heartbeat(self.settings, self.clock, lambda: self.mine, lambda: self.trouble, self.hear)

    def hear(self, ok):
        self.heard.append(ok)
        self.answered.set()

    async def __aenter__(self):
        self.task = asyncio.create_task(self.heartbeat.run())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await self.heartbeat.close()

    async def beats(self, count):
        """Wait, however long it takes on this machine, until so many requests have been answered or failed."""
        async with asyncio.timeout(60):
            while len(self.heard) < count:
                self.answered.clear()
                await self.answered.wait()
        await settle_down(10)


@pytest.fixture
async def sink():
    async with HttpSink() as sink:
        yield sink


async def test_it_is_requested_every_minute_while_the_operator_is_well(sink):
    async with Switch(f"{sink.url}/ping/0f3a", sink.ca_file) as switch:
        await switch.beats(1)
        await switch.clock.advance(60)
        await switch.beats(2)
        switch.trouble = "events are not watched yet"
        await switch.clock.advance(60)
        switch.trouble, switch.mine = None, False
        await switch.clock.advance(60)
        assert switch.heard == [True, True]
        switch.mine = True
        await switch.clock.advance(5)
        await switch.beats(3)
    assert [(post.method, post.path) for post in sink.requests] == [("GET", "/ping/0f3a")] * 3


async def test_failures_are_heard_of_and_the_url_is_in_no_log(sink):
    sink.plan(500)
    with structlog.testing.capture_logs() as logs:
        async with Switch(f"{sink.url}/ping/S3CRET", sink.ca_file) as switch:
            await switch.beats(1)
            await switch.clock.advance(60)
            await switch.beats(2)
        async with Switch("https://127.0.0.1:1/ping/S3CRET") as switch:
            await switch.beats(1)
            assert switch.heard == [False]
            assert "S3CRET" not in repr(switch.settings)
    said = [entry["reason"] for entry in logs if entry["event"] == "heartbeat_failed"]
    assert (said[0], len(said)) == ("Http500", 2)
    assert "S3CRET" not in str(logs)


async def test_who_is_not_trusted_is_not_asked(sink):
    async with Switch(f"{sink.url}/ping/0f3a") as switch:
        await switch.beats(1)
    assert (switch.heard, sink.requests) == ([False], [])
