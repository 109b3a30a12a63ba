"""An engine with fakes around it, for every file here."""

from __future__ import annotations

import pytest
import structlog
from tests.engine.fakes import House

# rich takes seconds over a traceback; the operator's own logs are never written by it either.
_PLAIN = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[structlog.processors.add_log_level, _PLAIN])


@pytest.fixture
async def house():
    """Without a root configuration, and with a ledger that knows the past."""
    house = House()
    house.no_root()
    yield house
    await house.close()
