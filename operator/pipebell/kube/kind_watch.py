"""The watch of one kind of our resources: what those of events, incidents and silences have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from pipebell.kube.events import PATIENCE
from pipebell.kube.list_watch import ListWatch
from pipebell.kube.paths import PLURALS, custom

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pipebell.core.ports import Clock
    from pipebell.kube.client import ApiClient
    from pipebell.kube.watches import Watches


class KindWatch(ABC):
    """Follows the objects of `kind` in one namespace, or (None) in all, that `selected` (a field selector) names.

    Where the definition or the right is missing, it waits for that, and `trouble` says so; everything else goes on.
    """

    def __init__(
        self,
        client: ApiClient,
        clock: Clock,
        kind: str,
        namespace: str | None,
        *,
        selected: str | None = None,
        watches: Watches | None = None,
    ) -> None:
        rights = f"get, list and watch on {PLURALS[kind]}"
        self._list_watch = ListWatch(
            client,
            clock,
            custom(kind, namespace),
            self,
            params={} if selected is None else {"fieldSelector": selected},
            hint=f"allow {rights} to the operator's ServiceAccount (RBAC of the manifests)",
            patience=PATIENCE,
            watches=watches,
        )

    @property
    def trouble(self) -> str | None:
        """Why the objects cannot be seen; None when they can."""
        return self._list_watch.trouble

    async def run(self) -> None:
        """Follow them until cancelled."""
        await self._list_watch.run()

    def list_begins(self) -> None:  # noqa: B027  (whoever needs no lists has nothing to do)
        """See `Listener`."""

    @abstractmethod
    def on_event(self, kind: str, item: Mapping[str, Any]) -> None:
        """See `Listener`."""

    def list_ends(self, version: str) -> None:  # noqa: B027  (see above)
        """See `Listener`."""
