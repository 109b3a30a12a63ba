"""Who hears of what happens to events: metrics, usage, retention, the health of destinations."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipebell.core.destinations.base import Target
    from pipebell.core.errors import NotReady
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

    def on_answer(self, state: EventState, destination: str, target: Target, outcome: Outcome, *, shared: bool) -> None:
        """The same attempt's destination. `shared`: on root's endpoint, with settings of the organisation's own."""

    def on_blocked(self, state: EventState, destination: str, provider: str | None, error: NotReady) -> None:
        """An event waits for a destination with an endpoint of the organisation's own that cannot be used."""

    def on_finished(self, state: EventState, summary: EventSummary, now: float) -> None:
        """One event reached its final phase, and that is recorded."""


class Observers(Observer):
    """Tells everybody who has subscribed and cares for it, in that order."""

    def __init__(self) -> None:
        self._of_attempts: list[Observer] = []
        self._of_failovers: list[Observer] = []
        self._of_answers: list[Observer] = []
        self._of_blocked: list[Observer] = []
        self._of_ends: list[Observer] = []

    def subscribe(self, *observers: Observer) -> None:
        """Tell these too."""
        for name, listening in (
            ("on_attempt", self._of_attempts),
            ("on_failover", self._of_failovers),
            ("on_answer", self._of_answers),
            ("on_blocked", self._of_blocked),
            ("on_finished", self._of_ends),
        ):
            default = getattr(Observer, name)
            listening += [observer for observer in observers if getattr(type(observer), name, None) is not default]

    def on_attempt(self, state: EventState, provider: str, outcome: Outcome, seconds: float) -> None:
        """See `Observer`."""
        for observer in self._of_attempts:
            observer.on_attempt(state, provider, outcome, seconds)

    def on_failover(self, state: EventState, stand_in: Delivery) -> None:
        """See `Observer`."""
        for observer in self._of_failovers:
            observer.on_failover(state, stand_in)

    def on_answer(self, state: EventState, destination: str, target: Target, outcome: Outcome, *, shared: bool) -> None:
        """See `Observer`."""
        for observer in self._of_answers:
            observer.on_answer(state, destination, target, outcome, shared=shared)

    def on_blocked(self, state: EventState, destination: str, provider: str | None, error: NotReady) -> None:
        """See `Observer`."""
        for observer in self._of_blocked:
            observer.on_blocked(state, destination, provider, error)

    def on_finished(self, state: EventState, summary: EventSummary, now: float) -> None:
        """See `Observer`."""
        for observer in self._of_ends:
            observer.on_finished(state, summary, now)
