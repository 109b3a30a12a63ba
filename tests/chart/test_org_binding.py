"""The optional policy that binds organisations to namespaces, on a real API server, installed by Helm."""

import json
import time

import pytest
from tests.chart.helm import CHART, NAMESPACE, helm, render

from pipebell.core.crds import RESOURCES

INCIDENT = {"key": "nightly", "class": "Run", "openedBy": "first"}
EVENT = {"event": "pipeline_failure", "pipelineId": "nightly"}
OPERATOR = f"system:serviceaccount:{NAMESPACE}:pipebell-operator"
CRDS = sorted(f"crd/{resource.name}" for resource in RESOURCES)


class Bound:
    """Namespaces with and without organisations, under the policy."""

    def __init__(self, plane):
        self.plane = plane

    def annotate(self, namespace, orgs):
        self.plane.kubectl("annotate", "--overwrite", "namespace", namespace, f"pipebell.io/orgs={orgs}")

    def apply(self, namespace, kind, org, *arguments, name="trial", **spec):
        """What kubectl said of applying this, which is "" once it was taken."""
        document = {"apiVersion": "pipebell.io/v1alpha1", "kind": kind, "metadata": {"name": name}}
        document["spec"] = {"orgSlug": org, **{"PipelineEvent": EVENT, "Incident": INCIDENT}.get(kind, {}), **spec}
        command = ("apply", "-n", namespace, "-f", "-", *arguments)
        done = self.plane.kubectl(*command, input=json.dumps(document), check=False)
        return "" if done.returncode == 0 else done.stderr

    def try_(self, namespace, kind, org, *arguments, **spec):
        return self.apply(namespace, kind, org, "--dry-run=server", *arguments, **spec)


@pytest.fixture(scope="module")
def bound(plane, install):
    install({"orgBinding": {"enabled": True}})
    plane.kubectl("wait", "--for=condition=Established", *CRDS, "--timeout=60s")
    bound = Bound(plane)
    for name, orgs in {"ob-two": "acme_corp, globex", "ob-none": None, "ob-empty": " ,", "ob-prefix": "acme"}.items():
        plane.kubectl("create", "namespace", name, check=False)
        if orgs is not None:
            bound.annotate(name, orgs)
    deadline = time.monotonic() + 60
    while not bound.try_("ob-none", "PipelineEvent", "acme_corp"):
        assert time.monotonic() < deadline, "the policy has no effect"
        time.sleep(0.5)
    return bound


@pytest.mark.parametrize("kind", ["PipelineEvent", "NotificationConfig", "Incident"])
@pytest.mark.parametrize(
    ("namespace", "org", "taken"),
    [
        ("ob-two", "acme_corp", True),
        ("ob-two", "globex", True),
        ("ob-two", "initech", False),
        ("ob-two", "Acme_corp", False),
        ("ob-two", "acme_corp.x", False),
        ("ob-prefix", "acme_corp", False),
        ("ob-prefix", "acme", True),
        ("ob-none", "acme_corp", False),
        ("ob-empty", "acme_corp", False),
    ],
)
def test_a_namespace_may_name_the_organisations_of_its_annotation_and_no_other(bound, kind, namespace, org, taken):
    said = bound.try_(namespace, kind, org)
    if taken:
        assert said == ""
        return
    assert f"spec.orgSlug: {org} is not among the organisations of namespace {namespace}" in said
    assert "annotation pipebell.io/orgs" in said
    assert ("(acme_corp, globex)" in said) is (namespace == "ob-two")
    assert ("(it has none)" in said) is (namespace in {"ob-none", "ob-empty"})


def test_a_configuration_cannot_move_to_another_organisation(bound):
    assert bound.apply("ob-two", "NotificationConfig", "globex", name="moves") == ""
    assert "initech is not among" in bound.apply("ob-two", "NotificationConfig", "initech", name="moves")
    assert bound.apply("ob-two", "NotificationConfig", "acme_corp", name="moves") == ""


def test_what_is_there_can_still_be_labelled_and_deleted_but_not_edited_when_the_organisation_is_withdrawn(bound):
    plane = bound.plane
    plane.kubectl("create", "namespace", "ob-withdrawn")
    bound.annotate("ob-withdrawn", "acme_corp")
    document = {
        "apiVersion": "pipebell.io/v1alpha1",
        "kind": "NotificationConfig",
        "metadata": {"name": "stays", "finalizers": ["example.com/held"]},
        "spec": {"orgSlug": "acme_corp"},
    }
    plane.kubectl("apply", "-n", "ob-withdrawn", "-f", "-", input=json.dumps(document))
    bound.annotate("ob-withdrawn", "globex")

    def edited():
        return bound.try_("ob-withdrawn", "NotificationConfig", "acme_corp", name="stays", enabled=False)

    deadline = time.monotonic() + 60
    while "is not among" not in edited():  # the policy's view of namespaces may be a moment old
        assert time.monotonic() < deadline
        time.sleep(0.2)
    plane.kubectl("label", "-n", "ob-withdrawn", "nc/stays", "a=b")
    plane.kubectl("delete", "-n", "ob-withdrawn", "nc/stays", "--wait=false")
    patch = '[{"op": "remove", "path": "/metadata/finalizers"}]'
    plane.kubectl("patch", "-n", "ob-withdrawn", "nc/stays", "--type=json", "-p", patch)
    plane.kubectl("wait", "-n", "ob-withdrawn", "--for=delete", "nc/stays", "--timeout=10s")


def test_the_operator_is_exempt_and_nobody_else_is(bound):
    assert bound.try_("ob-none", "PipelineEvent", "any", "--as", OPERATOR, "--as-group", "system:masters") == ""
    for other in (f"{OPERATOR}2", "system:serviceaccount:ob-none:pipebell-operator", "system:admin"):
        said = bound.try_("ob-none", "PipelineEvent", "any", "--as", other, "--as-group", "system:masters")
        assert "is not among" in said, other


def test_the_operators_status_writes_are_not_its_business(bound):
    assert bound.apply("ob-two", "PipelineEvent", "acme_corp", name="written") == ""
    patch = '{"status": {"phase": "Pending"}}'
    command = ("-n", "ob-two", "pe/written", "--subresource=status", "--type=merge", "-p", patch)
    bound.plane.kubectl("patch", *command)


def test_nobody_but_the_operator_makes_notices(bound):
    """The field may not be served yet: the definition gets it here if so."""
    name = "pipelineevents.pipebell.io"
    definition = json.loads(bound.plane.kubectl("get", "crd", name, "-o", "json").stdout)
    before = json.dumps(definition)
    properties = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    properties.setdefault("notice", {"type": "object", "properties": {"kind": {"type": "string"}}})
    bound.plane.kubectl("replace", "-f", "-", input=json.dumps(definition))
    notice = {"notice": {"kind": "Reminder"}}
    deadline = time.monotonic() + 60
    while "unknown field" in (said := bound.try_("ob-two", "PipelineEvent", "acme_corp", **notice)):
        assert time.monotonic() < deadline, said
        time.sleep(0.5)
    assert "spec.notice: only the operator makes notices" in said
    taken = bound.try_("ob-none", "PipelineEvent", "any", "--as", OPERATOR, "--as-group", "system:masters", **notice)
    assert taken == ""
    served = json.loads(bound.plane.kubectl("get", "crd", name, "-o", "json").stdout)
    served["spec"] = json.loads(before)["spec"]
    bound.plane.kubectl("replace", "-f", "-", input=json.dumps(served))


def test_with_named_namespaces_it_binds_these_and_those_that_share_and_has_a_name_of_its_own():
    values = {"orgBinding": {"enabled": True}, "watchNamespaces": ["a", "b"], "sharedNamespaces": ["c"]}
    rendering = render(values)
    (expression,) = rendering.one("ValidatingAdmissionPolicyBinding")["spec"]["matchResources"]["namespaceSelector"][
        "matchExpressions"
    ]
    assert expression == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a", "b", "c"]}
    assert rendering.one("ValidatingAdmissionPolicy")["metadata"]["name"] == f"pipebell-orgs.{NAMESPACE}"


def test_a_service_account_of_another_name_is_the_exempt_one():
    rendering = render({"orgBinding": {"enabled": True}, "serviceAccount": {"name": "mine"}})
    condition = rendering.one("ValidatingAdmissionPolicy")["spec"]["matchConditions"][0]["expression"]
    assert condition == f"request.userInfo.username != 'system:serviceaccount:{NAMESPACE}:mine'"


def test_it_goes_with_the_release(bound):
    release = ("pipebell", "--namespace", NAMESPACE)
    helm("upgrade", release[0], CHART, *release[1:], "--reset-values", kubeconfig=bound.plane.kubeconfig, values={})
    done = bound.plane.kubectl("get", "validatingadmissionpolicy,validatingadmissionpolicybinding", "-o", "name")
    assert "pipebell-orgs" not in done.stdout
