"""What is measured, one function a row of the report."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bench.load import finished
from bench.measures import summary
from bench.processes import connections_to, rss_mb
from bench.stage import ACCOUNT, sampled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.stage import Operator, Sink, Stage

CONCURRENCY = 32
SETTLE = 0.5  # seconds after a run for what still is to be counted to its CPU time


class Bench:
    """Runs loads on a stage; names every run's objects differently."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.finished = 0  # events that have been made so far
        self._runs = 0

    def _prefix(self) -> str:
        self._runs += 1
        return f"run{self._runs}"

    def ceiling(self, count: int) -> dict[str, Any]:
        """What a bare client reaches by itself; nobody may watch meanwhile."""
        self.finished += count
        meter = self.stage.meter(None)
        meter.start()
        run = self.stage.load("ceiling", prefix=self._prefix(), count=count, concurrency=CONCURRENCY, org="org0")
        cpu = {"api_server": meter.stop()["api_server"], "load_generator": run["cpu"]}
        return {
            "events_per_s": round(count / (run["ended"] - run["began"]), 1),
            "cpu_ms_per_event": {name: round(seconds * 1000 / count, 3) for name, seconds in cpu.items()},
        }

    def same_writes(self) -> None:
        """The bare client has to write what Pipebell writes, or the ratio says nothing. Raises ValueError."""
        name = f"pipelineevents/run{self._runs}-0"
        path = f"/apis/pipebell.io/v1alpha1/namespaces/bench/{name}"
        item = self.stage.cluster.request("GET", path)
        ours, bare = _shape(item["status"]), _shape(finished(item, 0)["status"])
        if ours != bare:
            raise ValueError(f"tests/bench/load.py: finished() lacks {ours - bare}, and has {bare - ours} too much")

    def configs(self, sink: Sink, orgs: Sequence[str], *, ready: bool = True, **more: Any) -> dict[str, Any]:
        """Organisations of their own: Slack at the sink, without a cooldown."""
        wanted = [(org, {**slack(sink, org), **more}) for org in orgs]
        return self.stage.load("configs", configs=wanted, concurrency=CONCURRENCY, ready=ready)

    def events(
        self, operator: Operator | Any, orgs: Sequence[str], count: int, destination: str = "slack", **how: Any
    ) -> dict[str, Any]:
        """One load, from the first event to the last record."""
        self.finished += count
        self.stage.sink.skip()
        meter = self.stage.meter(operator)
        meter.start()
        order = {"prefix": self._prefix(), "count": count, "concurrency": CONCURRENCY, "orgs": list(orgs), **how}
        run = self.stage.load("events", **order)
        time.sleep(SETTLE)
        result = summary(run, self.stage.sink.arrivals(), meter.stop(), destination)
        return {**result, "rss_mb": round(rss_mb(operator.pid), 1)}

    def idle(self, operator: Operator, orgs: Sequence[str], count: int = 200) -> dict[str, Any]:
        """Single events, each when the one before is done."""
        return self.events(operator, orgs, count, after=0.02)

    def email(self, operator: Operator, count: int) -> dict[str, Any]:
        """Mails over one relay: root's transport, two organisations' recipients."""
        orgs = ["mail0", "mail1"]
        trigger = {"event": "pipeline_failure", "providers": ["email"], "cooldownSeconds": 0}
        wanted = [(org, {"email": {"toEmails": [f"{org}@example.com"]}, "eventTriggers": [trigger]}) for org in orgs]
        self.stage.load("configs", configs=wanted, concurrency=2, ready=True)
        connections: list[int] = []
        with sampled(lambda: connections_to(operator.pid, self.stage.sink.smtp_port), connections):
            result = self.events(operator, orgs, count, destination="email")
        return {**result, "connections": max(connections, default=0)}

    def relay(self, count: int) -> dict[str, Any]:
        """The same provider by itself, over the same relay: no API server, no events."""
        return self.stage.mails(count)

    def storm(self, operator: Operator, count: int) -> dict[str, Any]:
        """One organisation's failures within its cooldown: one is sent."""
        trigger = {"event": "pipeline_failure", "providers": ["slack"], "cooldownSeconds": 3600}
        self.configs(self.stage.sink, ["storm"], eventTriggers=[trigger])
        return self.events(operator, ["storm"], count)

    def incidents(self, operator: Operator, pipelines: int, count: int) -> dict[str, Any]:
        """Failures of so many pipelines of one new organisation: each pipeline's first one opens an incident."""
        org = f"incidents{self._runs}"
        rules = {"enabled": True, "storm": {"openings": 0}}  # all are told one by one
        self.configs(self.stage.sink, [org], incidents=rules)
        row = self.events(operator, [org], count, pipelines=pipelines)
        if row["sent"] != pipelines:
            raise ValueError(f"{row['sent']} of {pipelines} incidents were told")
        return row

    def beside(self, operator: Operator, noisy: str, quiet: str, flood: int, count: int) -> dict[str, Any]:
        """One organisation's flood, and another one's single events meanwhile."""
        self.finished += flood + count
        self.stage.sink.skip()
        done = self.stage.start_load(
            "events", prefix=self._prefix(), count=flood, concurrency=CONCURRENCY, orgs=[noisy], timeout=5.0
        )
        time.sleep(1.0)  # the generator's start
        row, _ = self._singles(quiet, count, gap=0.05)
        done()
        return row

    def behind(self, noisy: str, quiet: str, flood: int, count: int) -> dict[str, Any]:
        """One organisation's flood that is there already, and another one's single events while it is worked off."""
        self.finished += flood + count
        load = {"count": flood, "concurrency": CONCURRENCY, "orgs": [noisy], "timeout": 0.1}
        self.stage.load("events", prefix=self._prefix(), **load)
        with self.stage.operator() as operator:
            operator.settle()
            self.stage.sink.skip()
            row, others = self._singles(quiet, count, gap=0.03)
        return {**row, "of_the_flood_meanwhile": others}

    def _singles(self, org: str, count: int, gap: float) -> tuple[dict[str, Any], int]:
        """Single events of one organisation, one every `gap` seconds; and how many of others arrived meanwhile."""
        run = self.stage.load("events", prefix=self._prefix(), count=count, orgs=[org], gap=gap, bystander=True)
        arrivals = self.stage.sink.arrivals()
        result = summary(run, arrivals, {})
        kept = ("events", "phases", "create_to_sink", "create_to_bystander", "bystander_to_sink", "create_to_recorded")
        return {key: result[key] for key in kept}, len(arrivals) - result["sent"]

    def burst(self, operator: Operator, slow: Sink, count: int) -> dict[str, Any]:
        """So many organisations' events at once, where a slow destination takes them: how much is held meanwhile."""
        orgs = [f"burst{number}" for number in range(count)]
        self.configs(slow, orgs)
        memory: list[float] = []
        with sampled(operator.measure, memory):
            result = self.events(operator, orgs, count, timeout=300.0)
        return {"phases": result["phases"], "peak_rss_mb": round(max(memory), 1)}

    def restart(self, orgs: Sequence[str]) -> dict[str, Any]:
        """From the start of the process to the first deliveries of events that were waiting for it."""
        self.stage.sink.skip()
        prefix = self._prefix()
        done = self.stage.start_load("events", prefix=prefix, count=20, concurrency=4, orgs=list(orgs), timeout=120.0)
        time.sleep(1.5)
        with self.stage.operator() as operator:
            run = done()
            recorded = [row[3] for row in run["rows"] if row[3]]
            arrived = [times[0] for times in self.stage.sink.arrivals().values()]
            cooldowns = operator.settle()
            time.sleep(15.0)  # kopf's own list comes last
            memory = rss_mb(operator.pid)
        return {
            "finished_events": self.finished,
            "ready_s": round(operator.ready - operator.started, 2),
            "cooldowns_s": cooldowns,
            "first_delivery_s": round(min(arrived) - operator.started, 2),
            "all_recorded_s": round(max(recorded) - operator.started, 2),
            "recorded": len(recorded),
            "rss_mb": round(memory, 1),
        }


def slack(sink: Sink, org: str) -> dict[str, Any]:
    """A configuration's spec: Slack, at once and always."""
    trigger = {"event": "pipeline_failure", "providers": ["slack"], "cooldownSeconds": 0}
    return {
        "defaultProvider": "slack",
        "slack": {"webhookUrl": sink.webhook(org), "channel": "#pipelines", "mentionUsers": ["U0123456"]},
        "eventTriggers": [trigger],
    }


def relay(sink: Sink) -> dict[str, Any]:
    """A root configuration whose mail goes over the sink's mail server."""
    return {
        "enabled": True,
        "email": {
            "smtp_host": "127.0.0.1",
            "smtp_port": sink.smtp_port,
            "smtp_username": ACCOUNT,
            "smtp_password": "${SMTP_PASSWORD}",
            "from_email": "pipebell@example.com",
            "from_name": "Pipebell",
            "to_emails": ["platform@example.com"],
        },
    }


def _shape(value: Any, path: str = "") -> set[str]:
    """Paths of all fields."""
    if isinstance(value, list):
        return set().union(*(_shape(item, f"{path}[]") for item in value))
    if not isinstance(value, dict):
        return {path}
    return set().union(*(_shape(item, f"{path}.{key}") for key, item in value.items()))
