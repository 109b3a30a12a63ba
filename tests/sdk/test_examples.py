"""The examples do what they say: Python ones are run, manifests go to the API server, their commands are executed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture
def environ(cluster, namespace, tmp_path):
    path = tmp_path / "kubeconfig"
    path.write_text(cluster.kubeconfig.read_text())
    cluster.kubectl("--kubeconfig", path, "config", "set-context", "--current", f"--namespace={namespace}")
    return os.environ | {"KUBECONFIG": str(path), "PIPEBELL_SPOOL_DIR": str(tmp_path / "spool")}


@pytest.fixture
def events(cluster, namespace):
    path = f"/apis/pipebell.io/v1alpha1/namespaces/{namespace}/pipelineevents"
    return lambda: [item["spec"] for item in cluster.request("GET", path)["items"]]


def run(environ, *command):
    return subprocess.run(
        [sys.executable, *map(str, command)], env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def documents(name):
    return list(yaml.safe_load_all((EXAMPLES / name).read_text()))


def test_all_of_them_are_listed():
    listed = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.iterdir():
        assert path.name in listed or path.name in ("README.md", "__pycache__")


def test_01_notify(environ, events):
    done = run(environ, EXAMPLES / "01_notify.py")
    state, name = done.stdout.split()
    assert name.startswith("acme-corp-pipeline-failure-")
    assert state in ("sent", "spooled"), done.stderr  # a busy machine's API server may take longer than two seconds
    if state == "spooled":
        assert run(environ, "-m", "pipebell.cli.main", "spool", "send").returncode == 0
    (event,) = events()
    assert event["details"] == {"step": "extract", "rows": 0}


@pytest.mark.parametrize(
    ("way", "code", "expected"),
    [
        ("ok", 0, [("pipeline_success", None)]),
        ("fails", 1, [("pipeline_failure", "exception")]),
        ("hangs", 1, [("pipeline_failure", "timeout")]),
        ("degraded", 0, [("data_quality_warning", None), ("pipeline_success", None)]),
        ("unfit", 1, [("data_quality_failure", "data_quality")]),
    ],
)
def test_02_async_executor(environ, events, way, code, expected):
    done = run(environ, EXAMPLES / "02_async_executor.py", way)
    assert (done.returncode, "cleaned up" in done.stdout) == (code, True), done.stderr
    found = [(event["event"], event.get("details", {}).get("reason")) for event in events()]
    assert sorted(found, key=str) == sorted(expected, key=str)


def test_03_cronjob_is_accepted_and_its_command_works(cluster, namespace, environ, events):
    path = EXAMPLES / "03_cronjob.yaml"
    cluster.kubectl("apply", "-n", namespace, "--dry-run=server", "--validate=strict", "-f", path)
    *_, cron = documents(path.name)
    (container,) = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    ours = container["args"][: container["args"].index("--")]
    assert container["command"] == ["pipebell", "exec"]
    done = run(environ, "-m", "pipebell.cli.main", "exec", *ours, "--", "sh", "-c", "exit 3")
    assert done.returncode == 3
    (event,) = events()
    assert (event["orgSlug"], event["pipelineId"], event["event"]) == ("acme_corp", "daily-orders", "pipeline_failure")


def send(environ, args, **values):
    """Run the `pipebell send` of a manifest, with what the workflow engine would fill in."""
    filled = []
    for arg in args:
        for name, value in values.items():
            arg = arg.replace(name, value)  # noqa: PLW2901
        assert "{{" not in arg
        assert "$(" not in arg
        filled.append(arg)
    done = run(environ, "-m", "pipebell.cli.main", "send", *filled)
    assert done.returncode == 0, done.stderr


def test_05_argo_exit_handler(environ, events):
    (workflow,) = documents("05_argo_exit_handler.yaml")
    spec = workflow["spec"]
    templates = {template["name"]: template for template in spec["templates"]}
    assert {spec["entrypoint"], spec["onExit"]} <= set(templates)
    (((step,),),) = (templates[spec["onExit"]]["steps"],)
    args = templates[step["template"]]["container"]["args"]
    send(
        environ, args,
        **{"{{workflow.name}}": "daily-orders-x7", "{{workflow.status}}": "Failed", "{{workflow.duration}}": "12.5"},
    )  # fmt: skip
    (event,) = events()
    assert (event["pipelineLoggingId"], event["errorMessage"]) == ("daily-orders-x7", "The workflow ended as Failed")
    assert event["details"] == {"duration_seconds": "12.5"}


def test_06_tekton_finally(environ, events):
    (pipeline,) = documents("06_tekton_finally.yaml")
    (tell,) = pipeline["spec"]["finally"]
    given = {param["name"] for param in tell["params"]}
    assert given == {param["name"] for param in tell["taskSpec"]["params"]}
    assert {task["name"] for task in pipeline["spec"]["tasks"]} == {"load"}
    (step,) = tell["taskSpec"]["steps"]
    values = {"$(params.run)": "daily-orders-x7", "$(params.status)": "Failed", "$(params.reason)": "TaskRunTimeout"}
    send(environ, step["args"], **values)
    (event,) = events()
    assert event["errorMessage"] == "load ended as Failed (TaskRunTimeout)"
