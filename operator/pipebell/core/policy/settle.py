"""From the outcome of an attempt to the state of a delivery, and from the deliveries to the state of the event."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.policy.failover import originals
from pipebell.core.status import Delivery, clip, epoch, rfc3339
from pipebell.core.vocabulary import Phase, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipebell.core.backoff import RetryPolicy

_NAMED: Final = 10  # recipients in a message; the status lists all


@dataclass(frozen=True, slots=True)
class EventSummary:
    """Where an event stands as a whole."""

    phase: Phase
    reason: Reason | None
    message: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a busy endpoint means for the message that it refused.

    `until`: not again before (seconds since the epoch). `refusals`: how often it was refused while others passed.
    `counts`: so often that it is the message's own trouble, and an attempt like any other.
    """

    until: float
    refusals: int = 0
    counts: bool = False


def settle(
    delivery: Delivery,
    outcome: Outcome,
    policy: RetryPolicy,
    began: float,
    ended: float,
    refusal: Refusal | None = None,
) -> Delivery:
    """The delivery after one attempt that began and ended at these times (seconds since the epoch).

    `refusal` goes with an outcome of the kind PAUSE.
    """
    said = clip(": ".join(part for part in (outcome.reason, outcome.message) if part)) or None
    if outcome.kind is OutcomeKind.HOST_NOT_ALLOWED:
        blocked = {
            "phase": Phase.PENDING,
            "reason": Reason.CONFIG_NOT_READY,
            "message": said,
            "next_attempt_time": None,
        }
        return delivery.model_copy(update=blocked | {"first_due_time": delivery.first_due_time or rfc3339(began)})
    update = {} if outcome.untried else _results(delivery, outcome, began, ended)
    if outcome.kind is not OutcomeKind.DELIVERED and delivery.first_due_time is None:
        update["first_due_time"] = rfc3339(began)
    if refusal is not None and refusal.refusals:
        update["refusals"] = refusal.refusals
    if outcome.kind is OutcomeKind.PAUSE and (refusal is None or not refusal.counts):
        until = ended if refusal is None else refusal.until
        update |= {"phase": Phase.PENDING, "reason": Reason.RATE_LIMITED, "next_attempt_time": _rounded_up(until)}
        return delivery.model_copy(update=update | {"message": said})
    first = delivery.first_attempt_time
    if first is None or epoch(first) > ended:  # after the second attempt: of a clock that was wrong
        first = rfc3339(began)
    update |= {"attempts": delivery.attempts + 1, "first_attempt_time": first, "message": said}
    delivery = delivery.model_copy(update=update | {"next_attempt_time": None})
    if outcome.kind is OutcomeKind.DELIVERED:
        return _ended(delivery, None)
    if outcome.kind is OutcomeKind.PERMANENT:
        return _ended(delivery, outcome.ends_as or Reason.PERMANENT_ERROR)
    delay = policy.delay_after(delivery.attempts, ended - epoch(first))
    if delay is None:
        return _ended(delivery, Reason.RETRIES_EXHAUSTED)
    update = {"phase": Phase.PENDING, "reason": Reason.RETRYING, "next_attempt_time": _rounded_up(ended + delay)}
    return delivery.model_copy(update=update)


def _results(delivery: Delivery, outcome: Outcome, began: float, ended: float) -> dict[str, Any]:
    """What the attempt has changed for good: who has the message, who never will, who is left."""
    update: dict[str, Any] = {"last_attempt_time": rfc3339(began)}
    if outcome.message_id:
        update["message_id"] = outcome.message_id
    if outcome.handle:
        update["handle"] = outcome.handle
    if outcome.refused:
        update["refused_recipients"] = _each_once(delivery.refused_recipients, outcome.refused)
    if outcome.retry_recipients:
        update["retry_recipients"] = list(outcome.retry_recipients)
    if outcome.unanswered:
        update["unanswered"] = True
    if (outcome.accepted or outcome.kind is OutcomeKind.DELIVERED) and delivery.delivered_time is None:
        update["delivered_time"] = rfc3339(ended)
    if outcome.kind is OutcomeKind.DELIVERED:
        update["retry_recipients"] = update["unanswered"] = None
    return update


def _ended(delivery: Delivery, reason: Reason | None) -> Delivery:
    """No further attempt follows. `reason`: why not; None when the last one succeeded."""
    unserved = _each_once(delivery.refused_recipients, delivery.retry_recipients) if delivery.delivered_time else []
    update: dict[str, object] = {"retry_recipients": None}
    message = delivery.message
    if delivery.delivered_time is None:
        update |= {"phase": Phase.FAILED, "reason": reason}
        if delivery.unanswered:
            message = clip(f"{clip(message or '', 900)}; an answer never came, so it may have arrived all the same")
    elif unserved:
        phase = Phase.PARTIALLY_DELIVERED
        update |= {"phase": phase, "reason": reason or Reason.PERMANENT_ERROR, "refused_recipients": unserved}
        message = clip(f"{_not_served(unserved)}; {message}" if message else _not_served(unserved))
    else:
        update |= {"phase": Phase.DELIVERED, "reason": Reason.FAILED_OVER if delivery.failover_for else None}
    return delivery.model_copy(update=update | {"message": message})


def _not_served(recipients: Sequence[str]) -> str:
    named = ", ".join(recipients[:_NAMED])
    more = f" and {len(recipients) - _NAMED} more" if len(recipients) > _NAMED else ""
    return f"{len(recipients)} recipient{'s' if len(recipients) > 1 else ''} not served: {named}{more}"


def _each_once(*lists: Iterable[str] | None) -> list[str]:
    return list(dict.fromkeys(name for names in lists for name in names or ()))


def given_up(delivery: Delivery, reason: Reason, why: str) -> Delivery:
    """The end of an open delivery without another attempt."""
    return _ended(delivery.model_copy(update={"next_attempt_time": None, "message": clip(why)}), reason)


def _rounded_up(seconds: float) -> str:
    """RFC 3339 to the millisecond, never before the moment meant."""
    return rfc3339(math.ceil(round(seconds * 1000, 3)) / 1000)


_OPEN_ORDER: Final = (Reason.RETRYING, Reason.RATE_LIMITED, Reason.CONFIG_NOT_READY)
_SERVED: Final = (Phase.DELIVERED, Phase.PARTIALLY_DELIVERED)


def summarise(deliveries: Sequence[Delivery]) -> EventSummary:
    """The event's phase, reason and message, from its deliveries (at least one)."""
    delivered = [item for item in deliveries if item.phase in _SERVED]
    waiting = [item for item in deliveries if not item.phase.final]
    failed = [item for item in deliveries if item.phase in (Phase.FAILED, Phase.PARTIALLY_DELIVERED)]
    if failed and not waiting and any(item.failover_to or item.failover_for for item in failed):
        return _summarised_with_stand_ins(deliveries, delivered, failed)
    if waiting:
        reason = next((word for word in _OPEN_ORDER if any(item.reason == word for item in waiting)), None)
        return EventSummary(Phase.DELIVERING if delivered else Phase.PENDING, reason, _lines(waiting))
    if not failed:
        return EventSummary(
            Phase.DELIVERED, None, clip("delivered by " + " and ".join(item.destination for item in delivered))
        )
    phase = Phase.PARTIALLY_DELIVERED if delivered else Phase.FAILED
    reason = next((word for word in Reason if any(item.reason == word for item in failed)), None)
    return EventSummary(phase, reason, _lines(failed))


def _summarised_with_stand_ins(
    deliveries: Sequence[Delivery], delivered: list[Delivery], failed: list[Delivery]
) -> EventSummary:
    """The same where others stood in: what failed is made good by any of them that was served.

    One that failed itself matters as long as nobody else made that good.
    """
    served = {item.destination for item in delivered}
    covered = {item.destination for item in deliveries if item.phase is Phase.DELIVERED}
    covered |= {item.destination for item in failed if served & set(item.failover_to or ())}
    left = [
        item
        for item in failed
        if item.destination not in covered
        and not (item.failover_for and all(each.destination in covered for each in originals(deliveries, item)))
    ]
    if left:
        phase = Phase.PARTIALLY_DELIVERED if delivered else Phase.FAILED
        reason = next((word for word in Reason if any(item.reason == word for item in left)), None)
        return EventSummary(phase, reason, _lines(left))
    made_good = [item for item in failed if item.failover_to]
    message = f"delivered by {' and '.join(item.destination for item in delivered)}"
    if not made_good:
        return EventSummary(Phase.DELIVERED, None, clip(message))
    return EventSummary(Phase.DELIVERED, Reason.FAILED_OVER, clip(f"{message}; failed over: {_lines(made_good)}"))


def _lines(deliveries: Sequence[Delivery]) -> str:
    return clip("; ".join(f"{item.destination}: {item.message or item.reason or item.phase}" for item in deliveries))
