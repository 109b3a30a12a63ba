"""The POST itself: what is asked before its bytes go out, and that none do when the answer is no."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from pipebell.core.destinations.slack import SLACK, SlackTarget
from pipebell.core.errors import Fenced
from pipebell.core.hosts import HostPolicy
from pipebell.core.outcome import Attempt
from pipebell.providers.http import Http
from pipebell.providers.webhook import HttpProvider
from pipebell.sinks import SlackSink


@pytest.fixture
async def sink(trust):
    async with SlackSink(trust=trust) as running:
        yield running


@pytest.fixture
async def http(tls):
    http = Http(tls, 5.0)
    yield http
    await http.close()


@asynccontextmanager
async def listening():
    """A server without TLS that answers nothing; yields its URL and the bytes that reached it."""
    received = bytearray()

    async def serve(reader, writer):
        while data := await reader.read(4096):
            received.extend(data)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", received


async def test_whoever_may_not_send_sends_not_a_byte(tls):
    http = Http(tls, 5.0)
    async with listening() as (url, received):
        with pytest.raises(Fenced):
            await http.send("POST", url, b"{}", {"X-A": "b"}, allowed=lambda: False)
        await http.close()
        await asyncio.sleep(0.05)
    assert received == b""


async def test_it_is_asked_once_there_is_a_connection_and_once_only(http, sink):
    seen = []
    for _ in range(2):
        answer = await http.send(
            "POST", sink.webhook(), b'{"text": "a"}', {}, allowed=lambda: seen.append(len(sink.requests)) or True
        )
        assert answer.status == 200
    assert seen == [0, 1]


async def test_what_changes_while_the_connection_is_being_made_counts(tls, sink):
    """A connection may take seconds, and a lease runs out meanwhile."""
    asked, go_on = asyncio.Event(), asyncio.Event()
    mine = True

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await go_on.wait()
        there_reader, there_writer = await asyncio.open_connection(sink.host, sink.port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def pump(source, drain):
            while data := await source.read(65536):
                drain.write(data)
            drain.close()

        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer), return_exceptions=True)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        http = Http(tls, 5.0, proxy=f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        post = asyncio.create_task(http.send("POST", sink.webhook(), b'{"text": "a"}', {}, allowed=lambda: mine))
        await asyncio.wait_for(asked.wait(), 5)
        mine = False
        go_on.set()
        with pytest.raises(Fenced):
            await post
        await http.close()
    assert sink.requests == []


async def test_the_next_post_works_as_ever(http, sink):
    assert (await http.send("POST", sink.webhook(), b'{"text": "a"}', {})).status == 200
    with pytest.raises(Fenced):
        await http.send("POST", sink.webhook(), b'{"text": "b"}', {}, allowed=lambda: False)
    assert (await http.send("POST", sink.webhook(), b'{"text": "c"}', {})).status == 200
    assert [post.payload["text"] for post in sink.posts] == ["a", "c"]


async def test_slack_asks_on_behalf_of_the_attempt(http, sink, notification):
    slack = HttpProvider(SLACK, http, HostPolicy({"slack": ("127.0.0.1",)}), lambda: 0.0)
    with pytest.raises(Fenced):
        await slack.send(notification, SlackTarget(sink.webhook()), Attempt("e.slack", allowed=lambda: False))
    assert sink.requests == []
