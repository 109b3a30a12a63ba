"""A decision brought onto an event's deliveries: which there are, which end, which wait and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.core.policy.expiry import reason_to_end
from pipebell.core.status import Delivery, clip
from pipebell.core.vocabulary import Phase, Reason
from pipebell.engine.events.state import drop

if TYPE_CHECKING:
    from pipebell.core.layers import Layers
    from pipebell.core.policy.decision import Deliver
    from pipebell.engine.events.state import EventState


def plan_deliveries(state: EventState, decision: Deliver, layers: Layers) -> None:
    """One delivery for each destination. Once anything was tried, some may be taken away, but none is added."""
    wanted = decision.match.destinations
    if not state.tried:
        known = state.deliveries
        state.deliveries = {
            name: known.get(name) or Delivery(provider=layers.kind(name), destination=name, phase=Phase.PENDING)
            for name in wanted
        }
        for name, target in decision.targets.items():
            state.deliveries[name].recipients = target.recipients or None
    else:
        for delivery in state.open():
            if delivery.destination not in wanted:
                why = f"{delivery.destination} is not among the trigger's destinations any more"
                drop(state, delivery, Reason.CONFIG_CHANGED, why)
            elif _another_recipient(delivery, decision):
                why = f"another recipient stands at {delivery.destination} now"
                drop(state, delivery, Reason.CONFIG_CHANGED, why)
    for name, error in decision.blocked.items():
        update = {
            "provider": layers.kind(name),
            "reason": Reason.CONFIG_NOT_READY,
            "message": clip(f"{error.reason}: {error.message}"),
            "next_attempt_time": None,
        }
        state.deliveries[name] = state.deliveries[name].model_copy(update=update)


def _another_recipient(delivery: Delivery, decision: Deliver) -> bool:
    """Whether a destination's part, known by its position in a list, is somebody else than when it was planned."""
    target = decision.targets.get(delivery.destination)
    if target is None or "/" not in delivery.destination or delivery.recipients is None:
        return False
    return target.recipients != delivery.recipients


def close_overdue(state: EventState, max_age: float) -> None:
    """End what has had no attempt within `max_age` seconds; the rest goes on by its schedule."""
    for delivery in state.open():
        reason = reason_to_end(delivery)
        if reason is not None:
            last = f"; last answer: {delivery.message}" if delivery.message else ""
            drop(state, delivery, reason, f"not delivered within {max_age:.0f} s{last}")
