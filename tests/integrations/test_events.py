"""Events on their way to the SDK: masked, named by what happened, and never in anybody's way."""

from __future__ import annotations

import json

import pytest
from tests.integrations.api import NAMESPACE, Api

from pipebell.integrations.events import Event, send, send_async, send_later, words


@pytest.fixture
def answering(tmp_path, monkeypatch):
    api = Api()
    api.answer()
    (tmp_path / "kubeconfig").write_text(api.kubeconfig())
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("PIPEBELL_SPOOL_DIR", str(tmp_path / "spool"))
    # A service is kept for its arguments: this test's own has this test's kubeconfig.
    monkeypatch.setattr("pipebell.sdk.factory._services", {})
    yield api
    api.close()


def event(**more):
    given = {"org": "acme_corp", "event": "pipeline_failure", "pipeline": "daily", "run": "r1", "message": "x"}
    return Event(**given | more)


def test_an_event_arrives_with_all_that_it_says(answering):
    receipt = send(event(details={"task": "load", "nothing": None}, links={"Log": "https://a/b"}), timeout=60)
    assert receipt.state == "sent"
    (spec,) = answering.specs()
    assert (spec["orgSlug"], spec["pipelineId"], spec["pipelineLoggingId"]) == ("acme_corp", "daily", "r1")
    assert (spec["details"], spec["links"]) == ({"task": "load"}, [{"title": "Log", "url": "https://a/b"}])
    (created,) = answering.events.values()
    assert created["metadata"]["namespace"] == NAMESPACE


async def test_whoever_tells_the_same_makes_one_event(answering):
    same = event(key=("airflow", "daily", "r1", "load"))
    names = {send(same, timeout=60).name, (await send_async(same, timeout=60)).name}
    other = send(event(key=("airflow", "daily", "r1", "check")), timeout=60).name
    assert len(names) == 1
    assert len(answering.posts) == 3
    assert set(answering.events) == {*names, other}


def test_without_a_key_each_is_another(answering):
    assert len({send(event(), timeout=60).name for _ in range(3)}) == 3


def test_a_namespace_of_ones_own(answering):
    send(event(), namespace="team-b", timeout=60)
    (created,) = answering.events.values()
    assert created["metadata"]["namespace"] == "team-b"


def test_credentials_do_not_travel(answering, monkeypatch):
    monkeypatch.setenv("WAREHOUSE_PASSWORD", "hunter22-of-the-environment")
    details = {
        "url": "postgres://u:hunter22@db/x",
        "metadata": {"list": ["token=hunter22", {"deep": "hunter22-of-the-environment"}], "rows": 7},
    }
    send(event(message=ValueError("login failed for postgres://u:hunter22@db/x"), details=details), timeout=60)
    (spec,) = answering.specs()
    assert "hunter22" not in json.dumps(spec)
    assert spec["errorMessage"].startswith("ValueError: login failed for postgres://u:***@db/x")
    assert spec["details"]["metadata"]["rows"] == 7


def test_sending_later_is_pending_at_once_and_arrives(answering):
    send_later(event(key=("k",)))
    assert send(event(key=("k",)), timeout=60).state == "sent"
    assert len(answering.events) == 1


class Unspeakable(Exception):  # noqa: N818  (it is what it is)
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (None, None),
        ("", None),
        ("  x ", "x"),
        (KeyError("x"), "KeyError: 'x'"),
        (ValueError(), "ValueError"),
        (Unspeakable(), "Unspeakable"),
        ({"DAG Id": "d"}, "{'DAG Id': 'd'}"),
    ],
)
def test_errors_in_words(error, text):
    assert words(error) == text
