"""The root ConfigMap's watch: a list and a watch of exactly one name in the operator's own namespace.

kopf would watch ConfigMaps everywhere that it watches anything; other people's are none of our business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from pipebell.kube.list_watch import ListWatch
from pipebell.kube.paths import core

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from pipebell.core.ports import Clock
    from pipebell.kube.client import ApiClient
    from pipebell.kube.watches import Watches

_log = structlog.get_logger(__name__)


class RootWatch:
    """Tells `on_change` the ConfigMap's data, resourceVersion and uid ("" for none) whenever they change.

    Data is None once the ConfigMap is known to be absent: at the first list, or when it was deleted. `listed` is set
    after the first list. `on_change` must not block; what it raises is logged and changes nothing.
    """

    def __init__(
        self,
        client: ApiClient,
        clock: Clock,
        *,
        namespace: str,
        name: str,
        on_change: Callable[[Mapping[str, str] | None, str, str], None],
        watches: Watches | None = None,
    ) -> None:
        self._namespace = namespace
        self._name = name
        self._on_change = on_change
        self._last_notified: tuple[str, bool] | None = None  # the version, and whether it was there
        self._found = False  # in the list that is being read
        self._list_watch = ListWatch(
            client,
            clock,
            core("configmaps", namespace),
            self,
            params={"fieldSelector": f"metadata.name={name}"},
            hint=f"allow get, list and watch on configmaps with resourceNames [{name}] "
            f"in namespace {namespace} to the operator's ServiceAccount (Role and RoleBinding of the manifests)",
            watches=watches,
        )

    @property
    def listed(self) -> asyncio.Event:
        """Set after the first list."""
        return self._list_watch.listed

    async def run(self) -> None:
        """Follow the ConfigMap until cancelled."""
        await self._list_watch.run()

    def list_begins(self) -> None:
        """See `Listener`."""
        self._found = False

    def on_event(self, kind: str, item: Mapping[str, Any]) -> None:
        """See `Listener`."""
        metadata = item["metadata"]
        if metadata["name"] == self._name:
            self._found = True
            self._report(None if kind == "DELETED" else item, metadata["resourceVersion"])

    def list_ends(self, version: str) -> None:
        """See `Listener`."""
        if not self._found:
            self._report(None, version)

    def _report(self, item: Mapping[str, Any] | None, version: str) -> None:
        current = (version, item is not None)
        # An absence has the list's version, which moves on without us: reported once.
        if current == self._last_notified or (
            item is None and self._last_notified is not None and not self._last_notified[1]
        ):
            return
        self._last_notified = current
        try:
            if item is None:
                self._on_change(None, version, "")
            else:
                self._on_change(item.get("data") or {}, version, item["metadata"]["uid"])
        except Exception:  # noqa: BLE001  (the caller's fault must not end the watch)
            _log.exception("root_change_failed", namespace=self._namespace, name=self._name)
