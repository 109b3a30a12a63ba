"""Leases on a real API server: every step is fenced, and names, labels and owners are as the field expects."""

from __future__ import annotations

import json
import secrets
from types import SimpleNamespace

import pytest

from pipebell import __version__
from pipebell.core.errors import Conflict, Forbidden, NotFound
from pipebell.core.shards import FORMAT, GROUP, replica_lease, shard_lease
from pipebell.kube.client import ApiClient
from pipebell.kube.connection import from_kubeconfig
from pipebell.kube.leases import KubeLeases, group_of

pytestmark = pytest.mark.cluster
CLOCK = SimpleNamespace(now=lambda: 1_750_000_000.123456)


@pytest.fixture(scope="module")
def namespace(cluster):
    name = f"leases-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.delete_namespace(name)


@pytest.fixture
async def leases(cluster, namespace):
    group = f"g{secrets.token_hex(3)}"
    async with ApiClient(from_kubeconfig(str(cluster.kubeconfig))) as client:
        yield KubeLeases(client, CLOCK, namespace=namespace, group=group, seconds=8.0)


async def test_a_replicas_lease_is_made_renewed_and_taken_away(leases, cluster, namespace):
    name = replica_lease("a")
    made = await leases.create(name, "a", "x,y")
    assert (made.name, made.holder, made.scope, made.shard) == (name, "a", "x,y", None)
    await leases.renew(name, leaving=False)
    (renewed,) = await leases.list()
    assert renewed.version != made.version or renewed.acquired == made.acquired
    stored = json.loads(
        cluster.kubectl("get", "lease", "-n", namespace, f"{leases._group}-{name}", "-o", "json").stdout
    )
    assert stored["spec"]["leaseDurationSeconds"] == 8
    assert stored["spec"]["acquireTime"] == "2025-06-15T15:06:40.123456Z"
    assert stored["metadata"]["labels"][GROUP] == leases._group
    assert "ownerReferences" not in stored["metadata"], "an administrator owns nothing"
    annotations = {"namespaces": "x,y", "format": str(FORMAT), "version": __version__, "root": "unread"}
    assert stored["metadata"]["annotations"] == {f"pipebell.io/{key}": value for key, value in annotations.items()}
    assert renewed.format == FORMAT
    await leases.delete(renewed)
    with pytest.raises(NotFound):
        await leases.renew(name, leaving=False)


async def test_a_replica_that_is_leaving_says_so(leases):
    name = replica_lease("a")
    made = await leases.create(name, "a", "x")
    assert not made.leaving
    await leases.renew(name, leaving=True)
    (found,) = await leases.list()
    assert found.leaving
    assert found.scope == "x", "the other annotation stays"


async def test_whoever_renews_at_the_last_moment_is_not_deleted(leases, monkeypatch):
    name = replica_lease("a")
    made = await leases.create(name, "a", "")
    monkeypatch.setattr(leases, "_clock", SimpleNamespace(now=lambda: CLOCK.now() + 1))
    await leases.renew(name, leaving=False)
    with pytest.raises(Conflict):
        await leases.delete(made)
    assert len(await leases.list()) == 1


async def test_a_lease_made_anew_by_the_same_name_is_another_one(leases):
    name = replica_lease("a")
    made = await leases.create(name, "a", "")
    await leases.delete(made)
    await leases.create(name, "a", "")
    with pytest.raises(Conflict):
        await leases.delete(made)


async def test_of_two_who_take_a_shard_one_gets_it(leases):
    free = await leases.create(shard_lease(3), "", "")
    with pytest.raises(Conflict):
        await leases.create(shard_lease(3), "b", "")
    taken = await leases.hand(free, "a")
    assert (taken.holder, taken.shard, taken.transitions) == ("a", 3, 1)
    with pytest.raises(Conflict):
        await leases.hand(free, "b")
    given = await leases.hand(taken, "")
    assert given.holder == ""
    assert (await leases.list())[0].holder == ""


async def test_another_groups_leases_are_not_seen(leases, cluster, namespace):
    await leases.create(shard_lease(1), "a", "")
    async with ApiClient(from_kubeconfig(str(cluster.kubeconfig))) as client:
        other = KubeLeases(client, CLOCK, namespace=namespace, group="other", seconds=8.0)
        assert await other.list() == []


async def test_without_the_namespace_nothing_can_be_made(cluster):
    async with ApiClient(from_kubeconfig(str(cluster.kubeconfig))) as client:
        nowhere = KubeLeases(client, CLOCK, namespace="nowhere", group="g", seconds=8.0)
        assert await nowhere.list() == []
        with pytest.raises(NotFound):
            await nowhere.create(shard_lease(1), "a", "")


async def test_a_service_accounts_leases_go_with_it_and_rights_are_needed(cluster, namespace):
    cluster.kubectl("create", "serviceaccount", "-n", namespace, "sa", check=False)
    kubeconfig = cluster.kubeconfig_for_service_account(namespace, "sa")
    async with ApiClient(from_kubeconfig(str(kubeconfig))) as client:
        leases = KubeLeases(client, CLOCK, namespace=namespace, group="owned", seconds=8.0)
        with pytest.raises(Forbidden):
            await leases.list()
        role = ("create", "role", "-n", namespace, "leases", "--resource=leases.coordination.k8s.io")
        cluster.kubectl(*role, "--verb=list,create,patch,delete", check=False)
        cluster.kubectl(
            "create", "rolebinding", "-n", namespace, "l", "--role=leases", f"--serviceaccount={namespace}:sa"
        )
        made = await leases.create(shard_lease(0), "a", "")
        assert made.holder == "a"
    stored = json.loads(cluster.kubectl("get", "lease", "-n", namespace, "owned-shard-00", "-o", "json").stdout)
    account = json.loads(cluster.kubectl("get", "serviceaccount", "-n", namespace, "sa", "-o", "json").stdout)
    (owner,) = stored["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("ServiceAccount", "sa", account["metadata"]["uid"])


def test_installations_in_one_namespace_differ_by_their_root_configmap():
    assert group_of("pipebell-root") == "pipebell"
    assert group_of("team-a.settings") == "team-a-settings"
    assert group_of("pipebell") == "pipebell"
    long = "x" * 200
    assert len(group_of(long)) == 40
    assert group_of(long) != group_of(long + "y")
