"""What silences show of themselves: written seldom, by whom it belongs to, and never over somebody else's count."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.engine.nights import Night, later

from pipebell.core.errors import Unavailable
from pipebell.core.shards import shard_of
from pipebell.core.silences.resource import SilenceStatus
from pipebell.engine.upkeep.silence_status import _OF_SHARD_00


@pytest.fixture
async def night():
    night = Night()
    night.no_root()
    night.config()
    night.run()
    yield night
    await night.close()


def status(night, name="migration", namespace="team"):
    return night.silences.store[namespace, name].status


async def test_the_phase_is_written_when_it_changes(night):
    night.silence(seconds=600, startsAt="2025-06-15T15:10:00Z")
    await later(night, 3)
    assert status(night).phase == "Pending"
    await later(night, 200)
    assert status(night).phase == "Active"
    await later(night, 600)
    assert status(night).phase == "Expired"
    await later(night, 600)
    assert [write for _, write in night.silences.writes] == [{"phase": p} for p in ("Pending", "Active", "Expired")]


async def test_the_count_is_written_at_once_and_then_once_a_minute(night):
    night.silence(seconds=6000)
    for number in range(100):
        await night.fails(f"p{number}")
        await later(night, 1)
    assert status(night).matched in range(1, 100)
    await later(night, 61)
    assert status(night).matched == 100
    assert status(night).last_match == "2025-06-15T15:08:19.000Z"
    assert len([write for _, write in night.silences.writes if "matched" in write]) <= 3


async def test_another_replicas_count_is_added_to(night):
    made = night.silence(seconds=6000)
    await later(night, 3)
    theirs = SilenceStatus(phase="Active", matched=40, last_match="2025-06-15T20:00:00.000Z")
    night.silences.put(replace(night.silences.store[made.key], status=theirs))
    await night.fails("orders")
    await later(night, 3)
    assert status(night).matched == 40  # a conflict: the watch has not told of theirs yet
    night.listed.put(night.silences.store[made.key])
    await later(night, 3)
    assert status(night).matched == 41
    assert status(night).last_match < "2025-06-15T20"  # theirs is still to come: written by a clock that was wrong


async def test_the_phase_is_for_the_holder_of_its_organisations_shard_and_else_of_the_first(night):
    assert shard_of(_OF_SHARD_00) == 0
    night.ownership.lost |= {"acme", _OF_SHARD_00}
    night.silence("of-acme", orgSlug="acme")
    night.silence("of-all")
    await later(night, 5)
    assert night.silences.writes == []
    night.ownership.lost.remove("acme")
    await later(night, 5)
    assert [name for name, _ in night.silences.writes] == ["of-acme"]
    night.ownership.lost.clear()
    await later(night, 5)
    assert [name for name, _ in night.silences.writes] == ["of-acme", "of-all"]


async def test_the_platforms_silence_counts_events_of_all_namespaces(night):
    night.config("globex", "other")
    night.silence("freeze", "ops", seconds=6000)
    await night.fails("orders")
    await night.fails("x", org="globex", namespace="other")
    await later(night, 70)
    assert status(night, "freeze", "ops").matched == 2


async def test_what_is_refused_is_tried_again_later_and_nothing_is_lost(night):
    night.silence(seconds=6000)
    night.silences.trouble = Unavailable("away")
    await night.fails("orders")
    await later(night, 100)
    night.silences.trouble = None
    await later(night, 100)
    assert (status(night).phase, status(night).matched) == ("Active", 1)


async def test_a_silence_of_the_same_name_begins_to_count_anew(night):
    night.silence(seconds=6000)
    night.silences.trouble = Unavailable("away")
    await night.fails("orders")
    night.lift()
    night.silences.trouble = None
    await later(night, 40)
    night.silence(seconds=6000)
    await night.fails("orders", "billing")
    await later(night, 40)
    assert status(night).matched == 2


async def test_what_was_counted_and_not_written_is_found_after_a_kill(night):
    night.silence(seconds=6000)
    await night.fails("orders", "billing")
    await night.kill()
    await later(night, 5)
    assert (status(night).matched, status(night).last_match) == (2, "2025-06-15T15:06:40.000Z")
    await night.fails("payroll")
    await later(night, 70)
    await night.kill()
    await later(night, 70)
    assert status(night).matched == 3


async def test_quiet_hours_count_on_no_silence(night):
    night.config(quietHours=[{"from": "15:00", "to": "16:00"}])
    night.silence("other", pipelines=["x"])
    await night.fails("orders")
    await later(night, 70)
    assert status(night, "other").matched is None


async def test_namespaces_take_turns_however_many_silences_one_of_them_makes(night):
    for name in ("a", "b"):
        for number in range(100):
            night.silence(f"{name}-{number}", namespace=f"crowd-{name}")
    night.silence("migration")
    await later(night, 3)
    assert status(night).phase == "Active"
    await later(night, 60)
    assert len(night.silences.writes) == 201
