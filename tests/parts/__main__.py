"""`python -m tests.parts`: all tests, in parts that run side by side. `make test` is this."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time

import click
from tests.parts.plan import REPOSITORY, SECONDS, counts, files, measured, plan, took
from tests.parts.runner import Runner

FOLDER = REPOSITORY / "build" / "tests"


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@click.command()
@click.option("--jobs", type=click.IntRange(1, 3), default=None, help="Parts at once; else as the machine has cores.")
@click.argument("below", nargs=-1)
@click.option("--measure", is_flag=True, help="Write down how long each file took, for the next plan.")
def main(*, below: tuple[str, ...], jobs: int | None, measure: bool) -> None:
    """Run all tests, or those below these paths. A part that fails shows its log; all logs are in build/tests."""
    # A shell's background job starts with SIGINT ignored, which the parts would inherit: they are ended by it.
    signal.signal(signal.SIGTERM, _interrupted)
    background = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGINT, (lambda *_: None) if background else _interrupted)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    parts = plan([name for name in files() if not below or name.startswith(below)], measured())
    jobs = jobs or max(2, min(3, os.cpu_count() or 1))
    click.echo(f"==> {len(parts)} parts, {jobs} at once: {', '.join(part.name for part in parts)}")
    began = time.monotonic()
    runner = Runner(FOLDER, jobs, [], click.echo)
    try:
        good = runner.run(parts)
    except KeyboardInterrupt:
        click.echo("interrupted; all parts are ended")
        sys.exit(130)
    click.echo(f"==> {'all passed' if good else 'FAILED'} in {time.monotonic() - began:.0f} s")
    for part in runner.failed:
        click.echo(f'    again: make test ARGS="{" ".join(part.files)}"')
    passed, failed, skipped = counts(FOLDER.glob("*.xml"))
    # The last line, in the form that programs read. A part that broke off has no report, but it has failed.
    click.echo(f"{passed} passed, {max(failed, len(runner.failed))} failed, {skipped} skipped")
    if measure and good:
        there = {name: seconds for name, seconds in measured().items() if name in set(files())}
        found = dict(sorted((there | took(FOLDER.glob("*.xml"))).items()))
        SECONDS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    sys.exit(not good)


if __name__ == "__main__":
    main()
