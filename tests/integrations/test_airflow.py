"""Airflow as it is run: scheduler, workers, DAG processor, and an API server that is silent at first."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.integrations.airflow_home import Airflow
from tests.integrations.conftest import table, wait_for

DAGS = Path(__file__).with_name("airflow_dags.py")
ENDINGS = {
    "succeeds": "succeeds",
    "recovers": "a try fails, the next one succeeds",
    "fails": "a task raises, in its last try, too",
    "killed": "a task is killed (SIGKILL, out of memory)",
    "vanishes": "a task's heartbeat is lost, with its machine",
    "times_out": "takes longer than `dagrun_timeout`",
    "two_fail": "two tasks raise",
}
WAYS = {"listener": "Listener", "task": "Notifier on tasks", "dag": "Notifier on the DAG", "all": "All three"}
FAILING = [f"{ending}__{way}" for ending in ENDINGS for way in WAYS if ending not in ("succeeds", "recovers")]
DAG_IDS = ["succeeds__listener", "succeeds__all", "recovers__listener", "recovers__all", *FAILING]

PROVIDER = """
import json
from airflow.configuration import conf
from airflow.plugins_manager import ensure_plugins_loaded
from airflow.providers_manager import ProvidersManager
import airflow.plugins_manager as plugins_manager

known = ProvidersManager()
known.initialize_providers_notifications() if hasattr(known, "initialize_providers_notifications") else None
info = known.providers["pipebell"]
ensure_plugins_loaded()
plugins = plugins_manager.plugins if hasattr(plugins_manager, "plugins") else plugins_manager._get_plugins()[0]
print("SAYS " + json.dumps({
    "version": info.version,
    "notifications": "pipebell.integrations.airflow.PipebellNotifier" in [str(n) for n in known.notification],
    "plugin": [p.name for p in plugins].count("pipebell") == 1,
    "listener": conf.get("pipebell", "listener"),
}))
"""


# A hundred failed runs in a scheduler whose API server is silent, and what no hook should ever see.
PATIENCE = """
import json, time
from types import SimpleNamespace as Thing
from airflow.models.dagrun import DagRun
from pipebell.integrations.airflow import listener

def failed(number):
    run = DagRun(dag_id="never_waits", run_id=f"r{number}")
    run.dag = Thing(params={"org": "never_waits"}, tags=[], dagrun_timeout=None)
    return run

runs = [failed(number) for number in range(100)]
listener.on_starting(Thing(job_type="SchedulerJob"))
began = time.monotonic()
for run in runs:
    listener.on_dag_run_failed(run, "task_failure")
for task in (Thing(state="failed"), None):
    listener.on_task_instance_failed(None, task, ValueError("x"))
for run in (None, Thing(), Thing(dag=None, dag_id=None)):
    listener.on_dag_run_failed(run, "task_failure")
    listener.on_dag_run_success(run, None)
print("SAYS " + json.dumps(time.monotonic() - began))
"""


# Contexts that say next to nothing, as DAG-level callbacks of Airflow 3.0 and the triggerer hand over.
CONTEXTS = """
import asyncio, json, os
from pathlib import Path
from types import SimpleNamespace as Thing
from pipebell.integrations.airflow import PipebellNotifier

notifier = PipebellNotifier(org="acme_corp", timeout=0.5)
dag = Thing(dag_id="daily")
for context in ({}, {"dag": dag, "run_id": "r1", "reason": "timed_out"}, {"dag": dag, "run_id": "r1", "reason": "x"}):
    notifier(context)
PipebellNotifier(org="{{ nonsense. }}")({})
PipebellNotifier()({})

async def missed():
    run = {"dag_id": "daily", "dag_run_id": "r1"}
    context = {"dag_run": run, "deadline": {"id": "7", "deadline_time": "noon"}}
    awaited = PipebellNotifier(org="acme_corp", timeout=0.5, context=context)
    await (awaited if hasattr(PipebellNotifier, "__await__") else awaited.async_notify(context))

asyncio.run(missed())
files = sorted(Path(os.environ["PIPEBELL_SPOOL_DIR"]).glob("*.json"))
print("SAYS " + json.dumps([json.loads(file.read_text())["spec"]["errorMessage"] for file in files]))
"""


@dataclass
class Result:
    version: tuple[int, int]
    silent: dict[str, str]
    ends: dict[str, str]
    specs: list[dict]
    posts: Counter
    log: str
    provider: dict
    waited: float
    hardly: list[str]

    def of(self, dag: str) -> list[dict]:
        return [spec for spec in self.specs if spec["orgSlug"] == dag]


@pytest.fixture(scope="module", params=["airflow-3", "airflow-2.10", "airflow-2.11", "airflow-3.0"])
def result(request, product, api, kubeconfig, tmp_path_factory):
    """One life of a whole Airflow: two runs fail while the API server is silent, then all the others happen."""
    environment = product(request.param)
    assert environment.check == ""
    assert environment.upgraded == {}
    home = tmp_path_factory.mktemp(request.param)
    airflow = Airflow(environment, home, DAGS, KUBECONFIG=str(kubeconfig), PIPEBELL_SPOOL_DIR=str(home / "spool"))
    try:
        airflow.start()
        provider = json.loads(airflow.python_says(PROVIDER))
        waited = json.loads(airflow.python_says(PATIENCE, PIPEBELL_SPOOL_DIR=str(home / "another-spool")))
        hardly = json.loads(airflow.python_says(CONTEXTS, PIPEBELL_SPOOL_DIR=str(home / "a-third-spool")))
        wait_for(lambda: len(airflow.known()) >= len(DAG_IDS) + 3, 300, "the DAGs")
        silent = airflow.finished("early", "early_killed", seconds=300)
        assert api.events == {}
        api.answer()
        airflow.unpause(*DAG_IDS)
        ends = airflow.finished(*DAG_IDS, seconds=900)
        airflow.unpause("late")
        ends |= airflow.finished("late", seconds=120)
        wait_for(lambda: {"late", "early", "early_killed"} <= {spec["orgSlug"] for spec in api.specs()}, 120, "events")
        return Result(
            airflow.version,
            silent,
            ends,
            api.specs(),
            Counter(api.posts),
            airflow.log("scheduler"),
            provider,
            waited,
            hardly,
        )
    finally:
        airflow.stop()


def shown(specs) -> Counter:
    return Counter(
        spec["event"] + (f" ({reason})" if (reason := spec.get("details", {}).get("reason")) else "") for spec in specs
    )


def promised(cell: str) -> list[Counter]:
    """A cell of the docs' table, as what may come: several times the same, or one of several reasons."""
    if cell == "none":
        return [Counter()]
    count, _, event = cell.rpartition(" \N{MULTIPLICATION SIGN} ")
    kind, _, reasons = event.rstrip(")").partition(" (")
    return [Counter({f"{kind} ({reason})": int(count or 1)}) for reason in reasons.split(" or ")]


def test_the_table_in_the_docs_holds(result):
    rows = table("airflow.md", "Which event comes for which ending")
    if result.version < (3, 0):
        rows |= table("airflow.md", "Where Airflow 2.10 and 2.11 differ")
    assert set(rows) == set(ENDINGS.values())
    wrong = {}
    for ending, row in ENDINGS.items():
        for way, column in WAYS.items():
            dag = f"{ending}__{way}"
            if dag in DAG_IDS and (found := shown(result.of(dag))) not in promised(rows[row][column]):
                wrong[dag] = (rows[row][column], found)
    assert wrong == {}


def test_every_run_ended_as_it_should(result):
    good = {"succeeds", "recovers", "late"}
    assert result.ends == {dag: "success" if dag.split("__")[0] in good else "failed" for dag in [*DAG_IDS, "late"]}


def test_a_silent_api_server_holds_up_nothing_and_loses_nothing(result):
    assert result.silent == {"early": "failed", "early_killed": "failed"}
    # The task's own process leaves its event on disk; the scheduler's, which is the same one, may be sent before it.
    assert shown(result.of("early")) in promised("pipeline_failure (exception or lost)")
    assert shown(result.of("early_killed")) == Counter({"pipeline_failure (lost)": 1})
    assert "Traceback" not in "\n".join(line for line in result.log.splitlines() if "pipebell" in line)


def test_the_exception_of_the_last_try_is_told_with_its_log(result):
    (spec,) = result.of("fails__listener")
    assert spec["errorMessage"] == "task load failed: ValueError: no rows in try 2"
    assert (spec["pipelineId"], spec["details"]["task"], spec["details"]["try_number"]) == (
        "fails__listener",
        "load",
        2,
    )
    assert spec["pipelineLoggingId"].startswith("scheduled__2026-01-01")
    assert [link["title"] for link in spec["links"]] == ["Log"]
    assert "dags/fails__listener/" in spec["links"][0]["url"]  # as Airflow itself has it; 3.0 forgets a slash


def test_on_dag_level_the_failed_tasks_are_told(result):
    (spec,) = result.of("two_fail__dag")
    if result.version == (3, 0):  # its DAG processor may not ask for others than the last one
        assert spec["errorMessage"] in ("task load failed", "task check failed")
        return
    assert sorted(spec["details"]["failed_tasks"]) == ["check", "load"]
    assert spec["errorMessage"] in ("2 tasks failed: load, check", "2 tasks failed: check, load")


def test_a_run_that_took_too_long_says_how_long_it_might(result):
    for way in ("listener", "dag", "all"):
        (spec,) = result.of(f"times_out__{way}")
        assert "within its dagrun_timeout of 0:00:06 (timed_out)" in spec["errorMessage"]


def test_success_is_told_where_a_callback_asks_for_it(result):
    assert [spec["event"] for spec in result.of("late")] == ["pipeline_success"]


def test_contexts_that_say_next_to_nothing_are_told_all_the_same(result):
    assert sorted(result.hardly) == [
        "the DAG run did not end within its dagrun_timeout (timed_out)",
        "the DAG run failed",
        "the DAG run failed: x",
        "the DAG run missed its deadline of noon",
    ]


def test_a_listener_in_the_scheduler_never_waits(result):
    assert result.waited < 20  # seconds; each of the hundred would be 2 s, if it waited


def test_airflow_knows_the_provider(result):
    assert result.provider == {
        "version": result.provider["version"],
        "notifications": True,
        "plugin": True,
        "listener": "True",
    }
