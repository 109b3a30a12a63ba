"""Deciding what becomes of an event: stages tried in order, pure, the same for the operator, `preview` and `why`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pipebell.core.policy.budget import BUDGET
from pipebell.core.policy.claim import CLAIM
from pipebell.core.policy.configured import CONFIGURED
from pipebell.core.policy.cooldown import COOLDOWN
from pipebell.core.policy.deliver import DELIVER
from pipebell.core.policy.digest import DIGEST
from pipebell.core.policy.expiry import EXPIRED
from pipebell.core.policy.incidents import INCIDENT, REPEATED, RETRY_EXPECTED
from pipebell.core.policy.override import OVERRIDE
from pipebell.core.policy.silence import QUIET_HOURS, SILENCE
from pipebell.core.policy.situation import Resolved, Situation
from pipebell.core.policy.triggers import TRIGGER
from pipebell.core.vocabulary import StageName

if TYPE_CHECKING:
    from pipebell.core.policy.decision import Decision
    from pipebell.core.policy.situation import Stage

STAGES: Final[tuple[Stage, ...]] = (
    *(EXPIRED, CONFIGURED, OVERRIDE, TRIGGER),
    *(RETRY_EXPECTED, INCIDENT),
    *(SILENCE, QUIET_HOURS),
    *(REPEATED, COOLDOWN, DIGEST, BUDGET, DELIVER),
)
"""In the order of `StageName`. A new stage is a module of its own and a word here."""

NOTICE_STAGES: Final[tuple[Stage, ...]] = (EXPIRED, CONFIGURED, CLAIM, BUDGET, DELIVER)
"""The few that a notice passes: what it tells of was decided when it was made, and is looked at again."""

_STAGE_NAMES: Final = list(StageName)
_AFTER_CONFIGURED: Final = _STAGE_NAMES.index(StageName.CONFIGURED)
_AFTER_TRIGGER: Final = _STAGE_NAMES.index(StageName.TRIGGER)
_AFTER_INCIDENT: Final = _STAGE_NAMES.index(StageName.INCIDENT)


class Answer(NamedTuple):
    """What one stage says. `decision` is None where it passes the event on, or cannot say.

    `reached`: no earlier stage has decided. `known`: earlier stages found what this one needs.
    """

    stage: StageName
    decision: Decision | None
    reached: bool
    known: bool = True


def decide(s: Situation) -> Decision:
    """The first stage's decision that does not pass the event on."""
    for stage in _stages(s):
        result = stage.answer(s)
        if isinstance(result, Situation):
            s = result
        else:
            return result
    raise AssertionError("the last stage always decides")


def explain(s: Situation) -> list[Answer]:
    """Every stage's answer; after the one that decides, what the others would say if it had passed the event on."""
    answers, reached = [], True
    for stage in _stages(s):
        unseen = stage is CLAIM and s.claim is None  # whether a notice is due, the operator alone knows
        if unseen or not _can_say(stage.name, s):
            answers.append(Answer(stage.name, None, reached, known=False))
            continue
        result = stage.answer(s)
        if isinstance(result, Situation):
            s = result
            answers.append(Answer(stage.name, None, reached))
        else:
            answers.append(Answer(stage.name, result, reached))
            reached = False
    return answers


def _stages(s: Situation) -> tuple[Stage, ...]:
    return STAGES if s.event.spec.notice is None else NOTICE_STAGES


def _can_say(name: StageName, s: Situation) -> bool:
    """Whether earlier stages found what this one goes by."""
    place = _STAGE_NAMES.index(name)
    if place > _AFTER_CONFIGURED and not isinstance(s.configuration, Resolved):
        return False
    if s.skip is not None and s.match is None:  # a success may end an incident that no trigger wants to hear of
        return place <= _AFTER_INCIDENT
    return place <= _AFTER_TRIGGER or s.match is not None
