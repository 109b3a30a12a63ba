"""`pipebell ack`, `snooze` and `resolve`, on a real API server; incidents are as the operator writes them."""

import json
import re
import threading
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from pipebell.cli import respond

OPEN = {"phase": "Open", "failures": 3, "observedGeneration": 1, "firstFailureTime": "2026-01-31T08:00:00.000Z"}


@pytest.fixture
def spec(cluster, namespace):
    def read(name):
        return json.loads(cluster.kubectl("get", "-n", namespace, f"inc/{name}", "-o", "json").stdout)["spec"]

    return read


@pytest.fixture
def mark(cluster, namespace):
    """Writes a status as the operator would, by default of the spec as it is now."""

    def write(name, **status):
        found = json.loads(cluster.kubectl("get", "-n", namespace, f"inc/{name}", "-o", "json").stdout)
        patch = json.dumps({"status": {"observedGeneration": found["metadata"]["generation"]} | status})
        command = ("patch", "-n", namespace, f"inc/{name}", "--subresource=status", "--type=merge", "-p", patch)
        cluster.kubectl(*command)

    return write


def test_the_name_is_the_one_that_the_cluster_knows(alone, incident, account, spec, namespace):
    incident("i1", status=OPEN)
    env = account("ana", "incidents", "get", "list", "watch", "patch")
    done = alone("ack", "i1", "--note", "disk is full", env=env)
    assert (done.code, done.err) == (0, "")
    ana = f"system:serviceaccount:{namespace}:ana"
    assert done.out.startswith(f"incident/i1 acknowledged by {ana}: no reminder and no escalation until")
    assert spec("i1")["acknowledgement"] == {"by": ana, "note": "disk is full"}
    assert alone("ack", "incident.pipebell.io/i1", "--note", "more room", env=env).code == 0, (
        "as `kubectl get -o name` has it"
    )
    assert spec("i1")["acknowledgement"] == {"by": ana, "note": "more room"}
    assert alone("ack", "incident/i1", env=env).code == 0
    assert spec("i1")["acknowledgement"] == {"by": ana}, "no note is no note"
    found = alone("ack", "i1", "-o", "json", env=env).json
    assert found["spec"]["acknowledgement"]["by"] == ana
    assert "managedFields" not in found["metadata"]


def test_of_two_the_second_hears_of_the_first(alone, incident, account, spec, mark):
    incident("i1", status=OPEN)
    ana, bob = (account(name, "incidents", "get", "list", "patch") for name in ("ana", "bob"))
    assert alone("ack", "i1", "--note", "on it", env=ana).code == 0
    for _ in range(2):  # before and after the operator has seen it
        done = alone("ack", "i1", env=bob)
        assert done.code == 1
        assert re.search(r"Error: incident/i1 was acknowledged by .*:ana.*: on it; --take-over puts", done.err)
        assert alone("snooze", "i1", "--for", "2h", env=bob).code == 1
        mark("i1", phase="Acknowledged", acknowledgedTime="2026-01-31T08:00:00Z", acknowledgedBy="ana")
    assert spec("i1")["acknowledgement"]["by"].endswith(":ana")
    assert alone("ack", "i1", "--take-over", env=bob).code == 0
    assert spec("i1")["acknowledgement"]["by"].endswith(":bob")


def test_of_two_at_the_same_moment_one_wins_and_the_other_is_told(alone, incident, account, spec):
    incident("i1", status=OPEN)
    people = {name: account(name, "incidents", "get", "list", "patch") for name in ("ana", "bob", "eve")}
    done = {}
    threads = [
        threading.Thread(target=lambda name=name, env=env: done.update({name: alone("ack", "i1", env=env)}))
        for name, env in people.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [name for name, answer in done.items() if answer.code == 0]
    assert spec("i1")["acknowledgement"]["by"].endswith(f":{winner}")
    for name, answer in done.items():
        assert name == winner or f":{winner}; --take-over" in answer.err, answer


def test_a_count_written_meanwhile_does_not_stand_in_the_way(alone, incident, mark, spec):
    incident("i1", status=OPEN)
    going = threading.Event()

    def count():
        number = 3
        while not going.is_set():
            number += 1
            mark("i1", failures=number)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        done = [alone("ack", "i1", "--note", str(turn)) for turn in range(3)]
    finally:
        going.set()
        thread.join()
    assert [answer.code for answer in done] == [0, 0, 0], [answer.err for answer in done]
    assert spec("i1")["acknowledgement"]["note"] == "2"


def test_an_acknowledgement_that_was_outlived_is_said_again_and_seen(alone, incident, cluster, namespace, mark, spec):
    incident("i1", status=OPEN)
    assert alone("ack", "i1").code == 0
    mark("i1", phase="Open", severity="critical")  # it got worse
    before = json.loads(cluster.kubectl("get", "-n", namespace, "inc/i1", "-o", "json").stdout)["metadata"]
    assert alone("ack", "i1").code == 0
    after = json.loads(cluster.kubectl("get", "-n", namespace, "inc/i1", "-o", "json").stdout)
    assert after["metadata"]["generation"] > before["generation"], "the operator sees it"
    assert after["spec"]["acknowledgement"]["by"]
    mark("i1", phase="Acknowledged")
    version = json.loads(cluster.kubectl("get", "-n", namespace, "inc/i1", "-o", "json").stdout)["metadata"]
    assert alone("ack", "i1").code == 0
    same = json.loads(cluster.kubectl("get", "-n", namespace, "inc/i1", "-o", "json").stdout)["metadata"]
    assert same["resourceVersion"] == version["resourceVersion"], "nothing is written for nothing"


def test_an_acknowledgement_is_taken_back(alone, incident, spec):
    incident("i1", status=OPEN)
    done = alone("ack", "i1", "--undo")
    assert done.code == 1
    assert "incident/i1 is not acknowledged: nothing to take back" in done.err
    alone("snooze", "i1", "--for", "1h")
    done = alone("ack", "i1", "--undo")
    assert done.out == "incident/i1 no longer acknowledged: reminders and escalation go on\n"
    assert {"acknowledgement", "snoozedUntil"} & set(spec("i1")) == set()
    assert alone("ack", "i1", "--undo", "--note", "x").code == 2


def test_a_snooze_is_an_acknowledgement_until_then(alone, incident, spec):
    incident("i1", status=OPEN)
    done = alone("snooze", "i1", "--for", "2h", "--note", "after lunch")
    assert done.code == 0, done.err
    until = datetime.fromisoformat(spec("i1")["snoozedUntil"])
    assert 7_000 < (until - datetime.now(UTC)).total_seconds() <= 7_200
    assert "snoozed by" in done.out
    assert spec("i1")["snoozedUntil"] in done.out
    assert spec("i1")["acknowledgement"]["note"] == "after lunch"
    assert alone("ack", "i1").code == 0
    assert "snoozedUntil" not in spec("i1"), "acknowledged for good"
    assert alone("snooze", "i1").code == 2
    for wrong in ("0s", "32d", "99999999999d", "soon"):
        assert alone("snooze", "i1", "--for", wrong).code == 2, wrong


def test_what_is_resolved_stays_so(alone, incident, spec, mark):
    incident("i1", status=OPEN)
    done = alone("resolve", "i1", "--note", "more room")
    assert done.code == 0, done.err
    assert "the next failure opens a new incident" in done.out
    assert spec("i1")["resolution"]["note"] == "more room"
    by = spec("i1")["resolution"]["by"]
    for command in (["ack", "i1"], ["resolve", "i1"], ["snooze", "i1", "--for", "1h"], ["ack", "i1", "--undo"]):
        done = alone(*command)
        assert done.code == 1
        assert f"incident/i1 was resolved by {by}: nothing to" in done.err
    incident("i2", status=OPEN)
    mark("i2", phase="Resolved", resolvedBy="event/x", resolvedTime="2026-01-31T08:00:00Z")
    assert re.search(r"incident/i2 was resolved by event/x \d+d ago: nothing to acknowledge", alone("ack", "i2").err)


def test_the_pipelines_name_will_do_while_it_has_one(alone, incident, mark, spec):
    incident("i1", "billing.nightly", OPEN)
    incident("i0", "billing.nightly", {"phase": "Resolved"})
    assert alone("ack", "billing.nightly").out.startswith("incident/i1 acknowledged by")
    incident("i2", "billing.nightly", OPEN, **{"class": "DataQuality"})
    done = alone("ack", "billing.nightly")
    assert done.code == 1
    assert (
        "pipeline billing.nightly has 2 unresolved incidents: name one of i1 (Run, Open), i2 (DataQuality, Open)"
        in done.err
    )


def test_a_name_that_is_not_there(alone, incident, namespace, cluster):
    incident("billing-1a2b", "billing", OPEN)
    done = alone("ack", "biling-1a2b")
    assert done.code == 1
    assert f"there is no Incident biling-1a2b in namespace {namespace}; did you mean billing-1a2b?" in done.err
    assert "did you mean billing?" in alone("resolve", "bilings").err
    cluster.kubectl("delete", "-n", namespace, "inc/billing-1a2b")
    assert "`pipebell incidents` lists what is open" in alone("ack", "billing-1a2b").err


def test_whoever_may_not_is_told_whom_to_ask(alone, incident, account, spec):
    incident("i1", status=OPEN)
    viewer = account("viewer", "incidents", "get", "list", "watch")
    for command in (["ack", "i1"], ["resolve", "i1"], ["snooze", "i1", "--for", "1h"]):
        done = alone(*command, env=viewer)
        assert done.code == 1
        assert done.err.count("\n") == 1
        assert "not permitted" in done.err
        assert "ask for the role pipebell-responder or edit there" in done.err
    assert "acknowledgement" not in spec("i1")
    assert "ask for the role view there" in alone("ack", "i1", env=account("nobody", "incidents")).err


def test_a_note_that_is_too_long_is_refused_before_anything_is_written(alone, incident, spec):
    incident("i1", status=OPEN)
    done = alone("ack", "i1", "--note", "x" * 1025)
    assert done.code == 2
    assert "it has 1025 characters; at most 1024 are kept" in done.err
    assert "acknowledgement" not in spec("i1")


def test_incidents_are_proposed_by_name_without_resolved_ones(alone, incident, namespace):
    incident("billing-1", status=OPEN)
    incident("billing-2", status={"phase": "Resolved"})
    for command in ("ack", "resolve", "snooze"):
        line = f"pipebell {command} -n {namespace} bil"
        env = {"_PIPEBELL_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": "4"}
        assert alone("ignored", env=env).out.split() == ["plain,billing-1"]


@pytest.mark.parametrize(("told", "written"), [("", "ana"), ("a\nb" + "x" * 300, ("a b" + "x" * 300)[:256])])
def test_where_the_cluster_does_not_say_who_one_is_the_machine_does(monkeypatch, capsys, told, written):
    monkeypatch.setattr("getpass.getuser", lambda: "ana")
    assert respond.myself(SimpleNamespace(user=lambda: told)) == written
    said = capsys.readouterr().err
    assert said == ("" if told else "The cluster does not say who you are: ana, as this machine has it, is written.\n")
