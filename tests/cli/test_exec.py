"""`pipebell exec` around every kind of ending. Without a cluster, what would be told is found in the spool."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from pipebell.cli import exec as module
from pipebell.cli.child import Ending
from pipebell.cli.tail import Line
from pipebell.sdk.mask import mask, mask_command, mask_lines, values_in


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
    assert time.monotonic() - began < 45, "and not its 60 s"
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


def heard():
    """As at a login: what this test's parent ignores (nohup, `&`) is not ignored by what it starts."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM, 35, 64]
)
def test_signals_reach_the_command(number, tmp_path):
    script = "import signal, sys, time\n" + "".join(
        f"signal.signal({n}, lambda n, _: sys.exit(30 + n))\n" for n in (1, 2, 10, 14, 15, 35, 64)
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
        preexec_fn=heard,  # noqa: PLW1509  (nothing else resets what is ignored; no thread of this test holds a lock)
    )  # fmt: skip
    with child:
        assert child.stdout.readline() == "ready\n"
        child.send_signal(number)
        assert child.wait(60) == 30 + number
    (record,) = tmp_path.glob("*.json")
    assert json.loads(record.read_text())["spec"]["event"] == "pipeline_failure"


def test_a_command_that_is_not_there(run, tmp_path):
    done, (event,) = run("--", "no-such-command")
    assert done.code == 127
    assert event["errorMessage"] == "no-such-command: command not found"


@pytest.mark.parametrize(("mode", "fix"), [(0o644, "chmod +x"), (0o755, "#!/bin/sh")])
def test_a_script_that_cannot_be_run_is_told_with_the_fix(run, tmp_path, mode, fix):
    script = tmp_path / "load.sh"
    script.write_text("echo loading\n")
    script.chmod(mode)
    done, (event,) = run("--", script)
    assert done.code == 126
    assert fix in done.err
    assert fix in event["errorMessage"]


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


def test_what_is_ignored_stays_ignored(tmp_path):
    """nohup's SIGHUP reaches neither us nor the command."""
    command = [sys.executable, "-m", "pipebell.cli.main", "exec", "--org", "a", "--pipeline", "p", "--"]
    script = "import time; print('ready', flush=True); time.sleep(0.5); print('done')"
    child = subprocess.Popen(
        [*command, sys.executable, "-c", script], env={**os.environ, "PIPEBELL_SPOOL_DIR": str(tmp_path)},
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # noqa: PLW1509  (the same)
    )  # fmt: skip
    with child:
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGHUP)
        assert child.stdout.read() == "done\n"
    assert child.returncode == 0


@pytest.mark.parametrize("number", [35, 64])
def test_a_command_killed_by_a_signal_without_a_name(run, number):
    done, (event,) = run("--", sys.executable, "-c", f"import os; os.kill(os.getpid(), {number})")
    assert done.code == 128 + number
    assert event["errorMessage"].startswith("killed by ")
    assert str(number) in event["errorMessage"] or "SIGRT" in event["errorMessage"]


# --- what both streams said


def test_both_streams_are_told_in_order(run):
    steps = "".join(f"echo out{n}; sleep 0.1; echo err{n} >&2; sleep 0.1; " for n in range(3))
    done, (event,) = run("--", "sh", "-c", f"{steps} exit 3")
    assert done.out == "out0\nout1\nout2\n"
    assert done.err.startswith("err0\nerr1\nerr2\n")
    assert event["details"]["output"] == "out0\nerr0\nout1\nerr1\nout2\nerr2\n"
    assert event["errorMessage"] == "exit code 3: err2"


def test_what_only_standard_output_said_is_told(run):
    _, (event,) = run("--", "sh", "-c", "echo Database Error in model orders; exit 2")
    assert event["errorMessage"] == "exit code 2: Database Error in model orders"
    assert event["details"]["output"] == "Database Error in model orders\n"
    assert "stderr" not in event["details"]


@pytest.mark.parametrize("flooded", ["stdout", "stderr"])
def test_a_flood_in_one_stream_leaves_the_other_its_end(run, flooded):
    other = "stderr" if flooded == "stdout" else "stdout"
    script = (
        f"import sys\nprint('the first', file=sys.{other}, flush=True)\n"
        f"for n in range(100_000): print('noise', n, file=sys.{flooded})\n"
        f"print('the cause', file=sys.{other}, flush=True)\nsys.exit(1)"
    )
    done, (event,) = run("--", sys.executable, "-c", script)
    assert (done.out if flooded == "stdout" else done.err).count("\n") >= 100_000
    output = event["details"]["output"]
    assert len(output) <= 8000
    assert "the first\n" in output
    assert "the cause\n" in output
    assert "noise 99999\n" in output
    assert "earlier lines left out" in output


def test_a_reader_that_has_seen_enough_ends_the_command(tmp_path):
    command = f"{sys.executable} -m pipebell.cli.main exec --org a --pipeline p -- yes | head -2"
    environ = {**os.environ, "PIPEBELL_SPOOL_DIR": str(tmp_path), "KUBECONFIG": "/nowhere"}
    done = subprocess.run(["sh", "-c", command], env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "y\ny\n"
    assert "Traceback" not in done.stderr


def test_bytes_pass_through_as_they_are(tmp_path):
    script = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 1000); sys.stderr.buffer.write(b'\\r\\xff\\n')"
    command = [sys.executable, "-m", "pipebell.cli.main", "exec", "--org", "a", "--pipeline", "p", "--"]
    done = subprocess.run([*command, sys.executable, "-c", script], capture_output=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == (bytes(range(256)) * 1000, b"\r\xff\n")


# --- secrets: masked before anything is cut

BODY = [f"MIIEvSECRET{n:02d}" + "A" * 50 for n in range(26)]
PEM = "\n".join(["-----BEGIN PRIVATE KEY-----", *BODY, "-----END PRIVATE KEY-----", ""])
PASSWORD = "correct-horse-battery-staple-correct-horse-battery-staple"


def told(text, *, out=False):
    lines = tuple(Line(n, not out, line) for n, line in enumerate(text.splitlines()))
    ending = Ending(1, 1.0, "" if out else text, lines=lines)
    masking = module._Masking({"DB_PASSWORD": PASSWORD})
    return module._message(ending, None, masking) + json.dumps(module._details(ending, masking))


@pytest.mark.parametrize("out", [False, True])
@pytest.mark.parametrize("before", [0, 1950, 4000, 7900, 70_000])
@pytest.mark.parametrize("after", [0, 5000, 7000, 7950])
def test_no_cut_lets_half_a_secret_through(before, after, out):
    for secret in (PEM, f" {PASSWORD} ", f"--token {PASSWORD}\n", PEM.replace("-----BEGIN PRIVATE KEY-----\n", "")):
        text = "x" * before + "\n" + secret + "y" * after + "\n"
        assert "SECRET" not in told(text, out=out)
        assert "correct-horse" not in told(text, out=out)


def test_the_other_streams_lines_within_a_key_hide_nothing():
    lines, n = [], 0
    for line in PEM.splitlines():
        lines += [Line(n, True, line), Line(n + 1, False, f"progress {n}")]
        n += 2
    output = module._details(Ending(1, 1.0, PEM, lines=tuple(lines)))["output"]
    assert "SECRET" not in output
    assert "progress 0\n" in output
    assert f"progress {n - 2}\n" in output


def test_a_key_whose_beginning_is_out_of_sight(run):
    script = f"import sys\nsys.stderr.write({PEM!r} + 'noise\\n' * 20_000 + {PEM[200:]!r})\nsys.exit(1)"
    _, (event,) = run("--", sys.executable, "-c", script)
    assert "SECRET" not in json.dumps({**event, "details": {**event["details"], "command": ""}})


def test_what_a_mask_swallowed_is_no_line_any_more():
    assert mask_lines(["a", *PEM.splitlines(), "b"]) == ["a", "***", *[None] * 27, "b"]
    assert mask_lines([]) == []
    assert mask_lines(["x1", "two lines", "of it", "y"], ["two lines\nof it"]) == ["x1", "***", None, "y"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["mysql", "--password", "two words", "-h", "db"], ["mysql", "--password", "***", "-h", "db"]),
        (["x", "--api-key=a b'c", "--rows=5"], ["x", "--api-key=***", "--rows=5"]),
        (["env", "PGPASSWORD=a'b c", "psql"], ["env", "PGPASSWORD=***", "psql"]),
        (["x", "it's-secret"], ["x", "***"]),
        (["x", "--token", "--verbose"], ["x", "--token", "--verbose"]),
    ],
)
def test_a_commands_arguments_are_masked_one_by_one(words, expected):
    assert mask_command(words, ["it's-secret"]) == expected


PIECES = ["-", "--", "token", "password ", "a.", "a-", "eyJ", "-eyJ", "://", "://a:", "@", "bearer ", "secret is ", "="]
PIECES += [
    "'",
    '"',
    "\n",
    " ",
    "sk-",
    "SG.",
    "AKIA",
    "x",
    "A",
    "-----BEGIN ",
    "-----END PRIVATE KEY-----\n",
    "--token ",
]
PIECES += [
    "-----BEGIN PRIVATE KEY-----\n",
    "hooks.slack.com/services/",
    "https://",
    "dsn='",
    "is ",
    "\t",
    "xoxb-",
    "\\",
]
CHANCE = random.Random(1)
MIXED = ["".join(CHANCE.choices(PIECES, k=CHANCE.randint(2, 5))) for _ in range(16)]


@pytest.mark.parametrize("piece", [*PIECES, *MIXED])
def test_masking_takes_no_time_whatever_the_text(piece):
    text = (piece * (50_000 // len(piece)))[:50_000]
    began = time.process_time()
    for shape in (text, text + "\n!", "token" + text, text.replace("\n", " ")):
        mask(shape)
        mask_command([shape])
    assert time.process_time() - began < 5


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
        ("postgres://user:hunter22@host/db, mysql://u:s3cr3t@h", "s3cr3t"),
        ('{"private_key": "-----BEGIN PRIVATE KEY-----\\nMIIE\\n-----END PRIVATE KEY-----\\n"}', "MIIE"),
        ("cut\\nMIIEabc\\nMIIE\\n-----END PRIVATE KEY-----", "MIIE"),
        ("MIIEabc\nMIIE==\n-----END EC PRIVATE KEY-----", "MIIE"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nMIIE", "MIIE"),
        ("x-eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_d", "eyJzdWIiOiIxIn0"),
        ('password = "not closed', "not closed"),
        ("the secret is hunter22", "hunter22"),
        ('{\\"password\\": \\"hunter22\\"}', "hunter22"),
    ],
)
def test_shapes_of_credentials(text, secret):
    assert secret not in mask(text)


@pytest.mark.parametrize(
    "text",
    [
        "to\x1b[31mp-sec\x1b[0mret-9",  # as grep colours what it finds
        "\x1b]8;;https://x.example\x1b\\top-\x1b]8;;\x1b\\secret-9",
        "top\u200b-secret-9",
        "top-\u202esecret-9",
        "bea\u00adrer top-secret-9",
    ],
)
def test_what_nobody_sees_within_a_secret_does_not_hide_it_from_the_mask(text):
    for masked in (mask(text, ["top-secret-9"]), "\n".join(map(str, mask_lines(["a", text, "b"], ["top-secret-9"])))):
        assert "***" in masked
        assert "secret" not in masked


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


def test_whose_pipeline_it_is_and_which_try(run):
    options = [
        "--owner",
        "data team",
        "--label",
        "env=prod",
        "--label",
        "tier=a=b",
        "--attempt",
        "2",
        "--max-attempts",
        "3",
    ]
    _, (event,) = run(*options, "--", "false")
    assert (event["owner"], event["labels"]) == ("data team", {"env": "prod", "tier": "a=b"})
    assert (event["attempt"], event["maxAttempts"]) == (2, 3)


@pytest.mark.parametrize(
    "wrong", [("--label", "x"), ("--attempt", "0"), ("--attempt", "many"), ("--max-attempts", "-1")]
)
def test_a_wrong_circumstance_is_wrong_usage(run, wrong):
    assert run(*wrong, "--", "true")[0].code == 2
