"""An engine with fakes around it, for every file here."""

from __future__ import annotations

import pytest
from tests.engine.fakes import House


@pytest.fixture
async def house():
    """Without a root configuration, and with a ledger that knows the past."""
    house = House()
    house.no_root()
    yield house
    await house.engine.close(0)
