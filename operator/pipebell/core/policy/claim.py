"""Whether a notice is due: its spec is only a claim, and what the operator itself knows decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipebell.core.policy.decision import Skip, Suppress
from pipebell.core.policy.match import Match
from pipebell.core.policy.situation import Stage
from pipebell.core.vocabulary import DEFAULT_SEVERITIES, Reason, StageName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.core.outcome import Thread
    from pipebell.core.policy.decision import Decision
    from pipebell.core.policy.situation import Situation
    from pipebell.core.vocabulary import Severity


@dataclass(frozen=True, slots=True)
class Claim:
    """What the operator's own state says of a notice, at the stage that its matter belongs to.

    `due`: it is sent, to `destinations` and nobody else; without any it is not. Not due, it ends by `reason`: NotDue is
    Skipped, Superseded is Suppressed `by` what came between. `severity` is that of what it is about; None takes the
    event's or its type's. `title` names for people what it went by. `threads` says, by destination, which earlier
    message is followed up, and how; a destination that it does not name gets a message of its own.
    """

    due: bool
    stage: StageName
    message: str = ""
    destinations: tuple[str, ...] = ()
    severity: Severity | None = None
    title: str = ""
    reason: Reason = Reason.NOT_DUE
    by: str = ""
    threads: Mapping[str, Thread] = field(default_factory=dict)


NOBODY_ASKED = Claim(due=False, stage=StageName.TRIGGER, message="nothing that the operator knows of calls for it")


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
    spec = s.event.spec
    severity = said.severity or spec.severity or DEFAULT_SEVERITIES[spec.event]
    return s._replace(match=Match(severity, destinations, 0, said.title, said.threads))


CLAIM = Stage(StageName.TRIGGER, claim)
"""Takes the trigger's place where the event is a notice; what it answers names a stage of its own."""
