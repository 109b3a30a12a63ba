"""`pipebell status`, as people call it: what is wrong, what is not known, and the first thing to do."""

import asyncio
import json
import secrets
import threading

import pytest

from pipebell.clocks import SystemClock
from pipebell.core.shards import replica_lease, shard_lease
from pipebell.demo.stage import NAMESPACE
from pipebell.kube.client import ApiClient
from pipebell.kube.connection import from_kubeconfig
from pipebell.kube.leases import KubeLeases
from pipebell.version import __version__

LATE = {
    "orgSlug": "late",
    "secretRef": {"name": "missing"},
    "slack": {"enabled": True, "webhookUrl": "${X}"},
    "eventTriggers": [{"event": "pipeline_failure", "providers": ["slack"]}],
}


def parts(done):
    return {part["what"]: part for part in done.json["parts"]}


class Past(SystemClock):
    """What wrote a Lease long ago."""

    def now(self):
        return super().now() - 3600


@pytest.fixture
def elsewhere(stage):
    """An installation in a namespace of its own, as its Leases show it: `make(scope, shards=24)`.

    Unless it is of the past, its Lease is renewed as a living replica does it.
    """
    name = f"ops-{secrets.token_hex(3)}"
    stage.cluster.kubectl("create", "namespace", name)
    made, over = threading.Event(), threading.Event()

    async def live(scope, shards, clock):
        async with ApiClient(from_kubeconfig(str(stage.cluster.kubeconfig))) as client:
            leases = KubeLeases(client, clock, namespace=name, group="p", seconds=8.0, root=lambda: "valid")
            await leases.create(replica_lease("a"), "a", scope)
            for shard in range(shards):
                await leases.create(shard_lease(shard), "a", "")
            made.set()
            while not isinstance(clock, Past) and not await asyncio.to_thread(over.wait, 1):
                await leases.renew(replica_lease("a"), leaving=False)

    threads = []

    def make(scope="", *, shards=24, clock=SystemClock):
        threads.append(threading.Thread(target=lambda: asyncio.run(live(scope, shards, clock()))))
        threads[-1].start()
        assert made.wait(60)
        return name

    yield make
    over.set()
    for thread in threads:
        thread.join()
    stage.cluster.delete_namespace(name)


def test_all_is_well(on_stage, make_config, place):
    make_config("acme", webhook="Tstatus")
    assert on_stage("test", "acme").code == 0
    done = on_stage("status")
    assert done.code == 0, done.out + done.err
    assert f"{__version__} in namespace {NAMESPACE}" in done.out
    assert "hold 24 of 24 shards" in done.out
    assert "First thing" not in done.out
    as_json = on_stage("status", "-o", "json")
    assert (as_json.code, as_json.json["ok"], as_json.json["first"]) == (0, True, "")
    found = parts(as_json)
    assert {part["state"] for part in found.values()} == {"ok"}
    (replica,) = found["operator"]["items"]
    assert (replica["root"], replica["namespaces"], replica["shards"]) == ("valid", None, 24)


def test_a_configuration_that_is_not_ready(on_stage, apply, place):
    apply("NotificationConfig", "late", spec=LATE)
    done = on_stage("status")
    assert done.code == 1
    assert "1 of 1 not ready: late (MissingSecret)" in done.out
    assert f"First thing to do: fix NotificationConfig {place}/late:" in done.out.splitlines()[-1]


def test_a_destination_that_fails_until_it_works_again(on_stage, make_config, stage, place):
    stage.slack.plan(404)
    make_config("acme", webhook="Tfails")
    on_stage("test", "acme")
    done = on_stage("status", "-o", "json")
    assert done.code == 1
    (failing,) = parts(done)["destinations"]["items"]
    assert (failing["org"], failing["destination"]) == ("acme", "slack")
    assert done.json["first"].startswith(f"see why: pipebell why {failing['name']} -n {place}")
    assert on_stage("test", "acme").code == 0
    assert on_stage("status").code == 0


def test_an_endpoint_that_is_busy_is_no_fault(on_stage, make_config, stage):
    stage.slack.plan(*[429] * 3)
    make_config("acme", webhook="Tbusy", retryConfig={"maxAttempts": 3})
    on_stage("send", "--org", "acme", "--wait", "--timeout", "2")
    done = on_stage("status")
    assert "slack of acme (1 waiting, next at 2" in done.out
    assert "the other side is busy" in done.out
    assert done.code == 0, done.out


def test_a_namespace_that_is_not_served_is_told_by_every_command(on_stage, elsewhere, place, make_config, stage):
    make_config("acme", webhook="Tunserved")
    ops = elsewhere("team-a,team-b")
    env = {"PIPEBELL_OPERATOR_NAMESPACE": ops}
    said = f"namespace {place} is not served: the operator in {ops} serves team-a, team-b"
    event = {"apiVersion": "pipebell.io/v1alpha1", "kind": "PipelineEvent", "metadata": {"name": "waits"}}
    event["spec"] = {"orgSlug": "late", "event": "pipeline_failure", "pipelineId": "p", "errorMessage": "x"}
    stage.apply(json.dumps(event | {"kind": "NotificationConfig", "spec": LATE}), namespace=place)
    stage.apply(json.dumps(event), namespace=place)
    shown = on_stage("status", env=env)
    assert shown.code == 1
    assert said in shown.out
    assert "watchNamespaces" in shown.out.splitlines()[-1]
    assert f"served by nobody: {place}/waits" in shown.out
    assert said in on_stage("history", env=env).err
    assert said in on_stage("preview", "waits", env=env).out
    assert said in on_stage("why", "waits", env=env).out
    assert "not served" not in on_stage("why", "waits").out


def test_organisations_that_are_nobodys(on_stage, elsewhere):
    ops = elsewhere(shards=20)
    done = on_stage("status", "--operator-namespace", ops)
    assert done.code == 1
    assert "1 of p, which hold 20 of 24 shards: some organisations are nobody's" in done.out


def test_an_operator_that_has_stopped_or_was_never_there(on_stage, elsewhere, place):
    ops = elsewhere(clock=Past)
    done = on_stage("status", "--operator-namespace", ops)
    assert done.code == 1
    assert f"stopped in namespace {ops}" in done.out
    assert f"kubectl -n {ops} get pods" in done.out.splitlines()[-1]
    done = on_stage("status", "--operator-namespace", place)
    assert done.code == 1
    assert f"there is none in namespace {place}" in done.out
    assert "helm install" in done.out.splitlines()[-1]


def test_what_may_not_be_read_is_unknown(on_stage, stage, place, make_config):
    make_config("acme", webhook="Tsecret")
    stage.cluster.kubectl("create", "serviceaccount", "nobody", "-n", place)
    stranger = stage.cluster.kubeconfig_for_service_account(place, "nobody", 600)
    done = on_stage("status", "-o", "json", env={"KUBECONFIG": stranger})
    assert done.code == 1
    found = parts(done)
    assert {found[what]["state"] for what in ("configurations", "destinations", "events", "paused")} == {"unknown"}
    assert {found[what]["state"] for what in ("operator", "namespaces", "definitions", "root")} == {"ok"}
    assert "role view" in done.json["first"]
    done = on_stage("status", "-o", "json", "--operator-namespace", "default", env={"KUBECONFIG": stranger})
    assert parts(done)["operator"]["state"] == parts(done)["root"]["state"] == "unknown"
