"""The stage: a real API server, the operator as its own process under its own account, a mail server and a Slack."""

from __future__ import annotations

import json
import secrets
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from pipebell.cluster import Cluster, ClusterError, Progress, folders, programs, tools
from pipebell.cluster.processes import Process
from pipebell.cluster.state import State
from pipebell.core.crds import RESOURCES
from pipebell.core.vocabulary import GROUP, VERSION
from pipebell.demo.files import shipped
from pipebell.demo.process import OperatorProcess, StageError
from pipebell.sinks import Outside, SlackSink, SmtpSink, Trust, running

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


__all__ = ["ACCOUNT", "NAMESPACE", "PROCESSES", "Stage", "StageError"]

NAMESPACE: Final = "pipebell-system"
ACCOUNT: Final = "pipebell-operator"
PROCESSES: Final = Path("stage", "processes.json")  # in the cluster's directory
RECEIVED: Final = "received.jsonl"
_TOKEN: Final = 7 * 86_400.0  # seconds; a stage that is kept may stand for days
_POLL: Final = 0.1
_GRACE: Final = 15.0  # seconds

T = TypeVar("T")


class Stage:
    """Start its parts one by one or all with `start`; leaving the `with` block ends and removes everything.

    Use it like this:

        with Stage() as stage:
            stage.start()
            stage.slack.plan(500, 500)
            stage.apply(manifest, namespace="acme")
            stage.until(lambda: stage.slack.posts, "a Slack message")
            stage.operator.kill()
            stage.operator.start()

    name: of a cluster that outlives this process when `keep` is called. settings: more `PIPEBELL_…` variables, and
    more variables for root's `${VAR}`.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        settings: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._name, self._progress = name, progress
        self._settings = dict(settings or {})
        self._exits, self._sinks = ExitStack(), ExitStack()
        self._cluster: Cluster | None = None
        self.users = {"platform@cloudact.example": secrets.token_urlsafe(18), "globex": secrets.token_urlsafe(18)}
        """Names and passwords that the mail server knows; the first is root's."""
        self.trust: Trust
        self.smtp: SmtpSink
        self.slack: SlackSink
        self.outside: Outside
        self.operator: OperatorProcess

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def start(self) -> None:
        """Everything, in its order."""
        self.prepare()
        self.start_cluster()
        self.install()
        self.start_sinks()
        self.start_operator()

    # ------------------------------------------------------------------ the parts

    @property
    def cluster(self) -> Cluster:
        """The API server. Raises StageError before it was started."""
        if self._cluster is None:
            raise StageError("the stage has no API server yet")
        return self._cluster

    @property
    def folder(self) -> Path:
        """What belongs to the stage; it goes with the cluster."""
        return self.cluster.directory / "stage"

    def prepare(self) -> None:
        """Build or install what the machine lacks: minutes, the first time only. Raises ClusterError."""
        programs.find(self._progress or Progress())
        tools.kubectl()

    def start_cluster(self) -> None:
        """Start an API server of our own, which logs who asks for what. Raises ClusterError."""
        _end_orphans()
        self._cluster = Cluster.start(self._name, audit_log=True, progress=self._progress)
        self._exits.callback(self._cluster.delete)
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def install(self) -> None:
        """Apply manifests/ as a user does: resources, account and rights (no node is there to run the Deployment)."""
        self.cluster.kubectl("apply", "--server-side", "-k", shipped("manifests"))
        names = [f"crd/{resource.name}" for resource in RESOURCES]
        self.cluster.kubectl("wait", "--for=condition=Established", *names, "--timeout=30s")

    def start_sinks(self) -> None:
        """Listen for e-mail (STARTTLS and login required), for Slack messages (HTTPS), and as the vendors outside."""
        record = self.folder / RECEIVED
        self.trust = Trust(self.folder)
        self.smtp = SmtpSink(users=self.users, trust=self.trust, record=record)
        self.slack = SlackSink(trust=self.trust, record=record)
        self.outside = Outside(self.trust, record=record)
        self._exits.callback(self.stop_sinks)
        self._sinks.enter_context(running(self.smtp, self.slack, self.outside))

    def start_operator(self, *, wait: float = 60.0) -> None:
        """Start the operator under its own account and wait until it is ready. Raises StageError."""
        self.operator = self.new_operator()
        self.operator.start(wait=0.0)
        self.note_processes()
        if wait:
            self.operator.wait_ready(wait)

    def new_operator(self, name: str = "operator", **settings: str) -> OperatorProcess:
        """One more operator, not started yet, with settings of its own; `name` is its log's."""
        kubeconfig = self.cluster.kubeconfig_for_service_account(NAMESPACE, ACCOUNT, _TOKEN)
        operator = OperatorProcess(kubeconfig, self.environment() | settings, self.folder / f"{name}.log")
        self._exits.callback(operator.stop)
        return operator

    def environment(self) -> dict[str, str]:
        """The operator's environment: its settings, and the variables of the root configuration."""
        username, password = next(iter(self.users.items()))
        return {
            "PIPEBELL_NAMESPACE": NAMESPACE,
            "PIPEBELL_CA_FILE": str(self.trust.ca_file),
            "PIPEBELL_SLACK_HOSTS": f"{self.slack.host}:{self.slack.port}",
            "PIPEBELL_HTTPS_PROXY": self.outside.url,
            "PIPEBELL_PRIVATE_HOSTS": f"{self.smtp.host}/32",
            "SMTP_USERNAME": username,
            "SMTP_PASSWORD": password,
            "DEFAULT_ADMIN_EMAIL": "admin@cloudact.example",
            **self._settings,
        }

    # ------------------------------------------------------------------ using it

    def apply(self, manifest: str, *, namespace: str | None = None) -> str:
        """`kubectl apply -f -`; what kubectl said. Raises ClusterError."""
        where = ["-n", namespace] if namespace else []
        return self.cluster.kubectl("apply", *where, "-f", "-", input=manifest).stdout

    def put_root(self, text: str) -> None:
        """Make this JSON the root configuration."""
        content = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pipebell-root"}}
        self.apply(json.dumps(content | {"data": {"config.json": text}}), namespace=NAMESPACE)

    def root_json(self) -> str:
        """The platform's configs/notifications/config.json, with our mail server's host and port."""
        text = shipped("configs/notifications/config.json").read_text(encoding="utf-8")
        host, port = '"smtp_host": "smtp.gmail.com"', '"smtp_port": 587'
        if host not in text or port not in text:
            raise StageError("configs/notifications/config.json does not name the host and port that we expect in it")
        return text.replace(host, f'"smtp_host": "{self.smtp.host}"').replace(port, f'"smtp_port": {self.smtp.port}')

    def items(self, plural: str) -> dict[str, dict[str, Any]]:
        """All objects of one of Pipebell's kinds by `namespace/name`, as they are now."""
        found = self.cluster.request("GET", f"/apis/{GROUP}/{VERSION}/{plural}")["items"]
        return {f"{item['metadata']['namespace']}/{item['metadata']['name']}": item for item in found}

    def until(self, probe: Callable[[], T], what: str, seconds: float = 30.0) -> T:
        """Ask until the answer is truthy, and return it. Raises StageError when the operator ends or time is up."""
        deadline = time.monotonic() + seconds
        while not (answer := probe()):
            self.operator.must_live()
            if time.monotonic() > deadline:
                raise StageError(
                    f"no {what} within {seconds:g} s; the operator's log ends:\n{self.operator.last_lines()}"
                )
            time.sleep(_POLL)
        return answer

    # ------------------------------------------------------------------ outliving this process

    def note_processes(self, *others: Process) -> None:
        """Write down what was started besides the cluster, for whoever ends it later."""
        processes = [process for process in (self.operator.process, *others) if process is not None]
        (self.cluster.directory / PROCESSES).write_text(
            json.dumps([asdict(each) for each in processes]), encoding="utf-8"
        )

    def stop_sinks(self) -> None:
        """Listen no more. Idempotent."""
        self._sinks.close()

    def leave(self) -> None:
        """Nothing ends any more when the `with` block does."""
        self._exits.pop_all()


def end_processes(directory: Path) -> None:
    """End what was noted in a cluster's directory."""
    noted = directory / PROCESSES
    if noted.exists():
        for each in json.loads(noted.read_text(encoding="utf-8")):
            Process(**each).terminate(_GRACE)


def _end_orphans() -> None:
    """End what stages left running whose process was killed; the next start clears their clusters away by itself."""
    for directory in folders.passing().iterdir():
        try:
            state = State.read(directory)
        except ClusterError:
            continue
        if state and state.owner and not state.owner.alive():
            end_processes(directory)
