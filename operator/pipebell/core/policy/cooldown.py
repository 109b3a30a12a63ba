"""Whether a notification is held back because one like it was sent a short while ago, or is being sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.core.policy.decision import Suppress, Wait, WaitsFor
from pipebell.core.policy.sent import suppressed_until
from pipebell.core.policy.situation import Situation, Stage, exempt
from pipebell.core.status import rfc3339
from pipebell.core.vocabulary import Reason, StageName

if TYPE_CHECKING:
    from pipebell.core.policy.decision import Decision


def cooldown(s: Situation) -> Decision | Situation:
    """Suppress within the window, wait for a sender of the same key; pass on with how many were suppressed before."""
    if exempt(s.event):
        return s
    if s.matched.cooldown == 0 or s.progress.attempted:
        return s._replace(suppressed=s.progress.suppressed)
    if not s.cooldown.known:
        return Wait(StageName.COOLDOWN, WaitsFor.LEDGER, None, "what was sent before is being read", match=s.match)
    if s.cooldown.sender == s.event.uid:
        return s._replace(suppressed=s.cooldown.suppressed)
    return _running(s) or _being_sent(s) or s._replace(suppressed=s.cooldown.suppressed)


def _running(s: Situation) -> Suppress | None:
    last = s.cooldown.last
    until = suppressed_until(last, s.matched.cooldown, s.now)
    if until is None or last is None:
        return None
    by = last.name
    message = f"held back by the cooldown until {rfc3339(until)}; {by} was sent instead"
    return Suppress(StageName.COOLDOWN, Reason.COOLDOWN, message, until, by, by, s.match)


def _being_sent(s: Situation) -> Wait | None:
    if s.cooldown.sender is None:
        return None
    name = s.cooldown.sender_name
    message = f"waits for the outcome of {name or 'another event'}"
    return Wait(StageName.COOLDOWN, WaitsFor.TURN, Reason.WAITING_FOR_SENDER, message, name, match=s.match)


COOLDOWN = Stage(StageName.COOLDOWN, cooldown)
