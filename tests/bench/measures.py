"""From a run's raw times to the numbers that are reported."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent are not above (nearest rank)."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def spread(values: Sequence[float]) -> dict[str, float]:
    """p50, p99 and maximum of seconds, in milliseconds."""
    if not values:
        return {}
    return {
        "p50_ms": round(percentile(values, 50) * 1000, 1),
        "p99_ms": round(percentile(values, 99) * 1000, 1),
        "max_ms": round(max(values) * 1000, 1),
    }


def summary(
    run: Mapping[str, Any],
    arrivals: Mapping[str, Sequence[float]],
    cpu: Mapping[str, float],
    destination: str = "slack",
) -> dict[str, Any]:
    """One run of `bench.load.events`, with what reached the sink and the CPU seconds that everybody used.

    Latencies count from when the request that created the event was sent (`…_from_answer`: from its answer).
    `create_to_bystander` is what another watch saw of the same events: the part that is the API server's;
    `bystander_to_sink` is what the sink was behind that watch, event by event: the part that is the operator's.
    """
    rows = run["rows"]
    count = len(rows)
    told = []
    for sent, created, uid, _, _ in rows:
        if times := arrivals.get(f"{uid}.{destination}"):
            told.append((sent, created, times, uid))
    finished = [(sent, at) for sent, _, _, at, _ in rows if at is not None]
    cpu = {**cpu, "load_generator": run["cpu"]}
    heard = run.get("bystander") or {}
    return {
        "events": count,
        "phases": dict(Counter(row[4] or "unfinished" for row in rows)),
        "events_per_s": round(len(finished) / (run["ended"] - run["began"]), 1),
        "seconds": round(run["ended"] - run["began"], 2),
        "sent": len(told),
        "duplicates": sum(len(times) - 1 for _, _, times, _ in told),
        "create_to_sink": spread([times[0] - sent for sent, _, times, _ in told]),
        "create_to_sink_from_answer": spread([max(0.0, times[0] - created) for _, created, times, _ in told]),
        "bystander_to_sink": spread([max(0.0, times[0] - heard[uid]) for _, _, times, uid in told if uid in heard]),
        "create_to_bystander": spread([heard[uid] - sent for sent, _, uid, _, _ in rows if uid in heard]),
        "create_to_recorded": spread([at - sent for sent, at in finished]),
        "cpu_ms_per_event": {name: round(seconds * 1000 / count, 3) for name, seconds in cpu.items()},
    }
