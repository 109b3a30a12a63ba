"""Values: each is explained, known to the schema, and does what its comment says."""

import json
import re

import pytest
import yaml
from tests.chart.helm import CHART, HelmError, defaults, helm, nested, render

DIGEST = f"sha256:{'a1' * 32}"
ENV = [{"name": "EXTRA", "value": "1"}]
PEER = [{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}]
SPREAD = {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"}
ALL_ON = {
    "podDisruptionBudget": {"enabled": True},
    "networkPolicy": {"enabled": True},
    "orgBinding": {"enabled": True},
    "metrics": {kind: {"enabled": True} for kind in ("serviceMonitor", "prometheusRule", "dashboard")},
}


def labels(item):
    return item["metadata"]["labels"]


def egress_ports(rendering):
    rules = rendering.one("NetworkPolicy")["spec"]["egress"]
    return [sorted(port["port"] for port in rule["ports"]) for rule in rules]


# A value, another one for it, values that it needs to matter, and what shows that it did.
KNOBS = {
    "nameOverride": ("bell", {}, lambda r: labels(r.one("Deployment"))["app.kubernetes.io/name"] == "bell"),
    "fullnameOverride": (
        "bell",
        {},
        lambda r: r.one("Deployment", "bell-operator") and r.one("Service", "bell-metrics"),
    ),
    "commonLabels": (
        {"team": "data"},
        ALL_ON,
        lambda r: all(labels(item)["team"] == "data" for item in [*r.objects, r.template]),
    ),
    "crds.enabled": (False, {}, lambda r: not r.all("CustomResourceDefinition")),
    "crds.keep": (
        False,
        {},
        lambda r: all("annotations" not in item["metadata"] for item in r.all("CustomResourceDefinition")),
    ),
    "image.repository": (
        "registry.example/pipebell",
        {},
        lambda r: (
            {r.container["image"], r.test_pod["spec"]["containers"][0]["image"]} == {"registry.example/pipebell:0.1.0"}
        ),
    ),
    "image.tag": ("9.9.9", {}, lambda r: r.container["image"] == "pipebell:9.9.9"),
    "image.digest": (DIGEST, {"image": {"tag": "9"}}, lambda r: r.container["image"] == f"pipebell@{DIGEST}"),
    "image.pullPolicy": ("Always", {}, lambda r: r.container["imagePullPolicy"] == "Always"),
    "imagePullSecrets": (
        [{"name": "pull"}],
        {},
        lambda r: r.pod["imagePullSecrets"] == r.test_pod["spec"]["imagePullSecrets"] == [{"name": "pull"}],
    ),
    "replicas": (3, {}, lambda r: r.one("Deployment")["spec"]["replicas"] == 3),
    "root.config": (
        {"email": {"smtp_host": "${HOST}", "to_emails": ["a@example.com"]}},
        {},
        lambda r: (
            json.loads(r.one("ConfigMap", "pipebell-root")["data"]["config.json"])["email"]["smtp_host"] == "${HOST}"
        ),
    ),
    "root.configJson": (
        '{\n  "enabled": true\n}\n',
        {},
        lambda r: json.loads(r.one("ConfigMap", "pipebell-root")["data"]["config.json"]) == {"enabled": True},
    ),
    "root.existingConfigMap": (
        "theirs",
        {},
        lambda r: (
            r.env["PIPEBELL_ROOT_CONFIGMAP"] == "theirs"
            and r.one("Role", "pipebell-operator-root")["rules"][0]["resourceNames"] == ["theirs"]
            and not r.all("ConfigMap")
        ),
    ),
    "root.variablesSecret": (
        "variables",
        {},
        lambda r: r.container["envFrom"][0]["secretRef"] == {"name": "variables", "optional": False},
    ),
    "watchNamespaces": (
        ["a", "b"],
        {},
        lambda r: (
            r.env["PIPEBELL_WATCH_NAMESPACES"] == "a,b"
            and not {"ClusterRole", "ClusterRoleBinding"} & r.kinds
            and {item["metadata"]["namespace"] for item in r.all("Role")} == {"a", "b", "pipebell-system"}
        ),
    ),
    "sharedNamespaces": (
        ["c"],
        {"watchNamespaces": ["a"]},
        lambda r: (
            r.env["PIPEBELL_SHARED_NAMESPACES"] == "c"
            and any(item["metadata"]["namespace"] == "c" for item in r.all("Role"))
        ),
    ),
    "settings.logFormat": ("text", {}, lambda r: r.env["PIPEBELL_LOG_FORMAT"] == "text"),
    "settings.logLevel": ("debug", {}, lambda r: r.env["PIPEBELL_LOG_LEVEL"] == "debug"),
    "settings.eventMaxAge": (1000000, {}, lambda r: r.env["PIPEBELL_EVENT_MAX_AGE"] == "1000000"),
    "settings.ttlDelivered": (60, {}, lambda r: r.env["PIPEBELL_TTL_DELIVERED"] == "60"),
    "settings.ttlFailed": (2592000, {}, lambda r: r.env["PIPEBELL_TTL_FAILED"] == "2592000"),
    "settings.incidentTtl": (3000000, {}, lambda r: r.env["PIPEBELL_INCIDENT_TTL"] == "3000000"),
    "settings.allowedHosts": (
        ["slack=chat.example", "slack=10.0.0.1:8443"],
        {},
        lambda r: r.env["PIPEBELL_ALLOWED_HOSTS"] == "slack=chat.example,slack=10.0.0.1:8443",
    ),
    "settings.slackHosts": (
        ["a.example", "b.example"],
        {},
        lambda r: r.env["PIPEBELL_SLACK_HOSTS"] == "a.example,b.example",
    ),
    "settings.privateHosts": (["10.0.0.0/8"], {}, lambda r: r.env["PIPEBELL_PRIVATE_HOSTS"] == "10.0.0.0/8"),
    "settings.platformOrg": ("sre", {}, lambda r: r.env["PIPEBELL_PLATFORM_ORG"] == "sre"),
    "heartbeat.secret": (
        "switch",
        {},
        lambda r: r.env["PIPEBELL_HEARTBEAT_URL"] == {"secretKeyRef": {"name": "switch", "key": "url"}},
    ),
    "heartbeat.key": (
        "address",
        {"heartbeat": {"secret": "switch"}},
        lambda r: r.env["PIPEBELL_HEARTBEAT_URL"] == {"secretKeyRef": {"name": "switch", "key": "address"}},
    ),
    "installationId": ("prod-eu", {}, lambda r: r.env["PIPEBELL_INSTALLATION_ID"] == "prod-eu"),
    "httpsProxy": ("http://proxy:3128", {}, lambda r: r.env["PIPEBELL_HTTPS_PROXY"] == "http://proxy:3128"),
    "caBundle.configMap": (
        "trust",
        {},
        lambda r: (
            r.env["PIPEBELL_CA_FILE"] == "/etc/pipebell/ca/ca.crt"
            and r.pod["volumes"][1]["configMap"]["name"] == "trust"
            and r.container["volumeMounts"][1]["mountPath"] == "/etc/pipebell/ca"
        ),
    ),
    "caBundle.secret": ("trust", {}, lambda r: r.pod["volumes"][1]["secret"]["secretName"] == "trust"),
    "caBundle.key": (
        "bundle.pem",
        {"caBundle": {"configMap": "trust"}},
        lambda r: (
            r.env["PIPEBELL_CA_FILE"] == "/etc/pipebell/ca/bundle.pem"
            and r.pod["volumes"][1]["configMap"]["items"] == [{"key": "bundle.pem", "path": "bundle.pem"}]
        ),
    ),
    "serviceAccount.create": (
        False,
        {},
        lambda r: not r.all("ServiceAccount") and r.pod["serviceAccountName"] == "default",
    ),
    "serviceAccount.name": (
        "mine",
        {},
        lambda r: (
            r.one("ServiceAccount", "mine")
            and r.pod["serviceAccountName"] == "mine"
            and all(
                b["subjects"][0]["name"] == "mine"
                for b in [*r.all("ClusterRoleBinding"), *r.all("RoleBinding")]
                if not b["metadata"]["name"].endswith("-info")  # that one is everybody's
            )
        ),
    ),
    "serviceAccount.annotations": (
        {"iam.example/role": "x"},
        {},
        lambda r: r.one("ServiceAccount")["metadata"]["annotations"] == {"iam.example/role": "x"},
    ),
    "rbac.create": (
        False,
        {},
        lambda r: (
            {o["metadata"]["name"] for o in r.objects if o["kind"] in ("Role", "RoleBinding", "ClusterRoleBinding")}
            == {"pipebell-info"}
            and len(r.all("ClusterRole")) == 4
        ),
    ),
    "rbac.info": (False, {}, lambda r: "pipebell-info" not in {o["metadata"]["name"] for o in r.objects}),
    "rbac.userRoles": (False, {}, lambda r: len(r.all("ClusterRole")) == 1),
    "rbac.aggregate": (
        False,
        {},
        lambda r: not any("aggregate" in label for item in r.all("ClusterRole") for label in labels(item)),
    ),
    "orgBinding.enabled": (
        True,
        {},
        lambda r: (
            r.one("ValidatingAdmissionPolicyBinding")["spec"]["policyName"]
            == r.one("ValidatingAdmissionPolicy")["metadata"]["name"]
            == "pipebell-orgs"
        ),
    ),
    "podAnnotations": (
        {"a.example/b": "c"},
        {},
        lambda r: r.template["metadata"]["annotations"] == {"a.example/b": "c"},
    ),
    "podLabels": ({"a": "b"}, {}, lambda r: labels(r.template)["a"] == "b"),
    "resources": (
        {"requests": {"cpu": "1"}},
        {},
        lambda r: r.container["resources"]["requests"] == {"cpu": "1", "memory": "128Mi"},
    ),
    "podSecurityContext": ({"runAsUser": None}, {}, lambda r: "runAsUser" not in r.pod["securityContext"]),
    "securityContext": ({"privileged": False}, {}, lambda r: r.container["securityContext"]["privileged"] is False),
    "tmpSizeLimit": ("1Gi", {}, lambda r: r.pod["volumes"][0]["emptyDir"]["sizeLimit"] == "1Gi"),
    "terminationGracePeriodSeconds": (90, {}, lambda r: r.pod["terminationGracePeriodSeconds"] == 90),
    "priorityClassName": (
        "system-cluster-critical",
        {},
        lambda r: r.pod["priorityClassName"] == "system-cluster-critical",
    ),
    "nodeSelector": (
        {"pool": "system"},
        {},
        lambda r: r.pod["nodeSelector"] == {"kubernetes.io/os": "linux", "pool": "system"},
    ),
    "affinity": ({"podAntiAffinity": {}}, {}, lambda r: r.pod["affinity"] == {"podAntiAffinity": {}}),
    "tolerations": ([{"operator": "Exists"}], {}, lambda r: r.pod["tolerations"] == [{"operator": "Exists"}]),
    "topologySpreadConstraints": (
        [SPREAD],
        {},
        lambda r: (
            r.pod["topologySpreadConstraints"]
            == [SPREAD | {"labelSelector": {"matchLabels": r.one("Deployment")["spec"]["selector"]["matchLabels"]}}]
        ),
    ),
    "startupProbe": ({"failureThreshold": 99}, {}, lambda r: r.container["startupProbe"]["failureThreshold"] == 99),
    "livenessProbe": ({"periodSeconds": 99}, {}, lambda r: r.container["livenessProbe"]["periodSeconds"] == 99),
    "readinessProbe": ({"periodSeconds": 99}, {}, lambda r: r.container["readinessProbe"]["periodSeconds"] == 99),
    "extraEnv": (ENV, {}, lambda r: r.env["EXTRA"] == "1"),
    "extraEnvFrom": (
        [{"configMapRef": {"name": "more"}}],
        {},
        lambda r: r.container["envFrom"][1] == {"configMapRef": {"name": "more"}},
    ),
    "extraVolumes": (
        [{"name": "more", "emptyDir": {}}],
        {},
        lambda r: r.pod["volumes"][1] == {"name": "more", "emptyDir": {}},
    ),
    "extraVolumeMounts": (
        [{"name": "more", "mountPath": "/more"}],
        {"extraVolumes": [{"name": "more", "emptyDir": {}}]},
        lambda r: r.container["volumeMounts"][1] == {"name": "more", "mountPath": "/more"},
    ),
    "podDisruptionBudget.enabled": (
        True,
        {},
        lambda r: r.one("PodDisruptionBudget")["spec"]["selector"] == r.one("Deployment")["spec"]["selector"],
    ),
    "podDisruptionBudget.maxUnavailable": (
        "0%",
        ALL_ON,
        lambda r: r.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == "0%",
    ),
    "service.port": (
        9090,
        {},
        lambda r: (
            r.one("Service")["spec"]["ports"][0]["port"] == 9090
            and r.test_pod["spec"]["containers"][0]["env"][0]["value"].endswith(":9090")
        ),
    ),
    "service.annotations": ({"a": "b"}, {}, lambda r: r.one("Service")["metadata"]["annotations"] == {"a": "b"}),
    "networkPolicy.ingress": (False, {}, lambda r: not r.all("NetworkPolicy")),
    "networkPolicy.enabled": (
        True,
        {},
        lambda r: egress_ports(r) == [[53, 53], [443, 6443], [25, 443, 465, 587, 2525]],
    ),
    "networkPolicy.smtpPorts": ([1025], ALL_ON, lambda r: egress_ports(r)[2] == [443, 1025]),
    "networkPolicy.httpsPorts": ([8443], ALL_ON, lambda r: egress_ports(r)[2] == [25, 465, 587, 2525, 8443]),
    "networkPolicy.apiServerPorts": ([16443], ALL_ON, lambda r: egress_ports(r)[1] == [16443]),
    "networkPolicy.egressTo": (PEER, ALL_ON, lambda r: r.one("NetworkPolicy")["spec"]["egress"][2]["to"] == PEER),
    "networkPolicy.apiServerTo": (PEER, ALL_ON, lambda r: r.one("NetworkPolicy")["spec"]["egress"][1]["to"] == PEER),
    "networkPolicy.metricsFrom": (
        PEER,
        ALL_ON,
        lambda r: (
            r.one("NetworkPolicy")["spec"]["ingress"][0]["from"][0] == PEER[0]
            and r.one("NetworkPolicy")["spec"]["ingress"][0]["from"][1]["podSelector"]["matchLabels"].items()
            <= labels(r.test_pod).items()
        ),
    ),
    "networkPolicy.extraEgress": (
        [{"ports": [{"port": 3128}]}],
        ALL_ON,
        lambda r: r.one("NetworkPolicy")["spec"]["egress"][3] == {"ports": [{"port": 3128}]},
    ),
    "metrics.serviceMonitor.enabled": (
        True,
        {},
        lambda r: (
            r.one("ServiceMonitor")["spec"]["selector"]["matchLabels"].items() <= labels(r.one("Service")).items()
            and r.one("ServiceMonitor")["spec"]["endpoints"][0]["port"] == r.one("Service")["spec"]["ports"][0]["name"]
        ),
    ),
    "metrics.serviceMonitor.interval": (
        "5s",
        ALL_ON,
        lambda r: r.one("ServiceMonitor")["spec"]["endpoints"][0]["interval"] == "5s",
    ),
    "metrics.serviceMonitor.labels": (
        {"release": "p"},
        ALL_ON,
        lambda r: labels(r.one("ServiceMonitor"))["release"] == "p",
    ),
    "metrics.prometheusRule.enabled": (True, {}, lambda r: r.one("PrometheusRule")["spec"]["groups"][0]["rules"]),
    "metrics.prometheusRule.labels": (
        {"release": "p"},
        ALL_ON,
        lambda r: labels(r.one("PrometheusRule"))["release"] == "p",
    ),
    "metrics.prometheusRule.runbookBaseUrl": (
        "https://docs.example/runbooks/",
        ALL_ON,
        lambda r: all(
            rule["annotations"]["runbook_url"] == f"https://docs.example/runbooks/{rule['alert']}.md"
            for group in r.one("PrometheusRule")["spec"]["groups"]
            for rule in group["rules"]
        ),
    ),
    "metrics.dashboard.enabled": (
        True,
        {},
        lambda r: json.loads(r.one("ConfigMap", "pipebell-dashboard")["data"]["pipebell.json"])["panels"],
    ),
    "metrics.dashboard.labels": ({"a": "b"}, ALL_ON, lambda r: labels(r.one("ConfigMap"))["a"] == "b"),
    "metrics.dashboard.annotations": (
        {"grafana_folder": "Data"},
        ALL_ON,
        lambda r: r.one("ConfigMap")["metadata"]["annotations"] == {"grafana_folder": "Data"},
    ),
}
# Their inner names are Kubernetes' or the user's own.
OPEN = {
    *("commonLabels", "root.config", "serviceAccount.annotations", "podAnnotations", "podLabels", "resources"),
    *("podSecurityContext", "securityContext", "nodeSelector", "affinity", "startupProbe", "livenessProbe"),
    *("readinessProbe", "service.annotations", "metrics.serviceMonitor.labels", "metrics.prometheusRule.labels"),
    *("metrics.dashboard.labels", "metrics.dashboard.annotations"),
}


def leaves(values, prefix=""):
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and path not in OPEN:
            yield from leaves(value, f"{path}.")
        else:
            yield path


def merge(one, other):
    merged = dict(one)
    for key, value in other.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def test_every_value_is_tried_below():
    assert set(leaves(defaults())) == set(KNOBS)


@pytest.mark.parametrize("path", KNOBS)
def test_it_does_what_its_comment_says(path):
    value, needs, shows = KNOBS[path]
    assert not _true(shows, render(needs)), "otherwise its default does the same"
    assert shows(render(merge(needs, nested(path, value))))


def _true(shows, rendering):
    try:
        return bool(shows(rendering))
    except (AssertionError, KeyError, IndexError, TypeError):
        return False


def test_every_value_has_a_comment_of_its_own():
    path, commented = [], set()
    comment = False
    for line in (CHART / "values.yaml").read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("#"):
            comment = comment or "# --" in line
            continue
        if match := re.match(r"( *)(\w+):", line):
            path[len(match[1]) // 2 :] = [match[2]]
            if comment:
                commented.add(".".join(path))
        comment = False
    assert commented == set(KNOBS)


def objects(schema, path=""):
    """Paths of all objects whose names are closed."""
    if schema.get("additionalProperties") is False:
        yield path
    for name, inner in schema.get("properties", {}).items():
        yield from objects(inner, f"{path}.{name}".lstrip("."))


SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", list(objects(SCHEMA)))
def test_a_name_that_does_not_exist_is_refused(path):
    with pytest.raises(HelmError, match="replicsa"):
        render(nested(f"{path}.replicsa".lstrip("."), 1))


def test_every_object_of_ours_is_closed():
    tops = {path.rpartition(".")[0] for path in leaves(defaults())}
    assert tops <= set(objects(SCHEMA))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("replicas", 25),  # there are 24 shards
        ("replicas", "one"),
        ("image.digest", "sha256:1234"),
        ("image.tag", "a b"),
        ("image.tag", 1.1),  # it was 1.10 once
        ("image.pullPolicy", "Sometimes"),
        ("settings.logLevel", "verbose"),
        ("settings.eventMaxAge", -1),
        ("settings.eventMaxAge", "1d"),
        ("settings.slackHosts", "a.example"),
        ("settings.slackHosts", ["*.example"]),
        ("settings.privateHosts", ["*"]),
        ("settings.allowedHosts", ["teams=*.example"]),
        ("settings.allowedHosts", ["chat.example"]),
        ("watchNamespaces", ["Not A Name"]),
        ("watchNamespaces", ["a", "a"]),
        ("service.port", 70000),
        ("httpsProxy", "proxy:3128"),
        ("installationId", "a b"),
        ("settings.platformOrg", "a b"),
        ("heartbeat.secret", "Not A Name"),
        ("metrics.serviceMonitor.interval", "30"),
        ("livenessProbe", {"periodSeconds": 0}),
        ("livenessProbe", {"httpGet": {"path": "/"}}),
        ("crds.enabled", "yes"),
        ("extraEnv", [{"value": "nameless"}]),
        ("imagePullSecrets", ["pull"]),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(path, value):
    with pytest.raises(HelmError, match="values don't meet the specifications of the schema"):
        render(nested(path, value))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"root": {"config": {"enabled": True}, "existingConfigMap": "x"}},
            "root.config and root.existingConfigMap are set",
        ),
        ({"caBundle": {"configMap": "a", "secret": "b"}}, "caBundle.configMap and caBundle.secret are set"),
    ],
)
def test_values_that_contradict_each_other_are_refused(values, said):
    with pytest.raises(HelmError, match=said):
        render(values)


def test_the_seeds_file_is_taken_as_it_is():
    path = CHART.parents[1] / "configs" / "notifications" / "config.json"
    text = helm(
        *("template", "pipebell", CHART, "--kube-version", "1.32.0"),
        *("--show-only", "templates/root-config.yaml", "--set-file", f"root.configJson={path}"),
    )
    assert json.loads(yaml.safe_load(text)["data"]["config.json"]) == json.loads(path.read_text(encoding="utf-8"))


def test_global_values_of_a_parent_chart_are_no_typo():
    assert render({"global": {"anything": 1}}).one("Deployment")


def test_lint_has_no_complaint():
    said = helm("lint", "--strict", "--kube-version", "1.32.0", CHART)
    assert "0 chart(s) failed" in said
    assert "WARNING" not in said


def test_the_application_is_of_the_packages_version():
    from pipebell import __version__  # noqa: PLC0415  (the only test that needs it)

    about = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert str(about["appVersion"]) == __version__
    assert str(about["version"]) == __version__


def test_the_readme_lists_every_value_with_its_default():
    rows = re.findall(
        r"^\| `([\w.]+)` \| .+ \| `(.*)` \|$", (CHART / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    listed = {path: json.loads(default.replace("\\|", "|")) for path, default in rows}
    assert set(listed) == set(KNOBS)
    for path, default in listed.items():
        value = defaults()
        for key in path.split("."):
            value = value[key]
        assert default == value, path


def test_a_tag_may_be_a_whole_number_as_set_makes_it():
    assert render({"image": {"tag": 20260131}}).container["image"] == "pipebell:20260131"


def test_no_registry_is_prescribed():
    assert "/" not in render().container["image"]
