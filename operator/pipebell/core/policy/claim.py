"""Whether a notice is due: its spec is only a claim, and what the operator itself knows decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.core.policy.decision import Skip, Suppress
from pipebell.core.policy.digest import together
from pipebell.core.policy.facts import NOBODY_ASKED
from pipebell.core.policy.match import Match
from pipebell.core.policy.situation import Stage
from pipebell.core.vocabulary import Reason, StageName

if TYPE_CHECKING:
    from pipebell.core.policy.decision import Decision
    from pipebell.core.policy.situation import Situation


def claim(s: Situation) -> Decision | Situation:
    """Skip a notice that nothing calls for; pass the rest on with the destinations that the operator's state names."""
    said = s.claim or NOBODY_ASKED
    if not said.due:
        if said.reason is Reason.SUPERSEDED:
            return Suppress(said.stage, said.reason, said.message, None, said.by, said.title)
        return Skip(said.stage, said.reason, said.message, said.title)
    destinations = tuple(name for name in said.destinations if s.resolved.layers.enabled(name))
    if not destinations:
        return Skip(said.stage, Reason.NO_PROVIDER_ENABLED, "no destination of it is enabled", said.title)
    severity = said.severity or s.event.severity
    s = s._replace(match=Match(severity, destinations, 0, said.title, said.threads, note=said.note))
    if said.together and not (s.progress.tried or s.progress.open or s.progress.batch):
        return together(s, said.together, "many incidents are told of at once: ")
    return s


CLAIM = Stage(StageName.TRIGGER, claim)
"""Takes the trigger's place where the event is a notice; what it answers names a stage of its own."""
