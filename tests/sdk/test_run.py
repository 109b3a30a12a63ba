"""A run tells how it ends, and ends as it would have ended anyway."""

import asyncio
import time

import pytest

from pipebell.sdk.run import DataQualityError, PipelineRun, pipeline_run


@pytest.fixture
def run(fake, service_for):
    service = service_for(fake.url)

    def make(**options) -> PipelineRun:
        return pipeline_run("acme_corp", "daily", service=service, **options)

    return make


@pytest.fixture
def told(fake):
    return lambda: [body["spec"] for _, _, body in fake.requests]


async def test_an_unhandled_exception_is_told_and_goes_on(run, told):
    cleaned = []

    async def pipeline(current):
        try:
            async with current:
                current.details["rows"] = 3
                1 / 0  # noqa: B018  (it raises)
        finally:
            cleaned.append(True)

    current = run(details={"table": "orders"})
    with pytest.raises(ZeroDivisionError):
        await pipeline(current)
    (event,) = told()
    assert cleaned == [True]
    assert (event["event"], event["errorMessage"]) == ("pipeline_failure", "ZeroDivisionError: division by zero")
    assert event["pipelineLoggingId"] == current.pipeline_logging_id
    details = event["details"]
    assert (details["table"], details["rows"], details["reason"]) == ("orders", 3, "exception")
    assert "1 / 0" in details["traceback"]


async def test_a_timeout_is_a_failure_with_its_reason(run, told):
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with run(timeout=0.1):
            await asyncio.sleep(30)
    assert time.monotonic() - began < 20
    (event,) = told()
    assert (event["event"], event["errorMessage"]) == ("pipeline_failure", "timed out after 0.1 s")
    assert event["details"]["reason"] == "timeout"


async def test_a_timeout_error_of_its_own_is_an_exception(run, told):
    with pytest.raises(TimeoutError):
        async with run(timeout=30):
            raise TimeoutError("database")
    assert told()[0]["details"]["reason"] == "exception"


async def test_a_cancellation_is_told_and_goes_on(run, told):
    async def work():
        async with run():
            await asyncio.sleep(30)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told()[0]["details"]["reason"] == "cancelled"


async def test_success_tells_nothing_unless_asked_for(run, told):
    async with run(timeout=5):
        pass
    assert told() == []
    async with run(on_start=True, on_success=True) as current:
        assert [event["event"] for event in told()] == ["pipeline_started"]
    events = told()
    assert [event["event"] for event in events] == ["pipeline_started", "pipeline_success"]
    assert {event["pipelineLoggingId"] for event in events} == {current.pipeline_logging_id}


async def test_data_quality(run, told):
    async with run() as current:
        await current.data_quality(failed=["no_nulls"], degraded=["freshness"], details={"checked": 10})
        await current.data_quality(degraded=["freshness"])
        assert await current.data_quality() is None
    failure, warning = told()
    assert (failure["event"], failure["errorMessage"]) == (
        "data_quality_failure",
        "data quality checks failed: no_nulls",
    )
    assert failure["details"] == {"failed_checks": ["no_nulls"], "degraded_checks": ["freshness"], "checked": 10}
    assert warning["event"] == "data_quality_warning"


async def test_data_that_are_unfit_may_end_the_run(run, told):
    with pytest.raises(DataQualityError):
        async with run():
            raise DataQualityError("3 of 10 checks failed", {"failed": 3})
    (event,) = told()
    assert (event["event"], event["details"]["failed"]) == ("data_quality_failure", 3)


async def test_as_a_decorator_each_call_is_a_run_of_its_own(run, told):
    @run(on_success=True)
    async def pipeline(value):
        """Its own words."""
        return value + 1

    assert (await pipeline(1), await pipeline(2)) == (2, 3)
    assert pipeline.__doc__ == "Its own words."
    first, second = told()
    assert first["pipelineLoggingId"] != second["pipelineLoggingId"]


def test_plain_functions_and_blocks(run, told):
    @run()
    def pipeline():
        raise KeyError("order_id")

    with pytest.raises(KeyError):
        pipeline()
    with run(on_start=True, on_success=True) as current:
        current.data_quality_blocking(failed=["x"])
    assert [event["event"] for event in told()] == [
        "pipeline_failure", "pipeline_started", "data_quality_failure", "pipeline_success",
    ]  # fmt: skip


def test_a_timeout_that_could_not_interrupt_is_refused_at_once(run):
    with pytest.raises(TypeError, match="cannot be interrupted"):
        run(timeout=1)(lambda: None)
    with pytest.raises(TypeError), run(timeout=1):
        pass


@pytest.mark.parametrize(("code", "events"), [(0, []), (None, []), (3, ["pipeline_failure"])])
def test_sys_exit(run, told, code, events):
    with pytest.raises(SystemExit), run():
        raise SystemExit(code)
    assert [event["event"] for event in told()] == events


def test_ctrl_c(run, told):
    with pytest.raises(KeyboardInterrupt), run():
        raise KeyboardInterrupt
    assert told()[0]["details"]["reason"] == "interrupted"


async def test_an_exception_that_cannot_be_shown(run, told):
    class Rude(Exception):  # noqa: N818
        def __str__(self):
            raise ValueError("no")

    with pytest.raises(Rude):
        async with run():
            raise Rude
    assert told()[0]["errorMessage"] == "Rude: <Rude>"


async def test_without_a_cluster_the_run_is_not_disturbed(service_for):
    service = service_for("http://127.0.0.1:1", timeout=0.5)
    with pytest.raises(ZeroDivisionError):
        async with pipeline_run("acme_corp", "daily", service=service, on_start=True):
            1 / 0  # noqa: B018
