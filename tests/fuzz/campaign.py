"""The campaign: areas in batches over a few processes; the seeds of all batches come from one."""

from __future__ import annotations

import logging
import os
import random
import time
import traceback
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import TYPE_CHECKING, Never

import structlog
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from tests.fuzz import arguments, configurations, events, files, kubeconfigs, replies, servers, spools, watches
from tests.fuzz.area import Area, bounded

if TYPE_CHECKING:
    from collections.abc import Iterator

AREAS: dict[str, Area] = {
    area.name: area
    for module in (events, configurations, files, replies, servers, watches, spools, arguments, kubeconfigs)
    for area in module.AREAS
}
FULL = 100_000  # inputs of a full run
FULL_SECONDS = 600.0
_ALL_CHECKS_OFF = list(HealthCheck)
CAMPAIGN = settings(
    database=None,
    deadline=None,  # `bounded` is the judge of time
    phases=(Phase.generate,),
    suppress_health_check=_ALL_CHECKS_OFF,
    report_multiple_bugs=False,
    verbosity=Verbosity.quiet,
)
SHRINKING = settings(CAMPAIGN, phases=(Phase.generate, Phase.shrink))


@dataclass(frozen=True)
class Batch:
    """What one batch showed. `failure` is a traceback with the input; "" when all is well."""

    area: str
    seed: int
    inputs: int
    seconds: float
    failure: str = ""


@dataclass
class Report:
    """All that was tried."""

    inputs: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    failures: list[Batch] = field(default_factory=list)

    def add(self, batch: Batch) -> None:
        self.inputs[batch.area] += batch.inputs
        self.seconds[batch.area] += batch.seconds
        if batch.failure:
            self.failures.append(batch)

    @property
    def total(self) -> int:
        return self.inputs.total()


def attempt(name: str, number: int, inputs: int, *, shrink: bool = False) -> Batch:
    """One batch of an area, in this process."""
    area = AREAS[name]
    tried = 0
    began = time.monotonic()
    failure = ""
    with _silence(), area.opened() as check:

        @seed(number)
        @settings(SHRINKING if shrink else CAMPAIGN, max_examples=inputs)
        @given(area.inputs)
        def trial(value):
            nonlocal tried
            tried += 1
            with bounded():
                check(value)

        try:
            trial()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            failure = _told(error)
    return Batch(name, number, tried, time.monotonic() - began, failure)


@contextmanager
def _silence() -> Iterator[None]:
    """Log lines of what is refused would bury everything else."""

    def drop(*_: object) -> Never:
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[drop], cache_logger_on_first_use=False)
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        structlog.configure(**before)


def _told(error: BaseException, most: int = 6_000) -> str:
    text = "".join(traceback.format_exception(error))
    notes = "\n".join(getattr(error, "__notes__", ()))
    return f"{text[-most:]}\n{notes[:most]}"


def run(first_seed: int, seconds: float, names: list[str], jobs: int, say) -> Report:
    """Batches of these areas until `seconds` are over: at first what is furthest from its quota. Then a report."""
    report, draw = Report(), random.Random(first_seed)
    until = time.monotonic() + seconds
    planned: Counter[str] = Counter()

    def submit(pool: ProcessPoolExecutor) -> Future[Batch]:
        name = min(names, key=lambda name: planned[name] / AREAS[name].quota)
        planned[name] += AREAS[name].batch
        return pool.submit(attempt, name, draw.getrandbits(48), AREAS[name].batch)

    # A fresh process now and then: what one batch leaves behind must not pile up.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), max_tasks_per_child=40) as pool:
        running = {submit(pool) for _ in range(jobs)}
        said = time.monotonic()
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                batch = future.result()
                report.add(batch)
                if batch.failure:
                    say(f"\n==> {batch.area}: repeat it by --again --area '{batch.area}' --seed {batch.seed}")
                    say(batch.failure)
            while len(running) < jobs and time.monotonic() < until and len(report.failures) < 20:
                running.add(submit(pool))
            if time.monotonic() - said > 30:
                said = time.monotonic()
                say(
                    f"    {report.total:,} inputs, {len(report.failures)} failures, {max(0.0, until - said):.0f} s left"
                )
    return report


def processes() -> int:
    """As many as there are processors."""
    return max(1, os.cpu_count() or 1)
