"""The SDK beside the official client, the oldest, a middle and the newest, and without: an event each way to log in."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time

import pytest
from tests.integrations.api import Api

CLIENTS = ["nothing", "kubernetes-28", "kubernetes-33", "kubernetes-37"]
PROGRAM = """
import sys
from pipebell import get_sync_notification_service
receipt = get_sync_notification_service().notify_pipeline_failure("acme_corp", "daily", error_message=sys.argv[1])
print(receipt.state, "|", receipt.reason)
print("kubernetes" in sys.modules)
"""
THREE_LINES = """
from pipebell import get_sync_notification_service
get_sync_notification_service().notify_pipeline_failure("acme_corp", "daily", error_message="boom")
"""


@pytest.fixture
def answering():
    api = Api()
    api.answer()
    yield api
    api.close()


def execute(environment, program, tmp_path, kubeconfig, *arguments, **variables):
    environ = environment.environ(KUBECONFIG=str(kubeconfig), PIPEBELL_SPOOL_DIR=str(tmp_path / "spool"), **variables)
    command = [environment.python, "-W", "error", "-c", program, *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def written(tmp_path, url, user):
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "team-a"}}],
        "clusters": [{"name": "here", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": user}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(document))
    return path


def unsigned_token():
    """A JSON Web Token that ends in an hour: all that the official client looks at."""
    parts = [{"alg": "none"}, {"exp": int(time.time()) + 3600}]
    return ".".join(
        [*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), "x"]
    )


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_certificate_and_a_real_cluster(client, product, cluster, namespace, tmp_path):
    state, foreign = execute(
        product(client),
        PROGRAM,
        tmp_path,
        cluster.kubeconfig,
        "by certificate",
        PIPEBELL_NAMESPACE_FOR_EVENTS=namespace,
    )
    assert (state, foreign) == ("sent | ", "False")
    (found,) = cluster.request("GET", f"/apis/pipebell.io/v1alpha1/namespaces/{namespace}/pipelineevents")["items"]
    assert found["spec"]["errorMessage"] == "by certificate"


@pytest.mark.parametrize("client", CLIENTS)
def test_a_service_accounts_token_and_a_real_cluster(client, product, cluster, namespace, tmp_path):
    cluster.kubectl("create", "serviceaccount", "pipeline", "-n", namespace)
    rights = ["--clusterrole=cluster-admin", f"--serviceaccount={namespace}:pipeline", "-n", namespace]
    cluster.kubectl("create", "rolebinding", "pipeline", *rights)
    path = cluster.kubeconfig_for_service_account(namespace, "pipeline")
    state, foreign = execute(product(client), PROGRAM, tmp_path, path, "by token")
    assert (state, foreign) == ("sent | ", "False")


@pytest.mark.parametrize("client", CLIENTS)
def test_an_exec_plugin(client, product, answering, tmp_path):
    status = json.dumps({"kind": "ExecCredential", "status": {"token": "from-the-plugin"}})
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!{sys.executable}\nprint({status!r})\n")
    plugin.chmod(0o755)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin)}}
    path = written(tmp_path, answering.url, user)
    assert execute(product(client), PROGRAM, tmp_path, path, "by plugin") == ["sent | ", "False"]
    assert answering.specs()[0]["errorMessage"] == "by plugin"


@pytest.mark.parametrize("client", CLIENTS)
def test_an_auth_provider_is_the_official_clients(client, product, answering, tmp_path):
    token = unsigned_token()
    user = {"auth-provider": {"name": "oidc", "config": {"id-token": token, "client-id": "c", "idp-issuer-url": "x"}}}
    path = written(tmp_path, answering.url, user)
    state, _ = execute(product(client), PROGRAM.replace("service()", "service(timeout=60)"), tmp_path, path, "by OIDC")
    if client == "nothing":
        assert state.startswith("spooled | ")
        assert "auth-provider, which is not supported here: pip install 'pipebell[kubeconfig]'" in state
    else:
        assert state == "sent | "
        assert answering.specs()[0]["errorMessage"] == "by OIDC"


@pytest.mark.parametrize("client", ["kubernetes-33", "nothing"])
def test_fifty_runs_of_three_lines_without_compiled_files(client, product, answering, tmp_path):
    """As in an image with a read-only file system; the program ends at once, within its timeout."""
    path = written(tmp_path, answering.url, {"token": "t0ken"})
    uncompiled = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": str(tmp_path / "none")}
    environment = product(client)
    for _ in range(50):
        execute(environment, THREE_LINES, tmp_path, path, **uncompiled)
    assert len(answering.events) == 50
    assert not list((tmp_path / "spool").glob("*.json"))
