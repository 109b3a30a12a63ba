"""Everything real that takes part: API server, sinks, operator, load generator; each a process of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bench.processes import Child, Meter, rss_mb
from pipebell.cluster import Cluster
from pipebell.free_port import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPO = Path(__file__).parents[2]
NAMESPACE = "bench"
NAIVE = "naive"  # whatever the naive operator is to handle; it would handle everything that it finds
SYSTEM = "pipebell-system"
ACCOUNT = "relay"
PASSWORD = "relay-password"


class Sink:
    """Pipebell's local Slack and mail server, and what reached them."""

    def __init__(self, folder: Path, name: str, *options: str) -> None:
        self._record = folder / f"{name}.jsonl"
        ready = folder / f"{name}.ready"
        trust = folder / f"{name}-tls"
        command = [sys.executable, "-m", "pipebell.sinks", "--record", self._record, "--ready-file", ready]
        command += ["--tls-directory", trust, "--user", f"{ACCOUNT}:{PASSWORD}", *options]
        self.child = Child.spawn(command, folder / f"{name}.log")
        self.child.wait_for(ready.exists, "the sink")
        facts = json.loads(ready.read_text())
        self.slack, self.smtp_port = facts["slack"], int(facts["smtp"].rpartition(":")[2])
        self.ca_file = Path(facts["ca_file"])
        self._offset = 0

    def webhook(self, org: str) -> str:
        return f"{self.slack}/services/T00000000/B00000000/{org}"

    def skip(self) -> None:
        """Forget what came so far."""
        self._offset = self._record.stat().st_size if self._record.exists() else 0

    def arrivals(self) -> dict[str, list[float]]:
        """When each delivery (by `X-Pipebell-Delivery`) came, since the last look."""
        found: dict[str, list[float]] = {}
        if not self._record.exists():
            return found
        with self._record.open("rb") as lines:
            lines.seek(self._offset)
            for line in lines:
                item = json.loads(line)
                if item["kind"] == "mail":
                    identity = item["raw"].partition("X-Pipebell-Delivery: ")[2].split(None, 1)[0]
                else:
                    identity = item["headers"].get("x-pipebell-delivery", "")
                found.setdefault(identity, []).append(item["time"])
            self._offset = lines.tell()
        return found


class Operator(Child):
    """`pipebell run`."""

    started: float
    ready: float
    log_began: int

    def measure(self) -> float:
        return rss_mb(self.pid)

    def settle(self) -> float:
        """Wait until it has read all finished events for the cooldowns, which every start does once; its seconds."""

        def line() -> bytes | None:
            lines = self.log.read_bytes()[self.log_began :].splitlines()
            return next((line for line in lines if b"cooldowns_rebuilt" in line), None)

        return json.loads(self.wait_for(line, "the cooldowns' pass"))["seconds"]


class Stage:
    """The API server with Pipebell's resources, two sinks (one of them slow), and what runs against them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = contextlib.ExitStack()
        self.cluster: Cluster
        self.sink: Sink

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.cluster = stack.enter_context(Cluster.start())
            self.sink = Sink(self.folder, "sink")
            stack.enter_context(self.sink.child)
            self._install()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def slow_sink(self, seconds: float) -> Sink:
        """A sink that takes so long for every answer."""
        sink = Sink(self.folder, f"slow-{seconds:g}", "--slow", str(seconds))
        self._stack.enter_context(sink.child)
        return sink

    def _install(self) -> None:
        kubectl = self.cluster.kubectl
        kubectl("apply", "--server-side", "-k", REPO / "manifests")  # nothing runs the Deployment here
        kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        for namespace in (NAMESPACE, NAIVE):
            kubectl("create", "namespace", namespace)
        self._account = self.cluster.kubeconfig_for_service_account(SYSTEM, "pipebell-operator", 8 * 3600)

    def root(self, config: dict[str, Any]) -> None:
        """Install the root configuration."""
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "pipebell-root", "namespace": SYSTEM},
            "data": {"config.json": json.dumps(config)},
        }
        self.cluster.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(body))

    @contextlib.contextmanager
    def operator(self, *sinks: Sink) -> Iterator[Operator]:
        """Pipebell, from its start until it is ready (`/readyz`) and on."""
        port = free_port()
        trusted = self.folder / "trusted.pem"
        trusted.write_text("".join(sink.ca_file.read_text() for sink in (self.sink, *sinks)))
        env = {
            "KUBECONFIG": str(self._account),
            "PIPEBELL_HTTP_PORT": str(port),
            "PIPEBELL_SLACK_HOSTS": "127.0.0.1",
            "PIPEBELL_PRIVATE_HOSTS": "127.0.0.1/32",
            "PIPEBELL_CA_FILE": str(trusted),
            "SMTP_PASSWORD": PASSWORD,
        }
        began = time.time()
        command = [sys.executable, "-m", "pipebell.cli.main", "run"]
        log = self.folder / "operator.log"
        log_began = log.stat().st_size if log.exists() else 0
        with Operator.spawn(command, log, env) as operator:
            operator.started, operator.log_began = began, log_began
            operator.wait_for(lambda: _answers(f"http://127.0.0.1:{port}/readyz"), "the operator")
            operator.ready = time.time()
            yield operator

    @contextlib.contextmanager
    def naive(self) -> Iterator[Child]:
        """An operator as one writes it with kopf in an afternoon."""
        env = {"KUBECONFIG": str(self.cluster.kubeconfig), "SINK_CA": str(self.sink.ca_file)}
        env |= {"WEBHOOK": self.sink.webhook("naive"), "NAMESPACE": NAIVE}
        log = self.folder / f"naive-{time.time():.0f}.log"
        with Child.spawn([sys.executable, "-m", "bench.naive"], log, env) as child:
            child.wait_for(lambda: "Initial authentication" in child.log.read_text(), "the naive operator")
            time.sleep(2.0)
            yield child

    def mails(self, count: int) -> dict[str, Any]:
        """Send mails by the e-mail provider alone (bench.mails)."""
        order = {"port": self.sink.smtp_port, "ca_file": str(self.sink.ca_file), "count": count}
        order |= {"username": ACCOUNT, "password": PASSWORD}
        done = subprocess.run(
            [sys.executable, "-m", "bench.mails"],
            input=json.dumps(order),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    def meter(self, operator: Child | None) -> Meter:
        """CPU time of everybody but the load generator, who counts its own."""
        pids = {"api_server": self.cluster.processes[-1].pid, "sink": self.sink.child.pid}
        if operator is not None:
            pids["operator"] = operator.pid
        return Meter(pids)

    def load(self, job: str, **arguments: Any) -> dict[str, Any]:
        """Run a job of bench.load in a process of its own; returns what it measured."""
        return self.start_load(job, **arguments)()

    def start_load(self, job: str, **arguments: Any):
        """Start a job; call what is returned to wait for its result."""
        order = {"job": job, "kubeconfig": str(self.cluster.kubeconfig), "namespace": NAMESPACE, **arguments}
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

        def result() -> dict[str, Any]:
            output, _ = process.communicate(json.dumps(order))
            if process.returncode:
                raise RuntimeError(f"the load generator failed at {job}")
            return json.loads(output)

        waiting = threading.Thread(target=lambda: box.append(result()), daemon=True)
        box: list[dict[str, Any]] = []
        waiting.start()

        def wait() -> dict[str, Any]:
            waiting.join()
            if not box:
                raise RuntimeError(f"the load generator failed at {job}")
            return box[0]

        return wait


@contextlib.contextmanager
def sampled(measure: Callable[[], float], into: list[Any]) -> Iterator[None]:
    """Measure ten times a second."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.1):
            into.append(measure())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1.0) as answer:
            return answer.status == 200
    except (OSError, urllib.error.HTTPError):
        return False
