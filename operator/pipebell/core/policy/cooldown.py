"""Whether a notification is held back because one like it was sent a short while ago, or is being sent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pipebell.core.policy.decision import Suppress, Wait, WaitsFor
from pipebell.core.policy.digest import together, waiting
from pipebell.core.policy.sent import Sent, suppressed_until
from pipebell.core.policy.situation import Situation, Stage
from pipebell.core.status import rfc3339
from pipebell.core.vocabulary import Reason, StageName

if TYPE_CHECKING:
    from pipebell.core.policy.decision import Decision


def cooldown(s: Situation) -> Decision | Situation:
    """Suppress within the window, wait for a sender of the same key; pass on with how many were suppressed before."""
    if s.event.exempt or not s.matched.destinations:  # digests obey none
        return s
    if s.incident is not None and s.incident.key is not None:
        return _opening(s) or _storm(s)
    if s.matched.cooldown == 0 or s.progress.attempted:
        return s._replace(suppressed=s.progress.suppressed)
    if not s.cooldown.known:
        return Wait(StageName.COOLDOWN, WaitsFor.LEDGER, None, "what was sent before is being read", match=s.match)
    if s.cooldown.sender == s.event.uid:
        return s._replace(suppressed=s.cooldown.suppressed)
    return _running(s) or _being_sent(s) or s._replace(suppressed=s.cooldown.suppressed)


def _opening(s: Situation) -> Suppress | None:
    """With incidents on, what is held back is an opening soon after another of the same key."""
    facts, opened = s.incident, s.incident.past.opening if s.incident is not None else None
    if facts is None or opened is None or s.ongoing is None or s.ongoing.notified or s.ongoing.under_way:
        return None
    until = suppressed_until(Sent(opened, s.event.namespace, ""), s.matched.cooldown, s.now)
    if until is None:
        return None
    message = (
        f"held back by the cooldown until {rfc3339(until)}: an incident of the same key was told a short while ago"
    )
    mark = s.matched.mark
    match = replace(s.matched, mark=mark._replace(due=until) if mark is not None else None)
    return Suppress(StageName.COOLDOWN, Reason.COOLDOWN, message, until, "", match.title, match, batch=waiting(s))


def _storm(s: Situation) -> Decision | Situation:
    """When many incidents open at once, further ones go into a digest; on-call destinations get each."""
    facts, ongoing = s.incident, s.ongoing
    if facts is None or not facts.storm or ongoing is None or ongoing.notified or s.progress.open or s.progress.tried:
        return s
    return together(s, facts.rules.storm_within, "many incidents have opened at once: ")


def _running(s: Situation) -> Suppress | None:
    last = s.cooldown.last
    until = suppressed_until(last, s.matched.cooldown, s.now)
    if until is None or last is None:
        return None
    by = last.name
    message = f"held back by the cooldown until {rfc3339(until)}; {by} was sent instead"
    return Suppress(StageName.COOLDOWN, Reason.COOLDOWN, message, until, by, by, s.match, batch=waiting(s))


def _being_sent(s: Situation) -> Wait | None:
    if s.cooldown.sender is None:
        return None
    name = s.cooldown.sender_name
    message = f"waits for the outcome of {name or 'another event'}"
    reason = Reason.WAITING_FOR_SENDER
    return Wait(StageName.COOLDOWN, WaitsFor.TURN, reason, message, name, match=s.match, batch=waiting(s))


COOLDOWN = Stage(StageName.COOLDOWN, cooldown)
