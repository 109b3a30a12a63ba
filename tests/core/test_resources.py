"""The resources as people meet them on a real API server: immutability, status, columns, selectors, names."""

import json

import pytest

pytestmark = pytest.mark.cluster

IMMUTABLE = "spec is immutable: what happened does not change; create a new PipelineEvent instead"
SPEC = {
    "orgSlug": "acme",
    "event": "pipeline_failure",
    "severity": None,
    "pipelineId": "billing",
    "details": {"rows": 1, "steps": [{"name": "load", "tries": [1, 2]}], "none": None},
    "occurredAt": "2026-01-31T08:00:00Z",
    "links": [{"title": "Run", "url": "https://example.com/1"}],
}


@pytest.fixture
def event(server, request):
    name = f"event-{abs(hash(request.node.name)) % 10**8}"
    yield server.create("PipelineEvent", name, SPEC)
    server.kubectl("delete", "pipelineevent", name, "--wait=false")


def patched(server, event, patch, *arguments, type_="merge"):
    return server.kubectl(
        "patch", "pipelineevent", event["metadata"]["name"], f"--type={type_}", "-p", json.dumps(patch), *arguments
    )


@pytest.mark.parametrize(
    "change",
    [
        {"pipelineId": "other"},
        {"pipelineId": None},
        {"severity": "error"},
        {"test": True},
        {"errorMessage": "boom"},
        {"occurredAt": "2026-01-31T08:00:01Z"},
        {"links": []},
        {"links": [{"title": "Run", "url": "https://example.com/2"}]},
        {"details": None},
        {"details": {"rows": 2}},
        {"details": {"rows": "1"}},
        {"details": {"more": 1}},
        {"details": {"rows": None}},
        {"details": {"steps": [{"name": "load", "tries": [1, 3]}]}},
    ],
    ids=str,
)
def test_no_change_of_what_happened_passes_inside_the_free_form_details_neither(server, event, change):
    result = patched(server, event, {"spec": change})
    assert result.returncode == 1
    assert f"spec: Invalid value: {IMMUTABLE}" in result.stderr


def test_null_inside_details_is_part_of_what_happened(server, event):
    assert event["spec"]["details"] == SPEC["details"]
    result = patched(server, event, [{"op": "remove", "path": "/spec/details/none"}], type_="json")
    assert IMMUTABLE in result.stderr


def test_the_limit_of_it_the_same_moment_may_be_written_differently(server, event):
    result = patched(server, event, {"spec": {"occurredAt": "2026-01-31T09:00:00+01:00"}})
    assert result.returncode == 0, result.stderr


def test_labels_and_status_of_an_event_may_change(server, event):
    assert patched(server, event, {"metadata": {"labels": {"seen": "yes"}}}).returncode == 0
    status = {"phase": "Delivered", "message": "ok", "severity": "error", "completionTime": "2026-01-31T08:00:01.250Z"}
    assert patched(server, event, {"status": status}, "--subresource=status").returncode == 0


def test_the_spec_cannot_change_through_the_status_nor_the_status_through_the_spec(server, event):
    patched(server, event, {"spec": {"pipelineId": "x"}, "status": {"phase": "Failed"}}, "--subresource=status")
    patched(server, event, {"status": {"phase": "Skipped"}})
    found = json.loads(server.kubectl("get", "pe", event["metadata"]["name"], "-o", "json").stdout)
    assert (found["spec"]["pipelineId"], found["status"]["phase"]) == ("billing", "Failed")


def test_a_large_event_still_takes_its_status(server):
    details = {f"table-{i}": {"rows": i, "note": "x" * 180} for i in range(1_000)}
    server.create("PipelineEvent", "large", SPEC | {"details": details, "errorMessage": "é" * 32_768})
    large = {"metadata": {"name": "large"}}
    try:
        done = patched(server, large, {"status": {"phase": "Delivered"}}, "--subresource=status")
        assert done.returncode == 0, done.stderr
        assert IMMUTABLE in patched(server, large, {"spec": {"details": {"table-999": {"rows": 1}}}}).stderr
    finally:
        server.kubectl("delete", "pipelineevent", "large", "--wait=false")


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        ({"phase": "Done"}, 'status.phase: Unsupported value: "Done"'),
        ({"reason": "Because"}, 'status.reason: Unsupported value: "Because"'),
        ({"message": "x" * 1025}, "status.message: Too long"),
        ({"completionTime": "now"}, "status.completionTime: Invalid value"),
        (
            {"deliveries": [{"provider": "email", "destination": "email", "phase": "Pending"}] * 2},
            'status.deliveries[1]: Duplicate value: {"destination":"email"}',
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_status_keeps_to_its_schema_as_well(server, event, status, answer):
    result = patched(server, event, {"status": status}, "--subresource=status")
    assert result.returncode == 1
    assert answer in result.stderr


def test_a_status_as_the_operator_writes_it_is_kept_whole(server, event):
    time = "2026-01-31T08:00:00.123Z"
    status = {
        "phase": "PartiallyDelivered",
        "reason": "RetriesExhausted",
        "message": "slack delivered, email failed",
        "severity": "critical",
        "configRef": {"kind": "RootConfig", "namespace": "pipebell-system", "name": "pipebell-root", "generation": 3},
        "deliveries": [
            {"provider": "slack", "destination": "slack", "phase": "Delivered", "attempts": 1, "deliveredTime": time},
            {
                "provider": "email",
                "destination": "email",
                "phase": "Failed",
                "attempts": 3,
                "lastAttemptTime": time,
                "reason": "SmtpAuthFailed",
                "message": "535",
                "retryRecipients": ["a@b.io"],
                "nextAttemptTime": time,
            },
        ],
        "suppressedCount": 49,
        "completionTime": time,
        "conditions": [
            {"type": "Accepted", "status": "True", "reason": "Resolved", "message": "", "lastTransitionTime": time}
        ],
        "observedGeneration": 1,
    }
    assert patched(server, event, {"status": status}, "--subresource=status").returncode == 0
    found = json.loads(server.kubectl("get", "pe", event["metadata"]["name"], "-o", "json").stdout)
    assert found["status"] == status


def test_null_means_unset_and_an_optional_choice_drops_it(server):
    spec = {"orgSlug": "nulls", "enabled": None, "defaultProvider": None, "slack": None}
    given = spec | {"email": {"smtpHost": None, "smtpTls": None}}
    try:
        stored = server.create("NotificationConfig", "nulls", given)["spec"]
    finally:
        server.kubectl("delete", "nc", "nulls", "--wait=false")
    assert stored == spec | {"email": {"smtpHost": None}}


def test_events_read_like_a_log(server, event):
    name = event["metadata"]["name"]
    status = {"phase": "Suppressed", "reason": "Cooldown", "severity": "error", "suppressedBy": "the-first"}
    patched(server, event, {"status": status}, "--subresource=status")
    header, row = server.kubectl("get", "pe", name).stdout.splitlines()
    assert header.split() == ["NAME", "ORG", "EVENT", "SEVERITY", "PIPELINE", "PHASE", "REASON", "AGE"]
    assert row.split()[:-1] == [name, "acme", "pipeline_failure", "error", "billing", "Suppressed", "Cooldown"]
    wide = server.kubectl("get", "pe", name, "-o", "wide").stdout
    assert "SUPPRESSED BY" in wide
    assert "the-first" in wide


def test_configs_say_whether_they_are_ready_and_why_not(server):
    server.create("NotificationConfig", "columns", {"orgSlug": "acme", "enabled": True, "defaultProvider": "slack"})
    condition = {
        "type": "Ready",
        "status": "False",
        "reason": "MissingSecret",
        "lastTransitionTime": "2026-01-31T08:00:00Z",
    }
    patch = json.dumps({"status": {"conditions": [condition | {"message": "there is no Secret acme"}]}})
    try:
        server.kubectl("patch", "nc", "columns", "--subresource=status", "--type=merge", "-p", patch)
        header, row = server.kubectl("get", "nc", "columns").stdout.splitlines()
        assert header.split() == ["NAME", "ORG", "ENABLED", "PROVIDER", "READY", "REASON", "DELIVERABLE", "AGE"]
        assert row.split()[:-1] == ["columns", "acme", "true", "slack", "False", "MissingSecret"]
        assert "there is no Secret acme" in server.kubectl("get", "nc", "columns", "-o", "wide").stdout
    finally:
        server.kubectl("delete", "nc", "columns", "--wait=false")


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("status.phase!=Delivered", True),  # holds while there is no phase yet
        ("status.phase=Delivered", False),
        ("spec.orgSlug=acme", True),
        ("spec.orgSlug=other", False),
        ("spec.event=pipeline_failure", True),
        ("spec.event!=pipeline_failure", False),
    ],
)
def test_events_are_selectable(server, event, selector, found):
    listed = server.kubectl("get", "pe", "--field-selector", selector, "-o", "name").stdout
    assert (event["metadata"]["name"] in listed) is found


def test_one_category_shows_both(server, event):
    assert (
        f"pipelineevent.pipebell.io/{event['metadata']['name']}"
        in server.kubectl("get", "pipebell", "-o", "name").stdout
    )


def test_explain_describes_every_level(server):
    explained = server.kubectl("explain", "nc.spec", "--recursive").stdout
    assert {"smtpPasswordSecretRef", "mentionMinSeverity", "matchExpressions"} <= set(explained.split())
    assert "One of info, warning, error, critical" in " ".join(
        server.kubectl("explain", "pe.spec.severity").stdout.split()
    )
