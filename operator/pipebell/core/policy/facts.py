"""What is known beside an event itself, as values: of hourly limits, of what a notice claims, of the rule it meets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pipebell.core.vocabulary import Reason, StageName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.core.outcome import Thread
    from pipebell.core.overrides import OverrideSpec
    from pipebell.core.vocabulary import Severity


class Override(NamedTuple):
    """The override that an event meets. `title` names it for people."""

    spec: OverrideSpec
    title: str


class Share(NamedTuple):
    """A limit an hour, and how much of it is used up: events delivered in this clock hour, and those under way."""

    limit: int
    used: int

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left of it."""
        return self.used >= self.limit


class BudgetFacts(NamedTuple):
    """What is known of the limits that hold for an event; None where there is no such limit.

    `known`: whether the organisation's past is. `claimed`: it counts as under way already.
    """

    known: bool = True
    own: Share | None = None
    root: Share | None = None
    claimed: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """What the operator's own state says of a notice, at the stage that its matter belongs to.

    `due`: it is sent, to `destinations` and nobody else; without any it is not. Not due, it ends by `reason`: NotDue is
    Skipped, Superseded is Suppressed `by` what came between. `severity` is that of what it is about; None takes the
    event's or its type's. `title` names for people what it went by. `threads` says, by destination, which earlier
    message is followed up, and how; a destination that it does not name gets a message of its own. `together`: it is
    one of many that are due at once, and waits so many seconds for a digest of them, but on call (0: it does not wait).
    `note` is said beside its message.
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
    together: int = 0
    note: str = ""


NOBODY_ASKED = Claim(due=False, stage=StageName.TRIGGER, message="nothing that the operator knows of calls for it")
