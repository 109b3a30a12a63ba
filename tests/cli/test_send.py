"""`pipebell send`: creates an event, and waits for it if asked to."""

import json
import os
import subprocess
import sys

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
