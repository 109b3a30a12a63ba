"""What the cooldown says of an event, and what an event tells the cooldown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.core.policy.cooldown import Sent
from pipebell.core.status import epoch
from pipebell.engine.events.ledger import Go, key_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.core.event import Event
    from pipebell.core.policy.triggers import Match
    from pipebell.core.status import Delivery
    from pipebell.engine.events.ledger import CooldownLedger, Held, Wait
    from pipebell.engine.events.state import Journey


class Gate:
    """Asks the ledger for journeys, and wakes those whose turn it is."""

    def __init__(self, ledger: CooldownLedger, wake: Callable[[str], None]) -> None:
        self._ledger, self._wake = ledger, wake

    @property
    def folding(self) -> bool:
        """Whether the ledger is learning of the past."""
        return self._ledger.folding

    def decide(self, journey: Journey, event: Event, match: Match, now: float) -> Go | Held | Wait | None:
        """Whether this event is sent now; None while its organisation's past is not known."""
        if event.spec.test or event.spec.replay_of is not None:
            return Go(0)
        assert journey.config is not None  # noqa: S101  (set before; tells mypy)
        if journey.key is None or not journey.attempted:
            key = key_for(journey.config, event)
            if journey.key != key:  # another configuration may have come to count since this event waited
                self.release(journey)
            journey.key = key
        if match.cooldown == 0 or journey.attempted:
            return Go(journey.suppressed)
        if not self._ledger.opened(journey.org):
            return None
        return self._ledger.enter(journey.key, journey.uid, match.cooldown, now)

    def release(self, journey: Journey) -> None:
        """This event is no sender any more, and waits for none: the next one's turn."""
        if journey.key is not None and (turn := self._ledger.released(journey.key, journey.uid)) is not None:
            self._wake(turn)

    def told(self, journey: Journey, delivery: Delivery) -> None:
        """The first destination has it: the cooldown starts, and whoever waited for that is held back at once."""
        if journey.key is None or delivery.delivered_time is None:
            return
        others = (item for item in journey.deliveries.values() if item.destination != delivery.destination)
        if any(item.delivered_time for item in others):
            return  # the window runs from the first
        sent = Sent(epoch(delivery.delivered_time), journey.namespace, journey.name)
        for uid in self._ledger.succeeded(journey.key, journey.uid, sent):
            self._wake(uid)
