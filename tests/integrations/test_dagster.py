"""Dagster's runs and checks as events: recorded in every test run; a real daemon in `make test-integrations`."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.integrations.conftest import table, wait_for

from pipebell.integrations.dagster import events

DEFINITIONS = Path(__file__).with_name("dagster_defs.py")
ENDINGS = {
    "succeeds": "succeeds",
    "recovers": "a step fails, its retry succeeds",
    "fails": "a step raises",
    "fails_again": "fails, and Dagster runs it again in vain (`run_retries`)",
    "killed": "a step is killed (SIGKILL, out of memory)",
    "times_out": "takes longer than `dagster/max_runtime`",
    "checked": "succeeds, but asset checks of severity ERROR and WARN fail",
}
SETTINGS = """
telemetry: {enabled: false}
run_retries: {enabled: true}
run_monitoring: {enabled: true, poll_interval_seconds: 2, start_timeout_seconds: 900}
"""


class Key(SimpleNamespace):
    def to_user_string(self):
        return self.name


def a_run(**more):
    return SimpleNamespace(**({"job_name": "daily", "run_id": "r1", "tags": {}, "asset_selection": None} | more))


def a_check(**more):
    given = {"asset_key": Key(name="orders"), "check_name": "has_rows", "passed": False, "severity": "ERROR"}
    return SimpleNamespace(**given | {"description": None, "metadata": {}, "partition": None} | more)


@pytest.mark.parametrize(
    ("message", "steps", "reason", "words"),
    [
        ("Steps failed", [("load", "ValueError: x")], "step_failure", "step load failed: ValueError: x"),
        ("Steps failed", [("load", None)], "step_failure", "step load failed"),
        (
            "An exception was thrown", [("load", "dagster._core…ChildProcessCrashException")], "crashed",
            "step load failed without an error of its own: its process was killed, or crashed",
        ),
        ("Exceeded maximum runtime of 5 seconds.", [], "timed_out", "Exceeded maximum runtime of 5 seconds."),
        (None, [], "run_failure", "the run failed"),
    ],
)  # fmt: skip
def test_why_a_run_failed(message, steps, reason, words):
    event = events.run_failed(a_run(), "acme_corp", message, steps)
    assert (event.event, event.org, event.pipeline, event.run) == ("pipeline_failure", "acme_corp", "daily", "r1")
    assert (event.details["reason"], event.message) == (reason, words)


@pytest.mark.parametrize(("tag", "expected"), [("true", True), ("false", False), (None, False)])
def test_what_dagster_will_retry_is_nobodys_business_yet(tag, expected):
    assert events.will_retry(a_run(tags={"dagster/will_retry": tag} if tag else {})) is expected


def test_a_runs_tag_names_another_organisation():
    assert events.run_succeeded(a_run(tags={"pipebell/org": "globex"}), "acme_corp").org == "globex"


@pytest.mark.parametrize(
    ("assets", "pipeline"), [(["orders"], "orders"), (["orders", "customers"], "assets"), ([], "assets")]
)
def test_dagsters_own_job_for_assets_is_named_by_its_asset(assets, pipeline):
    run = a_run(job_name="__ASSET_JOB", asset_selection=[Key(name=name) for name in assets])
    assert events.pipeline_of(run) == pipeline


def test_checks_that_failed_by_severity():
    error, warning = (
        a_check(description="0 rows", metadata={"rows": SimpleNamespace(value=0)}),
        a_check(severity="WARN"),
    )
    failure = events.check_failed(a_run(), "a", error)
    assert (failure.event, failure.message) == ("data_quality_failure", "asset check has_rows of orders failed: 0 rows")
    assert (failure.details["check"], failure.details["asset"], failure.details["metadata"]) == (
        "has_rows", "orders", {"rows": 0},
    )  # fmt: skip
    assert events.check_failed(a_run(), "a", warning).event == "data_quality_warning"


def test_a_check_that_was_evaluated_again_counts_as_it_ended():
    assert events.failing([a_check(), a_check(passed=True)]) == []
    assert len(events.failing([a_check(passed=True), a_check(), a_check(partition="b")])) == 2


# The real one.


@pytest.fixture(scope="module")
def told(product, api, kubeconfig, tmp_path_factory):
    """A daemon that runs every job; the API server is silent until the first failure has been sensed."""
    environment = product("dagster")
    assert environment.check == ""
    assert environment.upgraded == {}
    home = tmp_path_factory.mktemp("dagster")
    (home / "dagster.yaml").write_text(SETTINGS)
    spool = home / "spool"
    environ = environment.environ(
        HOME=str(home),
        DAGSTER_HOME=str(home),
        KUBECONFIG=str(kubeconfig),
        PIPEBELL_SPOOL_DIR=str(spool),
        no_proxy="*",
    )
    with (home / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(
            [environment.folder / "bin" / "dagster-daemon", "run", "-f", str(DEFINITIONS)],
            env=environ, cwd=home, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(lambda: list(spool.glob("*.json")), 300, "the first failure in the spool")
        assert api.events == {}
        api.answer()

        def all_told():
            assert daemon.poll() is None, (home / "daemon.log").read_text()[-4000:]
            found = {spec["orgSlug"] for spec in api.specs()}
            return {"fails", "fails_again", "killed", "times_out", "checked", "by_hand"} <= found and ended(
                environment, environ, home
            )

        wait_for(all_told, 600, "all events")
        yield api.specs()
        assert daemon.poll() is None
    finally:
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()


RUNS = """
from dagster import DagsterInstance
with DagsterInstance.get() as instance:
    print(sum(not run.is_finished for run in instance.get_runs()))
"""


def ended(environment, environ, home):
    done = subprocess.run(
        [environment.python, "-c", RUNS],
        env=environ,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout.strip() == "0"


def shown(specs):
    return "; ".join(
        spec["event"] + (f" ({reason})" if (reason := spec["details"].get("reason")) else "")
        for spec in sorted(specs, key=lambda spec: spec["event"])
    )


@pytest.mark.timeout(1200)
def test_the_table_in_the_docs_holds(told):
    rows = table("dagster.md", "Which event comes for which ending")
    assert set(rows) == set(ENDINGS.values())
    found = {row: shown([spec for spec in told if spec["orgSlug"] == job]) or "none" for job, row in ENDINGS.items()}
    said = [(spec["orgSlug"], spec.get("errorMessage"), spec["details"].get("dagster")) for spec in told]
    assert found == {row: cells["Event"] for row, cells in rows.items()}, said


@pytest.mark.timeout(1200)
def test_what_the_events_say(told):
    by_org = {spec["orgSlug"]: spec for spec in told}
    assert by_org["fails"]["errorMessage"] == "step fail failed: ValueError: no rows"
    assert by_org["fails"]["details"]["failed_steps"] == ["fail"]
    (check,) = (spec for spec in told if spec["event"] == "data_quality_failure")
    assert check["errorMessage"] == "asset check has_rows of orders failed: 0 rows"
    assert check["details"]["metadata"] == {"rows": 0}
    assert (by_org["by_hand"]["event"], by_org["by_hand"]["errorMessage"]) == ("data_quality_warning", "few rows")
