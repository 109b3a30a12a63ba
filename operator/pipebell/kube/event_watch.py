"""The PipelineEvents' watch: those that are not finished, as they come, change and go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pipebell.core.vocabulary import FINAL_PHASES
from pipebell.kube.kind_watch import KindWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from pipebell.core.ports import Clock
    from pipebell.kube.client import ApiClient
    from pipebell.kube.watches import Watches

# Finished events are not watched: a start does not list them, and our own last write arrives as DELETED.
UNFINISHED: Final = ",".join(f"status.phase!={phase.value}" for phase in FINAL_PHASES)


class EventWatch(KindWatch):
    """Follows the unfinished events of one namespace, or (None) of all.

    `on_event` gets each watch event (ADDED, MODIFIED or DELETED, and the object); it must neither block nor raise.
    `tracked` names the uids that are believed to exist here. `on_missing` gets those of them that a list, begun
    afterwards, does not show: they were deleted or finished while nobody watched.
    """

    def __init__(
        self,
        client: ApiClient,
        clock: Clock,
        watches: Watches,
        namespace: str | None,
        *,
        on_event: Callable[[str, Mapping[str, Any]], None],
        tracked: Callable[[str | None], Collection[str]],
        on_missing: Callable[[str], None],
    ) -> None:
        super().__init__(client, clock, "PipelineEvent", namespace, selected=UNFINISHED, watches=watches)
        self._namespace = namespace
        self._on_event, self._tracked, self._on_missing = on_event, tracked, on_missing
        self._unseen: set[str] | None = None  # while a list is being read: those known before that it has not shown

    def list_begins(self) -> None:
        """See `Listener`."""
        self._unseen = set(self._tracked(self._namespace))

    def on_event(self, kind: str, item: Mapping[str, Any]) -> None:
        """See `Listener`."""
        if self._unseen is not None:
            self._unseen.discard(item["metadata"]["uid"])
        self._on_event(kind, item)

    def list_ends(self, version: str) -> None:  # noqa: ARG002  (the Protocol's)
        """See `Listener`."""
        unseen, self._unseen = self._unseen, None
        for uid in unseen or ():
            self._on_missing(uid)
