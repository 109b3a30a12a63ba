"""What a start and a takeover find out: cooldowns that run, and events to go on with."""

from __future__ import annotations

from pipebell.core.event import EventPage
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.vocabulary import Phase, Reason

RETRY = Outcome(OutcomeKind.RETRY, "Timeout", "no answer")
BROKEN = Outcome(OutcomeKind.PERMANENT, "Http404", "no_service")
PAUSE = Outcome(OutcomeKind.PAUSE, "Http429", "slow down", retry_after=60)
SLACK = {"webhookUrl": "https://hooks.slack.com/services/T/B/x"}


async def test_a_restored_sender_that_is_skipped_gives_the_cooldown_back(house):
    house.config()
    house.email.script = [RETRY]
    first = house.event()
    await house.submit(first)
    house.config(enabled=False)
    await house.restart()
    await house.clock.advance(10)
    assert (house.status(first).phase, house.status(first).reason) == (Phase.FAILED, Reason.CONFIG_CHANGED)
    house.config()
    second = house.event()
    await house.submit(second)
    assert house.status(second).phase is Phase.DELIVERED


async def test_a_sender_that_ended_while_the_pass_went_on_holds_no_cooldown(house):
    house.config()
    house.email.script = [RETRY]
    first = house.event()
    await house.submit(first)
    house.email.script = [BROKEN]
    house.engine.room.close()
    house.start()  # the pass lists the event while it is still retried …
    listed = house.events.store["team", first.name]
    house.events.scan = _pages([listed])
    house.engine.submit(listed)
    await house.clock.advance(10)  # … and it ends before the pass does
    assert house.status(first).phase is Phase.FAILED
    await house.recover()
    second = house.event()
    await house.submit(second)
    assert house.status(second).phase is Phase.DELIVERED


def _pages(*pages):
    async def scan(phases_excluded=(), **_):
        for page in pages:
            yield EventPage(None, "1", page)

    return scan


async def test_after_a_restart_a_retry_still_tells_how_many_were_held_back(house):
    house.config()
    first, *held = [house.event() for _ in range(3)]
    await house.submit(first, *held)
    await house.clock.advance(300)
    house.email.script = [RETRY]
    later = house.event()
    await house.submit(later)
    await house.restart()
    await house.clock.advance(5)
    assert house.email.names[-1] == later.name
    assert house.email.sent[-1][1].suppressed == 2
    assert house.status(later).suppressed_count == 2


async def test_after_a_restart_the_rate_limited_sender_is_still_the_sender(house):
    house.config(slack=SLACK, eventTriggers=[{"event": "pipeline_failure", "providers": ["slack"]}])
    house.slack.script = [PAUSE]
    first, second = house.event("z"), house.event("a")
    await house.submit(first, second)
    await house.clock.advance(3)
    house.events.store = dict(sorted(house.events.store.items()))  # lists are in the order of names
    await house.restart()
    await house.clock.advance(50)
    assert house.slack.names == ["z"], "the endpoint is still to be left alone"
    await house.clock.advance(10)
    assert house.slack.names == ["z", "z"]
    assert house.status(second).suppressed_by == "z"
