"""A real HTTP server that speaks the API's create call: keeps events by name, as the real one does."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAMESPACE = "team-a"


class Api:
    """Listens on one port all the time; `silent` until `answer()` is called, and again after `hush()`.

    A silent one accepts connections and never says a word: the worst kind of an API server that is away.
    """

    def __init__(self) -> None:
        self.events: dict[str, dict] = {}
        self.posts: list[str] = []
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._mute: socket.socket | None = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._mute.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def answer(self) -> None:
        if self._mute is not None:
            self._mute.close()
            self._mute = None
        self._server = _Server(("127.0.0.1", self.port), _handler(self))
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        if self._mute is not None:
            self._mute.close()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def create(self, namespace: str, body: dict) -> tuple[int, dict]:
        name = body["metadata"]["name"]
        with self._lock:
            self.posts.append(name)
            if name in self.events:
                return 409, {"kind": "Status", "reason": "AlreadyExists", "message": f"{name} already exists"}
            self.events[name] = body | {"metadata": body["metadata"] | {"namespace": namespace}}
        return 201, body

    def specs(self) -> list[dict]:
        """What was created, in order."""
        with self._lock:
            return [event["spec"] for event in self.events.values()]

    def kubeconfig(self) -> str:
        """A kubeconfig of this server, as text."""
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "here", "cluster": {"server": self.url}}],
                "users": [{"name": "pipeline", "user": {"token": "made-up-token"}}],
                "contexts": [
                    {"name": "here", "context": {"cluster": "here", "user": "pipeline", "namespace": NAMESPACE}}
                ],
                "current-context": "here",
            }
        )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # processes that are killed in the middle are part of these tests


def _handler(api: Api):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            parts = self.path.strip("/").split("/")
            if parts[:3] == ["apis", "pipebell.io", "v1alpha1"] and (parts[3], parts[5:]) == (
                "namespaces",
                ["pipelineevents"],
            ):
                status, document = api.create(parts[4], body)
            else:
                status, document = 404, {"kind": "Status", "reason": "NotFound"}
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    return Handler
