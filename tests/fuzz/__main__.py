"""`python -m fuzz`: 100,000 hostile inputs in ten minutes; `--area X --seed N` repeats one batch and shrinks it."""

from __future__ import annotations

import sys

import click
from tests.fuzz.campaign import AREAS, FULL, FULL_SECONDS, attempt, processes, run

SEED = 20_261_125


@click.command()
@click.option("--seconds", type=float, default=FULL_SECONDS, show_default=True)
@click.option("--seed", type=int, default=SEED, show_default=True)
@click.option("--area", "areas", type=click.Choice(sorted(AREAS)), multiple=True, help="Only these.")
@click.option("--jobs", type=int, default=processes(), show_default=True)
@click.option("--again", is_flag=True, help="The one batch of this area and seed, made as small as it can be.")
def main(*, seconds: float, seed: int, areas: tuple[str, ...], jobs: int, again: bool) -> None:
    """Throw hostile inputs at every door of Pipebell, and fail when one of them does harm."""
    names = list(areas or AREAS)
    if again:
        batch = attempt(names[0], seed, AREAS[names[0]].batch, shrink=True)
        click.echo(batch.failure or f"{batch.inputs} inputs: no failure")
        sys.exit(bool(batch.failure))
    click.echo(f"==> fuzzing for {seconds:g} s from seed {seed}")
    report = run(seed, seconds, names, jobs, click.echo)
    click.echo(f"{'area':16}{'inputs':>9}{'seconds':>9}")
    for name in names:
        click.echo(f"{name:16}{report.inputs[name]:9,}{report.seconds[name]:9.0f}")
    click.echo(f"{'all':16}{report.total:9,}")
    for batch in report.failures:
        click.echo(f"FAILED: {batch.area}, seed {batch.seed}")
    few = not areas and seconds >= FULL_SECONDS and report.total < FULL
    if few:
        click.echo(f"{report.total:,} inputs are fewer than {FULL:,}: this machine was too busy to prove anything")
    sys.exit(bool(report.failures or few))


if __name__ == "__main__":
    main()
