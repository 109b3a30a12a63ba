"""What the operator's process is tuned to."""

from __future__ import annotations

import asyncio
import subprocess
import sys
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


def test_the_operator_loads_nothing_that_only_others_need():
    """In a process of its own: this one has loaded the official client and rich already."""
    script = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from pipebell.cli import run\n"
        "run.asyncio.run = lambda work: work.close()\n"
        "run.Settings.from_env = lambda environ: type('S', (), {'log_format': 'json', 'log_level': 'INFO'})\n"
        "assert CliRunner().invoke(run.run, []).exit_code == 0\n"
        "assert 'kopf' in sys.modules and 'structlog' in sys.modules\n"
        "assert not {'kubernetes', 'rich'} & sys.modules.keys()\n"
        "import kubernetes, rich  # whoever asks for them later gets them\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
