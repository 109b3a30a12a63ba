"""What configurations did of late, on their status."""

from __future__ import annotations

import asyncio

from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.engine.upkeep.usage import UsageWriter

RETRY = Outcome(OutcomeKind.RETRY, "Timeout", "no answer")
PAUSE = Outcome(OutcomeKind.PAUSE, "Http429", "slow down", retry_after=60)


async def test_bookkeeping_is_written_seldom(house):
    house.config()
    books = UsageWriter(house.ports, house.book, house.ledger)
    house.engine.observers.subscribe(books)
    task = asyncio.create_task(books.run())
    events = [house.event() for _ in range(5)]
    await house.submit(*events)
    await house.clock.advance(1)
    (_, status), *more = house.configs.patches
    assert not more
    assert status["triggers"][0]["suppressedSinceLastSent"] == 4
    assert status["counters"] == {"delivered": 1, "suppressed": 4, "failed": 0}
    assert status["lastDelivery"]["event"] == f"team/{events[-1].name}"
    await house.submit(house.event())
    await house.clock.advance(58)
    assert len(house.configs.patches) == 1
    await house.clock.advance(3)
    assert len(house.configs.patches) == 2
    task.cancel()
