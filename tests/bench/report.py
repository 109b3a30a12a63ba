"""The table that `make bench` prints."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

# Row of the headline, what it is, its target, and whether the target is a minimum.
TARGETS = (
    ("over_ceiling", "durable events/s over a bare client's", 0.8, True),
    ("over_naive_kopf", "durable events/s over a naive kopf operator's", 1.5, True),
    ("cpu_ms_per_event", "operator CPU, ms an event", 1.6, False),
    ("orgs_5000_over_1", "5,000 organisations over 1, events/s", 0.95, True),
    ("idle_p50_ms", "idle, create to sink, p50 ms", 10.0, False),
    ("idle_p99_ms", "idle, create to sink, p99 ms", 30.0, False),
    ("rss_mb", "RSS, MB", 150.0, False),
    # The full benchmark's.
    ("overrides_64_ms", "64 overrides of 8 globs, CPU ms more an event", 0.05, False),
    ("incidents_opened_over_ceiling", "failures that open incidents, events/s over a bare client's", 0.45, True),
    ("incidents_counted_over_ceiling", "3,000 failures of 30 incidents, events/s over a bare client's", 0.8, True),
    ("mails_per_s", "e-mails/s over one relay, the provider by itself", 200.0, True),
    ("behind_flood_p99_ms", "an event behind a flood that is there, create to sink, p99 ms", 250.0, False),
    ("beside_flood_p99_ms", "an event while the flood is made, create to sink, p99 ms", 250.0, False),
    ("beside_flood_ours_p99_ms", "of which the operator's part", 50.0, False),
    ("beside_dead_p99_ms", "an event beside a dead destination, create to sink, p99 ms", 250.0, False),
    ("restart_finished_s", "restart beside finished events, s to the first delivery", 3.0, False),
    ("restart_10000_configs_s", "restart with 10,000 configurations, s to the first delivery", 10.0, False),
    ("burst_peak_rss_mb", "most RSS, 2,500 organisations at a destination that takes 8 s, MB", 400.0, False),
    ("rss_growth_mb", "RSS, MB more over 40,000 events", 5.0, False),
)


def show(report: dict[str, Any]) -> None:
    """Print ratios, then the runs."""
    console = Console(width=max(110, Console().width))
    targets = Table(title=f"Pipebell {report['version']}: targets (load average {report['load_average']:.1f})")
    for name in ("What", "Measured", "Target", ""):
        targets.add_column(name, justify="left" if name == "What" else "right")
    for key, what, target, minimum in TARGETS:
        if key not in report:
            continue
        value = report[key]
        met = value >= target if minimum else value <= target
        targets.add_row(what, f"{value:g}", f"{'≥' if minimum else '≤'} {target:g}", "yes" if met else "[red]no")
    console.print(targets)
    if "cpu_over_api_server" in report:
        console.print(
            f"operator's CPU over the API server's: {report['cpu_over_api_server']:g} "
            f"(5,000 organisations over 1: {report['orgs_5000_cpu_over_api_server_over_1']:g})"
        )
    console.print(_runs(report["rows"]))
    for name in ("relay", "restart_finished", "restart_10000_configs", "rss_by_5000_events_mb"):
        if name in report["rows"]:
            console.print(f"{name}: {report['rows'][name]}")


def _runs(rows: dict[str, Any]) -> Table:
    table = Table(title="Runs: CPU is ms an event, latencies are p50 / p99 / max ms from the request that creates")
    for name in (
        "Run",
        "Events/s",
        "Operator",
        "API server",
        "Sink",
        "Load",
        "to sink",
        "bystander",
        "to recorded",
        "RSS MB",
    ):
        table.add_column(name, justify="left" if name == "Run" else "right")
    for name, value in rows.items():
        for run in value if isinstance(value, list) else [value]:
            if isinstance(run, dict) and ("events_per_s" in run or "create_to_sink" in run):
                cpu = run.get("cpu_ms_per_event", {})
                parts = (cpu.get(part) for part in ("operator", "api_server", "sink", "load_generator"))
                table.add_row(
                    name,
                    f"{run.get('events_per_s', '')}",
                    *("" if part is None else f"{part:.2f}" for part in parts),
                    _latency(run.get("create_to_sink")),
                    _latency(run.get("create_to_bystander")),
                    _latency(run.get("create_to_recorded")),
                    f"{run.get('rss_mb', '')}",
                )
    return table


def _latency(values: dict[str, float] | None) -> str:
    """Tenths matter when nobody waits, and nowhere else."""
    return " / ".join(f"{value:.1f}" if value < 100 else f"{value:.0f}" for value in values.values()) if values else ""
