"""Webhooks through a proxy: a tunnel for TLS, and no other way out."""

import asyncio
import re
import traceback
from contextlib import asynccontextmanager

import pytest

from pipebell.core.errors import SettingsError
from pipebell.providers.http import Http
from pipebell.providers.tls import client_context
from pipebell.settings import Settings
from pipebell.sinks import SlackSink


@asynccontextmanager
async def proxy():
    """An HTTP proxy that tunnels by CONNECT (RFC 9110, 9.3.6); yields its URL and whom it was asked for."""
    asked = []

    async def pump(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(re.match(r"CONNECT (\S+) ", head)[1])
        host, _, port = asked[-1].rpartition(":")
        there_reader, there_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


async def test_a_post_goes_through_the_proxy_and_its_tls_ends_at_the_webhook():
    async with SlackSink() as sink, proxy() as (url, asked):
        http = Http(client_context(str(sink.ca_file)), proxy=url)
        answer = await http.send(
            "POST", sink.webhook("ops"), b'{"text": "hello"}', {"Content-Type": "application/json"}
        )
        await http.close()
    assert answer.status == 200
    assert len(sink.posts) == 1
    assert asked == [f"{sink.host}:{sink.port}"]


async def test_without_the_proxy_nothing_goes_out():
    async with SlackSink() as sink:
        http = Http(client_context(str(sink.ca_file)), proxy="http://127.0.0.1:9")
        with pytest.raises(OSError, match="request failed"):
            await http.send("POST", sink.webhook("ops"), b'{"text": "hello"}', {})
        await http.close()
    assert sink.posts == []


def test_the_setting_is_a_url():
    assert Settings.from_env({"PIPEBELL_HTTPS_PROXY": "http://p:3128"}).https_proxy == "http://p:3128"
    with pytest.raises(SettingsError, match=r"PIPEBELL_HTTPS_PROXY.*is not a proxy's URL"):
        Settings.from_env({"PIPEBELL_HTTPS_PROXY": "proxy:3128"})


async def test_the_proxys_password_is_in_no_message():
    asked = []

    async def refuse(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server, SlackSink() as sink:
        port = server.sockets[0].getsockname()[1]
        http = Http(client_context(str(sink.ca_file)), proxy=f"http://us%40r:s3cret@127.0.0.1:{port}")
        with pytest.raises(OSError, match="request failed") as caught:
            await http.send("POST", sink.webhook("ops"), b"{}", {})
        await http.close()
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    assert b"Proxy-Authorization: Basic dXNAcjpzM2NyZXQ=" in asked[0]
