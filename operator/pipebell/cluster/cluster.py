"""A cluster of one machine: a real kube-apiserver and its store on loopback, and a folder that holds all of it."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

import yaml

from pipebell.cluster import credentials, flags, folders, launch, locks, namespaces, programs, tools
from pipebell.cluster.errors import ClusterError
from pipebell.cluster.layout import Layout
from pipebell.cluster.processes import Process
from pipebell.cluster.progress import Progress
from pipebell.cluster.state import State
from pipebell.free_port import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_GRACE: Final = 15.0  # seconds between SIGTERM and SIGKILL
_PORTS_TRIED: Final = 5
_STATELESS: Final = 60.0  # seconds that a start may take until its state is written


class Cluster:
    """A control plane: start it, use `kubeconfig`, and `delete` it (or use it as a context manager)."""

    def __init__(self, directory: Path) -> None:
        state = State.read(directory)
        if state is None:
            raise ClusterError(f"there is no cluster in {directory}")
        self.directory = directory
        self._layout = Layout(directory)
        self._state = state

    @classmethod
    def start(
        cls,
        name: str | None = None,
        *,
        extra_flags: Sequence[str] = (),
        audit_log: bool = False,
        identifiers: bool = True,
        progress: Progress | None = None,
    ) -> Self:
        """A running cluster: a new one, or the one of this name, which is resumed as it was if it does not run.

        Without a name it is this process's own; what such a process leaves behind when it is killed, the next start
        clears away. `extra_flags` are kube-apiserver's; `audit_log` makes `audit` work; without
        `identifiers` its certificates are as many clusters' own (see `certificates.Authority`). Raises ClusterError.
        """
        progress = progress or Progress()
        programs.find(progress)  # a build of minutes comes before anything else exists
        if name is None:
            _clear_orphans()
            directory = folders.passing() / secrets.token_hex(4)
            return cls._create(directory, extra_flags, Process.current(), audit_log=audit_log, identifiers=identifiers)
        directory = folders.named(name)
        with locks.alone(directory.parent, progress, f"the cluster {name!r}"):
            if State.read(directory):
                cluster = cls(directory)
                cluster.resume()
                return cluster
            shutil.rmtree(directory, ignore_errors=True)  # of a start that was killed before it wrote its state
            return cls._create(directory, extra_flags, None, audit_log=audit_log, identifiers=identifiers)

    @classmethod
    def find(cls, name: str) -> Self | None:
        """The cluster of this name, running or not."""
        directory = folders.named(name)
        return cls(directory) if State.read(directory) else None

    @classmethod
    def remove(cls, name: str) -> bool:
        """Delete the cluster of this name; False when there is none."""
        directory = folders.named(name)
        if not directory.exists():
            return False
        with locks.alone(directory.parent, Progress(), f"the cluster {name!r}"):
            if found := cls.find(name):
                found.delete()
            shutil.rmtree(directory, ignore_errors=True)
        return True

    @staticmethod
    def names() -> list[str]:
        """All that have a name, running or not."""
        return folders.names()

    @classmethod
    def _create(
        cls,
        directory: Path,
        extra_flags: Sequence[str],
        owner: Process | None,
        *,
        audit_log: bool,
        identifiers: bool,
    ) -> Self:
        directory.mkdir(mode=0o700, parents=True)
        store = folders.store_in(directory)
        state = State(port=0, store=store, extra_flags=tuple(extra_flags), audit_log=audit_log, owner=owner)
        state.write(directory)
        cluster = cls(directory)
        try:
            credentials.create(cluster._layout.credentials, identifiers=identifiers)
            cluster._layout.audit_policy.write_text(yaml.safe_dump(flags.AUDIT_POLICY), encoding="utf-8")
            cluster._launch_on_a_free_port()
        except BaseException:
            cluster.delete()
            raise
        return cluster

    def _launch_on_a_free_port(self) -> None:
        for attempt in range(1, _PORTS_TRIED + 1):
            self._state = replace(self._state, port=free_port())
            try:
                return self._launch()
            except launch.PortTaken:
                if attempt == _PORTS_TRIED:
                    raise
        return None

    def _launch(self) -> None:
        self._state = launch.launch(self._layout, self._state, programs.find(Progress()))

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; it needs no other file."""
        return self._layout.kubeconfig

    @property
    def url(self) -> str:
        """The API server's address; it stays the same as long as the cluster exists."""
        return launch.url(self._state)

    @property
    def authority(self) -> Path:
        """The certificate authority (PEM) that signed the API server's certificate."""
        return self._layout.authority

    @property
    def processes(self) -> tuple[Process, ...]:
        """What runs for this cluster, or ran last."""
        return self._state.processes

    @property
    def running(self) -> bool:
        """Whether all its processes live."""
        return bool(self.processes) and all(process.alive() for process in self.processes)

    def stop(self) -> None:
        """End the processes (SIGTERM, then SIGKILL after 15 s); data and port stay. Idempotent."""
        for process in reversed(self.processes):
            process.terminate(_GRACE)

    def kill(self) -> None:
        """End the processes by SIGKILL; data and port stay. Idempotent."""
        for process in reversed(self.processes):
            process.terminate(0.0)

    def resume(self) -> None:
        """Run again on the same port and data; does nothing when it runs. Raises ClusterError."""
        if not self.running:
            self.kill()  # one of two may be left
            self._launch()

    def delete(self) -> None:
        """End the processes and remove every file. Idempotent."""
        self.kill()
        for folder in (self._state.store, self.directory):
            shutil.rmtree(folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.delete()

    def request(self, method: str, path: str, body: Any = None, *, seconds: float = 30.0) -> Any:  # noqa: ANN401  (JSON)
        """One request as administrator: the answer's JSON (or text). Raises Refused (with `code`), or OSError."""
        return launch.client(self._layout, self._state).request(method, path, body, seconds=seconds)

    def kubectl(
        self,
        *arguments: str | Path,
        input: str | None = None,  # noqa: A002  (as subprocess.run calls it)
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as administrator. Raises ClusterError with what it said, unless `check` is off."""
        command = [tools.kubectl(), "--kubeconfig", self.kubeconfig, "--cache-dir", self.directory / "kubectl"]
        done = subprocess.run(  # noqa: S603  (kubectl, by its full path)
            [str(part) for part in (*command, *arguments)], input=input, capture_output=True, text=True, check=False
        )
        if check and done.returncode != 0:
            raise ClusterError(f"kubectl {' '.join(map(str, arguments))}: {done.stderr.strip()}")
        return done

    def token_for_service_account(self, namespace: str, name: str, duration: float = 3600.0) -> str:
        """A token by TokenRequest, good for `seconds` (600 at least). Raises Refused."""
        document = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": int(duration)},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        token: str = self.request("POST", path, document)["status"]["token"]
        return token

    def kubeconfig_for_service_account(self, namespace: str, name: str, duration: float = 3600.0) -> Path:
        """A kubeconfig with such a token, in the cluster's directory; a later call for the same account replaces it."""
        path = self.directory / f"kubeconfig-{namespace}-{name}"
        user = {"token": self.token_for_service_account(namespace, name, duration)}
        credentials.write_kubeconfig(path, url=self.url, authority=self.authority, user=user, namespace=namespace)
        return path

    def delete_namespace(self, namespace: str, seconds: float = 30.0) -> None:
        """Delete a namespace with all it holds, as the namespace controller would. Raises StuckNamespace."""
        namespaces.delete(launch.client(self._layout, self._state), namespace, seconds)

    def audit(self) -> list[dict[str, Any]]:
        """The audit log's entries (audit.k8s.io/v1 Event), oldest first. Raises ClusterError when none is kept.

        They are the answered requests for pipebell.io, Events, Secrets, ConfigMaps and Leases; each is written before
        its answer is sent.
        """
        if not self._state.audit_log:
            raise ClusterError("this cluster keeps no audit log: start it with audit_log=True")
        with self._layout.audit_log.open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines if line.endswith("\n")]


def _clear_orphans() -> None:
    """Delete nameless clusters whose process was killed before it could."""
    for directory in folders.passing().iterdir():
        with contextlib.suppress(FileNotFoundError):  # another start clears it away at this moment
            _clear_if_orphan(directory)


def _clear_if_orphan(directory: Path) -> None:
    try:
        state = State.read(directory)
    except ClusterError:
        state = None
    if state and state.owner and not state.owner.alive():
        Cluster(directory).delete()
    elif state is None and time.time() - directory.stat().st_mtime > _STATELESS:
        shutil.rmtree(directory, ignore_errors=True)
