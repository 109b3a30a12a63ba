"""Root's configuration over time: the last good one counts, and deleting it takes effect after a while."""

from __future__ import annotations

import json

from tests.engine.fakes import EMAIL, settle_down

from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.vocabulary import Phase

RETRY = Outcome(OutcomeKind.RETRY, "Timeout", "no answer")
PAUSE = Outcome(OutcomeKind.PAUSE, "Http429", "slow down", retry_after=60)


async def test_its_state_in_a_word(house):
    root = house.root
    words = [root.state]
    for data in (None, "{", '{"enabled": true}', "{"):
        root.update(None if data is None else {"config.json": data}, str(len(words)))
        words.append(root.state)
    assert words == ["none", "none", "invalid", "valid", "kept"]


async def test_an_invalid_root_keeps_the_last_good_one(house):
    house.root.update({"config.json": json.dumps({"email": EMAIL})}, "2")
    house.root.update({"config.json": "{"}, "3")
    assert house.root.current.spec.email.smtp_host == "smtp.example.com"
    assert "JSON" in house.root.current.problems
    assert house.notices.posted == [("ConfigMap", "ops/pipebell-root", "InvalidRootConfiguration")]
    event = house.event()
    await house.submit(event)
    assert house.status(event).phase is Phase.DELIVERED


async def test_with_an_invalid_root_and_no_good_one_events_wait(house):
    house.root.update({"config.json": "{"}, "3")
    event = house.event()
    await house.submit(event)
    assert house.status(event).phase is Phase.PENDING
    house.root.update({"config.json": json.dumps({"email": EMAIL})}, "4")
    house.engine.wake_org(None)
    await settle_down()
    assert house.status(event).phase is Phase.DELIVERED


async def test_with_an_invalid_root_only_those_wait_who_lean_on_it(house):
    house.root.update({"config.json": "{"}, "3")
    house.config("leaning")
    house.config("standing", name="c2", eventTriggers=[{"event": "pipeline_failure", "providers": ["email"]}])
    leaning, standing = house.event(org="leaning"), house.event(org="standing")
    await house.submit(leaning, standing)
    assert house.status(leaning).phase is Phase.PENDING
    assert "root" in house.status(leaning).message
    assert house.status(standing).phase is Phase.DELIVERED


async def test_a_deleted_root_counts_for_half_a_minute(house):
    house.root.update({"config.json": json.dumps({"email": EMAIL})}, "2")
    house.root.update(None, "")
    await house.clock.advance(29)
    assert house.root.current.spec is not None
    await house.clock.advance(1)
    assert house.root.current.spec is None


async def test_a_root_that_comes_back_in_time_was_never_gone(house):
    house.root.update({"config.json": json.dumps({"email": EMAIL})}, "2")
    house.root.update(None, "")
    await house.clock.advance(29)
    house.root.update({"config.json": json.dumps({"email": EMAIL | {"smtpHost": "new.example"}})}, "5")
    await house.clock.advance(60)
    assert house.root.current.spec.email.smtp_host == "new.example"


def test_a_root_that_is_nested_too_deeply_is_invalid(house):
    house.root.update({"config.json": "[" * 200_000}, "3")
    assert "nested" in house.root.current.problems
