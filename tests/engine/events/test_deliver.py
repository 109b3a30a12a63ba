"""One round of attempts: all destinations at once, each settled by itself."""

from __future__ import annotations

import asyncio
import itertools

from tests.engine.fakes import settle_down

from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.vocabulary import Phase, Reason

RETRY = Outcome(OutcomeKind.RETRY, "Timeout", "no answer")
PAUSE = Outcome(OutcomeKind.PAUSE, "Http429", "slow down", retry_after=60)
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


async def test_a_vendors_rate_is_kept_and_what_waits_for_it_says_so(house):
    """Slack takes one message a second, and a few at once."""
    house.config(
        slack=SLACK, eventTriggers=[{"event": "pipeline_failure", "providers": ["slack"], "cooldownSeconds": 0}]
    )
    events = [house.event() for _ in range(8)]
    await house.submit(*events)
    assert len(house.slack.sent) == 3
    waiting = house.status(events[-1])
    assert (waiting.phase, waiting.reason) == (Phase.PENDING, Reason.RATE_LIMITED)
    assert "as many messages go there as the receiver takes" in waiting.message
    await house.clock.advance(30)
    times = [at for at, *_ in house.slack.sent]
    assert len(times) == 8
    assert all(later - at >= 1.0 for at, later in itertools.pairwise(times[2:]))
    assert {house.status(event).phase for event in events} == {Phase.DELIVERED}
    assert {item.attempts for event in events for item in house.status(event).deliveries} == {1}


async def test_over_a_restart_everything_that_waits_for_a_rate_goes_out_once(house):
    house.config(
        slack=SLACK, eventTriggers=[{"event": "pipeline_failure", "providers": ["slack"], "cooldownSeconds": 0}]
    )
    events = [house.event() for _ in range(8)]
    await house.submit(*events)
    await house.restart()
    await house.clock.advance(60)
    assert sorted(house.slack.names) == sorted(event.name for event in events)


async def test_what_speaks_slacks_language_elsewhere_is_not_paced(house):
    own = {"webhookUrl": "https://chat.example.com/hooks/x"}
    house.config(slack=own, eventTriggers=[{"event": "pipeline_failure", "providers": ["slack"], "cooldownSeconds": 0}])
    await house.submit(*(house.event() for _ in range(20)))
    assert len(house.slack.sent) == 20
