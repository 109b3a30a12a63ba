"""`pipebell exec` around every kind of ending. Without a cluster, what would be told is found in the spool."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pipebell.sdk.mask import mask, values_in


@pytest.fixture
def run(cli, tmp_path):
    def run(*arguments, **options):
        done = cli("exec", "--org", "acme_corp", "--pipeline", "daily", "--run", "r1", *arguments, **options)
        records = [json.loads(path.read_text())["spec"] for path in sorted((tmp_path / "spool").glob("*.json"))]
        return done, records

    return run


def test_a_failing_command_keeps_its_code_and_becomes_a_failure(run):
    done, (event,) = run("--", "sh", "-c", "echo to stdout; echo first >&2; echo the table is missing >&2; exit 42")
    assert (done.code, done.out) == (42, "to stdout\n")
    assert done.err.startswith("first\nthe table is missing\n")
    assert (event["event"], event["orgSlug"], event["pipelineId"], event["pipelineLoggingId"]) == (
        "pipeline_failure", "acme_corp", "daily", "r1",
    )  # fmt: skip
    assert event["errorMessage"] == "exit code 42: the table is missing"
    details = event["details"]
    assert (details["reason"], details["exit_code"], details["stderr"]) == ("exit", 42, "first\nthe table is missing\n")


def test_a_succeeding_command_tells_nothing(run):
    done, events = run("--", "sh", "-c", "echo noise >&2")
    assert (done.code, done.err, events) == (0, "noise\n", [])


def test_start_and_success_are_told_when_asked_for(run):
    done, events = run("--on-start", "--on-success", "--", "true")
    assert done.code == 0
    assert [event["event"] for event in events] == ["pipeline_started", "pipeline_success"]


def test_a_hanging_command_is_ended_with_all_it_started(run):
    began = time.monotonic()
    done, (event,) = run("--timeout", "0.5", "--", "sh", "-c", "echo working >&2; sleep 60; echo never")
    assert time.monotonic() - began < 15
    assert done.code == 124
    assert event["errorMessage"] == "timed out after 0.5 s"
    assert (event["details"]["reason"], event["details"]["stderr"]) == ("timeout", "working\n")


def test_a_command_deaf_to_sigterm_is_killed(run):
    done, (event,) = run(
        "--timeout", "0.5", "--grace", "0.3", "--", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"
    )
    assert done.code == 124
    assert event["details"]["signal"] == "SIGKILL"


def test_a_command_killed_by_a_signal(run):
    done, (event,) = run("--", "sh", "-c", "kill -SEGV $$")
    assert done.code == 128 + signal.SIGSEGV
    assert event["errorMessage"] == "killed by SIGSEGV"
    assert event["details"]["reason"] == "signal"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_command(number, tmp_path):
    script = "import signal, sys, time\n" + "".join(
        f"signal.signal({n}, lambda n, _: sys.exit(30 + n))\n" for n in (1, 2, 10, 15)
    )
    script += "print('ready', flush=True)\ntime.sleep(60)\n"
    command = [
        sys.executable,
        "-m",
        "pipebell.cli.main",
        "exec",
        "--org",
        "a",
        "--pipeline",
        "p",
        "--notify-timeout",
        "0.5",
    ]
    environ = {**os.environ, "PIPEBELL_SPOOL_DIR": str(tmp_path), "KUBECONFIG": "/nowhere"}
    child = subprocess.Popen(
        [*command, "--", sys.executable, "-c", script],
        env=environ, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with child:
        assert child.stdout.readline() == "ready\n"
        child.send_signal(number)
        assert child.wait(20) == 30 + number
    (record,) = tmp_path.glob("*.json")
    assert json.loads(record.read_text())["spec"]["event"] == "pipeline_failure"


def test_a_command_that_is_not_there(run, tmp_path):
    done, (event,) = run("--", "no-such-command")
    assert done.code == 127
    assert event["errorMessage"] == "no-such-command: command not found"
    (tmp_path / "data").write_text("")
    assert run("--", tmp_path / "data")[0].code == 126


def test_an_exit_code_may_mean_data_quality(run):
    done, (event,) = run("--quality-exit", "3", "--", "sh", "-c", "exit 3")
    assert (done.code, event["event"]) == (3, "data_quality_failure")


def test_secrets_in_the_tail_are_masked(run):
    words = "password=hunter22 https://u:s3cr3t@db/x AKIAIOSFODNN7EXAMPLE order-17 value-of-my-variable"
    done, (event,) = run(
        "--mask",
        r"order-\d+",
        "--",
        "sh",
        "-c",
        f"echo '{words}' >&2; exit 1",
        env={"DB_PASSWORD": "value-of-my-variable"},
    )
    assert "hunter22" in done.err  # what passes through stays as it was
    told = json.dumps(event)
    for secret in ("hunter22", "s3cr3t", "AKIAIOSFODNN7EXAMPLE", "order-17", "value-of-my-variable"):
        assert secret not in told
    assert "https://u:***@db/x" in told


def test_a_flood_on_stderr_passes_and_its_end_is_told(run):
    done, (event,) = run(
        "--", sys.executable, "-c", "import sys\nfor i in range(200000): print(i, file=sys.stderr)\nsys.exit(1)"
    )
    assert done.err.count("\n") >= 200_000
    assert event["details"]["stderr"].endswith("199999\n")
    assert len(event["details"]["stderr"]) <= 8000


def test_a_wrong_pattern_is_wrong_usage(run):
    assert run("--mask", "(", "--", "true")[0].code == 2


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abc.def.ghi-jkl", "abc.def.ghi-jkl"),
        ('{"api_key": "k-12345678"}', "k-12345678"),
        ("mysql --password hunter22 -h db", "hunter22"),
        ("posting to https://hooks.slack.com/services/T0/B0/xyz failed", "T0/B0/xyz"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_d", "eyJhbGciOiJIUzI1NiJ9"),
        ("ghp_abcdefghijklmnopqrstuvwx", "ghp_abcdefghijklmnopqrstuvwx"),
        ("SG.abcdefghijkl.mnopqrstuvwx", "SG.abcdefghijkl"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE"),
        ("SMTP_PASSWORD=abcd efgh", "abcd"),
        ("postgres://user:p@ss@host/db", "p@ss"),
    ],
)
def test_shapes_of_credentials(text, secret):
    assert secret not in mask(text)


def test_what_is_no_secret_stays():
    text = (
        "KeyError: 'order_id' in step tokenize; primary key violated; 3 tokens read; see https://ci.example.com/run/1"
    )
    assert mask(text) == text
    assert values_in({"HOME": "/home/me", "API_TOKEN": "abcdef12", "DEBUG_KEY": "1"}) == ["abcdef12"]


def test_with_a_cluster_the_event_is_there_before_the_exit(on_stage, stage, place):
    done = on_stage("exec", "--org", "acme_corp", "--pipeline", "daily", "--", "sh", "-c", "exit 5")
    assert done.code == 5
    found = [item for key, item in stage.items("pipelineevents").items() if key.startswith(f"{place}/")]
    assert [item["spec"]["errorMessage"] for item in found] == ["exit code 5"]
