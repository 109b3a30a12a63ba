"""What /readyz says of an operator that cannot do its work although it runs, and that it hears again by itself."""

from __future__ import annotations

import contextlib
import json
import secrets

import pytest
import yaml
from tests.e2e.harness import SYSTEM, config, event, eventually
from tests.e2e.proxy import ApiProxy

from pipebell.kube.client import WATCH_SILENCE

RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture(scope="module")
def proxy(world, tmp_path_factory):
    made = ApiProxy(world)
    made.kubeconfig = world.run(made.start(tmp_path_factory.mktemp("proxy")))
    yield made
    world.run(made.stop())


@contextlib.contextmanager
def running(operator):
    operator.start()
    try:
        yield operator
    finally:
        operator.stop()


@pytest.fixture
def account(world):
    """A ServiceAccount of its own for an operator, with the rights of the manifests, which may be taken away."""
    name = f"operator-{secrets.token_hex(3)}"
    cluster = world.cluster
    cluster.kubectl("create", "serviceaccount", name, "-n", SYSTEM)
    role = json.loads(cluster.kubectl("get", "clusterrole", "pipebell-operator", "-o", "json").stdout)
    made = {"apiVersion": role["apiVersion"], "kind": "ClusterRole", "metadata": {"name": name}, "rules": role["rules"]}
    cluster.kubectl("create", "-f", "-", input=json.dumps(made))
    subject = f"--serviceaccount={SYSTEM}:{name}"
    cluster.kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", subject)
    cluster.kubectl("create", "rolebinding", name, "-n", SYSTEM, "--role=pipebell-operator-root", subject)
    yield name
    cluster.kubectl("delete", f"clusterrole/{name}", f"clusterrolebinding/{name}")
    cluster.kubectl("delete", "-n", SYSTEM, f"rolebinding/{name}", f"serviceaccount/{name}", "--ignore-not-found")


def test_a_dead_token_is_not_ready(world, account):
    kubeconfig = world.cluster.kubeconfig_for_service_account(SYSTEM, account)
    with running(world.operator(kubeconfig=kubeconfig)) as operator:
        assert operator.http("/readyz") == "ok"
        world.cluster.kubectl("delete", "serviceaccount", account, "-n", SYSTEM)
        eventually(lambda: "503" in operator.http("/readyz"), 60.0, "red for a dead token", every=0.5)
        assert "has not accepted the operator's credential" in operator.body("/readyz")
        token = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))["users"][0]["user"]["token"]
        assert token not in operator.text + operator.body("/readyz")


@pytest.mark.parametrize("plural", ["pipelineevents", "notificationconfigs"])
def test_who_may_not_write_status_is_not_ready_until_it_may(world, account, plural):
    path = f"{RBAC}/clusterroles/{account}"
    role = world.api.request("GET", path)
    rules = [rule for rule in role["rules"] if f"{plural}/status" not in rule["resources"]]
    assert len(rules) < len(role["rules"])
    world.api.request("PATCH", path, {"rules": rules}, "application/merge-patch+json")
    operator = world.operator(kubeconfig=world.cluster.kubeconfig_for_service_account(SYSTEM, account))
    begun = operator.spawn()
    try:
        operator.port = eventually(lambda: operator.told("started", since=begun), 60.0)["http_port"]
        eventually(lambda: "may not" in operator.body("/readyz"), 60, "red without the permission")
        assert f"patch {plural}/status in all namespaces" in operator.body("/readyz")
        world.api.request("PATCH", path, {"rules": role["rules"]}, "application/merge-patch+json")
        eventually(lambda: operator.body("/readyz") == "ok", 60, "green with the permission")
    finally:
        operator.stop()


def test_silence_on_open_connections_is_noticed_within_90_seconds(world, proxy):
    """Nothing but time tells silence from quiet: less of it here, and what is right for an API server's bookmarks."""
    assert 60 < WATCH_SILENCE <= 85
    with running(world.operator(kubeconfig=proxy.kubeconfig, PIPEBELL_TEST_SILENCE=12)) as operator:
        proxy.watched()
        at = operator.log.stat().st_size
        assert proxy.mute() >= 3
        namespace = world.namespace()
        world.api.create(config(namespace, "silent", "silent", **world.slack_only("Silent")))
        document = event(namespace, "unheard", "silent")
        world.api.create(document)
        world.api.reaches(document, "Delivered", 90.0)
        assert operator.told("watch_silent", since=at)
