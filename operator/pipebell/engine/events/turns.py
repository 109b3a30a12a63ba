"""Whose turn it is: of the events of one cooldown key, one is sent and the others wait for its outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.core.policy.sent import Sent
from pipebell.core.status import epoch
from pipebell.engine.events.keys import Turn
from pipebell.engine.events.ledger import key_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.core.event import Event
    from pipebell.core.policy.situation import CooldownFacts
    from pipebell.core.status import ConfigReference, Delivery
    from pipebell.engine.events.ledger import CooldownKey, CooldownLedger
    from pipebell.engine.events.roster import Roster
    from pipebell.engine.events.state import EventState
    from pipebell.engine.events.waiting import WaitingRoom


class Turns:
    """Looks the cooldown of an event up, and hands the turn on in the order in which events came to wait."""

    def __init__(self, ledger: CooldownLedger, roster: Roster, room: WaitingRoom, wake: Callable[[str], None]) -> None:
        self._ledger, self._roster, self._room, self._wake = ledger, roster, room, wake

    def look(self, state: EventState, event: Event, reference: ConfigReference) -> CooldownFacts:
        """What is known of the cooldown of an event that uses this configuration. The state keeps its key."""
        if state.key is None or not state.attempted:
            key = key_for(reference, event)
            if state.key != key:  # another configuration may have come to count since this event waited
                self.release(state)
            state.key = key
        facts = self._ledger.look(state.key)
        if facts.sender is None or facts.sender == state.uid:
            return facts
        sender = self._roster.get(facts.sender)
        if sender is None or sender.namespace != state.namespace:
            return facts
        return facts._replace(sender_name=sender.name)

    def claim(self, state: EventState, window: float) -> None:
        """This event is sent now, with this cooldown (seconds)."""
        if state.key is not None:
            self._ledger.claim(state.key, state.uid, window)

    def suppress(self, state: EventState, window: float) -> Sent | None:
        """It is suppressed by the last notification (returned), within this cooldown (seconds)."""
        assert state.key is not None  # noqa: S101  (`look` has set it; tells mypy)
        self._ledger.suppress(state.key, window)
        return self._ledger.last(state.key)

    def unsuppress(self, state: EventState, by: Sent | None) -> None:
        """It is not, after all: that could not be recorded."""
        if state.key is not None:
            self._ledger.unsuppress(state.key, by)

    def knows(self, org: str) -> bool:
        """Whether an organisation's past is known."""
        return self._ledger.opened(org)

    @property
    def ledger(self) -> CooldownLedger:
        """What it looks up in."""
        return self._ledger

    @property
    def folding(self) -> bool:
        """Whether the ledger is learning of the past."""
        return self._ledger.folding

    def release(self, state: EventState) -> None:
        """This event is not sent any more: if it was its turn, it is the next one's."""
        if state.key is not None:
            self.release_key(state.key, state.uid)

    def release_key(self, key: CooldownKey, uid: str) -> None:
        """The same for an event that need not be here any more."""
        if not self._ledger.released(key, uid):
            return
        following = self._room.first(Turn(key))
        if following is not None:
            self._ledger.claim(key, following)
            self._wake(following)

    def delivered(self, state: EventState, delivery: Delivery) -> None:
        """A destination has it. With the first one the cooldown starts, and whoever waited for that is suppressed."""
        if state.key is None or delivery.delivered_time is None:
            return
        others = (item for item in state.deliveries.values() if item.destination != delivery.destination)
        if any(item.delivered_time for item in others):
            return  # the window runs from the first
        sent = Sent(epoch(delivery.delivered_time), state.namespace, state.name)
        if self._ledger.succeeded(state.key, state.uid, sent):
            self._room.wake(Turn(state.key))
