"""Where an event goes, decided on its journey without asking anybody: destinations, targets, what is too old."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.core.errors import NotReady
from pipebell.core.policy.settle import Verdicts
from pipebell.core.status import Delivery, clip
from pipebell.core.vocabulary import Phase, Reason
from pipebell.engine.events.deliver import Ready
from pipebell.engine.events.state import drop

if TYPE_CHECKING:
    from pipebell.core.policy.triggers import Match
    from pipebell.engine.configs.resolver import Resolved
    from pipebell.engine.events.state import Journey


def choose_destinations(journey: Journey, match: Match) -> None:
    """Once anything was tried, destinations are fixed: a changed configuration may take some away, never add any."""
    if not journey.tried:
        known = journey.deliveries
        journey.deliveries = {
            name.value: known.get(name.value) or Delivery(provider=name, destination=name.value, phase=Phase.PENDING)
            for name in match.providers
        }
        return
    for delivery in journey.open():
        if delivery.provider not in match.providers:
            why = f"{delivery.destination} is not among the trigger's providers any more"
            drop(journey, delivery, Reason.CONFIG_CHANGED, why)


def prepare(journey: Journey, resolved: Resolved, match: Match) -> Ready:
    """Resolve every open destination; those that cannot be used yet are marked and wait by themselves."""
    ready = Ready(resolved, match, {}, {})
    for delivery in journey.open():
        try:
            ready.targets[delivery.destination] = resolved.layers.target(delivery.provider)
        except NotReady as error:
            ready.blocked[delivery.destination] = error
            update = {
                "reason": Reason.CONFIG_NOT_READY,
                "message": clip(f"{error.reason}: {error.message}"),
                "next_attempt_time": None,
            }
            journey.deliveries[delivery.destination] = delivery.model_copy(update=update)
    return ready


def expire(journey: Journey, max_age: float) -> Verdicts | None:
    """End what was never tried and is older than `max_age` seconds; what was tried goes on by its schedule.

    Returns the end of an event of which nothing was ever tried.
    """
    if not journey.tried:
        journey.deliveries.clear()
        return Verdicts(Phase.SKIPPED, Reason.EXPIRED, f"older than {max_age:.0f} s before it could be sent")
    for delivery in journey.open():
        if not delivery.attempts:
            reason = Reason.RATE_LIMITED if delivery.reason == Reason.RATE_LIMITED else Reason.EXPIRED
            drop(journey, delivery, reason, f"not delivered within {max_age:.0f} s")
    return None
