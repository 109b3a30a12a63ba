"""Silences through the API: as a fake server is asked, and as a real one answers."""

import asyncio

import pytest
from structlog.testing import capture_logs

from pipebell.clocks import SystemClock
from pipebell.core.errors import Conflict, NotFound
from pipebell.core.vocabulary import CatchUpMode, Phase
from pipebell.kube.client import MERGE_PATCH, ApiClient
from pipebell.kube.connection import connect
from pipebell.kube.events import PipelineEvents
from pipebell.kube.silences import KubeSilences, SilenceWatch, read

ROOT = "/apis/pipebell.io/v1alpha1"
SPEC = {"endsAt": "2030-01-31T08:00:00Z", "reason": "the warehouse moves"}


def item(name="s1", namespace="team", status=None, version="7", **spec):
    metadata = {"namespace": namespace, "name": name, "uid": f"uid-{name}", "resourceVersion": version}
    spec = {key: value for key, value in (SPEC | spec).items() if value is not None}
    return {"metadata": metadata, "spec": spec, "status": status or {}}


class Kept:
    """A store that remembers what it was told."""

    home = "ops"

    def __init__(self):
        self.names, self.lists = {}, []

    def put(self, silence):
        self.names[silence.namespace, silence.name] = silence

    def remove(self, namespace, name):
        self.names.pop((namespace, name), None)

    def keep(self, namespace, names):
        self.lists.append(namespace)
        self.names = {key: value for key, value in self.names.items() if key in names}


def test_a_silence_is_what_the_api_says():
    found = read(item(status={"phase": "Active", "matched": 3}, catchUp="Summary", pipelines=["a*"]), "ops")
    assert (found.key, found.by, found.platform) == (("team", "s1"), "silence/s1", False)
    assert (found.mode, found.status.matched) == (CatchUpMode.SUMMARY, 3)
    assert read(item(namespace="ops"), "ops").by == "platform/s1"


@pytest.mark.parametrize("spec", [{"endsAt": None}, {"reason": None}, {"narrower": ["x"]}, {"pipelines": []}])
def test_one_that_cannot_be_read_is_obeyed_by_nobody_and_told_of_in_the_log(spec):
    with capture_logs() as logs:
        assert read(item(**spec), "ops") is None
    assert (logs[0]["event"], logs[0]["name"]) == ("silence_unreadable", "s1")


async def test_a_scan_reads_all_pages_of_a_namespace(api, client):
    api.answers({"metadata": {"continue": "t"}, "items": [item("a"), item("b", reason=None)]})
    api.answers({"metadata": {}, "items": [item("c")]})
    found = await KubeSilences(client, "ops").scan("team")
    assert [silence.name for silence in found] == ["a", "c"]
    assert {asked.path for asked in api.asked} == {f"{ROOT}/namespaces/team/silences"}


async def test_the_status_is_fenced_by_the_version_that_was_read(api, client):
    api.answers(item(status={"phase": "Active"}, version="8"))
    written = await KubeSilences(client, "ops").patch_status(read(item(), "ops"), {"phase": "Active"})
    assert written.resource_version == "8"
    (asked,) = api.asked
    assert (asked.method, asked.path) == ("PATCH", f"{ROOT}/namespaces/team/silences/s1/status")
    assert asked.headers["Content-Type"] == MERGE_PATCH
    assert asked.body == {"metadata": {"resourceVersion": "7", "uid": "uid-s1"}, "status": {"phase": "Active"}}


@pytest.mark.cluster
async def test_on_a_real_api_server_it_is_followed_written_and_gone(cluster, namespace):
    client = ApiClient(connect({"KUBECONFIG": str(cluster.kubeconfig)}))
    clock, kept = SystemClock(), Kept()
    watch = SilenceWatch(client, clock, kept, namespace)
    running = asyncio.ensure_future(watch.run())
    path = f"{ROOT}/namespaces/{namespace}/silences"

    async def until(true):
        for _ in range(600):
            if true():
                return
            await asyncio.sleep(0.1)
        raise AssertionError(kept.names)

    try:
        await until(lambda: kept.lists)
        document = {"apiVersion": "pipebell.io/v1alpha1", "kind": "Silence", "metadata": {"name": "s1"}, "spec": SPEC}
        await client.request("POST", path, body=document)
        await until(lambda: (namespace, "s1") in kept.names)
        silences, first = KubeSilences(client, "ops"), kept.names[namespace, "s1"]
        written = await silences.patch_status(first, {"phase": "Active", "matched": 2})
        assert (written.status.phase, written.status.matched) == ("Active", 2)
        with pytest.raises(Conflict):
            await silences.patch_status(first, {"matched": 9})
        await client.request("DELETE", f"{path}/s1")
        await until(lambda: not kept.names)
        with pytest.raises(NotFound):
            await silences.patch_status(written, {"matched": 9})
        assert await silences.scan(namespace) == []
        assert [page async for page in PipelineEvents(client).ended(namespace, Phase.SUPPRESSED)] == []
        assert watch.trouble is None
    finally:
        running.cancel()
        await client.close()
