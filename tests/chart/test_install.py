"""The chart and a real API server: every rendering is accepted, and installing is what users expect of it."""

import json
import shutil
import time

import pytest
import yaml
from tests.chart.helm import CHART, NAMESPACE, REPOSITORY, HelmError, documents, helm, render_text
from tests.chart.test_values import ALL_ON, KNOBS, merge, nested

from pipebell.cluster import Cluster, ClusterError
from pipebell.core.crds import RESOURCES

MONITORING = REPOSITORY / "tests" / "chart" / "monitoring-crds.yaml"
OPERATOR = "pipebell-operator"
CRDS = sorted(f"crd/{resource.name}" for resource in RESOURCES)
SERVED = ["a", "b", "c"]
EVERYTHING = {
    **ALL_ON,
    "watchNamespaces": ["a", "b"],
    "sharedNamespaces": ["c"],
    "root": {"config": {"email": {"smtp_host": "mail.example.com"}}, "variablesSecret": "variables"},
    "caBundle": {"configMap": "trust"},
    "image": {"repository": "registry.example/pipebell", "digest": f"sha256:{'0f' * 32}"},
    "httpsProxy": "http://proxy:3128",
    "serviceAccount": {"annotations": {"a": "b"}},
    "priorityClassName": "system-cluster-critical",
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "extraEnv": [{"name": "A", "value": "b"}],
    "extraEnvFrom": [{"configMapRef": {"name": "more", "optional": True}}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
}
_PATIENCE = "120s"  # an API server puts off the end of definitions that hardly were there
SETS = {
    "defaults": {},
    "all switched on": ALL_ON,
    "everything": EVERYTHING,
    "for OpenShift": {
        "podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None},
    },
    "nothing but the operator": {
        "crds": {"enabled": False},
        "rbac": {"create": False},
        "serviceAccount": {"create": False, "name": "theirs"},
    },
}


@pytest.fixture(scope="module")
def server(plane):
    """Namespaces and definitions that renderings refer to."""
    for name in (NAMESPACE, *SERVED):
        plane.kubectl("create", "namespace", name, check=False)
    plane.kubectl("apply", "-f", MONITORING)
    plane.kubectl("wait", "--for=condition=Established", "-f", MONITORING, "--timeout=60s")
    label = "pod-security.kubernetes.io/enforce=restricted"
    plane.kubectl("label", "--overwrite", "namespace", NAMESPACE, label)
    return plane


def accepted(server, text):
    return server.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", input=text)


@pytest.mark.parametrize("name", SETS)
def test_the_api_server_accepts_every_field_of_it(server, name):
    done = accepted(server, render_text(SETS[name]))
    assert "deployment.apps/pipebell-operator" in done.stdout
    assert "Warning" not in done.stderr, "PodSecurity would say so"


@pytest.mark.parametrize(
    "paths",
    [list(KNOBS)[start::6] for start in range(6)],
    ids=lambda paths: f"{paths[0]} and {len(paths) - 1} more",
)
def test_the_api_server_accepts_what_each_value_makes(server, paths):
    """A release's name of its own for each, so that one apply checks many renderings; of definitions, what differs."""
    texts = {}
    for number, path in enumerate(paths):
        value, needs, _ = KNOBS[path]
        for text in documents(render_text(merge(needs, nested(path, value)), release=f"r{number}")):
            definition = "kind: CustomResourceDefinition\n" in text
            texts[text.replace(f"instance: r{number}\n", "") if definition else text] = text
    done = accepted(server, "\n---\n".join(texts.values()))
    assert done.stdout.count("deployment.apps/") == len(paths)


def test_what_is_no_field_would_be_refused(server):
    text = render_text({"extraVolumes": [{"name": "more", "emptyDirectory": {}}]})
    with pytest.raises(ClusterError, match="unknown field"):
        accepted(server, text)
    with pytest.raises(ClusterError, match="unknown field"):
        accepted(server, render_text(ALL_ON).replace("interval: 30s", "intervals: 30s"))


def objects(plane):
    """Everything of the release that is left, users' data aside."""
    kinds = "all,sa,role,rolebinding,clusterrole,clusterrolebinding,configmap,secret,networkpolicy,pdb,crd"
    done = plane.kubectl("get", kinds, "-A", "-l", "app.kubernetes.io/instance=pipebell", "-o", "name")
    return sorted(done.stdout.split())


def deployment(plane):
    return json.loads(plane.kubectl("get", "deployment", "pipebell-operator", "-n", NAMESPACE, "-o", "json").stdout)


def args(plane):
    container = deployment(plane)["spec"]["template"]["spec"]["containers"][0]
    return {item["name"]: item.get("value") for item in container["env"]}


USERS_DATA = """
apiVersion: pipebell.io/v1alpha1
kind: NotificationConfig
metadata: {name: acme, namespace: a}
spec: {orgSlug: acme}
---
apiVersion: pipebell.io/v1alpha1
kind: PipelineEvent
metadata: {name: failed, namespace: a}
spec: {orgSlug: acme, event: pipeline_failure, pipelineId: nightly}
"""


def test_install_upgrade_rollback_uninstall_and_install_again(server, install):
    said = install({})
    assert "The next three commands" in said
    assert "helm test pipebell --namespace pipebell-system" in said
    server.kubectl("wait", "--for=condition=Established", *CRDS, f"--timeout={_PATIENCE}")
    server.kubectl("apply", "-f", "-", input=USERS_DATA)
    before = objects(server)

    release = ("pipebell", "--namespace", NAMESPACE)
    values = {"settings": {"logLevel": "debug"}, "watchNamespaces": ["a"]}
    helm("upgrade", *release[:1], CHART, *release[1:], values=values, kubeconfig=server.kubeconfig)
    assert args(server)["PIPEBELL_LOG_LEVEL"] == "debug"
    assert "clusterrole.rbac.authorization.k8s.io/pipebell-operator" not in objects(server)

    helm("rollback", *release[:1], "1", *release[1:], kubeconfig=server.kubeconfig)
    assert args(server)["PIPEBELL_LOG_LEVEL"] == "info"
    assert [item for item in objects(server) if "helm" not in item] == [item for item in before if "helm" not in item]

    said = helm("uninstall", *release, kubeconfig=server.kubeconfig)
    assert "kept due to the resource policy" in said
    assert objects(server) == [name.replace("crd/", "customresourcedefinition.apiextensions.k8s.io/") for name in CRDS]
    left = server.kubectl("get", "nc,pe", "-n", "a", "-o", "name").stdout.split()
    assert left == ["notificationconfig.pipebell.io/acme", "pipelineevent.pipebell.io/failed"]

    install({})
    assert "deployment.apps/pipebell-operator" in objects(server), "the definitions are the release's own again"


def older_chart(folder):
    """A chart of before some values existed."""
    copy = folder / "older"
    shutil.copytree(CHART, copy)
    values = yaml.safe_load((copy / "values.yaml").read_text(encoding="utf-8"))
    del values["networkPolicy"], values["caBundle"], values["root"]["existingConfigMap"], values["settings"]
    (copy / "values.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return copy


def test_an_upgrade_that_reuses_an_older_charts_values(server, tmp_path):
    release = ("pipebell", "--namespace", NAMESPACE)
    command = ("upgrade", "--install", "pipebell", older_chart(tmp_path), *release[1:])
    helm(*command, values={"replicas": 2}, kubeconfig=server.kubeconfig)
    helm("upgrade", "pipebell", CHART, *release[1:], "--reuse-values", kubeconfig=server.kubeconfig)
    assert deployment(server)["spec"]["replicas"] == 2
    assert args(server)["PIPEBELL_EVENT_MAX_AGE"] == "86400"
    assert f"networkpolicy.networking.k8s.io/{OPERATOR}" in objects(server)
    helm("uninstall", *release, kubeconfig=server.kubeconfig)


@pytest.fixture
def untouched():
    """A control plane that never had the definitions: one takes up to five minutes to let go of what it hardly had."""
    with Cluster.start() as running:
        for name in (NAMESPACE, *SERVED):
            running.kubectl("create", "namespace", name)
        yield running


@pytest.mark.parametrize("before", ["kubectl", "kubectl --server-side", "another release"])
def test_definitions_that_are_there_already_are_taken_over(untouched, before):
    """As docs/install.md says it: taken over when asked to, or left to whoever applied them."""

    def install(values=None, *arguments, release="pipebell", namespace=NAMESPACE):
        command = ("install", release, CHART, "--namespace", namespace, *arguments)
        helm(*command, values=values or {}, kubeconfig=untouched.kubeconfig)

    if before == "another release":
        install(release="other", namespace="b")
        helm("uninstall", "other", "--namespace", "b", kubeconfig=untouched.kubeconfig)
    else:
        flags = ["--server-side"] if "server" in before else []
        untouched.kubectl("apply", *flags, "-f", REPOSITORY / "crds")
    untouched.kubectl("wait", "--for=condition=Established", *CRDS, f"--timeout={_PATIENCE}")
    untouched.kubectl("apply", "-f", "-", input=USERS_DATA)
    with pytest.raises(HelmError, match="invalid ownership metadata"):
        install()
    install({"crds": {"enabled": False}})
    helm("uninstall", "pipebell", "--namespace", NAMESPACE, kubeconfig=untouched.kubeconfig)

    install({}, "--take-ownership")
    path = r"jsonpath={.metadata.annotations.meta\.helm\.sh/release-name}"
    assert untouched.kubectl("get", CRDS[0], "-o", path).stdout == "pipebell"
    left = untouched.kubectl("get", "nc", "-n", "a", "-o", "name").stdout.split()
    assert left == ["notificationconfig.pipebell.io/acme"]
    helm("upgrade", "pipebell", CHART, "--namespace", NAMESPACE, kubeconfig=untouched.kubeconfig)


def test_definitions_that_are_not_to_be_kept_go(server):
    release = ("pipebell", "--namespace", NAMESPACE)
    command = ("install", "pipebell", CHART, "--namespace", NAMESPACE)
    helm(*command, values={"crds": {"keep": False}}, kubeconfig=server.kubeconfig)
    server.kubectl("wait", "--for=condition=Established", *CRDS, f"--timeout={_PATIENCE}")
    helm("uninstall", *release, kubeconfig=server.kubeconfig)
    server.kubectl("wait", "--for=delete", *CRDS, f"--timeout={_PATIENCE}")
    assert objects(server) == []


def test_helm_refuses_what_the_schema_refuses(server):
    with pytest.raises(HelmError, match="replicas"):
        helm(
            *("install", "pipebell", CHART, "--namespace", NAMESPACE),
            values={"replicas": 25},
            kubeconfig=server.kubeconfig,
        )


@pytest.mark.parametrize("path", sorted((CHART / "samples").glob("*.yaml")), ids=lambda path: path.name)
def test_samples_are_accepted(server, path):
    documents = [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]
    assert documents
    accepted(server, path.read_text(encoding="utf-8"))


def test_the_sample_policy_refuses_hosts_that_it_does_not_list(server, install):
    install({})
    server.kubectl("wait", "--for=condition=Established", *CRDS, f"--timeout={_PATIENCE}")
    server.kubectl("apply", "-f", CHART / "samples" / "allowed-hosts.yaml")

    def said(**spec):
        document = {"apiVersion": "pipebell.io/v1alpha1", "kind": "NotificationConfig", "metadata": {"name": "trial"}}
        text = json.dumps(document | {"spec": {"orgSlug": "acme", **spec}})
        done = server.kubectl("apply", "--dry-run=server", "-n", "a", "-f", "-", input=text, check=False)
        return done.stdout + done.stderr

    wrong = {"email": {"smtpHost": "evil.example"}}
    deadline = time.monotonic() + 60
    while "is not one of" not in said(**wrong):
        assert time.monotonic() < deadline, said(**wrong)
        time.sleep(0.5)
    assert "spec.email.smtpHost: evil.example is not one of smtp.example.com" in said(**wrong)
    assert "created" in said(email={"smtpHost": "smtp.example.com"})
    assert "its host is not one of" in said(slack={"webhookUrl": "https://evil.example/services/T1/B1/x"})
    assert "created" in said(slack={"webhookUrl": "https://hooks.slack.com/services/T1/B1/x"})
    assert "created" in said(slack={"webhookUrl": "${SLACK_WEBHOOK_URL}"})
    assert "created" in said()
    server.kubectl("delete", "-f", CHART / "samples" / "allowed-hosts.yaml")
