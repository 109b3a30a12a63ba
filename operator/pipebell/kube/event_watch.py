"""The PipelineEvents' watch: those that are not finished, as they come, change and go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pipebell.core.vocabulary import FINAL_PHASES
from pipebell.kube.follow import Follow
from pipebell.kube.paths import custom

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from pipebell.core.ports import Clock
    from pipebell.kube.client import ApiClient
    from pipebell.kube.watches import Watches

# Finished events are not watched: a start does not list them, and our own last write arrives as DELETED.
UNFINISHED: Final = ",".join(f"status.phase!={phase.value}" for phase in FINAL_PHASES)
_PATIENCE: Final = 30.0  # seconds


class EventWatch:
    """Follows the unfinished events of one namespace, or (None) of all.

    `tell` gets each watch event (ADDED, MODIFIED or DELETED, and the object); it must neither block nor raise.
    `known` names the uids that are believed to exist here. `gone` gets those of them that a list, begun afterwards,
    does not show: they were deleted or finished while nobody watched.
    """

    def __init__(
        self,
        client: ApiClient,
        clock: Clock,
        watches: Watches,
        namespace: str | None,
        *,
        tell: Callable[[str, Mapping[str, Any]], None],
        known: Callable[[str | None], Collection[str]],
        gone: Callable[[str], None],
    ) -> None:
        self._namespace = namespace
        self._tell, self._known, self._gone = tell, known, gone
        self._unseen: set[str] | None = None  # while a list is being read: those known before that it has not shown
        self._follow = Follow(
            client,
            clock,
            custom("PipelineEvent", namespace),
            self,
            params={"fieldSelector": UNFINISHED},
            hint="allow get, list and watch on pipelineevents to the operator's ServiceAccount (RBAC of the manifests)",
            patience=_PATIENCE,
            watches=watches,
        )

    @property
    def trouble(self) -> str | None:
        """Why events cannot be seen; None when they can."""
        return self._follow.trouble

    async def run(self) -> None:
        """Follow the events until cancelled."""
        await self._follow.run()

    def list_begins(self) -> None:
        """See `Listener`."""
        self._unseen = set(self._known(self._namespace))

    def happened(self, kind: str, item: Mapping[str, Any]) -> None:
        """See `Listener`."""
        if self._unseen is not None:
            self._unseen.discard(item["metadata"]["uid"])
        self._tell(kind, item)

    def list_ends(self, version: str) -> None:  # noqa: ARG002  (the Protocol's)
        """See `Listener`."""
        unseen, self._unseen = self._unseen, None
        for uid in unseen or ():
            self._gone(uid)
