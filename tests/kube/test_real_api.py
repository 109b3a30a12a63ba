"""What only the real API server can prove: fences, selectors, permissions."""

import asyncio
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import pytest
import yaml

from pipebell.core.errors import Conflict, Forbidden, NotFound, Rejected
from pipebell.core.vocabulary import Phase
from pipebell.kube.client import ApiClient
from pipebell.kube.configs import NotificationConfigs
from pipebell.kube.connection import connect
from pipebell.kube.events import PipelineEvents
from pipebell.kube.namespaces import KubeNamespaces
from pipebell.kube.notices import KubeNotices
from pipebell.kube.parse import newer
from pipebell.kube.root import RootWatch
from pipebell.kube.secrets import KubeSecrets


@pytest.fixture
async def client(cluster):
    async with ApiClient(connect({"KUBECONFIG": str(cluster.kubeconfig)})) as client:
        yield client


def apply(cluster, *documents):
    cluster.kubectl("apply", "--server-side", "-f", "-", input=yaml.safe_dump_all(documents))


def event(namespace, name, **spec):
    return {
        "apiVersion": "pipebell.io/v1alpha1",
        "kind": "PipelineEvent",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"orgSlug": "acme", "event": "pipeline_failure", "details": {"deep": [{"a": 1}]}, **spec},
    }


def config(namespace, name, org):
    return {
        "apiVersion": "pipebell.io/v1alpha1",
        "kind": "NotificationConfig",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"orgSlug": org, "email": {"toEmails": ["a@b.io"]}},
    }


def configmap(namespace, text, name="pipebell-root"):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name},
        "data": {"config.json": text},
    }


async def test_an_event_of_our_own_is_created_once_and_never_with_a_field_that_would_be_dropped(namespace, client):
    events = PipelineEvents(client)
    spec = {
        "orgSlug": "acme",
        "event": "channel_failing",
        "notice": {"kind": "Channel", "destination": "slack", "due": "2026-11-25T21:00:00Z", "content": {"a": [1]}},
    }
    await events.create(namespace, "made", spec)
    notice = (await events.get(namespace, "made")).spec.notice
    assert (notice.kind, notice.destination, notice.content) == ("Channel", "slack", {"a": [1]})
    with pytest.raises(Conflict):
        await events.create(namespace, "made", spec)
    with pytest.raises(Rejected, match="unknown field"):
        await events.create(namespace, "newer", spec | {"aFieldOfALaterRelease": 1})
    with pytest.raises(NotFound):
        await events.create("no-such-namespace", "made", spec)


async def test_a_status_write_is_fenced_by_the_version(cluster, namespace, client):
    apply(cluster, event(namespace, "e1"))
    events = PipelineEvents(client)
    first = await events.get(namespace, "e1")
    assert first.spec.details == {"deep": [{"a": 1}]}
    version = await events.patch_status(namespace, "e1", first.uid, first.resource_version, {"phase": "Pending"})
    assert newer(version, first.resource_version)
    with pytest.raises(Conflict):
        await events.patch_status(namespace, "e1", first.uid, first.resource_version, {"phase": "Failed"})
    again = await events.get(namespace, "e1")
    assert (again.status.phase, again.resource_version) == (Phase.PENDING, version)
    version = await events.patch_status(namespace, "e1", first.uid, version, {"phase": "Delivered", "reason": None})
    assert (await events.get(namespace, "e1")).status.phase is Phase.DELIVERED


async def test_a_namesake_gets_neither_status_nor_deletion(cluster, namespace, client):
    apply(cluster, event(namespace, "e1"), config(namespace, "c1", "acme"))
    events, configs = PipelineEvents(client), NotificationConfigs(client)
    old = await events.get(namespace, "e1")
    (old_config,) = await configs.of_org("acme", [namespace])
    cluster.kubectl("delete", "-n", namespace, "pe/e1", "nc/c1")
    apply(cluster, event(namespace, "e1"), config(namespace, "c1", "acme"))
    new = await events.get(namespace, "e1")
    with pytest.raises(Conflict):
        await events.patch_status(namespace, "e1", old.uid, old.resource_version, {"phase": "Delivered"})
    with pytest.raises(NotFound):
        await configs.patch_status(old_config, {"counters": {"failed": 1}})
    with pytest.raises(Conflict):
        await events.delete(namespace, "e1", old.uid)
    assert (await events.get(namespace, "e1")).uid == new.uid
    await events.delete(namespace, "e1", new.uid)
    for gone in (
        events.get(namespace, "e1"),
        events.delete(namespace, "e1", new.uid),
        events.patch_status(namespace, "e1", new.uid, new.resource_version, {}),
    ):
        with pytest.raises(NotFound):
            await gone


async def test_a_scan_leaves_out_phases_and_takes_what_has_none(cluster, namespace, client):
    apply(cluster, *(event(namespace, f"e{number}") for number in range(7)))
    events = PipelineEvents(client, (namespace,))
    for name, phase in (("e1", "Delivered"), ("e2", "Failed"), ("e3", "Delivering")):
        found = await events.get(namespace, name)
        await events.patch_status(namespace, name, found.uid, found.resource_version, {"phase": phase})
    seen = [found.name async for page in events.scan(("Delivered", "Failed")) for found in page.events]
    assert seen == ["e0", "e3", "e4", "e5", "e6"]
    path = f"/apis/pipebell.io/v1alpha1/namespaces/{namespace}/pipelineevents"
    pages = [[item["metadata"]["name"] for item in page["items"]] async for page in client.pages(path, limit=3)]
    assert pages == [["e0", "e1", "e2"], ["e3", "e4", "e5"], ["e6"]]
    everywhere = [found.key async for page in NotificationConfigs(client).scan() for found in page]
    assert all(key[0] != namespace for key in everywhere)


async def test_an_orgs_configs_are_found_at_once_and_only_its_own(namespace, client):
    configs = NotificationConfigs(client)
    for number in range(5):
        org = f"{namespace}.org-{number}"
        await client.request(
            "POST",
            f"/apis/pipebell.io/v1alpha1/namespaces/{namespace}/notificationconfigs",
            body=config(namespace, f"c{number}", org),
        )
        assert [found.name for found in await configs.of_org(org, [namespace])] == [f"c{number}"]
    (found,) = await configs.of_org(f"{namespace}.org-3", [namespace])
    await configs.patch_status(found, {"counters": {"delivered": 2}})
    (found,) = await configs.of_org(f"{namespace}.org-3", [namespace])
    assert found.status.counters is not None
    assert found.status.counters.delivered == 2


async def test_secrets_and_labels_under_a_service_account(cluster, namespace, client, clock):
    apply(
        cluster,
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": "operator"}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"namespace": namespace, "name": "operator"},
            "rules": [
                {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["mail", "none"], "verbs": ["get"]},
                {
                    "apiGroups": [""],
                    "resources": ["configmaps"],
                    "resourceNames": ["pipebell-root"],
                    "verbs": ["get", "list", "watch"],
                },
                {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"namespace": namespace, "name": "operator"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": "operator"}],
        },
    )
    cluster.kubectl("create", "secret", "generic", "mail", "-n", namespace, "--from-literal=SMTP_PASSWORD=pä$$")
    kubeconfig = cluster.kubeconfig_for_service_account(namespace, "operator")
    async with ApiClient(connect({"KUBECONFIG": str(kubeconfig)})) as operator:
        secrets = KubeSecrets(operator, clock)
        assert await secrets.read(namespace, "mail") == {"SMTP_PASSWORD": "pä$$"}
        assert await secrets.read(namespace, "none") is None
        with pytest.raises(Forbidden) as caught:
            await secrets.read(namespace, "another")
        assert "pä" not in str(caught.value)
        with pytest.raises(Forbidden):
            await KubeNamespaces(operator, clock).labels(namespace)
        await root_is_followed(cluster, namespace, operator)
    labels = await KubeNamespaces(client, clock).labels(namespace)
    assert labels["kubernetes.io/metadata.name"] == namespace


class WallClock:
    def now(self):
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)


@asynccontextmanager
async def following_root(namespace, client):
    """A RootWatch at work; gives a function that waits for the next change, and the watch."""
    told = asyncio.Queue()
    watch = RootWatch(
        client,
        WallClock(),
        namespace=namespace,
        name="pipebell-root",
        on_change=lambda data, version, _: told.put_nowait((data and dict(data), version)),
    )
    task = asyncio.create_task(watch.run())

    async def following():
        async with asyncio.timeout(30):
            return await told.get()

    yield following, watch
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def root_is_followed(cluster, namespace, client):
    """Under an account that may see this one ConfigMap only."""
    async with following_root(namespace, client) as (following, watch):
        changes = [await following()]
        assert watch.listed.is_set()
        apply(cluster, configmap(namespace, "other", name="other"), configmap(namespace, "1"))
        changes.append(await following())
        apply(cluster, configmap(namespace, "2" * 700_000))
        changes.append(await following())
        cluster.kubectl("delete", "-n", namespace, "configmap", "pipebell-root")
        changes.append(await following())
    assert [data and data["config.json"] for data, _ in changes] == [None, "1", "2" * 700_000, None]
    assert all(newer(later, earlier) for (_, earlier), (_, later) in pairwise(changes))


async def test_an_api_server_that_restarts_is_survived(cluster, namespace, client):
    apply(cluster, event(namespace, "e1"), configmap(namespace, "1"))
    events = PipelineEvents(client)
    found = await events.get(namespace, "e1")
    async with following_root(namespace, client) as (following, _):
        assert (await following())[0] == {"config.json": "1"}
        await asyncio.to_thread(cluster.kill)
        writing = asyncio.create_task(
            events.patch_status(namespace, "e1", found.uid, found.resource_version, {"phase": "Delivered"})
        )
        await asyncio.to_thread(cluster.resume)
        version = await writing
        apply(cluster, configmap(namespace, "2"))
        assert (await following())[0] == {"config.json": "2"}
    found = await events.get(namespace, "e1")
    assert (found.status.phase, found.resource_version) == (Phase.DELIVERED, version)


async def test_a_warning_is_what_describe_shows(cluster, namespace, client, clock):
    apply(cluster, event(namespace, "e1"))
    found = await PipelineEvents(client).get(namespace, "e1")
    notices = KubeNotices(client, clock)
    notices.warn("PipelineEvent", namespace, "e1", found.uid, "DeliveryFailed", "email: mailbox full")
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        posting = tasks.create_task(notices._post_forever(tasks))
        shown = ""
        while "mailbox full" not in shown:
            await asyncio.sleep(0.1)  # the post is under way
            shown = cluster.kubectl("describe", "-n", namespace, "pe/e1").stdout
        posting.cancel()
    line = next(line for line in shown.splitlines() if "mailbox full" in line)
    assert line.split()[:2] == ["Warning", "DeliveryFailed"]
    assert "pipebell" in line


async def test_unfinished_events_of_one_namespace_are_listed_but_those_that_are_known(cluster, namespace, client):
    apply(cluster, *(event(namespace, f"e{number:02}") for number in range(30)))
    events = PipelineEvents(client)
    first = await events.get(namespace, "e00")
    await events.patch_status(namespace, "e00", first.uid, first.resource_version, {"phase": "Delivered"})
    second = await events.get(namespace, "e01")
    parts = [part async for part in events.unfinished(namespace, {second.uid}.__contains__)]
    assert [found.name for part in parts for found in part] == [f"e{number:02}" for number in range(2, 30)]
    assert max(map(len, parts)) <= 20
    assert [part async for part in events.unfinished("nobody", lambda _: False)] == []


async def test_a_pass_over_all_events_parses_what_is_wanted_only(cluster, namespace, client):
    apply(cluster, *(event(namespace, f"e{number}", orgSlug=f"{namespace}-{number % 2}") for number in range(4)))
    events = PipelineEvents(client, [namespace])
    tried = await events.get(namespace, "e1")
    delivery = {"provider": "slack", "destination": "slack", "phase": "Pending", "attempts": 1}
    await events.patch_status(namespace, "e1", tried.uid, tried.resource_version, {"deliveries": [delivery]})
    asked = []

    def wanted(*facts):
        asked.append(facts)
        return facts[2] and facts[1].endswith("-1")

    found = [each.name async for page in events.scan(wanted=wanted) for each in page.events]
    assert asked == [(namespace, f"{namespace}-{number % 2}", number != 1) for number in range(4)]
    assert found == ["e3"]
