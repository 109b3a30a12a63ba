"""Silences as people meet them on a real API server: what is refused and in which words, columns, selectors, names."""

import json

import pytest

pytestmark = pytest.mark.cluster

SPEC = {"orgSlug": "acme", "endsAt": "2030-01-31T08:00:00Z", "reason": "the warehouse moves"}


@pytest.fixture
def silence(server, request):
    name = f"silence-{abs(hash(request.node.name)) % 10**8}"
    yield server.create("Silence", name, SPEC | {"pipelines": ["orders-*"]})["metadata"]["name"]
    server.kubectl("delete", "silence", name, "--wait=false")


def applied(server, name, spec):
    document = {"apiVersion": "pipebell.io/v1alpha1", "kind": "Silence", "metadata": {"name": name}, "spec": spec}
    return server.kubectl("apply", "--dry-run=server", "-f", "-", document=document)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"endsAt": None}, "spec.endsAt: Required value: a silence needs an end, or it would be forgotten: set endsAt"),
        ({"reason": None}, "spec.reason: Required value: say why nobody is told"),
        ({"reason": " "}, "must say in one line why nobody is told"),
        ({"startsAt": "2030-02-01T08:00:00Z"}, "a silence ends after it begins"),
        ({"startsAt": SPEC["endsAt"]}, "a silence ends after it begins"),
        ({"pipelines": []}, "spec.pipelines"),
    ],
)
def test_what_is_refused_says_how_to_fix_it(server, change, said):
    done = applied(server, "refused", {key: value for key, value in (SPEC | change).items() if value is not None})
    assert done.returncode == 1
    assert said in done.stderr


def test_it_can_be_made_longer_and_narrower(server, silence):
    for change in ({"endsAt": "2031-01-31T08:00:00Z"}, {"maxSeverity": "warning"}, {"orgSlug": None}):
        done = server.kubectl("patch", "sil", silence, "--type=merge", "-p", json.dumps({"spec": change}))
        assert done.returncode == 0, done.stderr


def test_columns_and_selectors(server, silence):
    server.kubectl("annotate", "sil", silence, "pipebell.io/by=ana@example.com")
    status = {"phase": "Active", "matched": 17, "lastMatch": "2026-01-31T08:00:00.123Z"}
    done = server.kubectl(
        *("patch", "sil", silence, "--type=merge", "--subresource=status", "-p", json.dumps({"status": status}))
    )
    assert done.returncode == 0, done.stderr
    selector = "status.phase=Active,spec.orgSlug=acme"
    head, *rows = server.kubectl("get", "silences", f"--field-selector={selector}").stdout.splitlines()
    assert head.split() == ["NAME", "ORG", "PIPELINES", "PHASE", "UNTIL", "HELD", "BY", "REASON", "AGE"]
    (row,) = [row for row in rows if row.startswith(f"{silence} ")]
    for cell in ("acme", '["orders-*"]', "Active", SPEC["endsAt"], "17", "ana@example.com", SPEC["reason"]):
        assert cell in row
    assert json.loads(server.kubectl("get", "sil", silence, "-o", "json").stdout)["status"] == status
    assert silence in server.kubectl("get", "pipebell", "-o", "name").stdout
