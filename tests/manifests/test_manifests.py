"""manifests/ on a real API server: it takes them as they are, and they grant what is needed and no more."""

import json
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.cluster

REPOSITORY = Path(__file__).parents[2]
OPERATOR = "system:serviceaccount:pipebell-system:pipebell-operator"


@pytest.fixture(scope="module")
def installed(cluster):
    """The cluster after `kubectl apply -k manifests`, as the README says it."""
    done = cluster.kubectl("apply", "-k", REPOSITORY / "manifests")
    assert "PodSecurity" not in done.stderr, done.stderr
    return cluster


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def deployment():
    return documents(REPOSITORY / "manifests" / "deployment.yaml")[0]


def may(cluster, user, verb, resource, **where):
    """Whether the API server would let this user; `where` adds namespace, name or subresource."""
    group, _, plural = resource.rpartition("/")
    attributes = {"verb": verb, "group": group, "resource": plural, "namespace": "default"} | where
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    return cluster.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"]


CONFIG, EVENT = "pipebell.io/notificationconfigs", "pipebell.io/pipelineevents"
INCIDENT, SILENCE = "pipebell.io/incidents", "pipebell.io/silences"
KINDS = (CONFIG, EVENT, INCIDENT, SILENCE)


def test_applying_them_again_changes_nothing(installed):
    answers = installed.kubectl("apply", "-k", REPOSITORY / "manifests").stdout.splitlines()
    assert len(answers) == 19
    assert [answer for answer in answers if not answer.endswith(" unchanged")] == []


@pytest.mark.parametrize(("flag", "folder"), [("-k", "manifests"), ("-f", "crds")])
def test_server_side_apply_takes_them_as_well(installed, flag, folder):
    done = installed.kubectl(
        "apply", "--server-side", "--force-conflicts", "--dry-run=server", flag, REPOSITORY / folder
    )
    assert "pipelineevents.pipebell.io serverside-applied" in done.stdout


def test_the_pod_meets_the_restricted_standard_that_its_namespace_enforces(installed):
    labels = json.loads(installed.kubectl("get", "namespace", "pipebell-system", "-o", "json").stdout)["metadata"][
        "labels"
    ]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    template = deployment()["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "trial", "namespace": "pipebell-system"}}
    done = installed.kubectl(
        "create", "--dry-run=server", "-f", "-", input=json.dumps(pod | {"spec": template["spec"]})
    )
    assert "created" in done.stdout
    template["spec"]["containers"][0]["securityContext"].pop("capabilities")
    refused = installed.kubectl(
        "create", "--dry-run=server", "-f", "-", input=json.dumps(pod | {"spec": template["spec"]}), check=False
    )
    assert "violates PodSecurity" in refused.stderr, "so the standard is in force"


def test_the_pod_is_hardened_and_probed():
    pod = deployment()["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsUser"] == 65532
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert pod["terminationGracePeriodSeconds"] == 40
    assert pod["enableServiceLinks"] is False, "a Service's variables look like our settings"
    assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    assert "/" not in container["image"], "no registry is prescribed"


def test_every_setting_of_the_pod_is_one_that_the_operator_knows():
    from pipebell.settings import Settings  # noqa: PLC0415  (the only test that needs it)

    variables = [item["name"] for item in deployment()["spec"]["template"]["spec"]["containers"][0]["env"]]
    known = {f"PIPEBELL_{name.upper()}" for name in Settings.__dataclass_fields__}
    assert set(variables) <= known


def test_the_service_finds_the_pod_and_its_port():
    service = documents(REPOSITORY / "manifests" / "service.yaml")[0]
    template = deployment()["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
    assert ports[service["spec"]["ports"][0]["targetPort"]] == 8080


@pytest.mark.parametrize(
    ("verb", "resource", "where"),
    [
        *(("get", CONFIG, {}), ("list", CONFIG, {}), ("watch", CONFIG, {})),
        *(("get", EVENT, {}), ("list", EVENT, {}), ("watch", EVENT, {})),
        *(("create", EVENT, {}), ("delete", EVENT, {})),
        *(("patch", kind, {"subresource": "status"}) for kind in KINDS),
        *((verb, INCIDENT, {}) for verb in ("get", "list", "watch", "create", "delete")),
        *(("get", "secrets", {}), ("get", "namespaces", {}), ("create", "events", {})),
        *(
            (verb, "configmaps", {"namespace": "pipebell-system", "name": "pipebell-root"})
            for verb in ("list", "watch")
        ),
    ],
)
def test_the_operator_may(installed, verb, resource, where):
    assert may(installed, OPERATOR, verb, resource, **where)


@pytest.mark.parametrize(
    ("verb", "resource", "where"),
    [
        *(("list", "secrets", {}), ("watch", "secrets", {}), ("update", "secrets", {})),
        *(("list", "namespaces", {}), ("get", "pods", {}), ("list", "events", {}), ("create", "pods", {})),
        *(
            ("create", CONFIG, {}),
            ("patch", CONFIG, {}),
            ("delete", CONFIG, {}),
            ("update", EVENT, {}),
            ("patch", EVENT, {}),
        ),
        ("update", EVENT, {"subresource": "status"}),
        ("get", "configmaps", {"namespace": "pipebell-system", "name": "pipebell-root"}),
        *(("list", "configmaps", {"name": "pipebell-root"}), ("get", "configmaps", {"namespace": "pipebell-system"})),
        *(
            ("list", "configmaps", {"namespace": "pipebell-system"}),
            ("update", "configmaps", {"namespace": "pipebell-system"}),
        ),
        *(
            ("create", "serviceaccounts", {"subresource": "token"}),
            ("get", "apiextensions.k8s.io/customresourcedefinitions", {}),
        ),
    ],
)
def test_the_operator_may_not(installed, verb, resource, where):
    assert not may(installed, OPERATOR, verb, resource, **where)


@pytest.fixture
def bound(installed, namespace):
    """Binds a ClusterRole to a user of that name within a fresh namespace."""

    def bind(role):
        installed.kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}", "-n", namespace)
        return role, namespace

    return bind


@pytest.mark.parametrize(
    ("role", "granted"),
    [
        ("pipebell-view", {(verb, kind) for verb in ("get", "list", "watch") for kind in KINDS}),
        (
            "pipebell-edit",
            {
                (verb, kind)
                for verb in ("create", "update", "patch", "delete", "deletecollection")
                for kind in (CONFIG, EVENT, SILENCE)
            }
            | {("patch", INCIDENT)},
        ),
        (
            "pipebell-responder",
            {(verb, INCIDENT) for verb in ("get", "list", "watch", "patch")}
            | {(verb, SILENCE) for verb in ("get", "list", "watch", "create", "patch", "delete")},
        ),
        ("pipebell-pipeline", {("create", EVENT), ("get", EVENT)}),
    ],
)
def test_the_roles_of_others_grant_exactly_this_and_never_the_status(installed, bound, role, granted):
    user, namespace = bound(role)
    verbs = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
    asked = {(verb, kind) for verb in verbs for kind in KINDS}
    assert {(verb, kind) for verb, kind in asked if may(installed, user, verb, kind, namespace=namespace)} == granted
    for kind in KINDS:
        for verb in ("update", "patch"):
            assert not may(installed, user, verb, kind, namespace=namespace, subresource="status")
    assert not may(installed, user, "get", EVENT, namespace="default")


def test_the_roles_join_kubernetes_own():
    roles = {
        document["metadata"]["name"]: document for document in documents(REPOSITORY / "manifests" / "user-roles.yaml")
    }

    def joined(name):
        prefix = "rbac.authorization.k8s.io/aggregate-to-"
        return {label.removeprefix(prefix) for label in roles[name]["metadata"]["labels"] if label.startswith(prefix)}

    assert joined("pipebell-view") == {"view", "edit", "admin"}
    assert joined("pipebell-edit") == {"edit", "admin"}
    assert joined("pipebell-pipeline") == joined("pipebell-responder") == set()


def overlay(cluster, name):
    """What `kubectl apply -k` would send, by kind and name; the API server takes all of it."""
    folder = REPOSITORY / "configs" / "samples" / "overlays" / name
    text = cluster.kubectl("kustomize", folder).stdout
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", input=text)
    return {(item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(text)}


def test_the_overlay_for_several_replicas(installed):
    found = overlay(installed, "ha")
    base = {(item["kind"], item["metadata"]["name"]) for item in yaml.safe_load_all(kustomized(installed))}
    assert set(found) - base == {("PodDisruptionBudget", "pipebell-operator")}
    deployment = found["Deployment", "pipebell-operator"]["spec"]
    assert deployment["replicas"] == 3
    budget = found["PodDisruptionBudget", "pipebell-operator"]["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == deployment["selector"]


def kustomized(cluster):
    return cluster.kubectl("kustomize", REPOSITORY / "manifests").stdout


def test_the_overlay_for_prometheus_and_grafana(installed):
    crds = REPOSITORY / "tests" / "chart" / "monitoring-crds.yaml"
    installed.kubectl("apply", "-f", crds)
    installed.kubectl("wait", "--for=condition=Established", "-f", crds, "--timeout=60s")
    kinds = {kind for kind, _ in overlay(installed, "monitoring")}
    assert {"ServiceMonitor", "PrometheusRule"} <= kinds


def test_every_user_may_list_the_operators_leases_and_nothing_else_there(installed):
    def allowed(verb, resource, namespace, *groups):
        attributes = {"verb": verb, "group": "coordination.k8s.io", "resource": resource, "namespace": namespace}
        spec = {"user": "somebody", "groups": list(groups), "resourceAttributes": attributes}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return installed.request("POST", path, review)["status"]["allowed"]

    assert allowed("list", "leases", "pipebell-system", "system:authenticated")
    assert not allowed("list", "leases", "pipebell-system", "system:unauthenticated")
    assert not allowed("list", "leases", "default", "system:authenticated")
    assert not any(allowed(verb, "leases", "pipebell-system", "system:authenticated") for verb in ("watch", "patch"))
