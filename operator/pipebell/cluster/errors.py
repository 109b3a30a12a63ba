"""What the local control plane raises."""

from __future__ import annotations

from pipebell.core.errors import PipebellError


class ClusterError(PipebellError):
    """The local control plane did not do what was asked. The message is one clear line with how to fix it."""


class StuckNamespace(ClusterError):  # noqa: N818  (it names the namespace's state, as the API's condition does)
    """Objects in a namespace that is being deleted do not go away. `remaining` says which, and their finalizers."""

    def __init__(self, namespace: str, remaining: list[str]) -> None:
        self.namespace = namespace
        self.remaining = remaining
        super().__init__(f"namespace {namespace} is stuck on {', '.join(remaining)}")
