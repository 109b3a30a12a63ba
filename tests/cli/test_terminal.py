"""Nothing that others wrote reaches the terminal as anything but text: events, answers of servers, names in files."""

import io
import json
import os
import pty
import re
import subprocess
import sys
import threading
from contextlib import redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import click
import pytest

from pipebell.cli import terminal
from pipebell.core.crds import SILENCED_BY

HOSTILE = {
    "link": "\x1b]8;;https://evil.example/login\x1b\\daily\x1b]8;;\x1b\\",
    "title": "x\x1b]0;PWNED\x07y",
    "clipboard": "x\x1b]52;c;Y3VybA==\x07y",
    "clear": "x\x1b[2J\x1b[Hy",
    "colour": "\x1b[32mDelivered\x1b[0m",
    "C1 CSI": "x\x9b2Jy",
    "C1 OSC": "x\x9d0;PWNED\x9cy",
    "DCS": 'x\x1bP$q"p\x1b\\y',
    "reset": "x\x1bcy",
    "carriage return": "Failed\rDelivered",
    "backspace": "Failed\x08\x08\x08\x08\x08\x08Delivered",
    "bidi": "a\u202egnp.exe",
    "isolate": "\u2066a\u2069",
    "zero width": "ad\u200bmin\ufeff",
    "tags": "a\U000e0041\U000e007f",
    "line separator": "a\u2028b\u2029c\x85d",
    "surrogate": "a\udc1bb",
    "delete": "a\x7fb",
}
OURS = re.compile(r"\x1b\[(?:[0-9;]*m|\?25[hl])")
OBEYED = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff\ud800-\udfff]"
)


def harmless(text):
    return OBEYED.search(OURS.sub("", text.replace("\r\n", "\n"))) is None


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_foreign_text_is_text(text):
    cleaned = terminal.clean(text)
    assert harmless(cleaned)
    assert "\x1b" not in cleaned
    assert "\r" not in cleaned
    assert "\N{REPLACEMENT CHARACTER}" in cleaned, "that something was there is seen"


@pytest.mark.parametrize("text", ["Ünïcödé 日本語 עברית العربية 👩‍👩‍👧 a\tb\nc", "", "plain"])
def test_any_other_text_stays_as_it_is(text):
    assert terminal.clean(text) == text


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_somebody_forgot_to_clean_is_kept_from_the_terminal(text):
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), terminal.guarded():
        sys.stdout.write(f"{terminal.style('ok', 'green')} {text}\n")
        click.echo(text)
        sys.stderr.write(text)
    assert out.getvalue().startswith("\x1b[32mok\x1b[0m ")
    assert harmless(out.getvalue())
    assert harmless(err.getvalue())


def test_the_guarded_stream_is_otherwise_the_stream():
    out = io.StringIO()
    with redirect_stdout(out), terminal.guarded():
        assert not sys.stdout.isatty()
        with pytest.raises(TypeError):
            sys.stdout.write(b"bytes")
        sys.stdout.writelines(["a", "b"])
    assert out.getvalue() == "ab"
    assert sys.stdout is not out


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_deliveries_and_summaries_are_clean(text):
    item = {"destination": text, "phase": text, "message": text, "reason": text, "nextAttemptTime": text, "attempts": 2}
    status = {"phase": text, "reason": text, "message": text}
    for line in (terminal.delivery(item), terminal.summary({"status": status}), terminal.phase(text)):
        assert harmless(line)
        assert "\x1b" not in line


class _Api(BaseHTTPRequestHandler):
    items = ()
    others: ClassVar[dict[str, list]] = {}  # of further kinds, by their plurals

    def do_GET(self):
        items = self.items if "/pipelineevents" in self.path else []
        items = next((found for plural, found in self.others.items() if f"/{plural}" in self.path), items)
        answer = json.dumps({"kind": "List", "metadata": {"resourceVersion": "1"}, "items": items}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@pytest.fixture
def kubeconfig(tmp_path):
    """Of a server that has one event for each hostile text."""
    _Api.items = [
        {
            "metadata": {"name": f"e{number}", "namespace": "a", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"orgSlug": text, "event": text, "pipelineId": text, "pipelineLoggingId": text, "severity": text},
            "status": {
                "phase": text,
                "reason": text,
                "suppressedBy": text,
                "deliveries": [{"destination": text, "phase": text, "attempts": 2}] if number % 2 else [],
            },
        }
        for number, text in enumerate(text for text in HOSTILE.values() if "\udc1b" not in text)
    ]
    server = HTTPServer(("127.0.0.1", 0), _Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    path = tmp_path / "kubeconfig"
    document = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "a"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path.write_text(json.dumps(document))
    yield path
    server.shutdown()
    server.server_close()


def on_a_terminal(*arguments, env):
    """What a command writes to a terminal of its own."""
    ours, theirs = pty.openpty()
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PIPEBELL_", "KUBE"))}
    environ |= {"TERM": "xterm-256color", "COLUMNS": "300"} | {key: str(value) for key, value in env.items()}
    command = [sys.executable, "-m", "pipebell.cli.main", *map(str, arguments)]
    process = subprocess.Popen(command, env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 65536):
            written += chunk
    except OSError:  # the other end is closed: Linux says it so
        pass
    os.close(ours)
    return process.wait(60), written.decode()


def test_history_on_a_terminal_and_in_a_pipe(kubeconfig, cli):
    code, shown = on_a_terminal("history", "-A", env={"KUBECONFIG": kubeconfig})
    assert code == 0, shown
    assert "e0" in shown
    assert harmless(shown)
    assert "\x1b[32mDelivered" not in shown, "only a real phase is coloured"
    piped = cli("history", "-A", env={"KUBECONFIG": kubeconfig})
    assert piped.code == 0
    assert harmless(piped.out)
    assert "\x1b" not in piped.out


SINCE = "2026-01-01T00:00:00Z"


def of_kinds(text):
    """One object of each kind that says this wherever somebody may write."""
    metadata = {"name": "x", "namespace": "a", "creationTimestamp": SINCE, "annotations": {SILENCED_BY: text}}
    failing = {"name": text, "provider": text, "state": "Failing", "since": SINCE, "reason": text, "message": text}
    condition = {"type": "Ready", "status": "False", "reason": text, "message": text, "lastTransitionTime": SINCE}
    incident = {"key": text, "class": text, "pipelineId": text, "acknowledgement": {"by": text, "note": text}}
    silence = {"pipelines": [text], "labels": {"k": text}, "endsAt": "2999-01-01T00:00:00Z", "reason": text}
    return {
        "incidents": [
            {
                "metadata": metadata,
                "spec": {"orgSlug": "acme", "openedBy": "e", **incident},
                "status": {"phase": "Open", "severity": text, "lastError": text, "firstFailureTime": SINCE},
            }
        ],
        "silences": [{"metadata": metadata, "spec": {**silence, "ticket": text, "events": [text]}}],
        "notificationconfigs": [
            {
                "metadata": metadata,
                "spec": {"orgSlug": "acme", "slack": {"channel": text}},
                "status": {"conditions": [condition], "destinations": [failing]},
            }
        ],
        "pipelineevents": [
            {
                "metadata": metadata,
                "spec": {"orgSlug": "acme", "event": "pipeline_failure"},
                "status": {
                    "phase": "Suppressed",
                    "reason": "Silenced",
                    "catchUp": {"by": f"silence/{text}", "mode": "Summary", "due": SINCE},
                    "incident": {"name": text, "action": text, "failures": 1},
                    "deliveries": [{"destination": text, "phase": "Failed", "failoverFor": text, "recipients": text}],
                },
            }
        ],
    }


@pytest.mark.parametrize("command", ["incidents -A -o wide", "silences -A -o wide", "history -A -o wide", "status -A"])
def test_whatever_others_wrote_is_text_in_every_list(kubeconfig, command, monkeypatch):
    text = "".join(value for value in HOSTILE.values() if "\udc1b" not in value) + "\x1b[8mhidden"
    monkeypatch.setattr(_Api, "others", of_kinds(text))
    _, shown = on_a_terminal(*command.split(), env={"KUBECONFIG": kubeconfig})
    assert "Traceback" not in shown
    assert "hidden" in shown
    assert harmless(shown)
    assert "\x1b[8m" not in shown
    assert "\x1b[32mDelivered" not in shown, "only a real phase is coloured"


def test_validate_with_hostile_names_in_a_file(tmp_path):
    path = tmp_path / "event.json"
    text = HOSTILE["title"]
    path.write_text(json.dumps({"apiVersion": text, "kind": "PipelineEvent", "metadata": {"name": text}, text: 1}))
    code, shown = on_a_terminal("validate", path, env={})
    assert code == 1
    assert "PWNED" in shown
    assert harmless(shown)


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "a/b", "..", "-rf", "\x1b]0;x\x07"])
def test_a_preview_goes_to_no_place_that_the_events_name_says(tmp_path, cli, name):
    folder = tmp_path / "one" / "two"
    folder.mkdir(parents=True)
    event = {"apiVersion": "pipebell.io/v1alpha1", "kind": "PipelineEvent", "metadata": {"name": name}}
    (folder / "event.json").write_text(json.dumps(event | {"spec": {"orgSlug": "a", "event": "pipeline_failure"}}))
    config = {"email": {"smtp_host": "h.example", "from_email": "a@b.example", "to_emails": ["c@d.example"]}}
    (folder / "config.json").write_text(json.dumps(config))
    before = sorted(tmp_path.rglob("*"))
    done = cli("preview", "-f", "event.json", "--root", "config.json", "--open", cwd=folder, env={"BROWSER": "true"})
    assert done.code == 1
    assert "metadata.name" in done.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_preview_that_is_opened_takes_no_file_of_the_users(tmp_path, cli):
    event = {"apiVersion": "pipebell.io/v1alpha1", "kind": "PipelineEvent", "metadata": {"name": "index"}}
    (tmp_path / "event.json").write_text(json.dumps(event | {"spec": {"orgSlug": "a", "event": "pipeline_failure"}}))
    config = {"email": {"smtp_host": "h.example", "from_email": "a@b.example", "to_emails": ["c@d.example"]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "index.html").write_text("mine")
    environ = {"BROWSER": "true", "TMPDIR": tmp_path}
    done = cli("preview", "-f", "event.json", "--root", "config.json", "--open", cwd=tmp_path, env=environ)
    assert done.code == 0, done.err
    assert (tmp_path / "index.html").read_text() == "mine"
    (saved,) = tmp_path.glob("pipebell-preview-*/mail.html")
    assert "<html" in saved.read_text().lower()
    assert saved.parent.stat().st_mode & 0o077 == 0


def test_a_terminal_gets_colours_a_pipe_does_not(on_stage, make_config, stage, place):
    make_config("acme", webhook="Tcolour")
    on_stage("send", "--org", "acme", "--wait")
    assert "\x1b[" not in on_stage("history").out
    shown = on_a_pty(stage, place, "history")
    assert "\x1b[" in shown
    assert "Delivered" in shown


def on_a_pty(stage, place, *arguments):
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
