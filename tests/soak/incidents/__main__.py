"""`python -m soak.incidents`: 1,000 pipelines fail and recover through kills, outages and throttling."""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import click
from tests.e2e.harness import FINAL, GROUP
from tests.soak.incidents.judge import Verdict, compare, found_in
from tests.soak.incidents.model import expected
from tests.soak.incidents.scene import RULES, Scene, scene
from tests.soak.rig import end, keep, say, seeded
from tests.soak.storm import Replica, Storm

from pipebell.cluster.client import Refused
from pipebell.core.wire import encode

SECONDS, PER_SECOND, REPLICAS = 600.0, 10.0, 3
KILL_EVERY = 30.0  # seconds
LEFT_FOR_THE_REST = 300.0  # seconds after the last event in which everything must be as the model has it
SHOWN = 8  # faults of one sort


class Schedule(Storm):
    """A replica dies every 30 s, and the API server is away twice."""

    def rage(self) -> None:
        """Until it is over."""
        began, span = time.monotonic(), self.until - time.monotonic()
        kill, outages = began + self.every, [began + span / 3, began + span * 2 / 3]
        while time.monotonic() < self.until:
            if outages and time.monotonic() >= outages[0]:
                outages.pop(0)
                self._outage()
            elif time.monotonic() >= kill:
                kill += self.every
                self._kill()
            else:
                time.sleep(0.2)


@click.command()
@click.option("--seconds", type=float, default=SECONDS, show_default=True)
@click.option("--events", type=int, help="How many [default: 10 a second].")
@click.option("--seed", type=int, help="Of what is drawn [default: a new one, which is shown].")
def main(*, seconds: float, events: int | None, seed: int | None) -> None:
    """Every incident's count, phase and messages are what a model computes from the events alone."""
    count = events or round(seconds * PER_SECOND)
    number = seeded(seed)
    say(f"{count:,} events in {seconds:g} s, seed {number}")
    with tempfile.TemporaryDirectory(prefix="pipebell-soak-") as folder, scene(Path(folder), number) as made:
        made.furnish()
        faults = soak(made, number, seconds, count)
        if faults:
            keep(Path(folder), "soak-incidents")
            kept = Path(tempfile.gettempdir(), "soak-incidents.json")
            kept.write_bytes(encode({"events": list(made.events().values()), "incidents": made.incidents()}))
            say(f"kept {kept}")
    end(faults)


def soak(made: Scene, seed: int, seconds: float, count: int) -> list[str]:
    """The run; what is wrong afterwards."""
    began = time.monotonic()
    replicas = [Replica(made.operator()) for _ in range(REPLICAS)]
    every = min(KILL_EVERY, seconds / 6)
    storm = Schedule(made, replicas, random.Random(seed ^ 1), float("inf"), began + seconds, every, say)  # type: ignore[arg-type]
    storm.start()
    try:
        with made.creating(count, seconds):
            storm.rage()
        say(f"{len(made.said):,} events created, {storm.kills} kills, {storm.outages} API outages")
        verdict = settled(made, storm)
    finally:
        codes = storm.stop()
    return judge(made, storm, verdict, codes)


def settled(made: Scene, storm: Storm) -> Verdict:
    """Wait until everything is as the model has it; in the end, what is not."""
    model = expected(made.said, RULES)
    deadline = time.monotonic() + LEFT_FOR_THE_REST
    while time.monotonic() < deadline and _unfinished(made):
        time.sleep(1.0)
    while True:  # counts are written every 10 s
        verdict = compare(made, model, found_in(made), storm.at_kills + storm.at_outages)
        if not verdict.faults or time.monotonic() > deadline:
            return verdict
        time.sleep(5.0)


def _unfinished(made: Scene) -> bool:
    selector = ",".join(f"status.phase%21%3D{name}" for name in sorted(FINAL))
    try:
        return any(
            made.world.api.request("GET", f"{GROUP}/namespaces/{name}/pipelineevents?fieldSelector={selector}&limit=1")[
                "items"
            ]
            for name in set(made.places.values())
        )
    except (OSError, Refused):
        return True


def judge(made: Scene, storm: Storm, verdict: Verdict, codes: list[int]) -> list[str]:
    """Prints what it came to; what is wrong with it."""
    errors = Counter(
        str(line.get("msg")).partition("#")[0].strip()
        for replica in storm.replicas
        for line in replica.operator.lines()
        if line.get("level") == "error"
    )
    for name, value in verdict.numbers.items():
        click.echo(f"{name:<26}{value}")
    click.echo(f"{'kills':<26}{storm.kills}, in flight then {storm.at_kills.total()}")
    click.echo(f"{'API outages':<26}{storm.outages}, in flight then {storm.at_outages.total()}")
    throttled = sum(post.status == 429 for post in (*made.world.slack.requests, *made.threads.requests))
    refused = sum(not mail.accepted for mail in made.throttled.attempts)
    click.echo(f"{'throttled':<26}{throttled} posts, {refused} mails")
    ended = sum(each.ended_by_itself for each in storm.replicas)
    click.echo(f"{'replicas':<26}ended by themselves {ended}, exit codes {codes}")
    click.echo(f"{'error lines':<26}{dict(errors)}")
    faults = [f"{what}: {len(which)}" for what, which in verdict.faults.items()]
    for what, which in verdict.faults.items():
        for line in which[:SHOWN]:
            click.echo(f"  {what}: {line}")
    if not storm.kills:
        faults.append("nothing was killed")
    if any(codes):
        faults.append(f"a replica did not end well: {codes}")
    return faults


if __name__ == "__main__":
    main()
