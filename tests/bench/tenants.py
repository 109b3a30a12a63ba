"""One namespace's waiting events, many more than are kept track of: the operator's memory, and others' latency.

`PYTHONPATH=tests .venv/bin/python -m bench.tenants [EVENTS]` (100,000 by default, about ten minutes) on a real API
server. The events wait for a configuration that is incomplete; meanwhile another namespace's are timed, again after a
restart with all of them there, and while they go out once the configuration is complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import click

from bench.load import MERGE_PATCH, Api, event, spread
from bench.processes import rss_mb
from bench.stage import Stage, sampled

EVIL, TEAM = "evil", "team"
AT_ONCE = 16  # creations at the same time
TIMED = 20  # events of the other namespace
PATIENCE = 60.0  # seconds for one of them
TRIGGERS = [{"event": "pipeline_failure", "providers": ["slack"], "cooldownSeconds": 0}]


def config(namespace, name, **slack):
    return {
        "apiVersion": "pipebell.io/v1alpha1",
        "kind": "NotificationConfig",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"orgSlug": "acme", "slack": {"enabled": True, **slack}, "eventTriggers": TRIGGERS},
    }


class Run:
    """What is measured, one line each."""

    def __init__(self, stage, evil, team):
        self.stage, self.evil, self.team = stage, evil, team
        self.made, self.arrived = 0, {}

    async def latency(self, operator, when):
        """Creation to sink of the other namespace's events, in milliseconds, and the operator's memory."""
        seconds = []
        for _ in range(TIMED):
            self.made += 1
            began = time.time()
            item = await self.team.send("POST", self.team.url("pipelineevents"), event(f"e-{self.made}", "acme", {}))
            identity = f"{item['metadata']['uid']}.slack"
            while identity not in self.arrived:
                await asyncio.sleep(0.002)
                with contextlib.suppress(ValueError):  # a line that is being written; it is read again
                    self.arrived |= self.stage.sink.arrivals()
                if time.time() - began > PATIENCE:
                    raise RuntimeError(f"an event of {TEAM} was not delivered within a minute: {when}")
            seconds.append(self.arrived[identity][0] - began)
        median, longest = statistics.median(seconds) * 1000, max(seconds) * 1000
        click.echo(f"{when:46} {median:7.1f} ms median {longest:8.1f} ms longest {rss_mb(operator.pid):6.0f} MB")

    async def flood(self, count, operator):
        """Create them; the most memory that the operator had meanwhile."""

        async def one(number):
            await self.evil.send("POST", self.evil.url("pipelineevents"), event(f"w-{number:06}", "acme", {}))

        memory = []
        with sampled(lambda: rss_mb(operator.pid), memory):
            began = time.time()
            await spread(count, AT_ONCE, one)
            seconds = time.time() - began
        click.echo(f"{count} waiting events of one namespace, {seconds:.0f} s: at most {max(memory):.0f} MB")


async def measure(stage, count):
    api = [Api(str(stage.cluster.kubeconfig), namespace, AT_ONCE + 4) for namespace in (EVIL, TEAM)]
    run = Run(stage, *api)
    try:
        with stage.operator() as operator:
            await asyncio.sleep(3.0)
            await run.latency(operator, "nothing else there")
            await run.flood(count, operator)
            await run.latency(operator, "beside all of them")
        with stage.operator() as operator:
            click.echo(f"ready again after {operator.ready - operator.started:.1f} s")
            await run.latency(operator, "after a restart")
            click.echo(f"all events read again in {operator.settle():.1f} s")
            body = {"spec": {"slack": {"webhookUrl": stage.sink.webhook("acme")}}}
            await run.evil.send("PATCH", run.evil.url("notificationconfigs/waits"), body, MERGE_PATCH)
            await asyncio.sleep(5.0)
            memory = []
            with sampled(lambda: rss_mb(operator.pid), memory):
                await run.latency(operator, "while they go out")
            click.echo(f"at most {max(memory):.0f} MB meanwhile")
    finally:
        for each in api:
            await each.session.close()


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder, Stage(Path(folder)) as stage:
        for namespace in (EVIL, TEAM):
            stage.cluster.kubectl("create", "namespace", namespace)
        documents = (config(EVIL, "waits"), config(TEAM, "serves", webhookUrl=stage.sink.webhook("team")))
        stage.cluster.kubectl(
            "apply", "-f", "-", input=json.dumps({"kind": "List", "apiVersion": "v1", "items": documents})
        )
        asyncio.run(measure(stage, count))


if __name__ == "__main__":
    main()
