"""Incidents as people meet them on a real API server: what may change, what may not, columns, selectors, names."""

import json

import pytest

pytestmark = pytest.mark.cluster

SPEC = {"orgSlug": "acme", "key": "billing", "class": "Run", "pipelineId": "billing", "openedBy": "first"}
ABOUT = "says what the incident is about and never changes: set acknowledgement, resolution or snoozedUntil"
OVER = "cannot be taken back: a resolved incident stays resolved, and the next failure opens a new one"


@pytest.fixture
def incident(server, request):
    name = f"incident-{abs(hash(request.node.name)) % 10**8}"
    yield server.create("Incident", name, SPEC)["metadata"]["name"]
    server.kubectl("delete", "incident", name, "--wait=false")


def patched(server, name, patch, *arguments):
    return server.kubectl("patch", "inc", name, "--type=merge", "-p", json.dumps(patch), *arguments)


def specified(server, name, **spec):
    return patched(server, name, {"spec": spec})


@pytest.mark.parametrize(
    ("field", "value"),
    [("orgSlug", "globex"), ("key", "other"), ("class", "System"), ("openedBy", "second")]
    + [("pipelineId", value) for value in ("other", None, "")],
)
def test_what_it_is_about_never_changes(server, incident, field, value):
    done = specified(server, incident, **{field: value})
    assert done.returncode == 1
    assert f"spec.{field}: Invalid value" in done.stderr
    assert ABOUT in done.stderr


def test_a_pipeline_is_not_added_to_an_incident_of_several(server):
    server.create("Incident", "several", {key: value for key, value in SPEC.items() if key != "pipelineId"})
    try:
        assert ABOUT in specified(server, "several", pipelineId="billing").stderr
        assert specified(server, "several", acknowledgement={"by": "ana"}).returncode == 0
    finally:
        server.kubectl("delete", "incident", "several", "--wait=false")


def test_people_acknowledge_take_it_back_snooze_and_resolve(server, incident):
    for change in (
        {"acknowledgement": {"by": "ana", "note": "disk full"}},
        {"acknowledgement": {"by": "bob", "note": None}},
        {"acknowledgement": None},
        {"snoozedUntil": "2026-01-31T08:00:00Z"},
        {"snoozedUntil": None},
        {"resolution": {"by": "ana"}},
        {"resolution": {"note": "more room"}},
        {"acknowledgement": {"by": "bob"}},
    ):
        done = specified(server, incident, **change)
        assert done.returncode == 0, (change, done.stderr)


@pytest.mark.parametrize("how", ["merge", "json"])
def test_a_resolution_is_not_taken_back(server, incident, how):
    assert specified(server, incident, resolution={"by": "ana"}).returncode == 0
    patch = {"spec": {"resolution": None}} if how == "merge" else [{"op": "remove", "path": "/spec/resolution"}]
    done = server.kubectl("patch", "inc", incident, f"--type={how}", "-p", json.dumps(patch))
    assert done.returncode == 1
    assert f"spec.resolution: Invalid value: {OVER}" in done.stderr or OVER in done.stderr


def test_columns_and_selectors(server, incident):
    status = {"phase": "Acknowledged", "failures": 17, "openedTime": "2026-01-31T08:00:00Z", "acknowledgedBy": "ana"}
    status |= {"severity": "error", "firstError": "boom", "lastFailureTime": "2026-01-31T08:00:00Z"}
    assert patched(server, incident, {"status": status}, "--subresource=status").returncode == 0
    selector = "status.phase!=Resolved,spec.orgSlug=acme"
    head, *rows = server.kubectl("get", "inc", f"--field-selector={selector}").stdout.splitlines()
    assert head.split() == ["NAME", "ORG", "PIPELINE", "PHASE", "FAILURES", "OPEN", "ACKNOWLEDGED", "AGE"]
    cells = next(row.split() for row in rows if row.startswith(f"{incident} "))
    assert cells[1:5] + cells[6:7] == ["acme", "billing", "Acknowledged", "17", "ana"]
    wide = server.kubectl("get", "inc", incident, "-o", "wide").stdout
    assert "boom" in wide
    assert incident not in server.kubectl("get", "inc", "--field-selector=status.phase=Resolved", "-o", "name").stdout
    assert incident in server.kubectl("get", "pipebell", "-o", "name").stdout


def test_a_status_as_the_operator_writes_it_is_kept_whole(server, incident):
    time = "2026-01-31T08:00:00.123Z"
    told = {"destination": "slack", "provider": "slack", "endpoint": "0123456789ab", "handle": "1.2"}
    status = {
        "phase": "Resolved",
        "severity": "critical",
        "failures": 3,
        "firstFailureTime": time,
        "openedTime": time,
        "lastFailureTime": time,
        "firstError": "é" * 1024,
        "lastError": "b",
        "lastEvent": "third",
        "acknowledgedTime": time,
        "acknowledgedBy": "ana",
        "reminders": 2,
        "nextReminderTime": time,
        "escalationStep": 1,
        "nextEscalationTime": time,
        "changes": [time] * 32,
        "notifications": [told | {"lastAction": "Opened", "lastTime": time}, {"destination": "sms/2"}],
        "resolvedTime": time,
        "resolvedBy": "event/fourth",
        "durationSeconds": 2520,
        "conditions": [{"type": "T", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": time}],
        "observedGeneration": 2,
    }
    assert patched(server, incident, {"status": status}, "--subresource=status").returncode == 0
    found = json.loads(server.kubectl("get", "inc", incident, "-o", "json").stdout)
    assert found["status"] == status


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        ({"phase": "Closed"}, 'status.phase: Unsupported value: "Closed"'),
        ({"changes": ["2026-01-31T08:00:00Z"] * 33}, "status.changes: Too many"),
        ({"notifications": [{"destination": "slack"}] * 2}, "status.notifications[1]: Duplicate value"),
        ({"resolvedTime": "now"}, "status.resolvedTime: Invalid value"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_status_keeps_to_its_schema(server, incident, status, answer):
    done = patched(server, incident, {"status": status}, "--subresource=status")
    assert done.returncode == 1
    assert answer in done.stderr
