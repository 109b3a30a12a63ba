"""What an event's trigger says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.core.batching import DigestSpec
    from pipebell.core.incidents.state import Failure, Success
    from pipebell.core.outcome import Thread
    from pipebell.core.vocabulary import IncidentAction, Severity


class Mark(NamedTuple):
    """What an event does to its incident: `failure` is to be counted, or `success` ends what it recovers.

    `due`: when a failure that notifies nobody now is looked at again (seconds since the epoch). `retry`: another
    attempt of its run is expected before that.
    """

    action: IncidentAction
    failure: Failure | None = None
    success: Success | None = None
    due: float | None = None
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """An event notifies: at this severity, at these destinations, then not again for `cooldown` seconds.

    `title` names the trigger for people. `threads` says, by destination, which earlier messages are followed up.
    `title` names the trigger for people. `digest` is how such events are batched; `batched` are the destinations
    that get digests, and not among `destinations`.
    """

    severity: Severity
    destinations: tuple[str, ...]
    cooldown: int
    title: str = ""
    threads: Mapping[str, Thread] = field(default_factory=dict)
    digest: DigestSpec | None = None
    batched: tuple[str, ...] = ()
    mark: Mark | None = None
    """What it does to its incident, where incidents are on."""
    held: tuple[str, ...] = ()
    """Those of `destinations` that wait for what another event comes to there."""
    note: str = ""
    """What the message says of its incident."""
