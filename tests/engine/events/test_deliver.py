"""One round of attempts: all destinations at once, each settled by itself."""

from __future__ import annotations

import asyncio

from tests.engine.fakes import settle_down

from pipebell.core.outcome import Outcome, Verdict
from pipebell.core.vocabulary import Phase

RETRY = Outcome(Verdict.RETRY, "Timeout", "no answer")
PAUSE = Outcome(Verdict.PAUSE, "Http429", "slow down", retry_after=60)
BOTH = [{"event": "pipeline_failure", "providers": ["email", "slack"]}]
SLACK = {"webhookUrl": "https://hooks.slack.com/services/T/B/x"}


async def test_an_exception_of_one_provider_waits_for_what_the_other_one_does(house):
    house.config(slack=SLACK, eventTriggers=BOTH)
    house.email.script = [RuntimeError("boom")]
    house.slack.gate = asyncio.Event()
    event = house.event()
    await house.submit(event)
    await house.clock.advance(10)
    house.slack.gate.set()
    await settle_down()
    status = house.status(event)
    assert status.phase is Phase.PARTIALLY_DELIVERED
    assert {item.destination: item.phase for item in status.deliveries} == {
        "email": Phase.FAILED,
        "slack": Phase.DELIVERED,
    }
