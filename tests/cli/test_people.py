"""What people do on an ordinary day, with the operator at work: send, test, history, replay."""

import json
import os
import pty
import re
import subprocess
import sys
import threading

NOT_READY = {
    "orgSlug": "late",
    "secretRef": {"name": "missing"},
    "slack": {"enabled": True, "webhookUrl": "${X}"},
    "eventTriggers": [{"event": "pipeline_failure", "providers": ["slack"]}],
}


def test_send_creates_and_waits(on_stage, make_config, stage):
    make_config("acme", webhook="Tsend")
    done = on_stage(
        "send", "--org", "acme", "--pipeline", "daily", "--run", "r1", "--message", "-", "--details", '{"rows": 0}',
        "--link", "Run=https://ci.example.com/1", "--severity", "CRITICAL", "--wait", stdin="first line\nsecond line",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "slack: Delivered after 1 attempt" in done.out
    (post,) = stage.slack.journal.wait(1)
    text = json.dumps(post.payload)
    assert "second line" in text
    assert "https://ci.example.com/1" in text


def test_test_marks_the_message_and_shows_deliveries_live(on_stage, make_config, stage):
    make_config("acme", webhook="Ttest", email=["data@acme.example"])
    for _ in range(2):  # neither obeys nor starts a cooldown
        done = on_stage("test", "acme")
        assert done.code == 0, done.err + done.out
        assert "email: Delivered" in done.out
        assert "slack: Delivered" in done.out
    assert "test" in stage.smtp.journal.wait(2)[0].message["Subject"].lower()


def test_test_tells_why_nothing_came(on_stage, make_config):
    make_config("acme", webhook="Toff")
    done = on_stage("test", "acme", "--event", "system_error")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "NoTrigger" in done.err
    assert "eventTriggers" in done.err


def test_json_output_is_nothing_but_json(on_stage, make_config):
    make_config("acme", webhook="Tjson")
    assert on_stage("test", "acme", "-o", "json").json["status"]["phase"] == "Delivered"
    assert on_stage("send", "--org", "acme", "--wait", "-o", "json").json["kind"] == "PipelineEvent"
    assert len(on_stage("history", "acme", "-o", "json").json["items"]) == 2


def test_the_cluster_may_be_named_before_the_command(cli, stage, place):
    done = cli("--kubeconfig", stage.cluster.kubeconfig, "-n", place, "history")
    assert (done.code, f"in namespace {place}" in done.err) == (0, True)


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
    assert on_stage("history", "-o", "name").out.splitlines()[0].startswith("pipelineevent/acme-")
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
    assert f"No such events of stranger in namespace {place}" in done.err
    assert on_stage("history", "--since", "yesterday").code == 2


def failed_at_slack(on_stage, make_config, stage, webhook):
    """An event that was delivered by e-mail and failed at Slack; its name."""
    stage.slack.plan(404)
    make_config("acme", webhook=webhook, email=["data@acme.example"])
    done = on_stage("send", "--org", "acme", "--pipeline", "p", "--message", "boom", "--wait")
    assert done.code == 1
    assert "PartiallyDelivered" in done.err
    return done.out.split()[0].removeprefix("pipelineevent/")


def test_replay_sends_only_where_it_failed(on_stage, make_config, stage):
    name = failed_at_slack(on_stage, make_config, stage, "Treplay")
    done = on_stage("replay", name, "--wait")
    assert done.code == 0, done.err
    assert "again to slack" in done.out
    assert len(stage.smtp.journal.wait(1)) == 1
    (post,) = stage.slack.posts
    assert "boom" in json.dumps(post.payload)
    replayed = [item for item in on_stage("history", "-o", "json").json["items"] if "replayOf" in item["spec"]]
    assert replayed[0]["spec"]["replayOf"] == {"name": name, "destinations": ["slack"]}
    original = next(i for i in on_stage("history", "-o", "json").json["items"] if i["metadata"]["name"] == name)
    assert replayed[0]["spec"]["occurredAt"] == original["spec"]["occurredAt"]


def test_replay_refuses_what_succeeded_unless_forced(on_stage, make_config, stage):
    name = failed_at_slack(on_stage, make_config, stage, "Trefuse")
    done = on_stage("replay", name, "--to", "email")
    assert (done.code, "was delivered by email" in done.err) == (1, True)
    assert on_stage("replay", name, "--to", "email", "--force", "--wait").code == 0
    assert len(stage.smtp.journal.wait(2)) == 2
    again = on_stage("replay", name, "--wait").out.split()[0].removeprefix("pipelineevent/")
    done = on_stage("replay", again)
    assert (done.code, "was delivered by slack" in done.err) == (1, True)


def test_replay_of_what_was_suppressed_or_never_sent(on_stage, make_config):
    make_config("acme", webhook="Tmute")
    on_stage("send", "--org", "acme", "--wait")
    muted = on_stage("send", "--org", "acme", "--wait").out.split()[0]
    done = on_stage("replay", muted)
    assert (done.code, "held back by a cooldown" in done.err) == (1, True)
    skipped = on_stage("send", "--org", "acme", "--event", "pipeline_started", "--wait").out.split()[0]
    done = on_stage("replay", skipped, "--wait")
    assert (done.code, "NoTrigger" in done.err) == (1, True)


def test_replay_waits_for_no_unfinished_event(on_stage, apply):
    apply("NotificationConfig", "late", spec=NOT_READY)
    name = on_stage("send", "--org", "late").out.split()[0]
    done = on_stage("replay", name)
    assert (done.code, "is not finished" in done.err) == (1, True)


def test_deliveries_show_while_they_are_tried(on_stage, make_config, stage):
    make_config("acme", webhook="Tlive", retryConfig={"maxAttempts": 2, "initialDelaySeconds": 1})
    stage.slack.plan(500)
    done = on_stage("test", "acme")
    assert done.code == 0, done.err
    first, *_, last = [line for line in done.out.splitlines() if line.startswith("  slack")]
    assert "Pending after 1 attempt" in first
    assert "next at" in first
    assert last == "  slack: Delivered after 2 attempts to #pipeline-alerts"


def test_waiting_has_an_end(on_stage, apply):
    apply("NotificationConfig", "late", spec=NOT_READY)
    done = on_stage("test", "late", "--timeout", "1")
    assert done.code == 1
    assert "after 1 s" in done.err
    assert "Pending/ConfigNotReady" in done.err


def test_the_spool_is_sent_by_command(cli, on_stage, stage, place, tmp_path):
    spool = {"PIPEBELL_SPOOL_DIR": tmp_path / "spool"}
    kept = cli("send", "--org", "acme", "--message", "kept", "--spool", env=spool | {"KUBECONFIG": "/nowhere"})
    assert kept.code == 1 or "kept in" in kept.err
    assert len(list((tmp_path / "spool").glob("*.json"))) == 1
    assert on_stage("send", "--spool", env=spool).out == "0 sent, 1 left\n", "it was meant for another kubeconfig"
    done = on_stage("spool", "send", "--to-current-cluster", "--yes", env=spool)
    assert (done.code, done.out) == (0, "1 sent\n")
    assert on_stage("send", "--spool", env=spool).out == "0 sent\n"


def test_the_seeds_snippet_delivers_an_email(stage, apply, place, tmp_path):
    """ "Test Email Configuration", verbatim in shape: only the import line and the cluster are ours."""

    apply("NotificationConfig", "test-org", spec={"orgSlug": "test_org", "email": {"toEmails": ["admin@acme.example"]}})
    script = tmp_path / "snippet.py"
    script.write_text(
        "from pipebell import get_notification_service\n"
        "import asyncio\n"
        "\n"
        "async def test():\n"
        "    service = get_notification_service()\n"
        "    await service.notify_pipeline_failure(\n"
        '        org_slug="test_org",\n'
        '        pipeline_id="test-pipeline",\n'
        '        pipeline_logging_id="test-123",\n'
        '        error_message="Test notification"\n'
        "    )\n"
        "\n"
        "asyncio.run(test())\n"
    )
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(stage.cluster.kubeconfig.read_text())
    stage.cluster.kubectl("--kubeconfig", kubeconfig, "config", "set-context", "--current", f"--namespace={place}")
    environ = os.environ | {"KUBECONFIG": str(kubeconfig), "PIPEBELL_SPOOL_DIR": str(tmp_path / "spool")}
    subprocess.run([sys.executable, script], env=environ, check=True, timeout=30)
    (mail,) = stage.smtp.journal.wait(1)
    assert mail.recipients == ("admin@acme.example",)
    assert "test-pipeline" in mail.message["Subject"]
    assert "Test notification" in mail.message.get_body(("plain",)).get_content()


def test_a_terminal_gets_colours_a_pipe_does_not(on_stage, make_config, stage, place):
    make_config("acme", webhook="Tcolour")
    on_stage("send", "--org", "acme", "--wait")
    assert "\x1b[" not in on_stage("history").out
    shown = terminal(stage, place, "history")
    assert "\x1b[" in shown
    assert "Delivered" in shown


def terminal(stage, place, *arguments):
    """What a command shows on a terminal."""

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pipebell.cli.main", "-n", place, *arguments]
    environ = os.environ | {"KUBECONFIG": str(stage.cluster.kubeconfig), "TERM": "xterm-256color", "COLUMNS": "200"}
    child = subprocess.Popen(command, stdout=theirs, stdin=theirs, stderr=theirs, env=environ)
    os.close(theirs)
    shown = bytearray()
    reader = threading.Thread(target=lambda: _read_all(ours, shown), daemon=True)
    reader.start()
    assert child.wait(60) == 0
    reader.join(5)
    os.close(ours)
    return shown.decode()


def _read_all(descriptor, into):

    while True:
        try:
            chunk = os.read(descriptor, 65_536)
        except OSError:
            return
        if not chunk:
            return
        into += chunk
