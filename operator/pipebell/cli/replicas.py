"""The operator as people see it without looking into it: its replicas' Leases, which every user may list."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from pipebell.core.errors import NotFound, Rejected
from pipebell.core.shards import FORMAT_NUMBER, GROUP, LEAVING, REPLICA, ROOT, SCOPE, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipebell.cli.client import Client

SYSTEM: Final = "pipebell-system"
PATIENCE: Final = 10.0  # seconds without a renewal after which a replica is looked at again
RENEWAL: Final = 3.0  # seconds within which a replica that lives renews its Lease


def operator_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--operator-namespace`; `PIPEBELL_NAMESPACE` is the operator's own setting of it."""
    return click.option(
        "--operator-namespace",
        default=SYSTEM,
        envvar=["PIPEBELL_OPERATOR_NAMESPACE", "PIPEBELL_NAMESPACE"],
        metavar="NAME",
        help=f"Where the operator runs [default: {SYSTEM}].",
    )(function)


@dataclass(slots=True)
class Replica:
    """One replica, as its Lease says.

    `namespaces` is None for all. `root` is how the root configuration stands (`RootStore.state`), "" for a release
    that does not say. `renewed` is False once the Lease has not been renewed for longer than a living replica takes.
    """

    installation: str
    name: str
    version: str
    format: str
    namespaces: Sequence[str] | None
    root: str
    shards: int = 0
    leaving: bool = False
    renewed: bool = True

    def serves(self, namespace: str) -> bool:
        """Whether events of this namespace are its, or its peers'."""
        return self.namespaces is None or namespace in self.namespaces


@dataclass(slots=True)
class Operator:
    """What the Leases say. `replicas` is None when they may not be listed; `unknown` says why not."""

    namespace: str
    replicas: Sequence[Replica] | None
    unknown: str = ""

    @property
    def living(self) -> Sequence[Replica]:
        """The replicas that renew their Leases."""
        return [replica for replica in self.replicas or () if replica.renewed]

    def serves(self, namespace: str) -> bool | None:
        """Whether any living replica serves it; None when that is not known."""
        return None if self.replicas is None else any(replica.serves(namespace) for replica in self.living)

    @property
    def scope(self) -> str:
        """The namespaces that are served, in words."""
        if any(replica.namespaces is None for replica in self.living):
            return "all namespaces"
        names = {name for replica in self.living for name in replica.namespaces or ()}
        return ", ".join(sorted(names)) or "no namespace"

    def trouble(self, namespace: str) -> str:
        """Why nobody serves events of this namespace; "" when somebody does, or nothing is known."""
        if self.replicas is None or self.serves(namespace):
            return ""
        if not self.replicas:
            return f"no operator runs in namespace {self.namespace}: nobody serves events"
        if not self.living:
            return f"the operator in namespace {self.namespace} has stopped: its Leases are not renewed"
        return (
            f"namespace {namespace} is not served: the operator in {self.namespace} serves {self.scope} "
            "(watchNamespaces in its chart)"
        )


def look(
    client: Client,
    namespace: str,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Operator:
    """The operator in this namespace. Raises ApiErrors other than that one may not, or that there is no such namespace.

    This machine's clock may be wrong: a replica that seems to be dead is so only if its Lease is the same a moment
    later.
    """
    try:
        leases = client.leases(namespace, GROUP)
        times = _times(leases)
        if any(abs(now() - _seconds(renewed)) > PATIENCE for renewed in times.values()):
            sleep(RENEWAL)
            leases = client.leases(namespace, GROUP)
    except Rejected as error:
        return Operator(namespace, None, str(error))
    except NotFound:
        return Operator(namespace, ())
    held: dict[tuple[str, str], int] = {}
    for lease in leases:
        if f"-{REPLICA}" not in lease["metadata"]["name"]:
            key = _key(lease)
            held[key] = held.get(key, 0) + 1
    replicas = []
    for lease in leases:
        if f"-{REPLICA}" in lease["metadata"]["name"]:
            before = times.get(lease["metadata"]["name"])
            renewed = before != _renewed(lease) or abs(now() - _seconds(before)) <= PATIENCE
            replicas.append(_replica(lease, held.get(_key(lease), 0), renewed=renewed))
    return Operator(namespace, sorted(replicas, key=lambda replica: (replica.installation, replica.name)))


def notes(client: Client, operator_namespace: str, namespace: str) -> list[str]:
    """That nobody serves a namespace, or that it is not known whether anybody does."""
    operator = look(client, operator_namespace)
    if operator.replicas is None:
        return [f"whether namespace {namespace} is served is not known: {operator.unknown}"]
    return [trouble] if (trouble := operator.trouble(namespace)) else []


def _replica(lease: Mapping[str, Any], shards: int, *, renewed: bool) -> Replica:
    installation, name = _key(lease)
    said = lease["metadata"].get("annotations") or {}
    scope = said.get(SCOPE, "")
    return Replica(
        installation=installation,
        name=name,
        version=said.get(VERSION, ""),
        format=said.get(FORMAT_NUMBER, "1"),
        namespaces=scope.split(",") if scope else None,
        root=said.get(ROOT, ""),
        shards=shards,
        leaving=said.get(LEAVING) == "true",
        renewed=renewed,
    )


def _key(lease: Mapping[str, Any]) -> tuple[str, str]:
    """The installation and the replica that a Lease, a replica's or a shard's, belongs to."""
    return lease["metadata"]["labels"][GROUP], (lease.get("spec") or {}).get("holderIdentity") or ""


def _times(leases: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {
        lease["metadata"]["name"]: _renewed(lease) for lease in leases if f"-{REPLICA}" in lease["metadata"]["name"]
    }


def _renewed(lease: Mapping[str, Any]) -> str:
    return (lease.get("spec") or {}).get("renewTime") or ""


def _seconds(time_text: str | None) -> float:
    return datetime.fromisoformat(time_text).timestamp() if time_text else 0.0
