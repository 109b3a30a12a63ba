"""Turns at connections: fair by namespace, fewer when the server wants fewer, and no waiting in vain."""

import asyncio

import pytest

from pipebell.core.errors import Fenced
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.providers.turns import Turns

BUSY = Outcome(OutcomeKind.PAUSE, "Smtp421")


def yes():
    return True


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def turns(now):
    return Turns(2, 60.0, lambda: now[0])


async def queued(turns, *lanes, order=None):
    """Tasks that wait, each begun before the next; `order` gets the lanes as their turns come."""

    async def one(lane):
        outcome = await turns.take((lane, "org") if isinstance(lane, str) else lane, yes)
        if order is not None and outcome is None:
            order.append(lane)
        return outcome

    tasks = []
    for lane in lanes:
        tasks.append(asyncio.create_task(one(lane)))
        await asyncio.sleep(0)
    return tasks


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_no_more_than_allowed_at_a_time_and_namespaces_go_round(turns):
    order = []
    for _ in range(2):
        assert await turns.take(("flood", "org"), yes) is None
    tasks = await queued(turns, *["flood"] * 4, "victim", "other", "victim", order=order)
    await settle()
    assert order == []
    for _ in range(7):
        turns.give_back()
        await settle()
    assert order == ["flood", "victim", "other", "flood", "victim", "flood", "flood"]
    await asyncio.gather(*tasks)


async def test_organisations_of_a_namespace_go_round(turns):
    order = []
    for _ in range(2):
        assert await turns.take(("ns", "flood"), yes) is None
    lanes = [*[("ns", "flood")] * 3, ("ns", "single"), ("other", "flood")]
    tasks = await queued(turns, *lanes, order=order)
    for _ in range(5):
        turns.give_back()
        await settle()
    assert order == [lanes[0], lanes[4], lanes[3], lanes[1], lanes[2]]
    await asyncio.gather(*tasks)


async def test_who_goes_again_goes_first(turns):
    order = []
    for _ in range(2):
        await turns.take(("a", "org"), yes)
    waiting = await queued(turns, "a", "b", order=order)
    again = asyncio.create_task(turns.take(("c", "org"), yes, first=True))
    await settle()
    turns.give_back()
    await settle()
    assert again.done()
    assert order == []
    for _ in range(2):
        turns.give_back()
    await asyncio.gather(*waiting)


async def test_fewer_when_the_server_wants_fewer_and_slowly_more(turns, now):
    turns.lower(1)
    assert (turns.limit, turns.lowered) == (1, True)
    assert await turns.take(("a", "org"), yes) is None
    (waiting,) = await queued(turns, "a")
    now[0] = 59.9
    turns.give_back()
    await settle()
    assert waiting.done()
    (waiting,) = await queued(turns, "a")
    await settle()
    assert not waiting.done()
    now[0] = 60.0
    turns.give_back()
    assert await turns.take(("b", "org"), yes) is None
    await waiting
    assert (turns.limit, turns.lowered) == (2, False)


async def test_each_refusal_of_one_more_makes_it_rarer(now):
    turns = Turns(4, 60.0, lambda: now[0])
    turns.lower(3)
    for hold in (60, 120, 240):
        now[0] += hold - 0.1
        assert turns.lowered
        now[0] += 0.1
        assert not turns.lowered
        turns.lower(3)  # the server refuses the fourth at once
    now[0] += 480 + 480
    assert not turns.lowered
    now[0] += 481
    turns.lower(3)  # after it was content for long
    now[0] += 60
    assert not turns.lowered


async def test_never_fewer_than_one(turns):
    turns.lower(0)
    assert turns.limit == 1


async def test_those_who_wait_in_vain_are_told(turns):
    for _ in range(2):
        await turns.take(("a", "org"), yes)
    waiting = await queued(turns, "a", "b", "c")
    turns.dismiss(BUSY)
    assert await asyncio.gather(*waiting) == [BUSY] * 3
    for _ in range(2):
        turns.give_back()
    assert await turns.take(("a", "org"), yes) is None


async def test_who_may_not_send_any_more_or_is_cancelled_leaves_the_queue(turns, monkeypatch):
    monkeypatch.setattr("pipebell.providers.turns._LOOK", 0.01)
    for _ in range(2):
        await turns.take(("a", "org"), yes)
    with pytest.raises(Fenced):
        await turns.take(("a", "org"), lambda: False)
    (cancelled,) = await queued(turns, "a")
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    turns.give_back()
    assert await turns.take(("b", "org"), yes) is None
    (late,) = await queued(turns, "b")
    turns.give_back()
    late.cancel()  # it was its turn at that very moment
    await asyncio.gather(late, return_exceptions=True)
    assert await turns.take(("c", "org"), yes) is None
