"""A typical notification, to be varied by each test."""

import pytest

from pipebell.core.event import Event, Notification
from pipebell.core.models import PipelineEventSpec
from pipebell.core.status import EventStatus
from pipebell.core.vocabulary import Severity

MESSAGE = """Job 'load_orders' failed: 400 Syntax error: Unexpected keyword FROM at [12:5]
  File "/app/pipelines/executor.py", line 412, in run_step
    result = await self.warehouse.query(step.sql, timeout=step.timeout)"""


@pytest.fixture(scope="session")
def notify():
    def make(severity=Severity.ERROR, suppressed=0, **changes):
        spec = {
            "org_slug": "acme_corp",
            "event": "pipeline_failure",
            "pipeline_id": "nightly-orders-load",
            "pipeline_logging_id": "run-2026-11-23-0415",
            "error_message": MESSAGE,
            "details": {"step": "load_orders", "attempt": 2, "tables": ["orders", "order_items"]},
            "occurred_at": "2026-11-23T04:15:42Z",
            "links": [{"title": "Logs of this run", "url": "https://console.example.com/runs/7?tab=logs&level=error"}],
        }
        spec.update(changes)
        # Text that pydantic would refuse (lone surrogates) may not reach a renderer; it has to cope all the same.
        parsed = PipelineEventSpec.model_validate(
            spec | {key: "x" for key in spec if isinstance(changes.get(key), Raw)}
        )
        given = {key: str(value) for key, value in changes.items() if isinstance(value, Raw)}
        event = Event(
            "data", "acme-7f3a9", "uid-1", "1", 1, 1_795_407_342.0, parsed.model_copy(update=given), EventStatus()
        )
        return Notification(event, severity, suppressed)

    return make


class Raw(str):
    """Text put into the event without validation."""

    __slots__ = ()


@pytest.fixture(scope="session")
def raw():
    return Raw
