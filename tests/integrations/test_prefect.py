"""Prefect's hooks: recorded ones in every test run; a real server and runner in `make test-integrations`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import pytest
from tests.integrations.conftest import table, wait_for

from pipebell.integrations.prefect import hooks

FLOWS = Path(__file__).with_name("prefect_flows.py")
ENDINGS = {
    "succeeds": "succeeds",
    "recovers": "a run fails, its retry succeeds",
    "fails": "fails, in its last retry, too",
    "times_out": "takes longer than `timeout_seconds`",
    "terminated": "is terminated (SIGTERM)",
    "killed": "is killed (SIGKILL, out of memory)",
}


def flow_run(**more):
    given = {"id": UUID(int=7), "name": "fast-fox", "run_count": 2, "parameters": {}, "tags": [], "deployment_id": None}
    return SimpleNamespace(**given | more)


FLOW = SimpleNamespace(name="daily_orders")
FAILED = SimpleNamespace(type="FAILED", name="Failed", message="Flow run encountered an exception: ValueError: x")


def test_a_failed_flow_run_is_a_failure():
    event = hooks.event_of(FLOW, flow_run(), FAILED, "acme_corp")
    assert (event.event, event.org, event.pipeline, event.run) == (
        "pipeline_failure", "acme_corp", "daily_orders", str(UUID(int=7)),
    )  # fmt: skip
    assert event.message == "Flow run encountered an exception: ValueError: x"
    assert (event.details["reason"], event.details["flow_run"]) == ("failed", "fast-fox")


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [("FAILED", "TimedOut", "timed_out"), ("CRASHED", "Crashed", "crashed"), ("CRASHED", "Gone", "crashed")],
)
def test_reasons(kind, name, reason):
    state = SimpleNamespace(type=kind, name=name, message=None)
    event = hooks.event_of(FLOW, flow_run(), state, "a")
    assert (event.details["reason"], event.message) == (reason, f"the flow run ended as {name}")


def test_a_completed_flow_run_is_a_success():
    event = hooks.event_of(FLOW, flow_run(), SimpleNamespace(type="COMPLETED", name="Completed", message="done"), "a")
    assert (event.event, event.message) == ("pipeline_success", None)


def test_each_run_of_a_flow_run_is_told_once():
    first, again = (hooks.event_of(FLOW, flow_run(), FAILED, "a").dedup_key for _ in range(2))
    assert first == again
    assert hooks.event_of(FLOW, flow_run(run_count=3), FAILED, "a").dedup_key != first


def test_the_organisation_is_the_parameters_then_the_tags_then_the_environments(monkeypatch):
    monkeypatch.delenv("PIPEBELL_ORG", raising=False)
    assert hooks.org_of(flow_run()) is None
    monkeypatch.setenv("PIPEBELL_ORG", "globex")
    assert hooks.org_of(flow_run()) == "globex"
    assert hooks.org_of(flow_run(tags={"nightly", "org:initech"})) == "initech"
    assert hooks.org_of(flow_run(tags={"org:initech"}, parameters={"org": "acme_corp"})) == "acme_corp"


def test_a_hook_never_raises(caplog):
    hooks.on_failure(FLOW, flow_run(), SimpleNamespace())
    hooks.on_failure(None, None, None)
    assert "cannot be sent" in caplog.text


# The real one.


@pytest.fixture(scope="module")
def prefect(product, api, kubeconfig, tmp_path_factory):
    """A real server, on whose API flows run."""
    environment = product("prefect")
    assert environment.check == ""
    assert environment.upgraded == {}
    home = tmp_path_factory.mktemp("prefect")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = environment.environ(
        HOME=str(home),
        PREFECT_HOME=str(home / "prefect"),
        PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
        PREFECT_UI_URL="https://prefect.example.com",
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        PREFECT_LOGGING_LEVEL="WARNING",
        PREFECT_RUNNER_POLL_FREQUENCY="1",
        DO_NOT_TRACK="1",
        KUBECONFIG=str(kubeconfig),
        PIPEBELL_SPOOL_DIR=str(home / "spool"),
        no_proxy="*",
    )
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [environment.python, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
            env=environ, cwd=home, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(lambda: healthy(port), 180, "Prefect's server")
        yield SimpleNamespace(python=environment.python, environ=environ, home=home, api=api)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def healthy(port):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5).read()
    except OSError:
        return None


def shown(specs):
    return [f"{spec['event']} ({spec['details']['reason']})" for spec in specs]


def of(api, org):
    return [spec for spec in api.specs() if spec["orgSlug"] == org]


def run(prefect, *arguments):
    return subprocess.run(
        [prefect.python, *map(str, arguments)],
        env=prefect.environ, cwd=prefect.home, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def column(name):
    rows = table("prefect.md", "Which event comes for which ending")
    assert set(rows) == set(ENDINGS.values())
    return {ending: [] if rows[row][name] == "none" else [rows[row][name]] for ending, row in ENDINGS.items()}


@pytest.mark.timeout(1200)
def test_by_hand_and_by_a_runner(prefect):
    """The first flow fails while the API server is silent: it ends all the same, and a later one tells it."""
    api = prefect.api
    codes = {}
    silent = run(prefect, FLOWS, "fails_plainly")
    assert (silent.returncode, api.specs()) == (1, []), silent.stderr
    assert "no rows for fails_plainly" in silent.stderr
    api.answer()
    for ending in ENDINGS:
        codes[ending] = run(prefect, FLOWS, ending).returncode
    killed = {"terminated": -signal.SIGTERM, "killed": -signal.SIGKILL}
    assert codes == {"succeeds": 0, "recovers": 0, "fails": 1, "times_out": 1, **killed}
    assert run(prefect, FLOWS, "success_told").returncode == 0
    assert {ending: shown(of(api, ending)) for ending in ENDINGS} == column("Run by hand")
    assert [spec["event"] for spec in of(api, "success_told")] == ["pipeline_success"]
    (plain,) = of(api, "fails_plainly")
    assert plain["errorMessage"].endswith("ValueError: no rows for fails_plainly")
    assert plain["links"][0]["url"].startswith("https://prefect.example.com/runs/flow-run/")

    by_hand = {ending: len(of(api, ending)) for ending in ENDINGS}
    with (prefect.home / "runner.log").open("wb") as log:
        runner = subprocess.Popen(
            [prefect.python, FLOWS, "serve"],
            env=prefect.environ, cwd=prefect.home, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        for ending in ENDINGS:
            wait_for(lambda name=ending: launch(prefect, name), 180, f"the deployment {ending}")
        expected = column("Run by a runner")

        def all_told():
            found = {ending: shown(of(api, ending))[by_hand[ending] :] for ending in ENDINGS}
            return found == expected and ended(prefect)

        wait_for(all_told, 300, "the runner's events")
    finally:
        os.killpg(runner.pid, signal.SIGKILL)
        runner.wait()


def launch(prefect, ending):
    name = f"{ending.replace('_', '-')}/here"
    return run(prefect, "-m", "prefect", "deployment", "run", name).returncode == 0


STATES = """
import asyncio
from prefect import get_client
async def main():
    async with get_client() as client:
        runs = await client.read_flow_runs()
        print(sum(run.state is None or not run.state.is_final() for run in runs))
asyncio.run(main())
"""


def ended(prefect):
    """Whether no flow run is under way; the one that was killed by hand stays so for ever."""
    return int(run(prefect, "-c", STATES).stdout.strip() or 99) <= 1


def test_the_block_notifies_and_can_be_registered(prefect):
    done = run(prefect, "-m", "prefect", "block", "register", "-m", "pipebell.integrations.prefect.blocks")
    assert done.returncode == 0, done.stderr
    assert "Pipebell" in done.stdout
    script = (
        "import asyncio; from pipebell.integrations.prefect import PipebellNotification as P;"
        "asyncio.run(P(org='block', severity='critical').notify('the body', 'the subject'))"
    )
    assert run(prefect, "-c", script).returncode == 0
    (spec,) = of(prefect.api, "block")
    assert (spec["pipelineId"], spec["errorMessage"], spec["severity"]) == ("the subject", "the body", "critical")
