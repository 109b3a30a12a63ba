"""Who hears of what happens to events: metrics, usage, retention."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipebell.core.outcome import Outcome
    from pipebell.core.policy.settle import EventSummary
    from pipebell.core.status import Delivery
    from pipebell.engine.events.state import EventState


class Observer:
    """Hears what happens, and overrides what it cares for. Must not raise and must not wait."""

    def on_attempt(self, state: EventState, provider: str, outcome: Outcome, seconds: float) -> None:
        """One attempt was made; it took this long."""

    def on_failover(self, state: EventState, stand_in: Delivery) -> None:
        """A destination is to stand in for another one, and that is recorded."""

    def on_finished(self, state: EventState, summary: EventSummary, now: float) -> None:
        """One event reached its final phase, and that is recorded."""


class Observers(Observer):
    """Tells everybody who has subscribed, in that order."""

    def __init__(self) -> None:
        self._all: list[Observer] = []

    def subscribe(self, *observers: Observer) -> None:
        """Tell these too."""
        self._all += observers

    def on_attempt(self, state: EventState, provider: str, outcome: Outcome, seconds: float) -> None:
        """See `Observer`."""
        for observer in self._all:
            observer.on_attempt(state, provider, outcome, seconds)

    def on_failover(self, state: EventState, stand_in: Delivery) -> None:
        """See `Observer`."""
        for observer in self._all:
            observer.on_failover(state, stand_in)

    def on_finished(self, state: EventState, summary: EventSummary, now: float) -> None:
        """See `Observer`."""
        for observer in self._all:
            observer.on_finished(state, summary, now)
