"""Labels of namespaces (implements `pipebell.engine.ports.Namespaces`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipebell.kube.cache import Cache
from pipebell.retry import retry_until_available

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.core.ports import Clock
    from pipebell.kube.client import ApiClient

_PATIENCE: Final = 10.0  # seconds


class KubeNamespaces:
    """Namespaces' labels, kept for 60 s."""

    def __init__(self, client: ApiClient, clock: Clock, *, patience: float | None = _PATIENCE) -> None:
        self._client = client
        self._patience = patience
        self._cache: Cache[str, Mapping[str, str]] = Cache(self._get, clock)

    async def labels(self, namespace: str) -> Mapping[str, str]:
        """The namespace's labels. Raises ApiErrors, NotFound among them."""
        return await self._cache.get(namespace)

    async def _get(self, namespace: str) -> Mapping[str, str]:
        path = f"/api/v1/namespaces/{namespace}"
        found = await retry_until_available(
            lambda: self._client.request("GET", path), what="get namespace", limit=self._patience
        )
        labels: Mapping[str, str] = found["metadata"].get("labels") or {}
        return labels
