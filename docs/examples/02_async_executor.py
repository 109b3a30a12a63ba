"""A pipeline executor on asyncio that tells by itself: failures, timeouts, and what its data-quality checks found.

python docs/examples/02_async_executor.py [ok | fails | hangs | degraded | unfit]
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pipebell import DataQualityError, pipeline_run

Step = Callable[["AsyncPipelineExecutor"], Awaitable[None]]


@dataclass
class AsyncPipelineExecutor:
    """Runs steps one after the other. Everything about notifications is the one `async with` below."""

    org_slug: str
    tracking_pipeline_id: str
    pipeline_logging_id: str
    timeout: float
    steps: list[Step] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)

    async def execute(self) -> None:
        try:
            async with pipeline_run(
                self.org_slug,
                self.tracking_pipeline_id,
                self.pipeline_logging_id,
                timeout=self.timeout,
                on_success=True,
            ) as run:
                for step in self.steps:
                    run.details["step"] = step.__name__
                    await step(self)
                await run.data_quality(degraded=self.degraded)
        finally:
            print("cleaned up")  # in every case


async def extract(executor: AsyncPipelineExecutor) -> None:
    await asyncio.sleep(0)


async def fail(executor: AsyncPipelineExecutor) -> None:
    raise ConnectionError("the warehouse does not answer")


async def hang(executor: AsyncPipelineExecutor) -> None:
    await asyncio.sleep(3600)


async def find_late_rows(executor: AsyncPipelineExecutor) -> None:
    executor.degraded.append("freshness: 2 % of the rows are late")


async def find_unfit_rows(executor: AsyncPipelineExecutor) -> None:
    raise DataQualityError("3 of 10 checks failed", {"failed": ["no_nulls", "unique_ids", "row_count"]})


WAYS: dict[str, list[Step]] = {
    "ok": [extract],
    "fails": [extract, fail],
    "hangs": [extract, hang],
    "degraded": [extract, find_late_rows],
    "unfit": [extract, find_unfit_rows],
}

if __name__ == "__main__":
    way = sys.argv[1] if len(sys.argv) > 1 else "fails"
    executor = AsyncPipelineExecutor("acme_corp", "daily-orders", f"run-{way}", timeout=1.0, steps=WAYS[way])
    try:
        asyncio.run(executor.execute())
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
