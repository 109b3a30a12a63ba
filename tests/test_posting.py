"""One exchange, byte for byte: what is written, what is made of the answer, and what becomes of the connection."""

import asyncio
from contextlib import asynccontextmanager
from email.parser import BytesHeaderParser

import aiohttp
import pytest
from yarl import URL

from pipebell import posting
from pipebell.posting import Poster

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers by script, and keeps each connection's requests as they came."""

    def __init__(self, *script):
        self.script, self.connections, self.url = list(script), [], URL()

    async def serve(self, reader, writer):
        requests = []
        self.connections.append(requests)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(BytesHeaderParser().parsebytes(head.partition(b"\r\n")[2])["Content-Length"])
                requests.append(head + await reader.readexactly(length))
                answer = self.script.pop(0)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def exchange(*script, **session):
    server = Server(*script)
    async with (
        await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening,
        aiohttp.ClientSession(**session) as opened,
    ):
        server.url = URL(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
        yield server, Poster(opened)


async def whole(content):
    return await content.read()


async def a_little(content):
    return await content.readexactly(1)


def post(poster, server, target="/a?b=c", headers=None, body=b"{}", read=whole, **more):
    return poster.send("POST", server.url, target, headers or {}, body, read=read, **more)


async def test_a_request_is_written_in_one_piece_over_a_kept_connection():
    async with exchange(OK, OK, headers={"User-Agent": "us", "Accept": "*/*"}) as (server, poster):
        for _ in range(2):
            answer = await post(poster, server, headers={"Content-Type": "text/plain"})
            assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"ok", "2")
    expected = (
        f"POST /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:{server.url.port}\r\nUser-Agent: us\r\nAccept: */*\r\n"
        "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert server.connections == [[expected.encode()] * 2]


async def test_a_header_replaces_the_sessions_own_in_any_case():
    async with exchange(OK, headers={"User-Agent": "us", "Accept": "*/*"}) as (server, poster):
        await post(poster, server, headers={"accept": "text/plain", "USER-AGENT": "them", "content-length": "77"})
    lines = server.connections[0][0].lower().split(b"\r\n")
    assert sorted(line for line in lines if line.startswith((b"accept", b"user-agent", b"content-length"))) == [
        b"accept: text/plain",
        b"content-length: 2",
        b"user-agent: them",
    ]


@pytest.mark.parametrize(
    ("target", "headers"),
    [("/a\r\nX: y", {}), ("/a\n", {}), ("/", {"X": "a\r\nY: b"}), ("/", {"X": "a\x00"}), ("/", {"X\n": "a"})],
)
async def test_nothing_is_sent_that_would_begin_another_line(target, headers):
    async with exchange(OK) as (server, poster):
        with pytest.raises(ValueError, match="control character"):
            await post(poster, server, target, headers)
    assert server.connections == []


async def test_an_answer_that_is_yet_to_come_is_waited_for():
    hints = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with exchange(hints + OK) as (server, poster):
        assert (await post(poster, server)).body == b"ok"


async def test_an_answer_in_pieces_or_to_the_end_of_the_connection_is_read_whole():
    pieces = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
    closing = b"HTTP/1.1 500 Oh\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"
    async with exchange(pieces, closing, OK) as (server, poster):
        assert (await post(poster, server)).body == b"abcde"
        answer = await post(poster, server)
        assert (answer.status, answer.body) == (500, b"abc")
        assert (await post(poster, server)).body == b"ok"
    assert [len(requests) for requests in server.connections] == [2, 1]  # what the server closes is not used again


async def test_a_connection_whose_answer_was_not_read_to_its_end_is_not_used_again():
    async with exchange(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\nab", OK) as (server, poster):
        assert (await post(poster, server, read=a_little)).body == b"a"
        assert (await post(poster, server)).body == b"ok"
    assert [len(requests) for requests in server.connections] == [1, 1]


async def test_what_is_no_answer_fails_and_closes_the_connection():
    async with exchange(b"SSH-2.0-OpenSSH\r\n\r\n", OK) as (server, poster):
        with pytest.raises(aiohttp.ClientResponseError):
            await post(poster, server)
        assert (await post(poster, server)).body == b"ok"
    assert len(server.connections) == 2


async def test_a_request_whose_kept_connection_breaks_is_not_sent_twice():
    async with exchange(OK, None, OK) as (server, poster):
        await post(poster, server)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await post(poster, server)
        assert sum(map(len, server.connections)) == 2


async def test_it_is_asked_before_the_first_byte_and_what_that_raises_is_told():
    def no():
        raise KeyError("no")

    async with exchange(OK) as (server, poster):
        with pytest.raises(KeyError):
            await post(poster, server, before=no)
        assert server.connections in ([], [[]])
        assert (await post(poster, server, before=lambda: None)).body == b"ok"


async def test_whoever_gives_up_leaves_no_connection_that_an_answer_may_still_come_on():
    async with exchange(b"", OK) as (server, poster):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await post(poster, server)
        assert (await post(poster, server)).body == b"ok"
    assert len(server.connections) == 2


async def test_how_many_places_are_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(posting, "_PLACES", 3)
    async with exchange(*[OK] * 8) as (server, poster):
        for number in range(8):
            await post(poster, server, server_hostname=f"host{number}")
        assert len(poster._places) <= 3


async def test_a_closed_session_says_so():
    async with exchange() as (server, poster):
        pass
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(poster, server)


async def test_nobody_listening_is_an_error_of_connecting():
    async with exchange() as (server, poster):
        closed = URL("http://127.0.0.1:1")
        with pytest.raises(aiohttp.ClientConnectorError):
            await poster.send("POST", closed, "/", {}, b"", read=whole)
        assert server.connections == []
