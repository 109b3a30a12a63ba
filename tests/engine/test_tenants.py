"""The engine as a whole: what one namespace does, another does not feel."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.engine.fakes import FakeProvider, House, settle_down

from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.vocabulary import Phase

UNCOOLED = [{"event": "pipeline_failure", "cooldownSeconds": 0}]
FOR_EVER = {"maxAttempts": 100, "initialDelaySeconds": 0, "maxDelaySeconds": 0}


class Tarpit(FakeProvider):
    """The mail server of `evil`, or of the organisation `slow`, takes a minute and then says 'later'."""

    async def send(self, notification, target, attempt):
        self.sent.append((self._clock.now(), notification, target, attempt))
        event = notification.event
        if event.namespace == "evil" or event.spec.org_slug == "slow":
            await self._clock.sleep(60.0)
            return Outcome(OutcomeKind.RETRY, "Timeout", "no answer in time")
        return Outcome(OutcomeKind.DELIVERED)


@pytest.fixture
async def house():
    house = House()
    house.email = Tarpit(house.clock)
    house.start()
    house.no_root()
    yield house
    await house.engine.close(0)


async def test_a_namespace_that_uses_the_victims_slug_and_a_server_that_hangs_takes_none_of_its_turns(house):
    house.config("acme", "team", eventTriggers=UNCOOLED)
    house.config("acme", "evil", name="evil", eventTriggers=UNCOOLED, retryConfig=FOR_EVER)
    await house.submit(*(house.event(namespace="evil") for _ in range(400)))
    for _ in range(5):
        victim = house.event(namespace="team")
        await house.submit(victim)
        assert house.status(victim).phase is Phase.DELIVERED, "at once"
        await house.clock.advance(61)


async def test_invented_slugs_are_one_namespaces(house):
    house.config("acme", "team", eventTriggers=UNCOOLED)
    for number in range(300):
        house.config(f"invented-{number}", "evil", name=f"c{number}", eventTriggers=UNCOOLED, retryConfig=FOR_EVER)
    flood = [house.event(namespace="evil", org=f"invented-{number}") for number in range(300) for _ in range(3)]
    await house.submit(*flood)
    assert house.engine.queue.running <= 256
    victim = house.event(namespace="team")
    await house.submit(victim)
    assert house.status(victim).phase is Phase.DELIVERED


async def test_an_organisation_whose_retries_are_always_due_makes_first_attempts_too(house):
    house.config("slow", "team", eventTriggers=UNCOOLED, retryConfig=FOR_EVER)
    house.config("acme", "team", name="acme", eventTriggers=UNCOOLED)
    events = [house.event(org="slow") for _ in range(40)]
    await house.submit(*events)
    for _ in range(8):
        await house.clock.advance(60.1)
    tried = Counter(house.email.names)
    assert len(tried) == 40, "each had its first attempt although sixteen retries were due all the time"
    other = house.event(org="acme")
    await house.submit(other)
    assert house.status(other).phase is Phase.DELIVERED


async def test_a_configuration_that_flaps_leaves_one_timer(house):
    house.config(
        slack={"webhookUrl": "${MISSING}"},
        secretRef={"name": "none"},
        eventTriggers=[{"event": "pipeline_failure", "providers": ["email", "slack"]}],
        retryConfig={"maxAttempts": 3, "initialDelaySeconds": 86_000, "maxDelaySeconds": 86_000},
    )
    house.ports.providers["email"] = provider = FakeProvider(house.clock)
    provider.script = [Outcome(OutcomeKind.RETRY, "Smtp451", "later")]
    await house.submit(house.event())
    assert house.engine.room.deadlines == 1
    for _ in range(200):
        house.engine.wake_org("acme")
        await settle_down()
    assert house.engine.room.deadlines == 1
    assert len(house.engine.room._deadlines._heap) < 100
    assert len(provider.sent) == 1
