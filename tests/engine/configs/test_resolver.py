"""From an event to its configuration, and what happens while that is being found."""

from __future__ import annotations

import asyncio

from tests.engine.fakes import EMAIL, settle_down

from pipebell.core.errors import Rejected
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.vocabulary import Phase
from pipebell.engine.configs import resolver

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


async def test_layers_are_made_once_for_as_long_as_they_say_the_same(house):
    config = house.config(secretRef={"name": "keys"}, email=EMAIL | {"toEmails": ["${TO}"]})
    house.secrets.store["team", "keys"] = {"TO": "one@example.com"}
    first = await house.resolver.layers(config)
    assert first.target("email").to == ("one@example.com",)
    assert await house.resolver.layers(config) is first

    house.secrets.store["team", "keys"] = {"TO": "two@example.com"}  # as the Secret is read anew
    second = await house.resolver.layers(config)
    assert second.target("email").to == ("two@example.com",)

    house.with_root('{"slack": {"webhook_url": "https://hooks.slack.com/services/T/B/X"}}')
    third = await house.resolver.layers(config)
    assert (second.kind("slack"), third.root is None) == ("slack", False)
    assert await house.resolver.layers(config) is third

    changed = house.config(secretRef={"name": "keys"}, email=EMAIL)
    fourth = await house.resolver.layers(changed)
    assert fourth.target("email").to == ("to@example.com",)


async def test_of_many_configurations_a_bounded_number_is_kept_ready(house, monkeypatch):
    monkeypatch.setattr(resolver, "MOST_KEPT", 3)
    for number in range(10):
        await house.resolver.layers(house.config(f"org{number}", name=f"config{number}"))
        assert len(house.resolver._made) <= 3


async def test_what_is_kept_ready_goes_after_a_while(house, monkeypatch):
    later = []
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda *call: later.append(call))
    first = await house.resolver.layers(house.config())
    await house.resolver.layers(house.config("other", name="other"))
    assert [seconds for seconds, _ in later] == [resolver.KEPT]  # from the first one on
    later[0][1]()
    assert await house.resolver.layers(house.config()) is not first
    assert len(later) == 2


async def test_layers_whose_secrets_could_not_be_read_are_not_kept(house):
    config = house.config(secretRef={"name": "keys"}, email=EMAIL | {"toEmails": ["${TO}"]})

    async def refuse(namespace, name, *, fresh=False):
        raise Rejected("no")

    house.secrets.read = refuse
    assert await house.resolver.layers(config) is not await house.resolver.layers(config)
