"""When other destinations stand in for one, and which: once for each message, and never for a stand-in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipebell.core.policy.triggers import MAX_DELIVERIES
from pipebell.core.status import Delivery, epoch
from pipebell.core.vocabulary import Phase, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from pipebell.core.layers import Fallback

_IN_VAIN: Final = (Reason.RETRIES_EXHAUSTED, Reason.PERMANENT_ERROR, Reason.RATE_LIMITED)
"""Ends of a delivery that was wanted. What a person took away, or what became too old, is stood in for by nobody."""

Deliveries = dict[str, Delivery]


def due_at(delivery: Delivery, fallback: Fallback, now: float) -> float | None:
    """When others stand in for this delivery (seconds since the epoch; 0 for at once); None if they never do."""
    if delivery.failover_for is not None:
        return None
    if delivery.phase is Phase.FAILED:
        return 0.0 if delivery.reason in _IN_VAIN else None
    if delivery.phase.final or delivery.first_due_time is None:
        return None
    return min(epoch(delivery.first_due_time), now) + fallback.after


def next_due(deliveries: Deliveries, fallbacks: Mapping[str, Fallback], now: float) -> float | None:
    """When somebody has to stand in next (seconds since the epoch); None if nobody has to, as things are."""
    times = (
        due_at(deliveries[name], fallback, now)
        for name, fallback in fallbacks.items()
        if name in deliveries and _missing(deliveries, name, fallback)
    )
    return min((at for at in times if at is not None), default=None)


def stand_in(
    deliveries: Deliveries, fallbacks: Mapping[str, Fallback], kind: Callable[[str], str | None], now: float
) -> list[str]:
    """Note who stands in for what by now, in both places. Returns the new deliveries' names.

    `kind` knows the kinds of destinations.
    """
    made = []
    for name, fallback in fallbacks.items():
        at = due_at(deliveries[name], fallback, now) if name in deliveries else None
        if at is None or at > now:
            continue
        others = _missing(deliveries, name, fallback)
        for other in [other for other in others if other not in deliveries]:
            deliveries[other] = Delivery(
                provider=kind(other),
                destination=other,
                phase=Phase.PENDING,
                failover_for=name,
                message=f"stands in for {name}",
            )
            made.append(other)
        if others:
            known = deliveries[name].failover_to or []
            deliveries[name] = deliveries[name].model_copy(update={"failover_to": [*known, *others]})
    return made


def _missing(deliveries: Deliveries, name: str, fallback: Fallback) -> list[str]:
    """Who has to stand in for a delivery and is not asked to yet; nobody once somebody was, unless that was undone."""
    asked = [deliveries[other] for other in deliveries[name].failover_to or () if other in deliveries]
    if any(item.reason != Reason.CONFIG_CHANGED for item in asked):
        return []
    known = [other for other in fallback.deliveries if other in deliveries and _may_serve(deliveries[other])]
    new = [other for other in fallback.deliveries if other not in deliveries]
    return known + new[: MAX_DELIVERIES - len(deliveries)]


def _may_serve(delivery: Delivery) -> bool:
    """Whether a stand-in for one delivery serves for another: one that is on its way, or has arrived."""
    return delivery.failover_for is not None and (not delivery.phase.final or delivery.delivered_time is not None)


def originals(deliveries: Iterable[Delivery], stand_in: Delivery) -> Iterator[Delivery]:
    """Whom a stand-in stands in for."""
    for item in deliveries:
        if item.destination == stand_in.failover_for or stand_in.destination in (item.failover_to or ()):
            yield item


def stood_in_for(deliveries: Collection[Delivery]) -> frozenset[str]:
    """Those in whose stead somebody else has the message."""
    arrived = [item for item in deliveries if item.delivered_time is not None]
    return frozenset(each.destination for item in arrived for each in originals(deliveries, item))


def relieve(deliveries: Deliveries) -> None:
    """End those stand-ins that have not reached anybody, and are not needed any more: the message has arrived."""
    for name, item in list(deliveries.items()):
        if item.failover_for is None or item.phase.final or item.delivered_time is not None:
            continue
        replaced = list(originals(deliveries.values(), item))
        if replaced and all(each.phase is Phase.DELIVERED for each in replaced):
            arrived = " and ".join(each.destination for each in replaced)
            update = {
                "phase": Phase.SKIPPED,
                "reason": Reason.SUPERSEDED,
                "next_attempt_time": None,
                "message": f"not needed any more: delivered by {arrived}",
            }
            deliveries[name] = item.model_copy(update=update)


def withdrawn(
    deliveries: Deliveries, stand_in: Delivery, wanted: Collection[str], fallbacks: Mapping[str, Fallback]
) -> bool:
    """Whether the configuration of now has somebody else stand in, or nobody, where a stand-in was asked to.

    Of a destination that is not `wanted` any more, its stand-in is all that is left: that goes on.
    """
    asked = [each.destination for each in originals(deliveries.values(), stand_in) if each.destination in wanted]
    found = (fallbacks.get(name) for name in asked)
    return bool(asked) and not any(each is not None and stand_in.destination in each.deliveries for each in found)
