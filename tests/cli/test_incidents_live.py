"""Incidents by the command line, with an operator that makes them."""

import json
import time

import pytest


@pytest.fixture
def incidents_on(on_stage, make_config):
    make_config(
        "acme",
        webhook="Tincidents",
        eventTriggers=[{"event": "pipeline_failure", "providers": ["slack"], "cooldownSeconds": 0}],
        incidents={"enabled": True},
    )

    def send(event="pipeline_failure", **fields):
        options = [word for name, value in fields.items() for word in (f"--{name}", str(value))]
        done = on_stage("send", "--org", "acme", "--pipeline", "nightly", "--event", event, *options, "--wait")
        return done.out.split()[0].removeprefix("pipelineevent/")

    return send


def eventually(read, wanted):
    deadline = time.monotonic() + 60
    while (found := read()) != wanted:
        assert time.monotonic() < deadline, f"{found} is not {wanted}"
        time.sleep(0.3)


def test_from_the_first_failure_to_the_end(on_stage, incidents_on, stage, tmp_path):
    one, two, three = [incidents_on(message=f"boom {number}") for number in range(3)]

    def listed(*arguments):
        return on_stage("incidents", "acme", "-o", "json", *arguments).json["items"]

    def now():
        return [(item["status"]["phase"], item["status"].get("failures")) for item in listed("--all")]

    eventually(now, [("Open", 3)])  # counts are written every ten seconds
    name = listed()[0]["metadata"]["name"]
    assert len(stage.slack.posts) == 1
    table = on_stage("incidents", env={"COLUMNS": "80"}).out.splitlines()
    assert max(map(len, table)) <= 80
    assert name in table[1]
    history = on_stage("history", "-o", "wide").out.splitlines()
    assert "INCIDENT" in history[0]
    assert f"Opened {name}" in history[1]
    assert f"Counted {name}" in history[3]
    assert "Repeated" in history[3]
    why = on_stage("why", three).out
    assert f"{name} (Counted, failure 3): Open, 3 failures, the first " in why
    assert "Suppressed/Repeated (recorded)" in why
    assert on_stage("why", two, "-o", "json").json["incident"].startswith(f"incident/{name}")
    (part,) = [part for part in on_stage("status", "-o", "json").json["parts"] if part["what"] == "incidents"]
    assert part["message"] == "1 open (1 error), 1 of them not acknowledged"

    rows = {row["stage"]: row for row in on_stage("why", one, "-o", "json").json["stages"]}
    assert rows["incident"]["answer"] == rows["repeated"]["answer"] == "passes", "as it was then"

    def previewed(event, pipeline="nightly"):
        spec = {"orgSlug": "acme", "event": event, "pipelineId": pipeline}
        document = {"apiVersion": "pipebell.io/v1alpha1", "kind": "PipelineEvent", "metadata": {"name": "x"}}
        (tmp_path / "event.json").write_text(json.dumps(document | {"spec": spec}))
        return on_stage("preview", "--file", tmp_path / "event.json").out

    assert "Repeated" in previewed("pipeline_failure"), "a fourth failure would be told to nobody"
    assert "pipeline_failure → slack" in previewed("pipeline_failure", "weekly")
    assert "pipeline_success → slack" in previewed("pipeline_success")
    assert "NoTrigger" in previewed("pipeline_success", "weekly")

    assert on_stage("ack", "nightly", "--note", "disk").code == 0
    eventually(now, [("Acknowledged", 3)])
    end = incidents_on("pipeline_success")
    eventually(now, [("Resolved", 3)])
    assert listed() == []
    assert "Recovered after" in json.dumps(stage.slack.posts[-1].payload)
    done = on_stage("ack", name)
    assert done.code == 1
    assert f"{name} was resolved by {end}" in done.err
    assert one in on_stage("why", one).out


def test_somebody_resolves_it_and_the_next_failure_opens_another(on_stage, incidents_on, stage, place):
    incidents_on(message="boom")
    assert on_stage("resolve", "nightly").code == 0

    def phases():
        items = on_stage("incidents", "--all", "-o", "json").json["items"]
        return sorted(item["status"].get("phase") for item in items)

    eventually(phases, ["Resolved"])
    incidents_on(message="boom again")
    eventually(phases, ["Open", "Resolved"])
    assert len(stage.slack.posts) == 2
    stage.cluster.kubectl("delete", "-n", place, "inc", "--all")
    incidents_on(message="and again")
    eventually(phases, ["Open"])
    assert len(stage.slack.posts) == 3
