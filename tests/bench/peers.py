"""`python -m bench.peers`: a peer beside Pipebell, in turns, in one run, and both over the bare client.

The peer is argoproj's notifications-engine (`peer/`), built once into the cache. It POSTs every pipeline_failure to the
same sink as Pipebell and notes that on the event; it neither retries nor reports a phase.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.__main__ import _mean, say
from bench.processes import Child
from bench.scenarios import Bench, relay
from bench.stage import NAIVE, Stage
from pipebell.cluster import folders, toolchain
from pipebell.cluster.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).with_name("peer")
GO = (1, 26)
DONE = "notified.notifications.argoproj.io"  # the annotation that it writes once it has sent


def build() -> Path:
    """The peer's program, by its source's hash. Raises CalledProcessError."""
    sources = sorted(path for path in SOURCE.iterdir() if path.is_file())
    key = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    program = folders.cache() / f"peer-{key}"
    if not program.is_file():
        program.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            say("building the peer (two minutes the first time)")
            go = toolchain.go(Progress(), minimum=GO, module=SOURCE, log=Path(folder) / "go.log")
            made = Path(folder) / "peer"
            subprocess.run([go.program, "build", "-o", made, "."], cwd=SOURCE, env=go.environment, check=True)
            made.rename(program) if made.stat().st_dev == program.parent.stat().st_dev else _copy(made, program)
    return program


def _copy(made: Path, program: Path) -> None:
    program.write_bytes(made.read_bytes())
    program.chmod(0o755)


def _configuration(hook: str) -> dict[str, Any]:
    metadata = {"name": "peer", "namespace": NAIVE}
    data = {
        "service.webhook.sink": (
            f"url: {hook}\ninsecureSkipVerify: true\nheaders: [{{name: Content-Type, value: application/json}}]\n"
        ),
        "template.failed": json.dumps(
            {
                "webhook": {
                    "sink": {
                        "method": "POST",
                        "body": '{"text": "{{.event.spec.event}} of {{.event.spec.orgSlug}}"}',
                    }
                }
            }
        ),
        "trigger.on-failure": json.dumps(
            [{"when": "event.spec.event == 'pipeline_failure'", "oncePer": "event.metadata.uid", "send": ["failed"]}]
        ),
        "subscriptions": json.dumps([{"recipients": ["sink"], "triggers": ["on-failure"]}]),
    }
    items = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data},
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


@contextlib.contextmanager
def running(stage: Stage, program: Path) -> Iterator[Child]:
    """The peer, once its caches are filled."""
    env = {"KUBECONFIG": str(stage.cluster.kubeconfig), "NAMESPACE": NAIVE}
    with Child.spawn([program], stage.folder / f"peer-{id(env)}.log", env) as peer:
        peer.wait_for(lambda: "ready" in peer.log.read_text(), "the peer")
        yield peer


@click.command()
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 20))
@click.option("--events", "count", default=1500, show_default=True, type=click.IntRange(100, 20_000))
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("build/bench-peers.json"))
def main(rounds: int, count: int, output: Path) -> None:
    """Measure the peer and Pipebell in turns, each between two measurements of the bare client."""
    program = build()
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="pipebell-peers-") as folder, Stage(Path(folder)) as stage:
        bench = Bench(stage)
        stage.root(relay(stage.sink))
        bench.configs(stage.sink, ["org0"], ready=False)
        stage.cluster.kubectl("apply", "-f", "-", input=json.dumps(_configuration(stage.sink.webhook("peer"))))
        for turn in range(rounds):
            say(f"round {turn + 1} of {rounds}")
            found.append(_round(bench, stage, program, count))
    rows = {name: _middle([row[name] for row in found]) for name in ("peer", "pipebell")}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"rounds": found, **rows}, indent=2) + "\n")
    click.echo(f"{'':22}{'over the bare client':>22}{'CPU ms an event':>18}{'RSS MB':>9}")
    for name, title in (("peer", "notifications-engine"), ("pipebell", "Pipebell")):
        row = rows[name]
        click.echo(f"{title:22}{row['over_ceiling']:>22.3f}{row['cpu_ms']:>18.2f}{row['rss_mb']:>9.0f}")
    click.echo(f"written to {output}")


def _round(bench: Bench, stage: Stage, program: Path, count: int) -> dict[str, Any]:
    first = bench.ceiling(count // 2)
    with running(stage, program) as peer:
        bench.events(peer, ["org0"], 200, "peer", namespace=NAIVE, annotation=DONE)
        theirs = bench.events(peer, ["org0"], count, "peer", namespace=NAIVE, annotation=DONE)
    between = bench.ceiling(count // 2)
    with stage.operator() as operator:
        operator.settle()
        bench.events(operator, ["org0"], 200)
        ours = bench.events(operator, ["org0"], count)
    last = bench.ceiling(count // 2)
    return {
        "peer": _row(theirs, _mean(first, between)),
        "pipebell": _row(ours, _mean(between, last)),
    }


def _row(run: dict[str, Any], ceiling: dict[str, Any]) -> dict[str, float]:
    return {
        "events_per_s": run["events_per_s"],
        "over_ceiling": round(run["events_per_s"] / ceiling["events_per_s"], 3),
        "cpu_ms": run["cpu_ms_per_event"]["operator"],
        "rss_mb": run["rss_mb"],
    }


def _middle(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


if __name__ == "__main__":
    main()
