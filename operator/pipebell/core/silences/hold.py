"""What holds an event back now, and what the event keeps of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipebell.core.silences.quiet import quiet_now
from pipebell.core.status import CatchUpRecord, rfc3339
from pipebell.core.vocabulary import CatchUpMode, Severity, SilencePhase

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipebell.core.event import Event
    from pipebell.core.silences.quiet import QuietHours
    from pipebell.core.silences.resource import Silence

QUIET_HOURS: Final = "quietHours"


@dataclass(frozen=True, slots=True)
class Hold:
    """An event is held back until `until` (seconds since the epoch).

    `by` is `silence/NAME`, `platform/NAME` or `quietHours`; `mode` is that of the catch-up.
    """

    by: str
    mode: CatchUpMode
    until: float
    message: str
    silence: Silence | None = None

    def record(self) -> CatchUpRecord:
        """What the event's status keeps of it."""
        return CatchUpRecord(by=self.by, mode=self.mode, due=rfc3339(self.until))


def held_by_silence(silences: Iterable[Silence], event: Event, severity: Severity, now: float) -> Hold | None:
    """The silence that holds an event of this severity back now: of several, the one that ends last."""
    found = [
        silence
        for silence in silences
        if silence.phase(now) is SilencePhase.ACTIVE and silence.concerns(event, severity)
    ]
    if not found:
        return None
    last = max(found, key=lambda silence: (silence.ends, not silence.platform, silence.name))
    ticket = f" ({last.spec.ticket})" if last.spec.ticket else ""
    message = f"silenced by {last.by} until {rfc3339(last.ends)}: {last.spec.reason}{ticket}"
    return Hold(last.by, last.mode, last.ends, message, last)


def silent(silences: Iterable[Silence], event: Event, severity: Severity, now: float) -> Hold | None:
    """The silence that holds everything of an organisation back now, up to this severity."""
    everything = (each for each in silences if not (each.spec.pipelines or each.spec.events or each.spec.labels))
    return held_by_silence(everything, event, severity, now)


def held_by_quiet_hours(hours: Sequence[QuietHours], severity: Severity, now: float) -> Hold | None:
    """The quiet hours that hold an event of this severity back now."""
    found = quiet_now(hours, severity, now) if hours else None
    if found is None:
        return None
    message = f"held back by quiet hours ({found.rule}) until {rfc3339(found.until)}"
    return Hold(QUIET_HOURS, found.rule.mode, found.until, message)
