"""Whether a replay has anything to repeat (its `replayOf` is only a claim), and which messages it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.core.outcome import Action, Thread
from pipebell.core.policy.decision import Skip
from pipebell.core.vocabulary import Reason, StageName

if TYPE_CHECKING:
    from pipebell.core.policy.match import Match
    from pipebell.core.policy.situation import Situation


def threads(s: Situation, match: Match) -> dict[str, Thread]:
    """Which messages of the repeated event a replay answers: those that the same kind sent to the same destination."""
    handles = s.original.handles if s.original is not None and s.original.same_org else {}
    found = {}
    for name in match.destinations:
        destination = s.resolved.layers.destination(name) if name in handles else None
        if destination is not None and destination.kind.capabilities.threads:
            kind, handle = handles[name]
            if kind == destination.kind.name:
                found[name] = Thread(Action.REPLY, handle)
    return found


def not_due(s: Situation) -> Skip | None:
    """Skip what repeats nothing: an event that is not there, is not finished, or is another organisation's.

    An event that is not there and another organisation's get the same message: which of both it is, is not this
    organisation's to know.
    """
    if s.original is None or s.event.spec.replay_of is None:
        return None
    name = s.event.spec.replay_of.name
    if not s.original.exists or not s.original.same_org:
        said = f"replayOf names {name}, which is no event of this organisation in this namespace"
    elif not s.original.finished:
        said = f"replayOf names {name}, which is not finished yet"
    else:
        return None
    return Skip(StageName.TRIGGER, Reason.NOT_DUE, said)
