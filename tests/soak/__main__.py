"""`python -m soak`: three replicas through twenty minutes of kills, outages, throttling, slow and dead destinations."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import click
from tests.soak.rig import end, keep, say, seeded
from tests.soak.scene import Scene, ended_wrongly, recorded, scene
from tests.soak.storm import Replica, Storm

SECONDS, EVENTS, REPLICAS = 1200.0, 10_000, 3
LEFT_FOR_THE_REST = 300.0  # seconds after the last event in which all must be finished
GROWTH_MB = 15.0


@click.command()
@click.option("--seconds", type=float, default=SECONDS, show_default=True)
@click.option("--events", type=int, help="How many [default: 10,000 in 20 minutes, and in proportion].")
@click.option("--seed", type=int, help="Of what is drawn [default: a new one, which is shown].")
def main(*, seconds: float, events: int | None, seed: int | None) -> None:
    """Lose nothing, repeat only what was in flight, grow by no more than 15 MB."""
    count = events or max(100, round(EVENTS * min(1.0, seconds / SECONDS)))
    number = seeded(seed)
    say(f"{count:,} events in {seconds:g} s, seed {number}")
    with tempfile.TemporaryDirectory(prefix="pipebell-soak-") as folder, scene(Path(folder), number) as made:
        made.furnish()
        faults = soak(made, number, seconds, count)
        if faults:
            keep(Path(folder), "soak")
    end(faults)


def soak(made: Scene, seed: int, seconds: float, count: int) -> list[str]:
    """The run; what is wrong afterwards."""
    began = time.monotonic()
    creation, until = seconds * 0.8, began + seconds * 0.85
    replicas = [Replica(made.world.operator()) for _ in range(REPLICAS)]
    chance = random.Random(seed ^ 1)
    storm = Storm(made, replicas, chance, began + seconds / 2, until, max(12.0, seconds / 40), say)
    storm.start()
    codes: list[int] = []
    try:
        with made.creating(count, creation, threading.Event()):
            storm.rage()
        say(f"{sum(made.created.values()):,} events created, {storm.kills} kills, {storm.outages} API outages")
        found = made.finished(max(LEFT_FOR_THE_REST, began + seconds - time.monotonic()))
        rest = began + seconds - time.monotonic()
        if rest > 0:
            time.sleep(rest)  # memory is looked at for all of the second half
        growth = [value for replica in replicas if (value := replica.growth(storm.half)) is not None]
    finally:
        codes = storm.stop()
    return judge(made, storm, found, growth, codes, count)


def judge(
    made: Scene, storm: Storm, found: dict[str, dict[str, object]], growth: list[float], codes: list[int], count: int
) -> list[str]:
    """Prints what it came to; what is wrong with it."""
    sent, known = made.sent(), recorded(found)
    repeated = Counter({identity: times - 1 for identity, times in sent.items() if times > 1})
    may_repeat = storm.at_kills + storm.at_outages
    phases = Counter(item.get("status", {}).get("phase") for item in found.values())
    wrong = ended_wrongly(found)
    errors = Counter(
        str(line.get("msg")).partition("#")[0].strip()
        for replica in storm.replicas
        for line in replica.operator.lines()
        if line.get("level") == "error"
    )
    click.echo(f"events        {len(found):,} of {count:,}: {dict(phases)}")
    click.echo(f"deliveries    {len(sent):,} accepted by receivers, {len(known):,} recorded")
    click.echo(f"kills         {storm.kills}, in flight then {storm.at_kills.total()}")
    click.echo(f"API outages   {storm.outages}, in flight then {storm.at_outages.total()}")
    click.echo(f"duplicates    {repeated.total()} ({sum((repeated - storm.at_kills).values())} of them by outages)")
    click.echo(f"memory        {', '.join(f'{value:+.1f} MB' for value in growth)} in the second half")
    click.echo(
        f"replicas      ended by themselves {sum(each.ended_by_itself for each in storm.replicas)}, exit codes {codes}"
    )
    click.echo(f"error lines   {dict(errors)}")
    checks = {
        f"{count - len(found)} events are missing": len(found) != count,
        f"ended otherwise than they should: {dict(wrong)}": bool(wrong),
        f"recorded as delivered, and never arrived: {sorted(known - set(sent))[:5]}": bool(known - set(sent)),
        f"arrived, and is not recorded: {sorted(set(sent) - known)[:5]}": bool(set(sent) - known),
        f"repeated, and was not in flight: {dict(repeated - may_repeat)}": not repeated <= may_repeat,
        "no replica lived through the second half": not growth,
        f"memory grew by more than {GROWTH_MB:g} MB": any(value > GROWTH_MB for value in growth),
        "nothing was killed": not storm.kills,
        f"a replica did not end well: {codes}": any(codes),
    }
    return [what for what, is_wrong in checks.items() if is_wrong]


if __name__ == "__main__":
    main()
