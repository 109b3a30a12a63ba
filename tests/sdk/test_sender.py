"""The threads behind every call, when something unexpected happens."""

import asyncio
import logging
import random


async def test_a_programs_own_chance_stays_its_own(service_for):
    """A seeded program gives the same numbers, with events and without."""
    random.seed(7)
    expected = [random.random() for _ in range(3)]
    random.seed(7)
    service = service_for("http://127.0.0.1:1", longest_wait=0.02)
    found = []
    for _ in range(3):
        await service.notify_pipeline_failure("acme_corp", details={"x": object()})
        await asyncio.sleep(0.1)
        found.append(random.random())
    assert found == expected


async def test_an_unexpected_error_is_told_a_few_times_not_a_thousand(service_for, monkeypatch, caplog):
    service = service_for("http://127.0.0.1:1", longest_wait=0.1)
    monkeypatch.setattr(service._sender, "_empty", lambda: 1 / 0)
    with caplog.at_level(logging.ERROR, "pipebell"):
        for _ in range(5):
            await service.notify_pipeline_failure("acme_corp")
            service._sender._wake.set()
        await asyncio.sleep(0.5)
    told = [record for record in caplog.records if "unexpected" in record.message]
    assert 1 <= len(told) <= 10
