"""Starting a cluster's processes and waiting until the API server serves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from pipebell.cluster import credentials, flags
from pipebell.cluster.client import Client, Refused
from pipebell.cluster.errors import ClusterError
from pipebell.cluster.processes import Process

if TYPE_CHECKING:
    from pipebell.cluster.layout import Layout
    from pipebell.cluster.programs import Programs
    from pipebell.cluster.state import State

_PATIENCE: Final = 120.0  # seconds; an idle machine needs 4
_POLL: Final = 0.05
_TAKEN: Final = "address already in use"
_SHOWN: Final = 3


class PortTaken(ClusterError):  # noqa: N818  (it names what happened)
    """Another program listens on the cluster's port."""


def launch(layout: Layout, state: State, programs: Programs) -> State:
    """Start the processes, wait until the API server is ready, record both. Raises ClusterError, PortTaken."""
    audit = (layout.audit_policy, layout.audit_log) if state.audit_log else None
    options = [*flags.api_server(layout.credentials, state.port, audit), *state.extra_flags]
    running: list[Process] = []
    beginnings = {}
    try:
        for name, command in programs.commands(state.store, options):
            log = layout.log(name)
            beginnings[name] = log.stat().st_size if log.exists() else 0
            running.append(Process.spawn(command, log, layout.directory))
            # Recorded at once: whoever comes after a crash of ours finds them.
            state = state.running(*running).write(layout.directory)
        _write_kubeconfig(layout, state)
        _wait(layout, state, beginnings)
    except BaseException:
        for process in reversed(running):
            process.terminate(0.0)
        raise
    return state


def url(state: State) -> str:
    """The API server's address."""
    return f"https://127.0.0.1:{state.port}"


def client(layout: Layout, state: State) -> Client:
    """The administrator's way in."""
    return Client(url(state), layout.authority, *layout.admin)


def _write_kubeconfig(layout: Layout, state: State) -> None:
    credentials.write_kubeconfig(
        layout.kubeconfig, url=url(state), authority=layout.authority, user=credentials.admin(layout.credentials)
    )


def _wait(layout: Layout, state: State, beginnings: dict[str, int]) -> None:
    deadline = time.monotonic() + _PATIENCE
    api = client(layout, state)
    while not _serves(api):
        for process, (name, beginning) in zip(state.processes, beginnings.items(), strict=True):
            if not process.alive():
                raise _ended(layout, name, beginning, state.port)
        if time.monotonic() > deadline:
            log = layout.log(next(reversed(beginnings)))
            raise ClusterError(f"the API server was not ready within {_PATIENCE:.0f} s; its log: {log}")
        time.sleep(_POLL)


def _serves(api: Client) -> bool:
    try:
        api.request("GET", "/readyz", seconds=5.0)
        # Made in the background, by hooks that /readyz does not wait for.
        api.request("GET", "/api/v1/namespaces/default", seconds=5.0)
    except (OSError, Refused):
        return False
    return True


def _ended(layout: Layout, name: str, beginning: int, port: int) -> ClusterError:
    log = layout.log(name)
    with log.open("rb") as file:
        file.seek(beginning)
        lines = file.read().decode(errors="replace").splitlines()
    if any(_TAKEN in line for line in lines):
        return PortTaken(f"port {port} of this cluster is taken by another program: end that, or delete the cluster")
    output = "; ".join(line.strip() for line in lines[-_SHOWN:]) or "it said nothing"
    return ClusterError(f"{name} ended at its start ({output})")
