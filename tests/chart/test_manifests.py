"""manifests/ is the chart with its default values: the two ways to install are the same thing."""

import subprocess

import yaml
from click.testing import CliRunner
from tests.chart.helm import REPOSITORY, render

from pipebell.cli import generate, render_manifests
from pipebell.cluster import tools

MANIFESTS = REPOSITORY / "manifests"
HELMS = ("helm.sh/chart", "app.kubernetes.io/managed-by")


def test_they_are_what_the_chart_says():
    drifted = [
        name
        for name, text in render_manifests.files(REPOSITORY / "charts" / "pipebell").items()
        if (MANIFESTS / name).read_text(encoding="utf-8") != text
    ]
    assert drifted == [], "run `make generate`"


def test_the_check_notices_a_change(tmp_path):
    run = CliRunner().invoke
    chart = ["--chart", str(REPOSITORY / "charts" / "pipebell")]
    assert run(render_manifests.render, [*chart, str(tmp_path)]).exit_code == 0
    assert run(render_manifests.render, ["--check", *chart, str(tmp_path)]).exit_code == 0
    (tmp_path / "service.yaml").write_text("kind: Service\n", encoding="utf-8")
    checked = run(render_manifests.render, ["--check", *chart, str(tmp_path)])
    assert checked.exit_code == 1
    assert "make generate" in checked.output


def plain(item):
    """Without what only Helm adds."""
    for metadata in (item["metadata"], item.get("spec", {}).get("template", {}).get("metadata", {})):
        for name in HELMS:
            metadata.get("labels", {}).pop(name, None)
    return item


def test_kustomize_makes_every_object_of_the_chart_and_the_namespace():
    made = subprocess.run([tools.kubectl(), "kustomize", MANIFESTS], capture_output=True, text=True, check=True).stdout
    kustomized = [item for item in yaml.safe_load_all(made) if item]
    ours = [plain(item) for item in render({"crds": {"enabled": False}}).objects if item["kind"] != "Pod"]
    others = [item for item in kustomized if item["kind"] not in {"Namespace", "CustomResourceDefinition"}]

    def identity(item):
        return item["kind"], item["metadata"]["name"]

    assert sorted(ours, key=identity) == sorted(others, key=identity)
    assert len(kustomized) - len(others) == 5


def test_the_definitions_of_the_chart_are_the_generated_ones():
    written = {
        path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (REPOSITORY / "crds").glob("*.yaml")
    }
    rendered = {item["metadata"]["name"]: item for item in render().all("CustomResourceDefinition")}
    assert {item["metadata"]["name"]: item["spec"] for item in written.values()} == {
        name: item["spec"] for name, item in rendered.items()
    }
    for item in rendered.values():
        assert item["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert generate.drifted(REPOSITORY / generate.CHART) == []
