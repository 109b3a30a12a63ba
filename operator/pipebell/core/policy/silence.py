"""Whether an event is held back for a time: by a silence, or by quiet hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.core.policy.decision import Suppress
from pipebell.core.policy.situation import Situation, Stage
from pipebell.core.silences.hold import held_by_quiet_hours, held_by_silence
from pipebell.core.vocabulary import Reason, StageName

if TYPE_CHECKING:
    from pipebell.core.policy.decision import Decision
    from pipebell.core.silences.hold import Hold


def silence(s: Situation) -> Decision | Situation:
    """Suppress what a silence means; what is on its way already goes on, for it would be told of twice."""
    if not s.silences or s.progress.under_way or s.event.exempt:
        return s
    hold = held_by_silence(s.silences, s.event, s.matched.severity, s.now)
    return s if hold is None else _suppress(s, hold, StageName.SILENCE, Reason.SILENCED)


def quiet_hours(s: Situation) -> Decision | Situation:
    """Suppress what quiet hours hold back; what is on its way already goes on, as with silences."""
    hours = s.resolved.layers.quiet_hours
    if not hours or s.silences is None or s.progress.under_way or s.event.exempt:
        return s
    hold = held_by_quiet_hours(hours, s.matched.severity, s.now)
    return s if hold is None else _suppress(s, hold, StageName.QUIET_HOURS, Reason.QUIET_HOURS)


def _suppress(s: Situation, hold: Hold, stage: StageName, reason: Reason) -> Suppress:
    return Suppress(stage, reason, hold.message, hold.until, hold.by, hold.by, s.match, hold)


SILENCE = Stage(StageName.SILENCE, silence)
QUIET_HOURS = Stage(StageName.QUIET_HOURS, quiet_hours)
