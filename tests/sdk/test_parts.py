"""The parts below the service: what is made to fit, the spool on disk, and where the API server is found."""

import base64
import json
import multiprocessing
import os
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from pipebell.core.errors import SettingsError
from pipebell.core.event import PipelineEventSpec
from pipebell.core.vocabulary import EventType
from pipebell.sdk import sanitise
from pipebell.sdk.access import find
from pipebell.sdk.record import make
from pipebell.sdk.spool import Spool, default_folder


class Unprintable:
    def __str__(self):
        raise RuntimeError("no")


def test_details_become_json():
    cyclic = {"a": 1}
    cyclic["self"] = cyclic
    found = sanitise.details(
        {
            "time": datetime(2026, 1, 2, tzinfo=UTC), "decimal": Decimal("1.50"), "uuid": UUID(int=1),
            "path": Path("/x"), "set": {1}, "tuple": (1, "a"), "bytes": b"a\xff", "error": ValueError("bad"),
            "nan": float("nan"),
            "big": 2**64, 7: "key", "event": EventType.SYSTEM_ERROR, "class": ValueError, "rude": Unprintable(),
            "cycle": cyclic, "none": None, "flag": True,
        }
    )  # fmt: skip
    json.dumps(found, allow_nan=False)
    assert found["time"] == "2026-01-02T00:00:00+00:00"
    assert (found["decimal"], found["set"], found["tuple"], found["bytes"]) == ("1.50", [1], [1, "a"], "a\\xff")
    assert (found["error"], found["nan"], found["big"], found["7"]) == ("ValueError: bad", "nan", str(2**64), "key")
    assert (found["event"], found["rude"], found["none"], found["flag"]) == (
        "system_error",
        "<Unprintable>",
        None,
        True,
    )
    assert "too deep" in json.dumps(found["cycle"], ensure_ascii=False)


@pytest.mark.parametrize(
    "huge", [{"x": "a" * 10**6}, {str(i): "v" * 100 for i in range(10**4)}, {"l": list(range(10**6))}]
)
def test_huge_details_are_cut_visibly(huge):
    text = json.dumps(sanitise.details(huge), ensure_ascii=False)
    assert len(text) < 2 * sanitise.MAX_SIZE
    assert "left out" in text


def test_details_that_are_no_mapping():
    assert sanitise.details([1]) == {"value": [1]}


def test_long_texts_keep_beginning_and_end():
    short = sanitise.shorten("begin" + "x" * 40_000 + "the error", 32_768)
    assert len(short) == 32_768
    assert short.startswith("begin")
    assert short.endswith("the error")
    assert "7246 and more characters left out" in short


def test_every_record_keeps_the_rules():
    record = make(
        EventType.PIPELINE_FAILURE, "Acme_Corp." + "x" * 40, created=0, pipeline_id="p" * 999,
        links=[("t", "https://e.x"), {"title": "", "url": "https://e.y"}, ("bad", "ftp://x"), 7],
        error_message=ValueError("x"), severity="nonsense",
        occurred_at=datetime(2026, 1, 1),  # noqa: DTZ001  (a pipeline's naive time)
    )  # fmt: skip
    spec = PipelineEventSpec.model_validate(record.spec)
    assert [link.title for link in spec.links] == ["t", "https://e.y"]
    assert spec.severity is None
    assert len(record.name) <= 63
    assert record.name == record.name.lower()


def test_names_are_never_drawn_twice():
    names = {make(EventType.SYSTEM_ERROR, "a", created=0).name for _ in range(10_000)}
    assert len(names) == 10_000


def put(spool, count=1, **options):
    for _ in range(count):
        spool.put(make(EventType.PIPELINE_FAILURE, "acme", created=options.get("created", time.time())), "https://x")


def test_the_spool_keeps_a_record_whole_and_private(spool):
    record = make(EventType.PIPELINE_FAILURE, "acme", created=time.time(), namespace="n", error_message="ü\ud800")
    path, _ = spool.put(record, "https://x")
    (waiting,) = spool.waiting()
    assert waiting.record == record
    assert path.stat().st_mode & 0o777 == 0o600
    assert spool.folder.stat().st_mode & 0o777 == 0o700


def test_the_spool_is_bounded_and_drops_the_oldest(tmp_path):
    spool = Spool(tmp_path / "s", max_records=100)
    for number in range(300):
        put(spool, created=1000.0 + number)
    assert len(spool) <= 100 + 64
    assert min(item.record.created for item in spool.waiting()) > 1100


def test_the_spool_sets_aside_what_it_cannot_read(spool):
    put(spool)
    (spool.folder / "broken.json").write_text("{")
    (spool.folder / ".writing-x").write_text("half")
    assert len(list(spool.waiting())) == 1
    assert [path.name for path in (spool.folder / "rejected").iterdir()] == ["broken.json"]


def test_only_one_process_empties_the_spool_at_a_time(spool):
    with spool.claim() as first, Spool(spool.folder).claim() as second:
        assert (first, second) == (True, False)
    with spool.claim() as again:
        assert again


def _fill(folder):
    put(Spool(folder), 200)


def test_several_processes_write_at_once(spool):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_fill, args=(spool.folder,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(list(spool.waiting())) == 600


def test_where_the_spool_is(tmp_path):
    assert default_folder({"PIPEBELL_SPOOL_DIR": "/data/x"}) == Path("/data/x")
    assert default_folder({"HOME": str(tmp_path)}) == tmp_path / ".local" / "state" / "pipebell" / "spool"
    assert default_folder({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "pipebell" / "spool"
    assert str(os.getuid()) in str(default_folder({"HOME": "/nonexistent"}))


@pytest.fixture
def pod(tmp_path, cluster):
    for name, text in (("token", "t1\n"), ("namespace", "team-a"), ("ca.crt", cluster.authority.read_text())):
        (tmp_path / name).write_text(text)
    return tmp_path


def test_in_a_pod(pod):
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    found = find(environ=environ, service_account=pod)
    assert (found.server, found.namespace, found.token()) == ("https://[fd00::1]:6443", "team-a", "t1")
    assert "t1" not in repr(found)


def test_a_rotated_token_is_read_again(pod, monkeypatch):
    found = find(environ={"KUBERNETES_SERVICE_HOST": "h"}, service_account=pod)
    (pod / "token").write_text("t2")
    assert found.token() == "t1"
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert found.token() == "t2"
    (pod / "token").unlink()
    monkeypatch.setattr(time, "monotonic", lambda: now + 200)
    assert found.token() == "t2"


def test_a_pod_without_its_account(tmp_path):
    with pytest.raises(SettingsError, match="automountServiceAccountToken"):
        find(environ={"KUBERNETES_SERVICE_HOST": "h"}, service_account=tmp_path)


def test_an_exec_plugin(tmp_path):
    plugin = tmp_path / "plugin"
    status = '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"from-plugin"}}'
    plugin.write_text(f"#!/bin/sh\necho '{status}'\n")
    plugin.chmod(0o755)
    path = tmp_path / "config"
    path.write_text(
        "clusters: [{name: a, cluster: {server: 'https://h:1'}}]\ncurrent-context: a\n"
        "contexts: [{name: a, context: {cluster: a, user: a}}]\n"
        f"users: [{{name: a, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: {plugin}, "
        "interactiveMode: Never}}}]\n"
    )
    found = find(kubeconfig=str(path))
    assert (found.token(), found.namespace) == ("from-plugin", "default")


def test_whose_pipeline_it_is_and_which_try_are_made_to_fit():
    record = make(
        EventType.PIPELINE_FAILURE, "acme", created=0, owner="Team\nData \x00" + "x" * 300,
        labels={f"key {n}": "v" * 300 for n in range(40)} | {"two\nlines": 5}, attempt=2, max_attempts="3",
    )  # fmt: skip
    spec = PipelineEventSpec.model_validate(record.spec)
    assert (spec.attempt, spec.max_attempts, len(spec.labels)) == (2, 3, 32)
    assert spec.owner.startswith("Team Data x")
    assert len(spec.owner) == 256
    assert set(map(len, spec.labels.values())) == {256}


@pytest.mark.parametrize(
    "wrong", [{"attempt": 0}, {"attempt": True}, {"max_attempts": "x"}, {"labels": 5}, {"owner": ""}]
)
def test_what_is_wrong_of_it_is_left_out(wrong):
    spec = make(EventType.PIPELINE_FAILURE, "acme", created=0, error_message="boom", **wrong).spec
    PipelineEventSpec.model_validate(spec)
    assert set(spec) == {"orgSlug", "event", "errorMessage", "occurredAt"}


@pytest.fixture
def oidc(tmp_path):
    """A kubeconfig with an auth-provider whose token ends in an hour; the token."""
    parts = [{"alg": "none"}, {"exp": int(time.time()) + 3600}]
    token = ".".join(
        [*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), "x"]
    )
    config = {"id-token": token, "client-id": "c", "idp-issuer-url": "https://issuer"}
    document = {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a", "namespace": "team"}}],
        "clusters": [{"name": "a", "cluster": {"server": "https://api.example:6443"}}],
        "users": [{"name": "a", "user": {"auth-provider": {"name": "oidc", "config": config}}}],
    }  # fmt: skip
    path = tmp_path / "config"
    path.write_text(json.dumps(document))
    return str(path), token


def test_an_auth_provider_is_left_to_the_official_client(oidc):
    path, token = oidc
    found = find(kubeconfig=path, environ={"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "api.example"})
    assert (found.server, found.namespace, found.proxy) == ("https://api.example:6443", "team", None)
    assert found.token() == token
    assert token not in repr(found)


def test_without_it_the_line_says_what_to_install(oidc, monkeypatch):
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    found = find(kubeconfig=oidc[0])
    assert found.server == "https://api.example:6443", "the spool knows where it was meant to go"
    with pytest.raises(SettingsError, match=r"auth-provider, which is not supported here: pip install 'pipebell\[kube"):
        found.token()
