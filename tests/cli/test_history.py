"""`pipebell history`: what happened, what became of it, and why."""

import json
import re
import time

from pipebell.cli.history import _delivery


def test_history_filters(on_stage, make_config, place):
    make_config("acme", webhook="Thistory")
    for pipeline in ("daily", "daily", "weekly"):
        on_stage("send", "--org", "acme", "--pipeline", pipeline, "--wait")
    on_stage("send", "--org", "nobody", "--event", "system_error", "--wait")

    lines = on_stage("history").out.splitlines()
    assert lines[0].split()[:4] == ["AGE", "ORG", "EVENT", "SEVERITY"]
    narrow = on_stage("history", env={"COLUMNS": "80"}).out.splitlines()
    assert max(map(len, narrow)) <= 80
    assert narrow[0].split()[-1] == "NAME"
    wide = on_stage("history", "-o", "wide").out.splitlines()
    assert {"SEVERITY", "RUN", "DELIVERIES", "CONFIG"} <= set(wide[0].split())
    assert f"{place}/acme" in wide[1]
    listed = on_stage("history", "-o", "name").out.splitlines()[0]
    assert listed.startswith("pipelineevent/acme-")
    for name in (listed, listed.replace("/", ".pipebell.io/")):  # ours, and kubectl's
        for command in ("why", "preview"):
            assert listed.partition("/")[2] in on_stage(command, name).out
        assert "was delivered by slack" in on_stage("replay", name).err
    assert re.search(r"\d{4}-\d\d-\d\dT", on_stage("history", "--absolute").out)
    assert not [item for item in on_stage("history", "-o", "json").json["items"] if "managedFields" in item["metadata"]]
    assert len(lines) == 5
    words = [word for word in " ".join(lines[1:4]).split() if word in ("Delivered", "Suppressed")]
    assert words == ["Delivered", "Suppressed", "Suppressed"]
    assert len(on_stage("history", "acme").out.splitlines()) == 4
    assert len(on_stage("history", "acme", "--pipeline", "weekly").out.splitlines()) == 2
    assert len(on_stage("history", "--phase", "suppressed").out.splitlines()) == 3
    assert len(on_stage("history", "--event", "system_error").out.splitlines()) == 2
    assert len(on_stage("history", "--since", "1h", "--limit", "2").out.splitlines()) == 3
    assert "NAMESPACE" in on_stage("history", "-A").out
    done = on_stage("history", "stranger")
    assert (done.code, done.out) == (0, "")
    assert f"No such events of stranger in namespace {place}.\n" in done.err
    assert f"No such events of amce in namespace {place}; did you mean acme?" in on_stage("history", "amce").err
    assert f"Nothing is open of amce in namespace {place}; did you mean acme?" in on_stage("incidents", "amce").err
    assert f"Nothing is silenced of amce in namespace {place}; did you mean" in on_stage("silences", "amce").err
    assert "did you mean" not in on_stage("incidents", "acme").err
    assert on_stage("history", "--since", "yesterday").code == 2


def test_a_destination_that_fails_now_is_noted(on_stage, make_config, place, stage):
    stage.slack.plan(404)
    make_config("acme", webhook="Tnoted")
    on_stage("send", "--org", "acme", "--wait")
    deadline = time.monotonic() + 60
    while "slack of acme has failed since" not in (done := on_stage("history")).err:  # written once a minute at most
        assert time.monotonic() < deadline, done.err
        time.sleep(0.5)
    assert "404" in done.err
    config = json.loads(stage.cluster.kubectl("get", "nc", "acme", "-o", "json", "-n", place).stdout)
    (record,) = config["status"]["destinations"]
    assert (record["name"], record["provider"], record["state"]) == ("slack", "slack", "Failing")
    shown = stage.cluster.kubectl("get", "nc", "acme", "-n", place).stdout.splitlines()
    assert ("DELIVERABLE" in shown[0].split(), "False" in shown[1].split()) == (True, True)
    failing = on_stage("status", "-o", "json").json
    (part,) = [part for part in failing["parts"] if part["what"] == "destinations"]
    assert [item["destination"] for item in part["items"]] == ["slack"]
    assert on_stage("test", "acme").code == 0
    assert "has failed since" not in on_stage("history").err


def test_who_stood_in_for_whom_shows():
    item = {"destination": "sms/1", "recipients": "+49…678", "failoverFor": "pagerduty", "phase": "Delivered"}
    assert re.sub("\x1b\\[[0-9;]*m", "", _delivery(item)) == "sms/1 (+49…678) for pagerduty=Delivered"
