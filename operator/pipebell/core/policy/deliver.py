"""The last stage: to which destinations an event goes now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.core.errors import NotReady
from pipebell.core.layers import part_of
from pipebell.core.outcome import Action
from pipebell.core.policy.decision import Deliver, Wait, WaitsFor
from pipebell.core.policy.situation import Situation, Stage
from pipebell.core.policy.triggers import too_many, with_fallbacks
from pipebell.core.vocabulary import NoticeKind, Reason, StageName

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipebell.core.destinations.base import Target
    from pipebell.core.event import Event
    from pipebell.core.layers import Fallback, Layers
    from pipebell.core.policy.decision import Decision
    from pipebell.core.policy.match import Match


def deliver(s: Situation) -> Decision:
    """Deliver to what is usable; wait while nothing is, and nothing was tried before, and nobody can stand in.

    Once anything was tried, destinations are fixed: a changed configuration may take some away, never add any. One that
    waited while nobody knew its kind may turn out to have parts.
    """
    match, layers = s.matched, s.resolved.layers
    fallbacks = _fallbacks(match, layers, _of_no_use(s.event))
    due = [
        name
        for name in match.destinations
        if name not in match.held and (not s.progress.tried or {name, part_of(name)[0]} & set(s.progress.open))
    ]
    targets, blocked = usable(layers, dict.fromkeys((*due, *s.progress.stand_ins)))
    planned = with_fallbacks(layers, match.destinations) if fallbacks else match.destinations
    excess = too_many(planned, match.title)
    if excess is not None and not s.progress.tried:
        targets, blocked, fallbacks = {}, dict.fromkeys(match.destinations[:1], excess), {}
    if blocked and not targets and not s.progress.tried and not fallbacks.keys() & blocked.keys():
        cause = next(iter(blocked.values()))
        message = f"{cause.reason}: {cause.message}"
        reason = Reason.CONFIG_NOT_READY
        return Wait(StageName.DELIVER, WaitsFor.CONFIG, reason, message, match.title, cause, match, s.batch)
    return Deliver(match, s.suppressed, targets, blocked, match.title, fallbacks=fallbacks, batch=s.batch)


def usable(layers: Layers, names: Iterable[str]) -> tuple[dict[str, Target], dict[str, NotReady]]:
    """Those destinations that can be used now, and why others cannot."""
    targets: dict[str, Target] = {}
    blocked: dict[str, NotReady] = {}
    for name in names:
        try:
            targets[name] = layers.target(name)
        except NotReady as error:
            blocked[name] = error
    return targets, blocked


def _of_no_use(event: Event) -> str:
    """The destination that a notice says fails: the notice does not go there."""
    notice = event.spec.notice
    return notice.destination or "" if notice is not None and notice.kind is NoticeKind.CHANNEL else ""


def _fallbacks(match: Match, layers: Layers, of_no_use: str) -> dict[str, Fallback]:
    """Who may have to stand in, for each destination. What only changes an earlier message needs nobody."""
    found = {}
    for name in match.destinations:
        fallback = layers.fallback(name)
        if fallback is not None and of_no_use:
            left = tuple(other for other in fallback.deliveries if part_of(other)[0] != of_no_use)
            fallback = fallback._replace(deliveries=left) if left else None
        thread = match.threads.get(name)
        if fallback is not None and (thread is None or thread.action in (Action.SEND, Action.REPLY)):
            found[name] = fallback
    return found


DELIVER = Stage(StageName.DELIVER, deliver)
