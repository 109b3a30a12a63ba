"""Incidents through the API: as a fake server is asked, and as a real one answers."""

import json

import pytest

from pipebell.core.errors import Conflict, InvalidIncident, NotFound, Rejected
from pipebell.core.incidents.resource import IncidentClass, IncidentPhase, IncidentSpec
from pipebell.core.status import epoch
from pipebell.kube import newer, parse_incident
from pipebell.kube.client import MERGE_PATCH, ApiClient
from pipebell.kube.connection import connect
from pipebell.kube.incidents import KubeIncidents

ROOT = "/apis/pipebell.io/v1alpha1"
SPEC = {"orgSlug": "acme", "key": "billing", "class": "Run", "pipelineId": "billing", "openedBy": "first"}


def item(name="i1", namespace="team", status=None, **spec):
    metadata = {"namespace": namespace, "name": name, "uid": f"uid-{name}", "resourceVersion": "7", "generation": 2}
    return {
        "metadata": metadata | {"creationTimestamp": "2026-01-02T03:04:05Z"},
        "spec": SPEC | spec,
        "status": status or {},
    }


def test_an_incident_is_what_the_api_says():
    status = {"phase": "Open", "failures": 3, "notifications": [{"destination": "slack", "handle": "1.2"}]}
    found = parse_incident(item(status=status, acknowledgement={"by": "ana"}, snoozedUntil="2026-01-02T04:00:00Z"))
    assert (found.namespace, found.name, found.uid, found.resource_version) == ("team", "i1", "uid-i1", "7")
    assert (found.generation, found.created) == (2, epoch("2026-01-02T03:04:05Z"))
    assert (found.spec.incident_class, found.spec.opened_by) == (IncidentClass.RUN, "first")
    assert found.spec.acknowledgement is not None
    assert found.spec.acknowledgement.by == "ana"
    assert found.spec.snoozed_until is not None
    assert found.spec.snoozed_until.timestamp() == epoch("2026-01-02T04:00:00Z")
    assert (found.status.phase, found.status.failures, found.status.resolved) == (IncidentPhase.OPEN, 3, False)
    assert found.status.notifications is not None
    assert found.status.notifications[0].handle == "1.2"


def test_what_a_later_release_wrote_is_passed_over_and_a_bad_status_costs_only_what_is_bad():
    found = parse_incident(item(status={"phase": "Nowhere", "failures": 3, "later": {}}, later=True))
    assert (found.spec.key, found.status.phase, found.status.failures) == ("billing", None, 3)


@pytest.mark.parametrize("spec", [{"class": "Ruin"}, {"key": None}, {"acknowledgement": {}}])
def test_a_spec_that_breaks_the_rules_says_whose_it_is(spec):
    with pytest.raises(InvalidIncident) as caught:
        parse_incident(item(**spec))
    assert (caught.value.namespace, caught.value.name) == ("team", "i1")
    assert next(iter(spec)) in str(caught.value)


async def test_a_scan_is_of_what_is_wanted_and_passes_over_what_cannot_be_read(api, client):
    api.answers({"metadata": {"continue": "t"}, "items": [item("a"), item("b", **{"class": "x"})]})
    api.answers({"metadata": {}, "items": [item("c")]})
    api.answers({"metadata": {}, "items": None})
    incidents = KubeIncidents(client, ("one", "two"))
    pages = incidents.scan(org_slug="acme", phases_excluded=(IncidentPhase.RESOLVED,))
    assert [[found.name for found in page] async for page in pages] == [["a"], ["c"], []]
    assert [asked.path for asked in api.asked] == [
        f"{ROOT}/namespaces/{name}/incidents" for name in ("one", "one", "two")
    ]
    assert api.asked[0].query["fieldSelector"] == "status.phase!=Resolved,spec.orgSlug=acme"


async def test_a_new_incident_says_only_what_is_known(api, client):
    api.answers(item())
    spec = IncidentSpec(org_slug="acme", key="k", incident_class=IncidentClass.SYSTEM, opened_by="first")
    assert (await KubeIncidents(client).create("team", "i1", spec)).name == "i1"
    (asked,) = api.asked
    assert (asked.method, asked.path) == ("POST", f"{ROOT}/namespaces/team/incidents")
    assert asked.body == {
        "apiVersion": "pipebell.io/v1alpha1",
        "kind": "Incident",
        "metadata": {"name": "i1"},
        "spec": {"orgSlug": "acme", "key": "k", "class": "System", "openedBy": "first"},
    }


async def test_a_status_write_is_fenced_and_waits_for_the_api(api, client):
    api.fails(503)
    api.answers({"metadata": {"resourceVersion": "8"}})
    assert await KubeIncidents(client).patch_status(parse_incident(item()), {"failures": 4}) == "8"
    asked = api.asked[-1]
    assert (asked.method, asked.path) == ("PATCH", f"{ROOT}/namespaces/team/incidents/i1/status")
    assert asked.headers["Content-Type"] == MERGE_PATCH
    assert asked.body == {"metadata": {"resourceVersion": "7", "uid": "uid-i1"}, "status": {"failures": 4}}


async def test_a_real_server_keeps_what_is_made_fences_writes_and_selects(cluster, namespace):
    async with ApiClient(connect({"KUBECONFIG": str(cluster.kubeconfig)})) as client:
        incidents = KubeIncidents(client, (namespace,))
        spec = IncidentSpec.model_validate(SPEC)
        made = await incidents.create(namespace, "i1", spec)
        assert (made.spec, made.status.phase) == (spec, None)
        with pytest.raises(Conflict):
            await incidents.create(namespace, "i1", spec)
        version = await incidents.patch_status(made, {"phase": "Open", "failures": 1})
        assert newer(version, made.resource_version)
        with pytest.raises(Conflict):
            await incidents.patch_status(made, {"phase": "Resolved"})
        found = await incidents.get(namespace, "i1")
        assert (found.status.phase, found.status.failures, found.resource_version) == (IncidentPhase.OPEN, 1, version)
        assert found.generation == made.generation, "a status write is no change of spec"
        patch = json.dumps({"spec": {"acknowledgement": {"by": "ana"}}})
        cluster.kubectl("patch", "-n", namespace, "inc/i1", "--type=merge", "-p", patch)
        changed = await incidents.get(namespace, "i1")
        assert changed.generation == made.generation + 1
        await incidents.patch_status(changed, {"phase": "Resolved"})
        excluded = (IncidentPhase.RESOLVED,)
        assert [found.name async for page in incidents.scan(phases_excluded=excluded) for found in page] == []
        assert [found.name async for page in incidents.scan(org_slug="acme") for found in page] == ["i1"]
        assert [found.name async for page in incidents.scan(org_slug="globex") for found in page] == []


async def test_a_real_server_deletes_this_very_incident_and_writes_to_no_namesake(cluster, namespace):
    async with ApiClient(connect({"KUBECONFIG": str(cluster.kubeconfig)})) as client:
        incidents = KubeIncidents(client)
        spec = IncidentSpec.model_validate(SPEC)
        first = await incidents.create(namespace, "i1", spec)
        await incidents.delete(namespace, "i1", first.uid)
        with pytest.raises(NotFound):
            await incidents.patch_status(first, {"phase": "Open"})
        second = await incidents.create(namespace, "i1", spec)
        with pytest.raises(Conflict):
            await incidents.delete(namespace, "i1", first.uid)
        with pytest.raises((Conflict, Rejected)):
            await incidents.patch_status(first, {"phase": "Open"})
        assert (await incidents.get(namespace, "i1")).uid == second.uid
        with pytest.raises(NotFound):
            await incidents.get(namespace, "another")
