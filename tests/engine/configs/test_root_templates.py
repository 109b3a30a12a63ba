"""Root's own templates: what cannot be used is said where its other faults are."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.engine.configs.test_readiness import FakeTemplates
from tests.engine.fakes import EMAIL, settle_down

from pipebell.engine.configs.root_templates import RootTemplates


@pytest.fixture
async def templates(house):
    runner = FakeTemplates()
    trying = RootTemplates(house.root, runner, house.notices)
    house.root.subscribe(trying)
    task = asyncio.create_task(trying.run())
    yield runner
    task.cancel()


async def changed(house, text, version, **email):
    house.root.update({"config.json": text or json.dumps({"email": EMAIL | email})}, version, "uid-root")
    await settle_down()


async def test_what_is_wrong_is_in_its_state_and_a_notice_until_it_is_mended(house, templates):
    await changed(house, "", "2", textTemplate="wrong")
    assert house.root.state == "templates"
    assert house.root.wrong_templates == ("email.textTemplate, line 1: is wrong",)
    assert house.notices.posted == [("ConfigMap", "ops/pipebell-root", "InvalidRootTemplates")]
    await changed(house, "{", "3")
    assert (house.root.state, templates.checked) == ("kept", 1), "what counts is what was tried"
    await changed(house, "", "4", textTemplate="fine")
    assert (house.root.state, house.root.wrong_templates) == ("valid", ())


async def test_a_root_without_templates_is_not_tried(house, templates):
    await changed(house, "", "2")
    assert (house.root.state, templates.checked, house.notices.posted) == ("valid", 0, [])


async def test_of_a_version_that_is_replaced_while_it_is_tried_nothing_is_said(house, templates):
    check, gate = templates.check, asyncio.Event()

    async def slowly(spec):
        await gate.wait()
        return await check(spec)

    templates.check = slowly
    await changed(house, "", "2", textTemplate="wrong")
    await changed(house, "", "3", textTemplate="fine")
    gate.set()
    await settle_down()
    assert (house.root.state, house.notices.posted) == ("valid", [])
