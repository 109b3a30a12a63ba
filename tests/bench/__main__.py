"""`python -m bench`: everything; `python -m bench --quick`: the essentials in about two minutes."""

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

from bench import deciding
from bench.report import show
from bench.scenarios import Bench, relay
from bench.stage import NAIVE, Operator, Stage
from pipebell import __version__

FINISHED = 20_000  # events that a restart shall not mind
OPENINGS = 250  # failures of as many pipelines: in all rounds together fewer than the 1,000 that a namespace may have
FAILURES = 3000  # of 30 pipelines


@click.command()
@click.option("--quick", is_flag=True, help="Only the essentials")
@click.option("--only", type=click.Choice(["incidents"]), help="Only this part of the full benchmark")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("build/bench.json"))
def main(*, quick: bool, only: str | None, output: Path) -> None:
    """Measure Pipebell on a real API server, and print ratios."""
    began = time.monotonic()
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="pipebell-bench-") as folder, Stage(Path(folder)) as stage:
        bench = Bench(stage)
        try:
            if only is None:
                _throughput(bench, rows, quick=quick)
            if not quick:
                _incidents(bench, rows)
            if not (quick or only):
                _behaviour(bench, rows)
                _scale(bench, rows)
        except BaseException:
            (Path(tempfile.gettempdir()) / "bench-rows.json").write_text(json.dumps(rows, indent=2))
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
    """Ceiling, naive operator and Pipebell in turns, so that a busy neighbour meets all of them."""
    stage, one = bench.stage, ["org0"]
    many = [f"org{number}" for number in range(5000)]
    rounds, count = (3, 900) if quick else (3, 3000)
    stage.root(relay(stage.sink))
    bench.configs(stage.sink, one, ready=False)
    for turn in range(rounds):
        say(f"round {turn + 1} of {rounds}")
        with stage.naive() as naive:
            bench.events(naive, one, 100, namespace=NAIVE)
            rows.setdefault("naive", []).append(bench.events(naive, one, count // (3 if quick else 2), namespace=NAIVE))
        before = bench.ceiling(count // 2)
        with stage.operator() as operator:
            if not turn:
                rows["rss_at_start_mb"] = round(operator.measure(), 1)
            operator.settle()
            bench.events(operator, one, 200)  # connections, caches
            rows.setdefault("orgs_1", []).append(bench.events(operator, one, count))
            bench.same_writes()
        rows.setdefault("ceiling", []).append(_mean(before, bench.ceiling(count // 2)))
    with stage.operator() as operator:
        operator.settle()
        _latency_and_width(bench, operator, rows, many, count, quick=quick)


def _incidents(bench: Bench, rows: dict[str, Any]) -> None:
    """Failures that open incidents, and failures that are counted, each beside the ceiling of the same minute."""
    stage = bench.stage
    stage.root(relay(stage.sink))
    for turn in range(3):
        say(f"incidents, round {turn + 1} of 3")
        for name, pipelines, count in (("incidents_opened", OPENINGS, OPENINGS), ("incidents_counted", 30, FAILURES)):
            before = bench.ceiling(FAILURES // 2)
            with stage.operator() as operator:
                operator.settle()
                bench.incidents(operator, 5, 200)  # connections, caches
                rows.setdefault(name, []).append(bench.incidents(operator, pipelines, count))
            rows.setdefault(f"{name}_ceiling", []).append(_mean(before, bench.ceiling(FAILURES // 2)))


def _mean(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What the bare client reached right before and right after a run: neighbours come and go within a round."""
    cpus = before["cpu_ms_per_event"], after["cpu_ms_per_event"]
    return {
        "events_per_s": round((before["events_per_s"] + after["events_per_s"]) / 2, 1),
        "before_and_after": [before["events_per_s"], after["events_per_s"]],
        "cpu_ms_per_event": {name: round((cpus[0][name] + cpus[1][name]) / 2, 3) for name in cpus[0]},
    }


def _latency_and_width(
    bench: Bench, operator: Operator, rows: dict[str, Any], many: list[str], count: int, *, quick: bool
) -> None:
    stage = bench.stage
    say("idle latency")
    rows["idle"] = bench.idle(operator, many[:1])
    if not quick:
        say("100 organisations")
        bench.configs(stage.sink, many[1:100])
        rows["orgs_100"] = bench.events(operator, many[:100], count)
    say("5,000 organisations")
    rows["configs_5000"] = bench.configs(stage.sink, many[1 if quick else 100 :])
    bench.events(operator, many[-200:], 200)  # connections, caches
    for turn in range(3):  # in turns, so that a busy neighbour meets both; each time other organisations' first events
        first = turn * count % len(many)
        pair = [("orgs_1_again", many[:1]), ("orgs_5000", [*many[first:], *many[:first]])]
        for row, orgs in pair if turn % 2 == 0 else reversed(pair):
            rows.setdefault(row, []).append(bench.events(operator, orgs, count))


def _behaviour(bench: Bench, rows: dict[str, Any]) -> None:
    stage = bench.stage
    say("deciding with 64 overrides")
    rows["deciding"] = deciding.measure()
    say("e-mail, cooldown storm")
    with stage.operator() as operator:
        rows["email"] = bench.email(operator, 2000)
        rows["relay"] = bench.relay(3000)
        rows["storm"] = bench.storm(operator, 10_000)
        say("a flood beside a single event")
        rows["beside_flood"] = bench.beside(operator, "org0", "org1", 5000, 200)
    say("a single event behind a flood")
    rows["behind_flood"] = bench.behind("org0", "org1", 5000, 200)
    slow, slower, dead = stage.slow_sink(2.0), stage.slow_sink(8.0), stage.slow_sink(86_400.0)
    with stage.operator(slower) as operator:
        say("2,500 organisations at once at a slow destination")
        rows["burst"] = bench.burst(operator, slower, 2500)
    with stage.operator(slow, dead) as operator:
        say("a slow and a dead destination beside a healthy one")
        bench.configs(slow, ["slow0"])
        rows["beside_slow"] = bench.beside(operator, "slow0", "org1", 500, 200)
        bench.configs(dead, ["dead0"])
        rows["beside_dead"] = bench.beside(operator, "dead0", "org1", 500, 200)


def _scale(bench: Bench, rows: dict[str, Any]) -> None:
    stage, one = bench.stage, ["org0"]
    if bench.finished < FINISHED:
        bench.ceiling(FINISHED - bench.finished)
    say(f"restart beside {bench.finished:,} finished events")
    rows["restart_finished"] = bench.restart(one)
    say("50,000 events in one process")
    with stage.operator() as operator:
        memory = []
        for _ in range(10):
            run = bench.events(operator, one, 5000, timeout=300.0)
            memory.append(run["rss_mb"])
        rows["rss_by_5000_events_mb"] = memory
    say("10,000 configurations")  # the 2,500 of the burst among them
    with stage.operator():
        rows["configs_10000"] = bench.configs(stage.sink, [f"org{number}" for number in range(5000, 7500)])
    rows["restart_10000_configs"] = bench.restart(one)


def _headline(rows: dict[str, Any]) -> dict[str, Any]:
    """The numbers that targets are about; medians of the rounds."""

    def middle(runs: list[dict[str, Any]], field: str) -> float:
        return statistics.median(run[field] for run in runs)

    parts: dict[str, Any] = {}
    for name in ("incidents_opened", "incidents_counted"):
        if name in rows:
            parts[f"{name}_over_ceiling"] = _ratio(rows[name], rows[f"{name}_ceiling"])
            parts[f"{name}_cpu_ms_per_event"] = _cpu(rows[name])
    if "ceiling" not in rows:
        return parts
    ceiling, ours = middle(rows["ceiling"], "events_per_s"), middle(rows["orgs_1"], "events_per_s")
    naive = middle(rows["naive"], "events_per_s")
    again, wide = rows["orgs_1_again"], rows["orgs_5000"]
    headline = {
        "ceiling_events_per_s": ceiling,
        "events_per_s": ours,
        "naive_kopf_events_per_s": naive,
        "over_ceiling": _ratio(rows["orgs_1"], rows["ceiling"]),
        "over_naive_kopf": _ratio(rows["orgs_1"], rows["naive"]),
        "cpu_ms_per_event": _cpu(rows["orgs_1"]),
        "cpu_over_api_server": _share(rows["orgs_1"]),
        "naive_kopf_cpu_ms_per_event": _cpu(rows["naive"]),
        "orgs_5000_over_1": _ratio(wide, again),
        "orgs_5000_cpu_over_1": round(_cpu(wide) / _cpu(again), 3),
        "orgs_5000_cpu_over_api_server_over_1": round(_share(wide) / _share(again), 3),
        "idle_p50_ms": rows["idle"]["create_to_sink"]["p50_ms"],
        "idle_p99_ms": rows["idle"]["create_to_sink"]["p99_ms"],
        "rss_mb": rows.get("restart_10000_configs", wide[-1])["rss_mb"],
        **parts,
    }
    if "relay" in rows:
        headline["overrides_64_ms"] = rows["deciding"]["overrides_64_ms"]
        headline["mails_per_s"] = rows["relay"]["mails_per_s"]
        headline["beside_flood_p99_ms"] = rows["beside_flood"]["create_to_sink"]["p99_ms"]
        headline["behind_flood_p99_ms"] = rows["behind_flood"]["create_to_sink"]["p99_ms"]
        headline["beside_flood_ours_p99_ms"] = rows["beside_flood"]["bystander_to_sink"]["p99_ms"]
        headline["beside_dead_p99_ms"] = rows["beside_dead"]["create_to_sink"]["p99_ms"]
        headline["restart_finished_s"] = rows["restart_finished"]["first_delivery_s"]
        headline["restart_10000_configs_s"] = rows["restart_10000_configs"]["first_delivery_s"]
        headline["burst_peak_rss_mb"] = rows["burst"]["peak_rss_mb"]
        memory = rows["rss_by_5000_events_mb"]
        headline["rss_growth_mb"] = round(memory[-1] - memory[1], 1)
    return headline


def _ratio(runs: list[dict[str, Any]], yardsticks: list[dict[str, Any]]) -> float:
    """Events/s over a yardstick's of the same round."""
    pairs = zip(runs, yardsticks, strict=True)
    return round(statistics.median(run["events_per_s"] / yardstick["events_per_s"] for run, yardstick in pairs), 3)


def _cpu(runs: list[dict[str, Any]]) -> float:
    """The operator's CPU, ms an event."""
    return statistics.median(run["cpu_ms_per_event"]["operator"] for run in runs)


def _share(runs: list[dict[str, Any]]) -> float:
    """The operator's CPU over the API server's in the same run: a busy neighbour slows both down alike."""
    cpus = [run["cpu_ms_per_event"] for run in runs]
    return round(statistics.median(cpu["operator"] / cpu["api_server"] for cpu in cpus), 3)


def say(what: str) -> None:
    click.echo(f"==> {what}", err=True)


if __name__ == "__main__":
    main()
