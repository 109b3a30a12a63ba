"""The spool loses nothing, hides nothing, and sends nothing to another cluster."""

import json
import logging
import os
import subprocess
import sys
import time

import pytest

from pipebell.sdk.access import place
from pipebell.sdk.api import Api
from pipebell.sdk.delivery import State, empty
from pipebell.sdk.factory import make_service
from pipebell.sdk.record import make
from pipebell.sdk.spool import Spool


def kubeconfig(url, path, context="here"):
    path.write_text(
        f"current-context: {context}\ncontexts: [{{name: {context}, context: {{cluster: a, namespace: team}}}}]\n"
        f"clusters: [{{name: a, cluster: {{server: '{url}'}}}}]\n"
    )
    return str(path)


def document(**changed):
    record = {"version": 1, "name": "n", "created": time.time(), "namespace": None, "spec": {}, "server": "https://x"}
    return json.dumps(record | changed)


ODD = {
    "a folder": lambda path: path.mkdir(),
    "created is text": lambda path: path.write_text(document(created="2026")),
    "created is NaN": lambda path: path.write_text(document(created=float("nan"))),
    "created is true": lambda path: path.write_text(document(created=True)),
    "created is huge": lambda path: path.write_text(document(created=10**400)),
    "spec is a list": lambda path: path.write_text(document(spec=[])),
    "name is a path": lambda path: path.write_text(document(name="../x")),
    "name is a number": lambda path: path.write_text(document(name=5)),
    "namespace is a number": lambda path: path.write_text(document(namespace=5)),
    "server is a list": lambda path: path.write_text(document(server=[])),
    "broken": lambda path: path.write_text("{"),
    "empty": lambda path: path.write_text(""),
    "no UTF-8": lambda path: path.write_bytes(b'{"name": "\xff"}'),
    "nested deeply": lambda path: path.write_text("[" * 100_000),
    "a list": lambda path: path.write_text("[]"),
    "null": lambda path: path.write_text("null"),
    "huge": lambda path: path.write_text(document(spec={"x": "y" * 10_000_000})),
    "a dangling link": lambda path: path.symlink_to("/nonexistent/x"),
    "a link to nothing readable": lambda path: path.symlink_to("/proc/1/mem"),
    "a link to a folder": lambda path: path.symlink_to("/"),
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_file_holds_up_no_event(odd, fake, spool, caplog):
    for n in range(3):
        spool.put(make("pipeline_failure", "acme", created=time.time() + n), "https://x")
    ODD[odd](spool.folder / "0.json")
    api = Api(lambda: type("E", (), {"server": "https://x", "namespace": "team"}))
    api.request = lambda *_, **__: type("A", (), {"status": 201, "reason": ""})
    emptied = empty(spool, api, timeout=1)
    assert (emptied.sent, emptied.left, len(spool)) == (3, 0, 0)


def test_a_file_that_nobody_may_read_is_left_alone(fake, spool, caplog, monkeypatch):
    from pipebell.sdk import spool as module  # noqa: PLC0415

    for n in range(2):
        spool.put(make("pipeline_failure", "acme", created=time.time() + n), "https://x")
    real, denied = module._read, min(spool.folder.glob("*.json"))

    def read(path):
        if path == denied:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(module, "_read", read)
    with caplog.at_level(logging.WARNING, "pipebell"):
        assert len(list(spool.waiting())) == 1
    assert "is left alone: Permission denied" in caplog.text
    assert (denied.exists(), len(spool)) == (True, 1)


def test_a_file_that_cannot_be_set_aside_is_left_alone(spool):
    spool.put(make("pipeline_failure", "acme", created=time.time()), "https://x")
    (spool.folder / "broken.json").write_text("{")
    (spool.folder / "rejected").write_text("a file where a folder should be")
    assert len(list(spool.waiting())) == 1
    assert len(list(spool.waiting())) == 1


@pytest.mark.parametrize("odd", ["a folder", "a pipe", "a dangling link"])
def test_a_lock_that_cannot_be_used_locks_nothing(odd, fake, spool):
    spool.put(make("pipeline_failure", "acme", created=time.time()), "https://x")
    ODD[odd](spool.folder / ".lock")
    with spool.claim() as mine:
        assert mine


# --- written before the cluster was known


def test_what_was_written_before_the_cluster_was_known_goes_there_with_the_next_call(fake, tmp_path, eventually):
    config, spool = tmp_path / "config", Spool(tmp_path / "spool")
    early = make_service(kubeconfig=str(config), spool=str(spool.folder)).sync.notify_pipeline_failure("acme", "early")
    assert early.state is State.SPOOLED
    (waiting,) = spool.waiting()
    assert (waiting.server, waiting.place) == (None, place(str(config), None, {}).key)

    elsewhere = kubeconfig("http://127.0.0.1:1", tmp_path / "elsewhere")
    make_service(kubeconfig=elsewhere, spool=str(spool.folder)).sync.notify_pipeline_failure("acme", "elsewhere")

    kubeconfig(fake.url, config)
    other_context = make_service(kubeconfig=str(config), context="here", spool=str(spool.folder))
    other_context.sync.notify_pipeline_failure("acme", "named", timeout=10)
    assert other_context.flush(1) == 2, "a context by name is another place"
    service = make_service(kubeconfig=str(config), spool=str(spool.folder))
    late = service.sync.notify_pipeline_failure("acme", "late", timeout=10)
    assert late.state is State.SENT
    eventually(lambda: early.name in fake.events)
    assert [item.record.spec["pipelineId"] for item in spool.waiting()] == ["elsewhere"]


@pytest.mark.parametrize(
    ("given", "environ", "key"),
    [
        ({}, {"KUBECONFIG": "/a:/b"}, "/a:/b#"),
        ({"kubeconfig": "/a:/b"}, {"KUBECONFIG": "/x"}, "/a:/b#"),
        ({"context": "c"}, {"KUBECONFIG": "/a"}, "/a#c"),
        ({}, {"KUBERNETES_SERVICE_HOST": "h"}, "pod#"),
        ({"context": "c"}, {"KUBERNETES_SERVICE_HOST": "h", "KUBECONFIG": "/a"}, "/a#c"),
    ],
)
def test_the_same_place_has_the_same_key(given, environ, key):
    assert place(given.get("kubeconfig"), given.get("context"), environ).key == key


def test_a_plugin_that_fails_hides_no_cluster(fake, tmp_path):
    config = tmp_path / "config"
    config.write_text(
        "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: u}}]\n"
        f"clusters: [{{name: a, cluster: {{server: '{fake.url}'}}}}]\n"
        "users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: 'false'}}}]\n"
    )
    receipt = make_service(kubeconfig=str(config), spool=str(tmp_path / "spool")).sync.notify_pipeline_failure("acme")
    assert (receipt.state, "exec plugin false failed" in receipt.reason) == (State.SPOOLED, True)
    (waiting,) = Spool(tmp_path / "spool").waiting()
    assert waiting.server == fake.url


# --- a short program


def test_what_was_sent_after_its_time_leaves_nothing_behind(fake, tmp_path):
    """The answer takes longer than the call may, and the program ends at once."""
    fake.delay = 1.1  # a second try is answered before the end of the program gives up
    code = (
        "import sys\nfrom pipebell import get_sync_notification_service\n"
        "print(get_sync_notification_service(kubeconfig=sys.argv[1], spool=sys.argv[2], timeout=1)"
        ".notify_pipeline_failure('acme').state)\n"
    )
    command = [sys.executable, "-c", code, kubeconfig(fake.url, tmp_path / "config"), tmp_path / "spool"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "spooled\n"
    assert (len(fake.events), len(Spool(tmp_path / "spool"))) == (1, 0)
