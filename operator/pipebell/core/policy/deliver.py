"""The last stage: to which destinations an event goes now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.core.errors import NotReady
from pipebell.core.layers import part_of
from pipebell.core.policy.decision import Deliver, Wait, WaitsFor
from pipebell.core.policy.situation import Situation, Stage
from pipebell.core.policy.triggers import too_many
from pipebell.core.vocabulary import Reason, StageName

if TYPE_CHECKING:
    from pipebell.core.destinations.base import Target
    from pipebell.core.policy.decision import Decision


def deliver(s: Situation) -> Decision:
    """Deliver to what is usable; wait while nothing is, and nothing was tried before.

    Once anything was tried, destinations are fixed: a changed configuration may take some away, never add any. One that
    waited while nobody knew its kind may turn out to have parts.
    """
    match, layers = s.matched, s.resolved.layers
    targets: dict[str, Target] = {}
    blocked: dict[str, NotReady] = {}
    for name in match.destinations:
        if s.progress.tried and not {name, part_of(name)[0]} & set(s.progress.open):
            continue
        try:
            targets[name] = layers.target(name)
        except NotReady as error:
            blocked[name] = error
    excess = too_many(match.destinations, match.title)
    if excess is not None and not s.progress.tried:
        targets, blocked = {}, dict.fromkeys(match.destinations[:1], excess)
    if blocked and not targets and not s.progress.tried:
        cause = next(iter(blocked.values()))
        message = f"{cause.reason}: {cause.message}"
        return Wait(StageName.DELIVER, WaitsFor.CONFIG, Reason.CONFIG_NOT_READY, message, match.title, cause, match)
    return Deliver(match, s.suppressed, targets, blocked, match.title)


DELIVER = Stage(StageName.DELIVER, deliver)
