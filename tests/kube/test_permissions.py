"""Whether what became of things may be written, asked of a scripted API server and of a real one."""

import pytest

from pipebell.kube.client import ApiClient
from pipebell.kube.connection import connect
from pipebell.kube.permissions import EVERY, SOON, Permissions


def allowed(api, *answers):
    for answer in answers:
        api.answers({"status": {"allowed": answer}}, 201)


@pytest.fixture
def permissions(client, clock):
    return Permissions(client, clock, events=(), configs=())


async def test_it_asks_for_the_status_of_both_kinds_in_all_namespaces(api, permissions):
    assert permissions.trouble == "the operator's permissions have not been checked yet"
    allowed(api, True, True)
    assert await permissions.check()
    assert permissions.trouble is None
    asked = [request.body["spec"]["resourceAttributes"] for request in api.asked]
    assert [item["resource"] for item in asked] == ["pipelineevents", "notificationconfigs"]
    assert all(item["subresource"] == "status" and item["verb"] == "patch" for item in asked)
    assert not any("namespace" in item for item in asked)


async def test_what_is_missing_is_named_until_it_is_there(api, client, clock):
    permissions = Permissions(client, clock, events=("a", "b"), configs=("a", "b", "shared"))
    allowed(api, True, False, True, True, False)
    assert not await permissions.check()
    assert "patch pipelineevents/status in namespace b" in permissions.trouble
    assert "patch notificationconfigs/status in namespace shared" in permissions.trouble
    assert "namespace a" not in permissions.trouble
    allowed(api, *[True] * 5)
    assert await permissions.check()
    assert permissions.trouble is None


async def test_an_api_server_that_cannot_be_asked_changes_nothing(api, permissions):
    allowed(api, False, True)
    await permissions.check()
    api.fails(503)
    assert not await permissions.check()
    assert "pipelineevents/status" in permissions.trouble


@pytest.mark.parametrize("code", [403, 404, 422])
async def test_a_cluster_that_does_not_say_is_believed(api, permissions, code):
    api.fails(code)
    api.fails(code)
    await permissions.check()
    assert permissions.trouble is None or code == 404


async def test_it_looks_sooner_while_something_is_missing(api, clock, permissions):
    allowed(api, False, True, True, True, True, True)

    async def until_third(seconds):
        clock.slept.append(seconds)
        if len(clock.slept) == 3:
            raise KeyboardInterrupt

    clock.sleep = until_third
    with pytest.raises(KeyboardInterrupt):
        await permissions.run()
    assert clock.slept == [SOON, EVERY, EVERY]


@pytest.mark.cluster
async def test_a_real_api_server_tells(cluster, namespace, clock):
    cluster.kubectl("create", "serviceaccount", "teller", "-n", namespace)
    kubeconfig = str(cluster.kubeconfig_for_service_account(namespace, "teller"))
    async with ApiClient(connect({"KUBECONFIG": kubeconfig})) as client:
        permissions = Permissions(client, clock, events=(namespace,), configs=(namespace,))
        assert not await permissions.check()
        assert "pipelineevents/status" in permissions.trouble
        rule = ["--verb=patch", "--resource=pipelineevents.pipebell.io/status,notificationconfigs.pipebell.io/status"]
        cluster.kubectl("create", "role", "teller", "-n", namespace, *rule)
        account = f"--serviceaccount={namespace}:teller"
        cluster.kubectl("create", "rolebinding", "teller", "-n", namespace, "--role=teller", account)
        for _ in range(100):
            if await permissions.check():
                break
        assert permissions.trouble is None
