"""What the probes answer: whether this process is to be restarted, and whether it does its work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pipebell.background import Background
    from pipebell.engine.configs.lister import ConfigLister
    from pipebell.engine.configs.root import RootStore
    from pipebell.engine.events.engine import Engine
    from pipebell.engine.shards.sharing import Sharing
    from pipebell.kube.definitions import Definitions
    from pipebell.kube.event_watch import EventWatch
    from pipebell.kube.incident_watch import IncidentWatch
    from pipebell.kube.permissions import Permissions
    from pipebell.kube.vitals import Vitals
    from pipebell.kube.watches import Watches
    from pipebell.silencing import Silencing

QUEUE_STUCK: Final = 1200.0  # seconds; a mail server may take 17 minutes for one message (Limits), and that is no fault


@dataclass(slots=True)
class Probes:
    """Looks at the running parts. Both answers are what is wrong, or None."""

    background: Background
    engine: Engine
    lister: ConfigLister
    root: RootStore
    sharing: Sharing
    watches: Watches
    definitions: Definitions
    permissions: Permissions
    vitals: Vitals
    silencing: Silencing
    event_watches: list[EventWatch] = field(default_factory=list)
    incident_watches: list[IncidentWatch] = field(default_factory=list)

    def alive(self) -> str | None:
        """Why this process is to be restarted."""
        if self.background.ended:
            return f"stopped working: {', '.join(self.background.ended)}"
        # What was sent and is not recorded yet is known to this process alone: it outlives an API server that is away.
        if self.engine.queue.stuck > QUEUE_STUCK and not self.engine.unanswered:
            return f"the queue has not moved for {self.engine.queue.stuck:.0f} s"
        return self.watches.stalled()

    def ready(self) -> str | None:
        """Why this process does not do its work, or not all of it."""
        if not self.lister.listed:
            return "configurations have not been listed yet"
        if not self.root.listed.is_set():
            return "the root configuration has not been read yet"
        if self.sharing.trouble:
            return f"leases: {self.sharing.trouble}"
        if not self.event_watches:
            return "events are not watched yet"
        troubles = (
            *(watch.trouble for watch in self.event_watches),
            self.permissions.trouble,
            self.vitals.trouble,
            self.watches.deaf(),
        )
        return next(filter(None, troubles), None)

    def remarks(self) -> list[str]:
        """What is wrong although this process does all that it can."""
        found = self.definitions.remarks + self.silencing.remarks
        found += [f"what people say of incidents is not heard: {w.trouble}" for w in self.incident_watches if w.trouble]
        if unrecorded := self.engine.unrecordable:
            words = "events' status is refused by the API for good: see the log's status_cannot_be_recorded"
            found.append(f"{unrecorded} {words}")
        return found
