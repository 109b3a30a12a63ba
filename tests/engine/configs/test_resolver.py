"""From an event to its configuration, and what happens while that is being found."""

from __future__ import annotations

import asyncio

from tests.engine.fakes import EMAIL, settle_down

from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.vocabulary import Phase

RETRY = Outcome(OutcomeKind.RETRY, "Timeout", "no answer")
PAUSE = Outcome(OutcomeKind.PAUSE, "Http429", "slow down", retry_after=60)


async def test_a_configuration_mended_while_its_secret_was_being_read_wakes_the_event(house):
    house.config(secretRef={"name": "slow"}, email=EMAIL | {"toEmails": ["${TO}"]})
    gate = asyncio.Event()

    async def read(namespace, name, *, fresh=False):
        await gate.wait()

    house.secrets.read = read
    event = house.event()
    await house.submit(event)
    house.config()  # names its recipient without any Secret
    house.engine.wake_org("acme")
    gate.set()
    await settle_down()
    assert house.status(event).phase is Phase.DELIVERED


async def test_asking_for_one_namespace_forgets_nothing_of_others(house):
    there = house.config(namespace="other")
    house.configs.store.clear()  # as in a list of the event's namespace alone
    await house.submit(house.event())
    assert house.book.get(there.key) is there
