"""Values that are missing or null, by `--set …=null` or `--reuse-values` of an older chart, give a whole release."""

import json
import shutil

import pytest
import yaml
from tests.chart.helm import CHART, Rendering, defaults, helm, render, render_text
from tests.chart.test_values import ALL_ON, KNOBS, OPEN, leaves, nested

NEEDED = {"Deployment", "Service", "ServiceAccount", "NetworkPolicy", "CustomResourceDefinition", "Role"}
#: Maps that Kubernetes gets as they are: null takes them away, which is what was asked for.
PASSED_ON = {
    "resources": "resources",
    "podSecurityContext": None,
    "securityContext": "securityContext",
    "startupProbe": "startupProbe",
    "livenessProbe": "livenessProbe",
    "readinessProbe": "readinessProbe",
}


def maps(values, prefix=""):
    for key, value in values.items():
        if isinstance(value, dict):
            yield f"{prefix}{key}"
            yield from maps(value, f"{prefix}{key}.")


def holds_null(value):
    if isinstance(value, dict | list):
        return any(map(holds_null, value.values() if isinstance(value, dict) else value))
    return value is None


def default_of(path):
    value = defaults()
    for key in path.split("."):
        value = value[key]
    return value


@pytest.mark.parametrize("everything", [{}, ALL_ON], ids=["defaults", "all on"])
@pytest.mark.parametrize("path", sorted({*maps(defaults()), *KNOBS}))
def test_null_gives_a_whole_release(path, everything):
    rendering = Rendering(render_text(everything, "--set", f"{path}=null"))
    expected = {*NEEDED, "PodDisruptionBudget"} if everything and "Disruption" not in path else NEEDED
    assert rendering.kinds >= expected
    assert not [item["kind"] for item in rendering.objects if holds_null(item)]
    assert all(rendering.env.values())


@pytest.mark.parametrize("path", sorted(set(KNOBS) - OPEN - {"topologySpreadConstraints"}))
def test_a_value_of_ours_that_is_null_is_its_default(path):
    assert Rendering(render_text(ALL_ON, "--set", f"{path}=null")).objects == render(ALL_ON).objects or path in {
        "podDisruptionBudget.enabled",  # ALL_ON says otherwise
        "networkPolicy.enabled",
        "orgBinding.enabled",
        *(f"metrics.{name}.enabled" for name in ("serviceMonitor", "prometheusRule", "dashboard")),
    }


@pytest.mark.parametrize(("path", "field"), PASSED_ON.items())
def test_null_takes_away_what_kubernetes_gets_as_it_is(path, field):
    rendering = Rendering(render_text({}, "--set", f"{path}=null"))
    assert field not in rendering.container if field else "securityContext" not in rendering.pod


def test_a_part_of_it_can_be_taken_away():
    rendering = render({"podSecurityContext": {"runAsUser": None}, "livenessProbe": {"timeoutSeconds": None}})
    assert "runAsUser" not in rendering.pod["securityContext"]
    assert rendering.pod["securityContext"]["runAsNonRoot"] is True
    assert rendering.container["livenessProbe"] == {
        "httpGet": {"path": "/healthz", "port": "http"},
        "periodSeconds": 10,
        "failureThreshold": 3,
    }


def test_the_defaults_of_what_is_missing_are_the_defaults():
    filled = yaml.safe_load((CHART / "files" / "defaults.yaml").read_text(encoding="utf-8"))
    assert {path: default_of(path) for path in leaves(filled)} == {path: _at(filled, path) for path in leaves(filled)}
    absent = set(KNOBS) - set(leaves(filled))
    lists = {path for path in absent if isinstance(default_of(path), list)}
    assert absent - lists <= OPEN
    assert not any("." in path for path in lists), "only whole lists that are empty when they are missing"


def _at(values, path):
    for key in path.split("."):
        values = values[key]
    return values


@pytest.fixture
def older(tmp_path):
    """A chart from before some values existed, as `--reuse-values` finds them: values of then, templates of today."""

    def make(*missing):
        copy = tmp_path / "older"
        shutil.copytree(CHART, copy)
        values = defaults()
        for path in missing:
            *above, name = path.split(".")
            del (_at(values, ".".join(above)) if above else values)[name]
        (copy / "values.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
        return copy

    return make


def test_an_upgrade_may_reuse_the_values_of_a_chart_that_had_none_of_ours(older):
    chart = older(*[path for path in defaults() if path not in PASSED_ON and path != "topologySpreadConstraints"])
    text = helm("template", "pipebell", chart, "--namespace", "pipebell-system", "--kube-version", "1.32.0")
    ours, theirs = render({"nodeSelector": {"kubernetes.io/os": None}}), Rendering(text)
    assert {item["kind"] for item in theirs.objects} == ours.kinds
    assert theirs.env == ours.env
    assert theirs.one("NetworkPolicy") == ours.one("NetworkPolicy")


def test_lists_that_were_not_there_yet_are_empty(older):
    chart = older("extraEnv", "extraVolumes", "topologySpreadConstraints", "metrics.dashboard.labels", "root")
    text = helm("template", "pipebell", chart, "--kube-version", "1.32.0", values=ALL_ON)
    assert Rendering(text).kinds >= NEEDED


@pytest.mark.parametrize(
    "text",
    [
        '   {"enabled":\n true}\n',
        '\n\n\t{\n"enabled": true}',
        '\ufeff{"enabled": true}\n',
        '{"enabled": true}\r\n\r\n',
        '  \n    {"enabled": true,\n  "email": {"from_name": "Ünïcode: \'quoted\' \\"twice\\" {{ .Values }} #no"}}',
    ],
)
def test_a_file_is_taken_however_it_begins(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_bytes(text.encode())
    rendered = helm(
        *("template", "pipebell", CHART, "--kube-version", "1.32.0"),
        *("--show-only", "templates/root-config.yaml", "--set-file", f"root.configJson={path}"),
    )
    assert yaml.safe_load(rendered)["data"]["config.json"] == text.removeprefix("\ufeff")
    assert json.loads(yaml.safe_load(rendered)["data"]["config.json"])["enabled"] is True


def test_nested_is_helms_own_way_too():
    assert render(nested("caBundle", None)).objects == render().objects
