"""`python -m bench`: everything; `python -m bench --quick`: the essentials in two minutes."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from bench.report import show
from bench.scenarios import Bench, relay
from bench.stage import Stage
from pipebell import __version__

ROUNDS = 3


@click.command()
@click.option("--quick", is_flag=True, help="Only the essentials")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("build/bench.json"))
def main(*, quick: bool, output: Path) -> None:
    """Measure Pipebell on a real API server, and print ratios."""
    began = time.monotonic()
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="pipebell-bench-") as folder, Stage(Path(folder)) as stage:
        bench = Bench(stage)
        try:
            _throughput(bench, rows, quick=quick)
            if not quick:
                _behaviour(bench, rows)
                _scale(bench, rows)
        except BaseException:
            for log in Path(folder).glob("*.log"):
                (Path(tempfile.gettempdir()) / f"bench-{log.name}").write_bytes(log.read_bytes())
            raise
    report = {
        "version": __version__,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "seconds": round(time.monotonic() - began, 1),
        **_headline(rows),
        "rows": rows,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report, indent=2) + "\n")
    show(report)
    click.echo(f"written to {output}")


def _throughput(bench: Bench, rows: dict[str, Any], *, quick: bool) -> None:
    """Ceiling and Pipebell in turns, so that a busy neighbour meets both."""
    stage, one = bench.stage, ["org0"]
    many = [f"org{number}" for number in range(5000)]
    count = 2000 if quick else 3000
    say("naive kopf operator")
    with stage.naive() as naive:  # first: at its start it would handle every event that there is
        bench.events(naive, one, 100)
        rows["naive"] = bench.events(naive, one, count // 2)
    stage.root(relay(stage.sink))
    bench.configs(stage.sink, one, ready=False)
    ceilings, runs = [], []
    for turn in range(ROUNDS):
        say(f"round {turn + 1} of {ROUNDS}")
        ceilings.append(bench.ceiling(count // 2))
        with stage.operator() as operator:
            if not turn:
                rows["rss_at_start_mb"] = round(operator.measure(), 1)
                bench.events(operator, one, 200)  # connections, caches
            runs.append(bench.events(operator, one, count))
            if turn == ROUNDS - 1:
                say("idle latency")
                rows["idle"] = bench.idle(operator, one)
                if not quick:
                    say("100 organisations")
                    bench.configs(stage.sink, many[1:100])
                    rows["orgs_100"] = bench.events(operator, many[:100], count)
                say("5,000 organisations")
                rows["configs_5000"] = bench.configs(stage.sink, many[1 if quick else 100 :])
                rows["orgs_1_again"] = bench.events(operator, one, count // 2)
                rows["orgs_5000"] = bench.events(operator, many, count)
    rows["ceiling"], rows["orgs_1"] = ceilings, runs


def _behaviour(bench: Bench, rows: dict[str, Any]) -> None:
    stage = bench.stage
    say("e-mail, cooldown storm")
    with stage.operator() as operator:
        rows["email"] = bench.email(operator, 2000)
        rows["storm"] = bench.storm(operator, 10_000)
        say("a flood beside a single event")
        rows["beside_flood"] = bench.beside(operator, "org0", "org1", 5000, 200)
    slow, dead = stage.slow_sink(2.0), stage.slow_sink(86_400.0)
    with stage.operator(slow, dead) as operator:
        say("a slow and a dead destination beside a healthy one")
        bench.configs(slow, ["slow0"])
        rows["beside_slow"] = bench.beside(operator, "slow0", "org1", 500, 200)
        bench.configs(dead, ["dead0"])
        rows["beside_dead"] = bench.beside(operator, "dead0", "org1", 500, 200)


def _scale(bench: Bench, rows: dict[str, Any]) -> None:
    stage, one = bench.stage, ["org0"]
    say("50,000 events in one process")
    with stage.operator() as operator:
        memory = []
        for _ in range(10):
            run = bench.events(operator, one, 5000, timeout=300.0)
            memory.append(run["rss_mb"])
        rows["rss_by_5000_events_mb"] = memory
    say("restart beside finished events")
    rows["restart_finished"] = bench.restart(one)
    say("10,000 configurations")
    with stage.operator():
        rows["configs_10000"] = bench.configs(stage.sink, [f"org{number}" for number in range(5000, 10_000)])
    rows["restart_10000_configs"] = bench.restart(one)


def _headline(rows: dict[str, Any]) -> dict[str, Any]:
    """The numbers that targets are about; medians of the rounds."""

    def middle(runs: list[dict[str, Any]], field: str) -> float:
        return statistics.median(run[field] for run in runs)

    ceiling, ours = middle(rows["ceiling"], "events_per_s"), middle(rows["orgs_1"], "events_per_s")
    again = rows["orgs_1_again"]
    return {
        "ceiling_events_per_s": ceiling,
        "events_per_s": ours,
        "naive_kopf_events_per_s": rows["naive"]["events_per_s"],
        "over_ceiling": round(ours / ceiling, 3),
        "over_naive_kopf": round(ours / rows["naive"]["events_per_s"], 3),
        "cpu_ms_per_event": statistics.median(run["cpu_ms_per_event"]["operator"] for run in rows["orgs_1"]),
        "cpu_over_api_server": round(statistics.median(_share(run) for run in rows["orgs_1"]), 3),
        "naive_kopf_cpu_ms_per_event": rows["naive"]["cpu_ms_per_event"]["operator"],
        "orgs_5000_over_1": round(rows["orgs_5000"]["events_per_s"] / again["events_per_s"], 3),
        "orgs_5000_cpu_over_1": round(
            rows["orgs_5000"]["cpu_ms_per_event"]["operator"] / again["cpu_ms_per_event"]["operator"], 3
        ),
        "orgs_5000_cpu_over_api_server_over_1": round(_share(rows["orgs_5000"]) / _share(again), 3),
        "idle_p50_ms": rows["idle"]["create_to_sink"]["p50_ms"],
        "idle_p99_ms": rows["idle"]["create_to_sink"]["p99_ms"],
        "rss_mb": rows.get("restart_10000_configs", rows["orgs_5000"])["rss_mb"],
    }


def _share(run: dict[str, Any]) -> float:
    """The operator's CPU over the API server's in the same run: a busy neighbour slows both down alike."""
    cpu = run["cpu_ms_per_event"]
    return cpu["operator"] / cpu["api_server"]


def say(what: str) -> None:
    click.echo(f"==> {what}", err=True)


if __name__ == "__main__":
    main()
