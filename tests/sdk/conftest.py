"""API servers as pipelines meet them on bad days, and a service whose spool and cluster are the test's own."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipebell.sdk.access import Endpoint
from pipebell.sdk.api import Api
from pipebell.sdk.sender import Sender
from pipebell.sdk.service import NotificationService
from pipebell.sdk.spool import Spool


@dataclass
class FakeServer:
    """Answers what `reply` says (status, document); keeps events by name as the real one does; remembers requests."""

    url: str = ""
    reply: tuple[int, dict | bytes] | None = None
    delay: float = 0.0
    trickle: bool = False
    requests: list[tuple[str, str, dict]] = field(default_factory=list)
    events: dict[str, dict] = field(default_factory=dict)
    tokens: list[str | None] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list)

    def hang_up(self) -> None:
        """Close all connections, as a server does with idle ones."""
        for connection in self.connections:
            connection.shutdown(socket.SHUT_RDWR)

    def answer(self, method: str, path: str, body: dict) -> tuple[int, dict]:
        self.requests.append((method, path, body))
        time.sleep(self.delay)
        if self.reply is not None:
            return self.reply
        name = body["metadata"]["name"]
        if name in self.events:
            return 409, {"kind": "Status", "reason": "AlreadyExists", "message": f"{name} already exists"}
        self.events[name] = body
        return 201, body


def _handler(fake: FakeServer):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def setup(self):
            super().setup()
            fake.connections.append(self.request)

        def do_POST(self):
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else {}
            fake.tokens.append(self.headers.get("Authorization"))
            status, document = fake.answer("POST", self.path, body)
            data = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            for part in [data] if not fake.trickle else [data[i : i + 1] for i in range(50)]:
                self.wfile.write(part)
                self.wfile.flush()
                time.sleep(0.1 if fake.trickle else 0)

        def log_message(self, *args):
            pass

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # clients that hang up are part of these tests


@pytest.fixture
def start_fake():
    """Starts a fake API server, on a given port when it has to come back."""
    running = []

    def start(fake: FakeServer, port: int = 0) -> _Server:
        server = _Server(("127.0.0.1", port), _handler(fake))
        fake.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def fake(start_fake):
    fake = FakeServer()
    start_fake(fake)
    return fake


@pytest.fixture
def silent():
    """A server that accepts connections and never says a word."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


@pytest.fixture
def service_for(spool):
    """Makes a service for a server's URL; what it left open is given up at the end."""
    made = []

    def make(url: str, *, timeout: float = 20.0, token: str | None = "secret-token", **options) -> NotificationService:
        endpoint = Endpoint(url, "team-a", lambda: token)
        sender = Sender(Api(lambda: endpoint), spool, **options)
        made.append(sender)
        return NotificationService(sender, timeout=timeout)

    yield make
    for sender in made:
        sender.close(0.2)


@pytest.fixture
def eventually():
    def wait(condition, seconds: float = 60.0):
        end = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < end, f"still {value!r} after {seconds} s"
            time.sleep(0.01)
        return value

    return wait
