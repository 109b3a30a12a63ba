"""Configurations as the watch and the lists tell of them: deletions that a broken watch hid are found."""

from __future__ import annotations

import asyncio

import pytest
from tests.engine.fakes import settle_down

from pipebell.engine.configs.lister import BETWEEN_LISTS, HEAL_EVERY, ConfigLister


@pytest.fixture
async def lister(house):
    lister = ConfigLister(house.ports, house.book)
    await lister.list_all()
    task = asyncio.create_task(lister.run())
    await settle_down()
    yield lister
    task.cancel()


def delete_unseen(house):
    """The API forgets everything, and the watch says nothing."""
    house.configs.store.clear()


@pytest.mark.parametrize("after", [0.5, 8.0, 60.0])
async def test_a_relist_soon_after_a_list_heals_as_well(house, lister, after):
    config = house.config()
    house.book.put(config)
    await house.clock.advance(after)
    delete_unseen(house)
    lister.relisted()
    await house.clock.advance(BETWEEN_LISTS + 1.0)
    await settle_down()
    assert house.book.get(config.key) is None


async def test_without_any_relist_a_list_now_and_then_heals(house, lister):
    config = house.config()
    house.book.put(config)
    delete_unseen(house)
    await house.clock.advance(HEAL_EVERY - 1.0)
    assert house.book.get(config.key)
    await house.clock.advance(2.0)
    await settle_down()
    assert house.book.get(config.key) is None
