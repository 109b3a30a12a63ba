"""Events that are too old to be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.core.policy.decision import Skip
from pipebell.core.policy.situation import Situation, Stage
from pipebell.core.vocabulary import Reason, StageName

if TYPE_CHECKING:
    from pipebell.core.policy.decision import Decision
    from pipebell.core.status import Delivery


def is_overdue(created: float, now: float, max_age: float) -> bool:
    """Whether an event is older than it may get. All in seconds."""
    return now - created > max_age


def expired(s: Situation) -> Decision | Situation:
    """Skip what was never tried and is too old; what was tried goes on by its schedule."""
    if s.progress.tried or not is_overdue(s.event.created, s.now, s.max_age):
        return s
    skip = Skip(StageName.EXPIRED, Reason.EXPIRED, f"older than {s.max_age:.0f} s before it could be sent")
    if s.incident is None or (s.incident.known and not s.incident.recoverable):
        return skip
    return s._replace(skip=skip)  # a success that may end an incident all the same


def reason_to_end(delivery: Delivery) -> Reason | None:
    """How an open delivery of an overdue event ends that something was tried for; None where it goes on.

    What a busy endpoint holds ends, attempts or not: its refusals would go on for ever.
    """
    if delivery.reason == Reason.RATE_LIMITED:
        return Reason.RATE_LIMITED
    return None if delivery.attempts else Reason.EXPIRED


EXPIRED = Stage(StageName.EXPIRED, expired)
