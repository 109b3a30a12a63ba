"""What the operator's process is tuned to."""

from __future__ import annotations

import asyncio
import tracemalloc

import pytest

from pipebell import process
from pipebell.sinks import SlackSink

CONNECTIONS = 40
MOST = 128 << 10  # bytes for both ends of one connection, certificates and all; asyncio's own buffers are 512 KiB


@pytest.fixture
def tuned(monkeypatch):
    monkeypatch.setattr("asyncio.sslproto.SSLProtocol.max_size", 256 * 1024)  # given back afterwards
    monkeypatch.setattr("gc.set_threshold", lambda *_: None)
    process.tune()


async def test_thousands_of_tls_connections_fit_into_a_pods_memory(tuned):
    async with SlackSink() as sink:
        client = sink.trust.client()
        tracemalloc.start()
        try:
            ends = [await asyncio.open_connection(sink.host, sink.port, ssl=client) for _ in range(CONNECTIONS)]
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert taken / CONNECTIONS < MOST
        for _, writer in ends:
            writer.close()
            await writer.wait_closed()
