"""What there is to tell: today an event, and how many like it were suppressed before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.core.event import Event
    from pipebell.core.status import IncidentRecord
    from pipebell.core.vocabulary import Severity


@dataclass(frozen=True, slots=True)
class Message:
    """What every renderer takes: the event, how bad it is, and how many like it were suppressed since the last one.

    `note` is what there is to say of its incident, `incident` what it did to that, where incidents are on.
    """

    event: Event
    severity: Severity
    suppressed: int = 0
    note: str = ""
    incident: IncidentRecord | None = None
    texts: Mapping[str, Any] = field(default_factory=dict)
    """What the destination's own templates make of it, by the names of their fields; built-in texts for all others."""

    @property
    def test(self) -> bool:
        """Whether somebody only checks that messages arrive: it mentions nobody."""
        return bool(self.event.spec.test)
