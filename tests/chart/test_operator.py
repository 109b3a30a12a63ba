"""The operator under the chart's ServiceAccount: its rights suffice for the main job, and none is superfluous."""

import time
from types import SimpleNamespace

import pytest
from tests.chart.helm import CHART, NAMESPACE, helm, render
from tests.chart.job import Job, trust, values
from tests.chart.pod import operator_of

from pipebell.core.crds import RESOURCES
from pipebell.sinks import SlackSink, SmtpSink, Trust, running

ACCOUNT = f"system:serviceaccount:{NAMESPACE}:pipebell-operator"
SERVED, ELSEWHERE = "served", "elsewhere"


def eventually(check, what, seconds=90.0):
    deadline = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what() if callable(what) else what}"
        time.sleep(0.1)
    return answer


@pytest.fixture(scope="module")
def sinks(tmp_path_factory):
    trusted = Trust(tmp_path_factory.mktemp("trust"))
    both = SimpleNamespace(smtp=SmtpSink(users={"platform": "pass-71"}, trust=trusted), slack=SlackSink(trust=trusted))
    with running(both.smtp, both.slack):
        yield both


@pytest.fixture(scope="module")
def ground(plane, sinks):
    """Namespaces, and what the values refer to."""
    for name in (NAMESPACE, SERVED, ELSEWHERE):
        plane.kubectl("create", "namespace", name, check=False)
    plane.kubectl("label", "namespace", SERVED, "pipelines=yes", "--overwrite")
    trust(plane, sinks)
    return plane


@pytest.fixture
def installed(ground, sinks, tmp_path):
    """Install with these values; the release and the operator's process end with the test."""
    started = []

    def run(**others):
        command = ("upgrade", "--install", "pipebell", CHART, "--namespace", NAMESPACE)
        helm(*command, values=values(sinks, **others), kubeconfig=ground.kubeconfig)
        crds = (f"crd/{resource.name}" for resource in RESOURCES)
        ground.kubectl("wait", "--for=condition=Established", *crds, "--timeout=60s")
        process = operator_of(ground, tmp_path)
        started.append(process)
        return process

    yield run
    for process in started:
        process.stop()
    helm("uninstall", "pipebell", "--namespace", NAMESPACE, "--ignore-not-found", kubeconfig=ground.kubeconfig)


def right(entry):
    """An audit log's entry as a right: (namespace, group, resource, verb)."""
    reference = entry["objectRef"]
    resource = "/".join(filter(None, (reference["resource"], reference.get("subresource"))))
    return reference.get("namespace", ""), reference.get("apiGroup", ""), resource, entry["verb"]


def asked(plane, since):
    """The operator's requests from this line of the audit log on."""
    return [entry for entry in plane.audit()[since:] if entry["user"]["username"] == ACCOUNT]


def refused(plane, since):
    return {right(entry) for entry in asked(plane, since) if entry["responseStatus"]["code"] == 403}


# What Kubernetes grants to whoever has logged in: who one is.
EVERYBODYS = {("", "authentication.k8s.io", "selfsubjectreviews", "create")}


# What it needs for what only users switch on: notices of its own making, incidents, silences.
ON_DEMAND = {
    ("pipebell.io", "pipelineevents", "create"),
    *(("pipebell.io", "incidents", verb) for verb in ("get", "list", "watch", "create", "delete")),
    ("pipebell.io", "incidents/status", "patch"),
    *(("pipebell.io", "silences", verb) for verb in ("get", "list", "watch")),
    ("pipebell.io", "silences/status", "patch"),
}


def granted(rendering):
    """All rights that the operator's own roles give; the namespace of a ClusterRole's is "*"."""
    roles = (*rendering.all("ClusterRole"), *rendering.all("Role"))
    return {
        (role["metadata"].get("namespace", "*"), group, resource, verb)
        for role in roles
        if "-operator" in role["metadata"]["name"]
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def without_namespace(rights):
    return {right[1:] for right in rights}


def do_the_job(plane, sinks, operator, since):
    """The main job from beginning to end; what the operator asked of the API server meanwhile."""
    operator.start()
    job = Job(plane, sinks, SERVED)
    job.create()
    eventually(lambda: job.outcome() == job.expected, lambda: f"{job.outcome()}\n{operator.last_lines()}")
    eventually(job.notices, "a Warning about the event that failed")
    eventually(lambda: job.incidents() == ["Open"], lambda: f"{job.incidents()}\n{operator.last_lines()}")
    assert job.arrived() == {"slack": 2, "shared": 1, "root": 1}
    # A condition that is written while its configuration changes meets a conflict, and the operator reads it again.
    eventually(lambda: job.disturb() or _reread(plane, since), "a conflict", 90.0)
    assert refused(plane, since) == set()
    assert operator.get("/healthz") == (200, "ok")
    operator.stop()  # it gives back its leases
    return {right(entry) for entry in asked(plane, since)} - EVERYBODYS


def _reread(plane, since):
    return any(right(entry)[1:] == ("pipebell.io", "notificationconfigs", "get") for entry in asked(plane, since))


def test_all_namespaces_every_right_is_needed_and_used(ground, sinks, installed):
    operator = installed()
    since = len(ground.audit())
    used = do_the_job(ground, sinks, operator, since)
    assert without_namespace(used) | ON_DEMAND == without_namespace(granted(render(values(sinks))))
    assert {right[0] for right in used if right[2] in {"configmaps", "leases"}} == {NAMESPACE}
    incidents = {("incidents", verb) for verb in ("list", "watch", "create")} | {("incidents/status", "patch")}
    assert incidents <= {right[2:] for right in used}
    assert "stopped" in operator.log_text()


def test_named_namespaces_the_same_by_roles_alone(ground, sinks, installed):
    operator = installed(watchNamespaces=[SERVED])
    since = len(ground.audit())
    used = do_the_job(ground, sinks, operator, since)
    rendering = render(values(sinks, watchNamespaces=[SERVED]))
    assert not {"ClusterRole", "ClusterRoleBinding"} & rendering.kinds
    assert used <= granted(rendering)
    assert without_namespace(used) | ON_DEMAND == without_namespace(granted(rendering))


RULES = [
    (role["kind"], role["metadata"]["name"], number, rule)
    for role in (*render().all("ClusterRole"), *render().all("Role"))
    if "-operator" in role["metadata"]["name"]
    for number, rule in enumerate(role["rules"])
    if not {("pipebell.io", resource, verb) for resource in rule["resources"] for verb in rule["verbs"]} <= ON_DEMAND
]


@pytest.mark.parametrize(
    ("kind", "name", "number", "rule"), RULES, ids=["-".join(rule["resources"]) for *_, rule in RULES]
)
def test_without_one_rule_the_job_fails(ground, sinks, installed, kind, name, number, rule):
    operator = installed()
    scope = "" if kind == "ClusterRole" else f"/namespaces/{NAMESPACE}"
    path = f"/apis/rbac.authorization.k8s.io/v1{scope}/{kind.lower()}s/{name}"
    role = ground.request("GET", path)
    assert role["rules"].pop(number)["resources"] == rule["resources"]
    ground.request("PUT", path, role)
    since = len(ground.audit())
    operator.start(wait=0.0)
    job = Job(ground, sinks, SERVED)
    job.create()
    missed = eventually(lambda: refused(ground, since), lambda: f"{job.outcome()}\n{operator.last_lines()}")
    assert {right[2] for right in missed} <= set(rule["resources"])
    assert {right[3] for right in missed} <= set(rule["verbs"])
    assert job.outcome() != job.expected or not job.notices(), "and it shows"
    operator.kill()  # where it cannot record what it did, it would be patient


def as_operator(plane, *arguments):
    """What the API server answers to the ServiceAccount's token."""
    kubeconfig = plane.kubeconfig_for_service_account(NAMESPACE, "pipebell-operator")
    return plane.kubectl(*arguments, "--kubeconfig", kubeconfig, check=False)


FORBIDDEN = [
    ("get", "secrets"),
    ("get", "secrets", "--watch"),
    ("get", "secrets", "-A"),
    ("delete", "secret", "secret-of-theirs"),
    ("get", "configmaps"),
    ("get", "pods"),
    ("get", "namespaces"),
    ("get", "deployments"),
    ("get", "crds"),
    ("get", "lease", "somebodys"),
    ("delete", "notificationconfig", "acme"),
    ("create", "token", "pipebell-operator"),
]


@pytest.mark.parametrize("watched", [[], [SERVED]], ids=["all namespaces", "named namespaces"])
def test_what_it_may_not_do(ground, installed, watched):
    installed(watchNamespaces=watched)
    ground.kubectl("create", "secret", "generic", "secret-of-theirs", "-n", SERVED, check=False)
    ground.kubectl("create", "secret", "generic", "secret-of-theirs", "-n", ELSEWHERE, check=False)
    for namespace in (SERVED, ELSEWHERE, NAMESPACE):
        for command in FORBIDDEN:
            answer = as_operator(ground, *command, "-n", namespace)
            assert "forbidden" in answer.stderr.lower(), f"{command} in {namespace}: {answer.stdout}{answer.stderr}"
    assert as_operator(ground, "get", "secret", "secret-of-theirs", "-n", SERVED).returncode == 0
    elsewhere = as_operator(ground, "get", "secret", "secret-of-theirs", "-n", ELSEWHERE)
    assert ("(Forbidden)" in elsewhere.stderr) is bool(watched)


def test_a_namespaces_editor_may_create_events_and_configurations(ground, installed):
    """Kubernetes' own `edit` takes our role in (by a controller that this cluster lacks)."""
    installed()
    path = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    joined = ground.request("GET", f"{path}?labelSelector=rbac.authorization.k8s.io/aggregate-to-edit=true")["items"]
    names = {item["metadata"]["name"] for item in joined}
    assert {"pipebell-edit", "pipebell-view"} <= names
    assert "pipebell-pipeline" not in names
    rules = [rule for item in joined if item["metadata"]["name"] == "pipebell-edit" for rule in item["rules"]]
    granted = {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    assert {("pipelineevents", "create"), ("notificationconfigs", "create"), ("incidents", "patch")} <= granted
    assert ("incidents", "create") not in granted
    assert not any(resource.endswith("/status") for rule in rules for resource in rule["resources"])
