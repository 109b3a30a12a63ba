"""What the end-to-end tests stand on: the administrator's fast way to the API, the operator's process, and waiting."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipebell.cluster.client import Refused
from pipebell.core.vocabulary import FINAL_PHASES

GROUP = "/apis/pipebell.io/v1alpha1"
SYSTEM = "pipebell-system"
OPERATOR = f"system:serviceaccount:{SYSTEM}:pipebell-operator"
#: Seconds that are given to what real processes do on a machine that has other things to do: none of them is a claim.
PATIENCE = 60.0
START = 120.0  # an interpreter and its imports, several at once
FINAL = {phase.value for phase in FINAL_PHASES}
_NAMES = Path(__file__).parent / "names"
_CREATORS = 8
_UNFINISHED = ",".join(f"status.phase%21%3D{name}" for name in sorted(FINAL))


def eventually(check, seconds=PATIENCE, what="", every=0.05):
    """The first true answer of `check`, asked every 50 ms (less often when asking takes long)."""
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        answer = check()
        if answer:
            return answer
        now = time.monotonic()
        assert now < deadline, f"not within {seconds:g} s: {what or check}"
        time.sleep(max(every, now - began))


def event(namespace, name, org, kind="pipeline_failure", **spec):
    return {
        "apiVersion": "pipebell.io/v1alpha1",
        "kind": "PipelineEvent",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"orgSlug": org, "event": kind, "pipelineId": "nightly-load", **spec},
    }


def config(namespace, name, org, **spec):
    return {
        "apiVersion": "pipebell.io/v1alpha1",
        "kind": "NotificationConfig",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"orgSlug": org, **spec},
    }


def secret(namespace, name, **values):
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": name},
        "stringData": values,
    }


def phase(item):
    return item.get("status", {}).get("phase")


def reason(item):
    return item.get("status", {}).get("reason")


def delivery(item, destination):
    return next((d for d in item.get("status", {}).get("deliveries", []) if d["destination"] == destination), None)


class Api:
    """The administrator's requests, each thread's over one kept connection. Raises Refused, OSError."""

    def __init__(self, cluster):
        layout = cluster._layout
        self._host = cluster.url.removeprefix("https://")
        self._tls = ssl.create_default_context(cafile=str(layout.authority))
        self._tls.load_cert_chain(*layout.admin)
        self._local = threading.local()
        self._open = []

    def close(self):
        for connection in self._open:
            connection.close()

    def request(self, method, path, body=None, content_type="application/json"):
        """The answer's JSON. Reads are asked for again while the API server says that it is not ready."""
        for _ in range(100):
            status, document = self._exchange(method, path, body, content_type)
            if status < 400:
                return document
            if method != "GET" or status not in (429, 503):
                break
            time.sleep(0.1)
        raise Refused(status, document.get("message", ""))

    def _exchange(self, method, path, body, content_type):
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        for attempt in (1, 2):
            kept = getattr(self._local, "connection", None)
            connection = kept or self._connection()
            try:
                connection.request(method, path, body=data, headers=headers)
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._local.connection = None
                if kept is None or attempt > 1:
                    raise ConnectionError(str(error)) from error
            else:
                self._local.connection = connection
                break
        return answer.status, json.loads(text)

    def _connection(self):
        connection = http.client.HTTPSConnection(self._host, timeout=30.0, context=self._tls)
        self._open.append(connection)
        return connection

    def path(self, document):
        namespace = document["metadata"]["namespace"]
        group = "/api/v1" if document["apiVersion"] == "v1" else GROUP
        return f"{group}/namespaces/{namespace}/{document['kind'].lower()}s"

    def create(self, document):
        """What the API server made of it."""
        return self.request("POST", self.path(document), document)

    def create_all(self, documents, threads=_CREATORS):
        """Many at once, in parallel; the results in order."""
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(self.create, documents))

    def create_surely(self, document, seconds=PATIENCE):
        """Create while the API server comes and goes: again until it is there (AlreadyExists is success)."""

        def attempt():
            try:
                self.create(document)
            except Refused as error:
                return error.code == 409
            except OSError:
                return False
            return True

        eventually(attempt, seconds, f"creating {document['metadata']['name']}", every=0.2)

    def merge(self, document, **spec):
        """Change fields of the spec."""
        path = f"{self.path(document)}/{document['metadata']['name']}"
        return self.request("PATCH", path, {"spec": spec}, "application/merge-patch+json")

    def delete(self, document):
        self.request("DELETE", f"{self.path(document)}/{document['metadata']['name']}")

    def get(self, document):
        """The object as it is now; None when it is gone."""
        try:
            return self.request("GET", f"{self.path(document)}/{document['metadata']['name']}")
        except Refused as error:
            if error.code == 404:
                return None
            raise

    def events(self, namespace):
        """All PipelineEvents of a namespace by name."""
        items = self.request("GET", f"{GROUP}/namespaces/{namespace}/pipelineevents")["items"]
        return {item["metadata"]["name"]: item for item in items}

    def notices(self, namespace):
        """core/v1 Events."""
        return self.request("GET", f"/api/v1/namespaces/{namespace}/events")["items"]

    def finished(self, namespace, count, seconds=PATIENCE):
        """Wait until all events of a namespace, and at least so many, have a final phase; all of them by name."""
        path = f"{GROUP}/namespaces/{namespace}/pipelineevents?fieldSelector={_UNFINISHED}&limit=1"

        def check():
            if self.request("GET", path)["items"]:  # cheaper than all of them
                return None
            found = self.events(namespace)
            return found if sum(phase(item) in FINAL for item in found.values()) >= count else None

        return eventually(check, seconds, f"{count} finished events in {namespace}")

    def reaches(self, document, wanted, seconds=PATIENCE):
        """Wait until an event is in this phase (or has this reason); the event."""

        def check():
            found = self.get(document)
            return found if found and wanted in (phase(found), reason(found)) else None

        return eventually(check, seconds, f"{document['metadata']['name']} {wanted}")

    def condition(self, document, wanted, seconds=PATIENCE):
        """Wait until a config's condition Ready (of its present generation) has this reason; the condition."""

        def check():
            item = self.get(document)
            for found in item.get("status", {}).get("conditions", []):
                if found["type"] == "Ready" and found["observedGeneration"] == item["metadata"]["generation"]:
                    return found if found["reason"] == wanted else None
            return None

        return eventually(check, seconds, f"{document['metadata']['name']} {wanted}")


class Operator:
    """`pipebell run` as a process of its own: start, kill, stop, start again; `lines` is all it ever logged."""

    def __init__(self, folder: Path, kubeconfig: Path, environ: dict[str, str], python: str = sys.executable) -> None:
        self._python = python
        self.log = folder / f"operator-{secrets.token_hex(3)}.log"
        self.log.touch()
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
        self._environ = keep | {
            "KUBECONFIG": str(kubeconfig),
            "PIPEBELL_HTTP_PORT": "0",
            "PYTHONPATH": os.pathsep.join((str(_NAMES), os.environ.get("PYTHONPATH", ""))).strip(os.pathsep),
            "PYTHONUNBUFFERED": "1",
            **environ,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self, seconds=START):
        """Start and wait until it is ready."""
        begun = self.spawn()
        try:
            self.wait_ready(begun, seconds)
        except BaseException:
            self.kill()
            raise
        return self

    def spawn(self):
        """Start without waiting; how far the log was."""
        begun = self.log.stat().st_size
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._python, "-m", "pipebell.cli.main", "run"],
                env=self._environ,
                cwd=self.log.parent,
                stdout=log,
                stderr=log,
            )
        return begun

    def wait_ready(self, begun, seconds=START):
        def started():
            assert self._process.poll() is None, self.tail()
            return self.told("started", since=begun)

        self.port = eventually(started, seconds, "the operator's start")["http_port"]
        eventually(lambda: self.http("/readyz") == "ok", seconds, "the operator's readiness")

    def kill(self):
        """SIGKILL: no goodbye to anybody."""
        self._process.kill()
        self._process.wait()

    def pause(self):
        """SIGSTOP: it stands still, and does not know."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self):
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def stop(self, seconds=PATIENCE):
        """SIGTERM, and wait; the exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running {seconds:g} s after SIGTERM\n{self.tail()}") from None

    @property
    def alive(self):
        return self._process is not None and self._process.poll() is None

    def http(self, path):
        """What the health endpoint answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30.0) as answer:
                return answer.read().decode()
        except (urllib.error.URLError, OSError) as error:
            return str(error)

    def body(self, path):
        """The same, and of an error its text."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30.0) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode()
        except OSError as error:
            return str(error)

    def metric(self, name):
        """The sum of a metric over all its labels."""
        lines = [line for line in self.http("/metrics").splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    @property
    def text(self):
        return self.log.read_text(encoding="utf-8")

    def lines(self, since=0) -> list[dict[str, Any]]:
        with self.log.open("rb") as file:
            file.seek(since)
            return [json.loads(line) for line in file.read().splitlines() if line.startswith(b"{")]

    def told(self, message, since=0, **fields):
        """The first line with this message and these fields."""
        for line in self.lines(since):
            if line.get("msg") == message and fields.items() <= line.items():
                return line
        return None

    def tail(self):
        return self.text[-4000:]
