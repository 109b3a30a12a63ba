"""What is written when: nothing that is forgotten while it waits for a slot, and all the rest."""

from __future__ import annotations

import asyncio

import pytest
from tests.engine.fakes import settle_down
from tests.engine.upkeep.incidents.test_keeper import configure

from pipebell.core.shards import shard_of
from pipebell.engine.upkeep.incidents.writer import AT_ONCE

HELD, OTHER = "acme", "globex"
assert shard_of(HELD) != shard_of(OTHER)


@pytest.fixture
async def house(house):
    house.keep()
    return house


async def test_what_is_forgotten_while_it_waits_for_a_slot_does_not_keep_others_from_being_written(house):
    """A shard is given away while as many writes are under way as may be."""
    configure(house)
    house.config(org=OTHER, name=OTHER, **{"slack": {"botToken": "xoxb-1", "channel": "#data"}, **_rules()})
    written, gate = house.incidents.patch_status, asyncio.Event()

    async def slow(*given):
        await gate.wait()
        return await written(*given)

    house.incidents.patch_status = slow
    await house.submit(*(house.event(pipelineId=f"p{number}") for number in range(2 * AT_ONCE)))
    await settle_down()
    for follower in (house.keeper, house.engine):
        follower.on_shards_released({shard_of(HELD)})
    gate.set()
    await house.submit(house.event(org=OTHER))
    await house.clock.advance(60)
    assert not house.keeping.done()
    (other,) = (item for item in house.incidents.store.values() if item.spec.org_slug == OTHER)
    assert other.status.phase == "Open"


def _rules():
    trigger = {"event": "pipeline_failure", "providers": ["slack"], "cooldownSeconds": 0}
    return {"eventTriggers": [trigger], "incidents": {"enabled": True}}
