"""From the outcome of an attempt to the state of a delivery, and from the deliveries to the state of the event."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipebell.core.outcome import Outcome, Verdict
from pipebell.core.status import Delivery, clip, rfc3339
from pipebell.core.vocabulary import Phase, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipebell.core.backoff import RetryPolicy

MAX_PAUSE: Final = 3600.0
DEFAULT_PAUSE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Where an event stands as a whole."""

    phase: Phase
    reason: Reason | None
    message: str


def pause_seconds(outcome: Outcome) -> float:
    """How long the endpoint wants to be left alone: what it said, at most an hour; half a minute if it said nothing."""
    if outcome.retry_after is None:
        return DEFAULT_PAUSE
    return min(max(outcome.retry_after, 0.0), MAX_PAUSE)


def settle(delivery: Delivery, outcome: Outcome, policy: RetryPolicy, began: float, ended: float) -> Delivery:
    """The delivery after one attempt that began and ended at these times (seconds since the epoch)."""
    said = clip(": ".join(part for part in (outcome.reason, outcome.message) if part))
    common = {"last_attempt_time": rfc3339(began), "message": said or None, "next_attempt_time": None}
    if outcome.message_id:
        common["message_id"] = outcome.message_id
    update: dict[str, object]
    match outcome.verdict:
        case Verdict.DELIVERED:
            update = {
                "phase": Phase.DELIVERED,
                "reason": None,
                "delivered_time": rfc3339(ended),
                "retry_recipients": None,
            }
        case Verdict.PERMANENT:
            update = {"phase": Phase.FAILED, "reason": Reason.PERMANENT_ERROR, "retry_recipients": None}
        case Verdict.PAUSE:
            resume = _rounded_up(ended + pause_seconds(outcome))
            return delivery.model_copy(
                update=common | {"phase": Phase.PENDING, "reason": Reason.RATE_LIMITED, "next_attempt_time": resume}
            )
        case Verdict.HOST_NOT_ALLOWED:
            return delivery.model_copy(
                update={
                    "phase": Phase.PENDING,
                    "reason": Reason.CONFIG_NOT_READY,
                    "message": said,
                    "next_attempt_time": None,
                }
            )
        case Verdict.RETRY:
            update = _retry(delivery, outcome, policy, ended)
    if delivery.delivered_time is not None and update["phase"] in (Phase.FAILED, Phase.DELIVERED):
        # Somebody at this destination has the message already; whoever does not is named in `message`.
        update |= {"phase": Phase.DELIVERED, "reason": None, "delivered_time": delivery.delivered_time}
    return delivery.model_copy(update=common | {"attempts": delivery.attempts + 1} | update)


def _retry(delivery: Delivery, outcome: Outcome, policy: RetryPolicy, ended: float) -> dict[str, object]:
    update: dict[str, object] = {"retry_recipients": list(outcome.retry_recipients) or delivery.retry_recipients}
    if outcome.accepted and delivery.delivered_time is None:
        update["delivered_time"] = rfc3339(ended)
    delay = policy.delay_after(delivery.attempts + 1)
    if delay is not None:
        return update | {
            "phase": Phase.PENDING,
            "reason": Reason.RETRYING,
            "next_attempt_time": _rounded_up(ended + delay),
        }
    final = Phase.DELIVERED if outcome.accepted else Phase.FAILED
    reason = None if outcome.accepted else Reason.RETRIES_EXHAUSTED
    return update | {"phase": final, "reason": reason, "retry_recipients": None}


def _rounded_up(seconds: float) -> str:
    """RFC 3339 to the millisecond, never before the moment meant."""
    return rfc3339(math.ceil(round(seconds * 1000, 3)) / 1000)


_OPEN_ORDER: Final = (Reason.RETRYING, Reason.RATE_LIMITED, Reason.CONFIG_NOT_READY)


def summarise(deliveries: Sequence[Delivery]) -> Verdicts:
    """The event's phase, reason and message, from its deliveries (at least one)."""
    told = [item for item in deliveries if item.phase is Phase.DELIVERED]
    waiting = [item for item in deliveries if not item.phase.final]
    failed = [item for item in deliveries if item.phase is Phase.FAILED]
    if waiting:
        reason = next((word for word in _OPEN_ORDER if any(item.reason == word for item in waiting)), None)
        return Verdicts(Phase.DELIVERING if told else Phase.PENDING, reason, _lines(waiting))
    if not failed:
        return Verdicts(Phase.DELIVERED, None, clip("delivered by " + " and ".join(item.destination for item in told)))
    phase = Phase.PARTIALLY_DELIVERED if told else Phase.FAILED
    reason = next((word for word in Reason if any(item.reason == word for item in failed)), None)
    return Verdicts(phase, reason, _lines(failed))


def _lines(deliveries: Sequence[Delivery]) -> str:
    return clip("; ".join(f"{item.destination}: {item.message or item.reason or item.phase}" for item in deliveries))
