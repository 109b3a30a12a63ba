"""Configurations as the watch and the lists tell of them: deletions that a broken watch hid are found."""

from __future__ import annotations

import asyncio

import pytest
from tests.engine.fakes import settle_down

from pipebell.engine.configs.lister import APART, HEAL_EVERY, ConfigKeeper
from pipebell.engine.configs.readiness import Readiness


@pytest.fixture
async def keeper(house):
    readiness = Readiness(house.ports, house.book, house.resolver, (), house.engine.wake_org)
    keeper = ConfigKeeper(
        book=house.book,
        configs=house.configs,
        root=house.root,
        readiness=readiness,
        engine=house.engine,
        clock=house.clock,
    )
    await keeper.list_all()
    task = asyncio.create_task(keeper.run())
    await settle_down()
    yield keeper
    task.cancel()


def delete_unseen(house):
    """The API forgets everything, and the watch says nothing."""
    house.configs.store.clear()


@pytest.mark.parametrize("after", [0.5, 8.0, 60.0])
async def test_a_relist_soon_after_a_list_heals_as_well(house, keeper, after):
    config = house.config()
    keeper.learn(config)
    await house.clock.advance(after)
    delete_unseen(house)
    keeper.relisted()
    await house.clock.advance(APART + 1.0)
    await settle_down()
    assert house.book.get(config.key) is None


async def test_without_any_relist_a_list_now_and_then_heals(house, keeper):
    config = house.config()
    keeper.learn(config)
    delete_unseen(house)
    await house.clock.advance(HEAL_EVERY - 1.0)
    assert house.book.get(config.key)
    await house.clock.advance(2.0)
    await settle_down()
    assert house.book.get(config.key) is None
