"""One real cluster with the built images in it, two sinks as pods, and the chart installed as a user would."""

import os
import re
import time
from types import SimpleNamespace

import pytest
from tests.chart.helm import CHART, NAMESPACE, REPOSITORY, HelmError, helm
from tests.e2e_node import node
from tests.e2e_node.node import OPERATOR, SINKS, Kube

from pipebell.cluster import tools
from pipebell.sinks import records

SINK_PACKAGES = ("aiosmtpd", "atpublic", "attrs", "cffi", "cryptography", "pycparser")


def pytest_collection_modifyitems(items):
    here = [item for item in items if "e2e_node" in str(item.path)]
    for item in here:
        item.add_marker(pytest.mark.timeout(1200))
        if not os.environ.get("PIPEBELL_E2E"):
            item.add_marker(pytest.mark.skip(reason="takes minutes and a real node: make test-e2e"))


@pytest.fixture(scope="session")
def real():
    found = node.find()
    if isinstance(found, str):
        pytest.fail(found) if os.environ["PIPEBELL_E2E"] == "required" else pytest.skip(found)
    yield found
    found.close()


@pytest.fixture(scope="session")
def images(real, tmp_path_factory):
    """Both images, built from the repository as it is and loaded."""
    real.build("--file", "operator/Containerfile", "--tag", OPERATOR, ".")
    folder = tmp_path_factory.mktemp("sinks")
    for name in ("Containerfile.sinks", "serve.py"):
        (folder / name).write_text((REPOSITORY / "tests" / "e2e_node" / name).read_text(encoding="utf-8"))
    lock = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    entries = re.findall(r"^\w[^\n]*(?:\n    [^\n]*)*", lock, re.MULTILINE)
    wanted = [entry for entry in entries if re.match(r"[\w-]+", entry)[0] in SINK_PACKAGES]
    assert len(wanted) == len(SINK_PACKAGES)
    (folder / "sinks.lock").write_text("\n".join(wanted), encoding="utf-8")
    arguments = ("--build-arg", f"OPERATOR={OPERATOR}", "--file", folder / "Containerfile.sinks", "--tag", SINKS)
    real.build(*arguments, folder)
    for image in (OPERATOR, SINKS):
        real.load(image)
    return SimpleNamespace(operator=OPERATOR, sinks=SINKS)


@pytest.fixture(scope="session")
def kube(real):
    return Kube(tools.kubectl(), real.kubeconfig)


class Received:
    """What the sinks' pod was sent."""

    def __init__(self, kube, folder):
        self._kube, self._file = kube, folder / "received.jsonl"

    def __call__(self):
        """Mails and posts so far."""
        self._file.write_text(
            self._kube("exec", "-n", "sinks", "deploy/sinks", "--", "cat", "/tmp/sinks/received.jsonl")
        )
        return records.read(self._file)


@pytest.fixture(scope="session")
def received(kube, images, tmp_path_factory):
    text = (REPOSITORY / "tests" / "e2e_node" / "sinks.yaml").read_text(encoding="utf-8")
    kube("apply", "-f", "-", text=text.replace("@IMAGE@", images.sinks))
    kube("rollout", "status", "-n", "sinks", "deploy/sinks", "--timeout=120s")
    return Received(kube, tmp_path_factory.mktemp("received"))


@pytest.fixture(scope="session")
def release(kube, real, received, images):
    """The chart, installed with --wait into a namespace that enforces the restricted standard."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    ca = kube("exec", "-n", "sinks", "deploy/sinks", "--", "cat", "/tmp/sinks/sinks-ca.crt")
    where = {"namespace": NAMESPACE}
    kube.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trust", **where}, "data": {"ca.crt": ca}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "variables", **where},
            "stringData": {"SMTP_PASSWORD": "pass-71"},
        },
    )
    repository, _, tag = images.operator.partition(":")
    email = {
        "smtp_host": "smtp.sinks.svc",
        "smtp_username": "platform",
        "smtp_password": "${SMTP_PASSWORD}",
        "from_email": "pipebell@platform.example",
        "to_emails": ["oncall@platform.example"],
    }
    values = {
        "image": {"repository": repository, "tag": tag},
        "root": {"config": {"email": email}, "variablesSecret": "variables"},
        "caBundle": {"configMap": "trust"},
        "settings": {"slackHosts": ["slack.sinks.svc"]},
        "networkPolicy": {"enabled": True},
        "podDisruptionBudget": {"enabled": True},
    }

    def run(verb, *arguments, **changes):
        command = (verb, "pipebell", *arguments, "--namespace", NAMESPACE)
        return helm(*command, values=values | changes, kubeconfig=real.kubeconfig)

    began = time.monotonic()
    try:
        run("install", CHART, "--wait", "--timeout", "120s")
    except HelmError as error:
        pods = kube("describe", "pods", "-n", NAMESPACE, check=False)[-2000:]
        logs = kube("logs", "-n", NAMESPACE, "deploy/pipebell-operator", check=False)[-2000:]
        pytest.fail(f"{error}\n{pods}\n{logs}")
    yield SimpleNamespace(
        run=run, seconds=time.monotonic() - began, helm=lambda *a: helm(*a, kubeconfig=real.kubeconfig)
    )
    helm("uninstall", "pipebell", "--namespace", NAMESPACE, "--ignore-not-found", kubeconfig=real.kubeconfig)
