"""What an event's trigger says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipebell.core.vocabulary import Severity


@dataclass(frozen=True, slots=True)
class Match:
    """An event notifies: at this severity, at these destinations, then not again for `cooldown` seconds.

    `title` names the trigger for people.
    """

    severity: Severity
    destinations: tuple[str, ...]
    cooldown: int
    title: str = ""
