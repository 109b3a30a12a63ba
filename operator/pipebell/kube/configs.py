"""NotificationConfigs in the API (implements `pipebell.engine.ports.Configs`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pipebell.kube.client import MERGE_PATCH
from pipebell.kube.events import PATIENCE
from pipebell.kube.parse import parse_config
from pipebell.kube.paths import custom, selector_value
from pipebell.kube.patience import patiently

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from pipebell.core.config import ConfigObject
    from pipebell.kube.client import ApiClient

_KIND: Final = "NotificationConfig"


class NotificationConfigs:
    """NotificationConfigs in the watched namespaces (empty: in all). `patience` as for `PipelineEvents`."""

    def __init__(
        self, client: ApiClient, watch_namespaces: Sequence[str] = (), *, patience: float | None = PATIENCE
    ) -> None:
        self._client = client
        self._namespaces = tuple(watch_namespaces)
        self._patience = patience

    async def of_org(self, org_slug: str, namespaces: Sequence[str]) -> list[ConfigObject]:
        """A consistent list of one organisation's configurations (no resourceVersion is given, so none is old).

        Cluster-wide where all namespaces are watched, else in each of `namespaces`. Raises ApiErrors.
        """
        params = {"fieldSelector": f"spec.orgSlug={selector_value(org_slug)}"}
        scopes: Sequence[str | None] = tuple(dict.fromkeys(namespaces)) if self._namespaces else (None,)
        return [
            parse_config(item)
            for scope in scopes
            async for page in self._client.pages(custom(_KIND, scope), params=params, patience=self._patience)
            for item in page.get("items") or ()
        ]

    async def scan(self) -> AsyncIterator[list[ConfigObject]]:
        """All configurations, page by page, as `PipelineEvents.scan`."""
        for namespace in self._namespaces or (None,):
            async for page in self._client.pages(custom(_KIND, namespace), patience=self._patience):
                yield [parse_config(item) for item in page.get("items") or ()]

    async def patch_status(self, config: ConfigObject, status: Mapping[str, Any]) -> None:
        """Merge-patch the status of the object with this uid. Raises NotFound, or Rejected when it is another now."""
        path = custom(_KIND, config.namespace, config.name) + "/status"
        body = {"metadata": {"uid": config.uid}, "status": status}
        await patiently(
            lambda: self._client.request("PATCH", path, body=body, content_type=MERGE_PATCH),
            what="patch config",
            limit=self._patience,
        )
