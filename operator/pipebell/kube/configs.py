"""NotificationConfigs in the API (implements `pipebell.engine.ports.Configs`)."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.errors import Conflict, Fenced, NotFound
from pipebell.kube.client import MERGE_PATCH
from pipebell.kube.events import PATIENCE
from pipebell.kube.parse import parse_config
from pipebell.kube.paths import custom, selector_value
from pipebell.retry import FIRST_WAIT, retry_until_available

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from pipebell.core.config import ConfigObject
    from pipebell.kube.client import ApiClient

_KIND: Final = "NotificationConfig"
_ATTEMPTS: Final = 5


class NotificationConfigs:
    """NotificationConfigs in the watched namespaces (empty: in all). `patience` as for `PipelineEvents`."""

    def __init__(
        self,
        client: ApiClient,
        watch_namespaces: Sequence[str] = (),
        *,
        patience: float | None = PATIENCE,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client, self._sleep = client, sleep
        self._namespaces = tuple(watch_namespaces)
        self._patience = patience

    async def of_org(self, org_slug: str, namespaces: Sequence[str]) -> list[ConfigObject]:
        """A consistent list of one organisation's configurations in these namespaces (no resourceVersion: none is old).

        Only in these: another namespace may hold any number of them, and the API server would look through all that
        there are. Raises ApiErrors.
        """
        params = {"fieldSelector": f"spec.orgSlug={selector_value(org_slug)}"}
        return [
            parse_config(item)
            for scope in dict.fromkeys(namespaces)
            async for page in self._client.pages(custom(_KIND, scope), params=params, patience=self._patience)
            for item in page.get("items") or ()
        ]

    async def scan(self) -> AsyncIterator[list[ConfigObject]]:
        """All configurations, page by page, as `PipelineEvents.scan`."""
        for namespace in self._namespaces or (None,):
            async for page in self._client.pages(custom(_KIND, namespace), patience=self._patience):
                yield [parse_config(item) for item in page.get("items") or ()]

    async def patch_status(
        self,
        config: ConfigObject,
        status: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
        allowed: Callable[[], bool] = lambda: True,
    ) -> None:
        """Merge-patch the status of the object with this uid, whatever else changed on it.

        A `status` that can be called is asked for before each try. `allowed` is asked before each try; if it says no,
        Fenced is raised. Raises NotFound when the object is gone or another has its name now. The API server ignores a
        uid in a write to `/status`, so only a version that is known to be this object's keeps a namesake from being
        written to.
        """
        path = custom(_KIND, config.namespace, config.name)
        version = config.resource_version
        for attempt in range(_ATTEMPTS):
            if not allowed():
                raise Fenced("another replica writes there by now")
            document = status() if callable(status) else status
            try:
                await self._patch(path, {"metadata": {"resourceVersion": version}, "status": document})
            except Conflict:
                # Whoever else writes there has to come to an end first, and not everybody may come back at once.
                await self._sleep(FIRST_WAIT * 2**attempt * random.uniform(0.5, 1.0))  # noqa: S311  (no secret)
                version = await self._version(path, config)
            else:
                return
        raise Conflict(f"PATCH {path}: changed {_ATTEMPTS} times while its status was to be written")

    async def _patch(self, path: str, body: Mapping[str, Any]) -> None:
        await retry_until_available(
            lambda: self._client.request("PATCH", f"{path}/status", body=body, content_type=MERGE_PATCH),
            what="patch config",
            limit=self._patience,
        )

    async def _version(self, path: str, config: ConfigObject) -> str:
        item = await retry_until_available(
            lambda: self._client.request("GET", path), what="get config", limit=self._patience
        )
        metadata = item["metadata"]
        if metadata["uid"] != config.uid:
            raise NotFound(f"GET {path}: another object has this name now")
        return str(metadata["resourceVersion"])
