"""An engine with fakes around it, for every file here."""

from __future__ import annotations

import pytest
import structlog
from tests.engine.fakes import House


def _line(_logger, level, fields):
    """Structlog's own lines take a twentieth of these tests' time, and rich takes seconds over a traceback."""
    return f"[{level}] {fields.pop('event')} {fields}"


structlog.configure(processors=[structlog.processors.format_exc_info, _line])


@pytest.fixture
async def house():
    """Without a root configuration, and with a ledger that knows the past."""
    house = House()
    house.no_root()
    yield house
    await house.close()
