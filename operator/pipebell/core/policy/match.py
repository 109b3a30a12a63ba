"""What an event's trigger says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.core.outcome import Thread
    from pipebell.core.vocabulary import Severity


@dataclass(frozen=True, slots=True)
class Match:
    """An event notifies: at this severity, at these destinations, then not again for `cooldown` seconds.

    `title` names the trigger for people. `threads` says, by destination, which earlier messages are followed up.
    """

    severity: Severity
    destinations: tuple[str, ...]
    cooldown: int
    title: str = ""
    threads: Mapping[str, Thread] = field(default_factory=dict)
