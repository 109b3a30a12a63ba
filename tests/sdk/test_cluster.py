"""The SDK against a real API server, stopped and started under it."""

import asyncio
import logging
import time
from pathlib import Path

import pytest

from pipebell.cluster import Cluster
from pipebell.core.vocabulary import EventType
from pipebell.sdk.delivery import State
from pipebell.sdk.factory import make_service

CRDS = sorted(Path(__file__).parents[2].glob("crds/pipebell.io_*.yaml"))
log = logging.getLogger(__name__)


def events(cluster, namespace):
    path = f"/apis/pipebell.io/v1alpha1/namespaces/{namespace}/pipelineevents"
    return cluster.request("GET", path)["items"]


@pytest.fixture
def service(cluster, namespace, tmp_path):
    service = make_service(kubeconfig=str(cluster.kubeconfig), namespace=namespace, spool=str(tmp_path / "spool"))
    yield service
    service.flush(0.5)


async def test_every_type_with_everything_is_accepted(cluster, namespace, service):
    hostile = {"a\x00b": float("nan"), "lone \ud800": {1, 2}, "deep": [[[[{"x": object()}]]]], "big": 2**70}
    for event in EventType:
        receipt = await service.notify(
            event,
            "acme_corp",
            "p" * 2000,
            "run\n1",
            "boom 💥 \x00 \u202e " * 9000,
            hostile,
            links={"": "https://ci.example.com/1", "bad": "javascript:alert(1)"},
            severity="Warning",
            owner="data team\x00",
            labels={"env": "prod", "": "x" * 500},
            attempt=2,
            max_attempts=3,
            timeout=20,
        )
        assert receipt.state is State.SENT, receipt.reason
    found = events(cluster, namespace)
    assert {item["spec"]["event"] for item in found} == set(EventType)
    spec = found[0]["spec"]
    assert len(spec["errorMessage"]) == 32768
    assert "characters left out" in spec["errorMessage"]
    assert len(spec["pipelineId"]) == 512
    assert [link["url"] for link in spec["links"]] == ["https://ci.example.com/1"]
    assert spec["details"]["big"] == str(2**70)
    assert (spec["owner"], spec["labels"]["env"], spec["attempt"], spec["maxAttempts"]) == ("data team", "prod", 2, 3)


async def test_a_thousand_concurrent_calls(cluster, namespace, service, eventually, record_property):
    await service.notify_pipeline_started("acme_corp", timeout=20)  # finding the cluster is not part of the price
    began, cpu = time.monotonic(), time.process_time()
    receipts = await asyncio.gather(*(service.notify_pipeline_failure("acme_corp", "p", str(i)) for i in range(1000)))
    elapsed = time.monotonic() - began
    assert elapsed < 20
    sent = sum(receipt.state is State.SENT for receipt in receipts)
    eventually(lambda: len(service._sender.spool) == 0, 60)
    spent = time.process_time() - cpu
    assert len(events(cluster, namespace)) == 1001
    figures = {"in time": sent, "seconds": round(elapsed, 2), "cpu ms a call": round(spent, 3)}
    record_property("thousand calls", figures)
    log.info("a thousand calls: %s", figures)


async def test_no_permission_is_told_and_kept(cluster, namespace, tmp_path):
    cluster.kubectl("create", "serviceaccount", "nobody", "-n", namespace)
    kubeconfig = cluster.kubeconfig_for_service_account(namespace, "nobody")
    service = make_service(kubeconfig=str(kubeconfig), spool=str(tmp_path / "spool"))
    receipt = await service.notify_pipeline_failure("acme_corp", timeout=20)
    assert receipt.state is State.SPOOLED
    assert "cannot create resource" in receipt.reason
    service.flush(0.2)


async def test_a_namespace_that_is_not_there(cluster, tmp_path):
    service = make_service(kubeconfig=str(cluster.kubeconfig), namespace="nowhere", spool=str(tmp_path / "spool"))
    receipt = await service.notify_pipeline_failure("acme_corp", timeout=20)
    assert "no namespace nowhere" in receipt.reason
    service.flush(0.2)


async def test_a_quota_is_told_and_what_it_refused_goes_out_when_there_is_room(cluster, namespace, service, eventually):
    service._sender._longest_wait = 0.3
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}}
    quota["spec"] = {"hard": {"count/pipelineevents.pipebell.io": "0"}}
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    cluster.request("POST", path, quota)
    # Nobody runs the quota controller here: its part is done by hand.
    status = {**cluster.request("GET", f"{path}/few"), "status": {"hard": quota["spec"]["hard"], "used": {}}}
    status["status"]["used"] = {"count/pipelineevents.pipebell.io": "0"}
    cluster.request("PUT", f"{path}/few/status", status)
    receipt = None
    for _ in range(20):  # the admission plugin learns of the quota by its watch
        receipt = await service.notify_pipeline_failure("acme_corp", timeout=20)
        if receipt.state is State.SPOOLED:
            break
    assert "exceeded quota" in receipt.reason
    cluster.request("DELETE", f"{path}/few")
    eventually(lambda: receipt.name in {item["metadata"]["name"] for item in events(cluster, namespace)})
    assert len(service._sender.spool) == 0


async def test_an_api_server_that_is_stopped_and_comes_back(tmp_path, eventually):
    """Its own cluster: nobody else's tests are stopped with it."""
    with Cluster.start() as cluster:
        for path in CRDS:
            cluster.kubectl("apply", "--server-side", "-f", path)
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        service = make_service(kubeconfig=str(cluster.kubeconfig), spool=str(tmp_path / "spool"))
        service._sender._longest_wait = 0.5
        first = await service.notify_pipeline_failure("acme_corp", "p", "1", "before", timeout=20)
        assert first.state is State.SENT
        cluster.stop()
        began = time.monotonic()
        second = await service.notify_pipeline_failure("acme_corp", "p", "2", "meanwhile")
        assert time.monotonic() - began < 10
        assert second.state is State.SPOOLED
        cluster.resume()
        third = await service.notify_pipeline_failure("acme_corp", "p", "3", "after", timeout=20)
        eventually(lambda: len(service._sender.spool) == 0)
        names = sorted(item["metadata"]["name"] for item in events(cluster, "default"))
        assert names == sorted(receipt.name for receipt in (first, second, third))
        service.flush(0.2)
