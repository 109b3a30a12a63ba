"""A decision brought onto an event's deliveries: which there are, which end, which wait and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.core.layers import part_of
from pipebell.core.policy import failover
from pipebell.core.policy.deliver import usable
from pipebell.core.policy.expiry import reason_to_end
from pipebell.core.policy.triggers import MAX_DELIVERIES
from pipebell.core.status import Delivery, clip, epoch, rfc3339
from pipebell.core.vocabulary import Phase, Reason
from pipebell.engine.events.state import drop

if TYPE_CHECKING:
    from pipebell.core.errors import NotReady
    from pipebell.core.layers import Layers
    from pipebell.core.policy.decision import Deliver
    from pipebell.engine.events.state import EventState


def plan_deliveries(state: EventState, decision: Deliver, layers: Layers, now: float) -> None:
    """One delivery for each destination. Once anything was tried, some may be taken away, but none is added.

    What was never tried, for its kind or its parts were not known, is replaced by its parts, where it has any. Those
    that stand in for others stay as long as they are wanted. `now` is seconds since the epoch.
    """
    if not state.tried:
        _begin(state, decision, layers)
    else:
        for delivery in state.open():
            if delivery.failover_for is not None:
                continue
            if delivery.last_attempt_time is None and _divide(state, delivery, decision):
                continue
            _take_away(state, delivery, decision)
    _correct_times(state, decision, now)
    _review_stand_ins(state, decision)
    for name in decision.targets.keys() & state.deliveries.keys():
        _of_kind(state, name, layers.kind(name))
    _hold(state, decision, layers)
    for name, error in decision.blocked.items():
        if name in state.deliveries:
            _block(state, name, error, now)
            state.deliveries[name].provider = layers.kind(name)


def _block(state: EventState, name: str, error: NotReady, now: float) -> None:
    """A destination that is not ready: it waits by itself."""
    delivery = state.deliveries[name]
    update = {
        "reason": Reason.CONFIG_NOT_READY,
        "message": clip(f"{error.reason}: {error.message}"),
        "next_attempt_time": None,
        "first_due_time": delivery.first_due_time or rfc3339(now),
    }
    state.deliveries[name] = delivery.model_copy(update=update)


def _begin(state: EventState, decision: Deliver, layers: Layers) -> None:
    """The destinations as they are now: nothing was tried. Whose thread is continued, the status keeps from here on."""
    known = state.deliveries
    state.deliveries = {
        name: known.get(name) or Delivery(provider=layers.kind(name), destination=name, phase=Phase.PENDING)
        for name in decision.match.destinations
    } | {name: item for name, item in known.items() if item.failover_for is not None}
    for name, target in decision.targets.items():
        if name in state.deliveries:
            state.deliveries[name].recipients = target.recipients or None
    for name, thread in decision.match.threads.items():
        if thread.handle is not None and name in state.deliveries:
            state.deliveries[name].handle = thread.handle


def stand_in(state: EventState, decision: Deliver, layers: Layers, now: float) -> list[str]:
    """Plan who stands in for others by now (seconds since the epoch): the names of those that were not planned yet."""
    made = failover.stand_in(state.deliveries, decision.fallbacks, layers.kind, now)
    targets, blocked = usable(layers, made)
    decision.targets.update(targets)
    decision.blocked.update(blocked)
    for name, target in targets.items():
        state.deliveries[name].recipients = target.recipients or None
    for name, error in blocked.items():
        _block(state, name, error, now)
    return made


def _correct_times(state: EventState, decision: Deliver, now: float) -> None:
    """What was first due in times to come was noted by a clock that was wrong: it is due from now on."""
    for name in decision.fallbacks.keys() & state.deliveries.keys():
        first = state.deliveries[name].first_due_time
        if first is not None and epoch(first) > now:
            update = {"first_due_time": rfc3339(now)}
            state.deliveries[name] = state.deliveries[name].model_copy(update=update)


def _review_stand_ins(state: EventState, decision: Deliver) -> None:
    """End those that the configuration does not have stand in any more."""
    wanted = decision.match.destinations
    for item in state.open():
        if item.failover_for is not None and failover.withdrawn(state.deliveries, item, wanted, decision.fallbacks):
            why = f"{item.destination} is not among the failover of {item.failover_for} any more"
            drop(state, item, Reason.CONFIG_CHANGED, why)
        elif item.failover_for is not None and _another_recipient(item, decision):
            if item.last_attempt_time is None:
                state.deliveries[item.destination].recipients = decision.targets[item.destination].recipients
            else:
                why = f"another recipient stands at {item.destination} now"
                drop(state, item, Reason.CONFIG_CHANGED, why)


def _take_away(state: EventState, delivery: Delivery, decision: Deliver) -> None:
    """End an open delivery to a destination, or a recipient, that it does not go to any more."""
    wanted = decision.match.destinations
    if delivery.destination not in wanted and _held_in_vain(delivery):
        del state.deliveries[delivery.destination]
    elif delivery.destination not in wanted:
        why = f"{delivery.destination} is not among the trigger's destinations any more"
        drop(state, delivery, Reason.CONFIG_CHANGED, why)
    elif _another_recipient(delivery, decision):
        why = f"another recipient stands at {delivery.destination} now"
        drop(state, delivery, Reason.CONFIG_CHANGED, why)


def _hold(state: EventState, decision: Deliver, layers: Layers) -> None:
    """Those that wait for what another event comes to there; of what has waited for that, the next attempt is due."""
    for delivery in state.open():
        if delivery.reason == Reason.WAITING_FOR_SENDER and delivery.destination not in decision.match.held:
            reason = Reason.RETRYING if delivery.next_attempt_time else None
            state.deliveries[delivery.destination] = delivery.model_copy(update={"reason": reason, "message": None})
    for name in decision.match.held:
        if name in state.deliveries and name not in decision.targets:
            update: dict[str, object] = {"provider": layers.kind(name), "reason": Reason.WAITING_FOR_SENDER}
            update["message"] = "waits for what an earlier message comes to there"
            state.deliveries[name] = state.deliveries[name].model_copy(update=update)


def _held_in_vain(delivery: Delivery) -> bool:
    """Whether nothing was ever sent there, because nobody there knows of what has ended."""
    return delivery.reason == Reason.WAITING_FOR_SENDER and delivery.last_attempt_time is None


def _divide(state: EventState, delivery: Delivery, decision: Deliver) -> bool:
    """Put a destination's parts in the place of the whole, which was planned before anybody knew that it has any."""
    found = (*decision.targets, *decision.blocked)
    parts = [name for name in found if name != delivery.destination and part_of(name)[0] == delivery.destination]
    if not parts or len(state.deliveries) - 1 + len(parts) > MAX_DELIVERIES:
        return False
    del state.deliveries[delivery.destination]
    for name in parts:
        if name in state.deliveries:  # on a status that somebody else wrote, both stand
            continue
        target = decision.targets.get(name)
        recipients = target.recipients or None if target is not None else None
        state.deliveries[name] = Delivery(destination=name, phase=Phase.PENDING, recipients=recipients)
    return True


def _of_kind(state: EventState, name: str, kind: str | None) -> None:
    """A name that has become known, or means another kind than before: what the former kind left is of no use."""
    delivery = state.deliveries[name]
    if delivery.provider == kind:
        return
    update: dict[str, object] = {"provider": kind}
    if delivery.provider is not None:
        update |= {"handle": None, "retry_recipients": None}
    state.deliveries[name] = delivery.model_copy(update=update)


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
