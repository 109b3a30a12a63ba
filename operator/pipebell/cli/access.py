"""How a command reaches the cluster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Access:
    """How to reach the cluster. None leaves it to KUBECONFIG, the current context and its namespace, or the pod."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
