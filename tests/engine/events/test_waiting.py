"""The waiting room: who waits for what, in which order."""

from __future__ import annotations

import pytest
from tests.engine.fakes import FakeClock

from pipebell.core.vocabulary import EventType
from pipebell.engine.events.keys import LEASE, Config, Ledger, Turn
from pipebell.engine.events.ledger import CooldownKey
from pipebell.engine.events.state import EventState
from pipebell.engine.events.waiting import WaitingRoom

KEY = Turn(CooldownKey("NotificationConfig", "team", "config", "acme", EventType.PIPELINE_FAILURE))


class Room:
    def __init__(self) -> None:
        self.clock, self.woken = FakeClock(), []
        self.room = WaitingRoom(self.clock, self.woken.append)

    def state(self, house, name):
        return EventState.of(house.event(name))


@pytest.fixture
def hall():
    hall = Room()
    yield hall
    hall.room.close()


async def test_those_who_wait_are_woken_in_order_and_keep_their_place(house, hall):
    first, second, third = (hall.state(house, name) for name in "abc")
    for state in (first, second, third):
        hall.room.wait(state, KEY)
    hall.room.wait(second, KEY, Config("team", "acme"))  # decided anew, and waits again
    hall.room.wake(KEY)
    assert hall.woken == [first.uid, second.uid, third.uid]
    assert hall.room.first(KEY) == first.uid
    hall.room.leave(first)
    assert hall.room.first(KEY) == second.uid


async def test_waiting_for_something_else_ends_the_wait_before(house, hall):
    state = hall.state(house, "a")
    hall.room.join(state, Config("team", "acme"))
    hall.room.join(state, LEASE)
    hall.room.join(state, LEASE)
    assert state.waits == (Config("team", "acme"), LEASE)
    hall.room.wait(state, Ledger(3))
    for key in (Config("team", "acme"), LEASE, Ledger(4)):
        hall.room.wake(key)
    hall.room.wake_configs(None)
    assert hall.woken == []
    hall.room.wake(Ledger(3))
    assert hall.woken == [state.uid]
    hall.room.leave(state)
    assert hall.room._by_key == {}


async def test_each_has_one_time_at_which_it_is_woken(house, hall):
    state = hall.state(house, "a")
    hall.room.wait(state, KEY, until=hall.clock.now() + 10)
    hall.room.wait(state, KEY, until=hall.clock.now() + 20)
    await hall.clock.advance(19)
    assert hall.woken == []
    await hall.clock.advance(1)
    assert hall.woken == [state.uid]
    hall.room.wait(state, KEY, until=hall.clock.now() + 20)
    hall.room.leave(state)
    await hall.clock.advance(30)
    assert hall.woken == [state.uid]
