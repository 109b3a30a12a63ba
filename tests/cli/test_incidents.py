"""`pipebell incidents`, on a real API server; incidents are as the operator writes them."""

import re

import pytest

from pipebell.cli import history, incidents
from pipebell.cli.access import Access
from pipebell.cli.client import Client


def status(phase, began="2026-01-31T08:00:00.000Z", **more):
    return {"phase": phase, "failures": 3, "firstFailureTime": began, "lastFailureTime": began} | more


def names(done):
    return [line.split("/")[1] for line in done.out.splitlines()]


def test_open_ones_are_listed_and_resolved_ones_when_asked_for(alone, incident, namespace):
    incident(
        "later", "load", status("Open", "2026-01-31T09:00:00.000Z", lastError="a\nb \x1b[31mred", severity="error")
    )
    incident(
        "sooner", "load", status("Acknowledged"), acknowledgement={"by": "ana"}, snoozedUntil="2026-02-01T00:00:00Z"
    )
    incident("over", "load", status("Resolved", resolvedBy="event/x"))
    incident("theirs", "tidy", status("Pending", "2026-01-31T07:00:00.000Z"), orgSlug="globex")
    incident("new", None)
    listed = alone("incidents")
    assert listed.code == 0, listed.err
    head, *rows = listed.out.splitlines()
    assert head.split() == [
        *["AGE", "ORG", "PIPELINE", "SEVERITY", "PHASE", "FAILURES", "ACKNOWLEDGED", "NAME", "ERROR"]
    ]
    assert [row.split()[1] for row in rows] == ["globex", "acme", "acme", "acme"]
    assert [("theirs" in row, "sooner" in row, "later" in row, "new" in row) for row in rows] == [
        tuple(position == place for place in range(4)) for position in range(4)
    ]
    assert "ana until 2026-02-01T00:00:00Z" in rows[1]
    assert "error" in rows[2]
    assert "a b" in rows[2]
    assert "\x1b" not in listed.out
    assert names(alone("incidents", "acme", "-o", "name")) == ["sooner", "later", "new"]
    assert names(alone("incidents", "--all", "-o", "name")) == ["theirs", "over", "sooner", "later", "new"]
    assert names(alone("incidents", "--pipeline", "tidy", "-o", "name")) == ["theirs"]
    assert names(alone("incidents", "--limit", "1", "-o", "name")) == ["new"]
    assert names(alone("incidents", "--since", "1h", "-o", "name")) == ["new"]
    wide = alone("incidents", "--all", "-o", "wide").out
    assert {"CLASS", "LAST", "REMINDER"} <= set(wide.splitlines()[0].split())
    assert "event/x" in wide
    absolute = alone("incidents", "--absolute").out
    assert absolute.startswith("SINCE")
    assert "2026-01-31T09:00:00.000Z" in absolute
    assert "NAMESPACE" in alone("incidents", "-A").out
    items = alone("incidents", "-o", "json").json["items"]
    assert len(items) == 4
    assert not any("managedFields" in item["metadata"] for item in items)
    none = alone("incidents", "nobody")
    assert (none.code, none.out) == (0, "")
    assert f"Nothing is open of nobody in namespace {namespace}." in none.err


@pytest.mark.parametrize("columns", [80, 60])
def test_it_fits_the_terminal_by_whole_columns_and_keeps_the_names(alone, incident, columns):
    incident(
        "billing-nightly-0123456789",
        "warehouse.billing.nightly",
        status("Acknowledged", lastError="x" * 300, severity="critical"),
        acknowledgement={"by": "system:serviceaccount:team:somebody-with-a-long-name"},
    )
    lines = alone("incidents", env={"COLUMNS": str(columns)}).out.splitlines()
    assert max(map(len, lines)) <= columns
    assert {"PHASE", "FAILURES", "NAME"} <= set(lines[0].split())
    assert "billing-nightly-0123456789" in lines[1]


def test_who_may_not_read_them_is_told_whom_to_ask(cluster, alone, namespace):
    cluster.kubectl("create", "serviceaccount", "nobody", "-n", namespace)
    kubeconfig = cluster.kubeconfig_for_service_account(namespace, "nobody")
    done = alone("incidents", env={"KUBECONFIG": kubeconfig})
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "not permitted" in done.err
    assert "ask for the role view there" in done.err


def test_status_counts_the_open_ones_by_severity_and_says_how_many_are_nobodys(alone, incident):
    def part():
        (found,) = [part for part in alone("status", "-o", "json").json["parts"] if part["what"] == "incidents"]
        return found

    assert part() | {"items": []} == {
        "what": "incidents",
        "state": "ok",
        "message": "none is open",
        "fix": "",
        "items": [],
    }
    incident("i1", status=status("Open", severity="error"))
    incident("i2", status=status("Acknowledged", severity="critical"))
    incident("i3", status=status("Open", severity="error"))
    incident("i4", status=status("Resolved", severity="critical"))
    incident("i5", status=status("Pending"))
    found = part()
    assert found["state"] == "note", "the pipelines fail, not those who tell of it"
    assert found["message"] == "3 open (1 critical, 2 error), 2 of them not acknowledged"
    assert [item["name"] for item in found["items"]] == ["i1", "i2", "i3"]


@pytest.fixture
def described(cluster, namespace):
    """What is said of an event's incident."""

    def describe(name, **fields):
        with Client(Access(str(cluster.kubeconfig), None, namespace)) as client:
            return incidents.describe(client, {"name": name, "action": "Counted", "failures": 2} | fields, namespace)

    return describe


def test_what_is_said_of_an_events_incident(described, incident):
    incident("i1", status=status("Open", nextReminderTime="2026-01-31T12:00:00Z"), acknowledgement={"by": "ana"})
    assert re.fullmatch(
        r"incident/i1 \(Counted, failure 2\): Open, 3 failures, the first \d+d ago, acknowledged by ana, "
        r"next reminder at 2026-01-31T12:00:00Z",
        described("i1"),
    )
    incident("i2", status=status("Resolved", resolvedBy="event/x", resolvedTime="2026-01-31T09:00:00Z"))
    assert described("i2").endswith("resolved by event/x")
    assert "is gone, so somebody has deleted it, or it ended long ago" in described("i3")


def test_history_shows_incidents_where_there_are_any(capsys):
    def event(**status):
        metadata = {"name": "e1", "namespace": "team", "creationTimestamp": "2026-01-31T08:00:00Z"}
        return {"metadata": metadata, "spec": {"orgSlug": "acme", "event": "pipeline_failure"}, "status": status}

    record = {"name": "inc-1", "action": "Opened", "failures": 1}
    history._print([event(), event(incident=record)], everywhere=False, wide=True, absolute=True)
    head, without, with_ = capsys.readouterr().out.splitlines()
    assert "INCIDENT" in head
    assert "Opened inc-1" in with_
    assert "Opened" not in without
    history._print([event()], everywhere=False, wide=True, absolute=True)
    assert "INCIDENT" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("phase", "generation", "shown"),
    [("Acknowledged", 2, "ana"), ("Open", 2, ""), ("Open", 3, "ana"), ("Pending", 2, "ana")],
    ids=["it is", "it got worse", "not seen yet", "nobody was told"],
)
def test_an_acknowledgement_that_was_outlived_is_not_shown(phase, generation, shown):
    item = {
        "metadata": {"name": "inc", "generation": generation},
        "spec": {"acknowledgement": {"by": "ana"}},
        "status": {"phase": phase, "observedGeneration": 2},
    }
    assert incidents.by_whom(item) == shown


def test_a_failed_attempt_is_not_called_counted():
    assert history._incident({"incident": {"name": "inc", "failures": 0}}) == "Waits in inc"
