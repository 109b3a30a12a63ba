"""dbt's artifacts as events: recorded ones in every test run, the real dbt in `make test-integrations`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integrations.api import Api
from tests.integrations.conftest import table

from pipebell.integrations import dbt

HERE = Path(__file__).parent


def recorded(name):
    return json.loads((HERE / "recorded" / f"dbt_{name}.json").read_text())


def made(results="run_results", manifest="manifest", **options):
    known = recorded(manifest) if manifest else None
    return dbt.events(recorded(results), known, **({"org": "acme_corp"} | options))


def short(event):
    return event.event, event.details["test"], event.details["model"], event.details["column"], event.details["owner"]


def test_each_result_that_is_no_success_is_an_event_the_worst_first():
    assert [short(event) for event in made()] == [
        ("pipeline_failure", None, "broken", None, "Finance Team"),
        ("data_quality_failure", "more_orders", "orders", None, "@sales"),
        ("data_quality_failure", "unique_orders_id", "orders", "id", "@sales"),
        ("data_quality_warning", "not_null_orders_customer", "orders", "customer", "@crm"),
    ]


def test_the_messages_say_what_happened_to_what():
    assert [str(event.message).splitlines()[0] for event in made()] == [
        "model broken failed: Runtime Error in model broken (models/broken.sql)",
        "test more_orders on orders failed: Got 1 result, configured to fail if != 0",
        "test unique_orders_id on orders.id failed: Got 1 result, configured to fail if != 0",
        "test not_null_orders_customer on orders.customer warned: Got 1 result, configured to warn if != 0",
    ]


def test_pipeline_and_run_are_the_projects_and_the_invocations_unless_given():
    invocation = recorded("run_results")["metadata"]["invocation_id"]
    assert {(event.pipeline, event.run) for event in made()} == {("shop", invocation)}
    assert {(event.pipeline, event.run) for event in made(pipeline="p", run="r")} == {("p", "r")}
    assert {event.pipeline for event in made(manifest=None)} == {"shop"}


def test_every_event_knows_the_others_and_the_numbers():
    first, *_ = made()
    assert first.details["results"] == {"error": 1, "success": 2, "skipped": 1, "pass": 1, "fail": 2, "warn": 1}
    assert first.details["also"] == ["more_orders", "unique_orders_id", "not_null_orders_customer"]
    assert first.details["command"] == "dbt --no-use-colors build"


def test_the_same_results_have_the_same_keys_and_another_invocation_others():
    again = recorded("run_results")
    again["metadata"]["invocation_id"] = "another"
    keys = {event.dedup_key for event in made()}
    assert len(keys) == 4
    assert {event.dedup_key for event in made()} == keys
    assert not keys & {event.dedup_key for event in dbt.events(again, None, org="acme_corp")}


def test_without_a_manifest_names_come_from_the_results():
    assert [short(event) for event in made(manifest=None)] == [
        ("pipeline_failure", None, "broken", None, None),
        ("data_quality_failure", "more_orders", None, None, None),
        ("data_quality_failure", "unique_orders_id", None, None, None),
        ("data_quality_warning", "not_null_orders_customer", None, None, None),
    ]


def test_freshness_has_words_of_its_own():
    results = recorded("sources")
    (stale,) = dbt.events(results, recorded("manifest"), org="acme_corp")
    assert short(stale) == ("data_quality_failure", None, "shop_raw.orders", None, "@ingest")
    assert stale.message == "source shop_raw.orders is stale: last loaded at 2020-01-01T00:00:00+00:00"
    for status, event in (("warn", "data_quality_warning"), ("runtime error", "pipeline_failure")):
        results["results"][0]["status"] = status
        assert [each.event for each in dbt.events(results, None, org="acme_corp")] == [event]


@pytest.mark.parametrize(
    ("status", "event"),
    [
        *((status, None) for status in ("success", "pass", "skipped", "no-op")),
        ("error", "pipeline_failure"),
        ("partial success", "pipeline_failure"),
        ("fail", "data_quality_failure"),
        ("warn", "data_quality_warning"),
    ],
)
def test_statuses(status, event):
    results = recorded("run_results")
    results["results"] = [{"unique_id": "test.shop.t.1", "status": status}]
    assert [each.event for each in dbt.events(results, None, org="a")] == ([event] if event else [])
    rows = table("dbt.md", "Which event comes for which result")
    (row,) = (row for row in rows if f"`{status}`" in row and "freshness" not in row)
    assert rows[row]["Event"] == (event or "none")


@pytest.mark.parametrize(
    ("owner", "text"),
    [
        ("@a", "@a"),
        (["@a", "@b"], "@a, @b"),
        ({"name": "Team", "email": "t@example.com"}, "Team"),
        ({"email": "t@example.com"}, "t@example.com"),
        ({"slack": "#a"}, "slack: #a"),
        (7, "7"),
        ("", None),
        (None, None),
    ],
)
def test_owners_of_all_shapes(owner, text):
    node = {"name": "m", "config": {"meta": {"owner": owner}}}
    results = recorded("run_results") | {"results": [{"unique_id": "model.shop.m", "status": "error"}]}
    (event,) = dbt.events(results, {"nodes": {"model.shop.m": node}}, org="a")
    assert event.details["owner"] == text


def test_a_unit_test_is_of_its_model():
    node = {
        "name": "adds_up",
        "resource_type": "unit_test",
        "model": "orders",
        "depends_on": {"nodes": ["model.shop.raw", "model.shop.orders"]},
    }
    results = recorded("run_results") | {"results": [{"unique_id": "unit_test.shop.orders.adds_up", "status": "fail"}]}
    (event,) = dbt.events(results, {"unit_tests": {"unit_test.shop.orders.adds_up": node}}, org="a")
    assert short(event) == ("data_quality_failure", "adds_up", "orders", None, None)


def test_a_flood_is_bounded_and_counted():
    results = recorded("run_results")
    results["results"] = [{"unique_id": f"model.shop.m{n}", "status": "error"} for n in range(500)]
    found = dbt.events(results, None, org="a")
    assert len(found) == dbt.MAX_EVENTS
    assert found[0].details["results"] == {"error": 500}


@pytest.mark.parametrize(
    "document", [{}, [], {"metadata": {}, "results": {}}, {"metadata": {}, "results": [{"status": "error"}]}]
)
def test_what_is_no_artifact_is_refused(document):
    with pytest.raises(dbt.NotResultsError):
        dbt.events(document, None, org="a")


# The command, around programs that behave as dbt does.


@pytest.fixture
def answering():
    api = Api()
    api.answer()
    yield api
    api.close()


@pytest.fixture
def run(answering, tmp_path, monkeypatch):
    """`pipebell dbt` in a folder of its own; exit code, standard error, and the events that were created."""
    for name in ("DBT_TARGET_PATH", "DBT_PROJECT_DIR", "PIPEBELL_ORG"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "kubeconfig").write_text(answering.kubeconfig())
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setenv("PIPEBELL_SPOOL_DIR", str(tmp_path / "spool"))
    folder = tmp_path / "project"
    folder.mkdir()

    def run(*arguments, cwd=folder):
        done = subprocess.run(
            [sys.executable, "-m", "pipebell.cli.main", "dbt", "--notify-timeout", "60", *map(str, arguments)],
            cwd=cwd, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return done.returncode, done.stderr, answering.specs()

    run.folder = folder
    return run


def leaves(folder, code=0, results="run_results"):
    """A command that leaves dbt's artifacts in a folder."""
    source = HERE / "recorded"
    target = "sources" if results == "sources" else "run_results"
    copies = (
        f"cp {source}/dbt_{results}.json {folder}/{target}.json; cp {source}/dbt_manifest.json {folder}/manifest.json"
    )
    return ("--", "sh", "-c", f"mkdir -p {folder}; {copies}; exit {code}")


def kinds(specs):
    return sorted(spec["event"] for spec in specs)


ALL_FOUR = ["data_quality_failure", "data_quality_failure", "data_quality_warning", "pipeline_failure"]


def test_around_a_command_the_exit_code_is_kept(run):
    code, _, specs = run("--org", "acme_corp", *leaves("target", 1))
    assert (code, kinds(specs)) == (1, ALL_FOUR)
    assert {(spec["orgSlug"], spec["pipelineId"]) for spec in specs} == {("acme_corp", "shop")}


def test_after_a_command_from_its_file_and_once_only(run):
    file = HERE / "recorded" / "dbt_run_results.json"
    for _ in range(2):
        code, err, specs = run(
            "--org", "acme_corp", "--results", file, "--manifest", file.with_name("dbt_manifest.json")
        )
        assert (code, err, kinds(specs)) == (0, "", ALL_FOUR)


def test_a_file_needs_no_option(run):
    code, err, specs = run("--org", "acme_corp", HERE / "recorded" / "dbt_run_results.json")
    assert (code, err, kinds(specs)) == (0, "", ALL_FOUR)


def test_results_of_an_earlier_invocation_are_not_told_again(run):
    (run.folder / "target").mkdir()
    shutil.copy(HERE / "recorded" / "dbt_run_results.json", run.folder / "target" / "run_results.json")
    code, _, (event,) = run("--org", "acme_corp", "--", "sh", "-c", "echo cannot parse the project; exit 2")
    assert (code, event["event"], event["errorMessage"]) == (
        2, "pipeline_failure", "dbt wrote no results (exit code 2): cannot parse the project",
    )  # fmt: skip


def test_success_is_told_when_asked_for(run):
    assert run("--org", "acme_corp", "--", "true")[::2] == (0, [])
    code, _, (event,) = run("--org", "acme_corp", "--on-success", "--", "true")
    assert (code, event["event"]) == (0, "pipeline_success")


def test_a_command_that_is_not_there_is_told(run):
    code, _, (event,) = run("--org", "acme_corp", "--", "no-such-dbt")
    assert (code, event["errorMessage"]) == (127, "no-such-dbt: command not found (exit code 127)")


@pytest.mark.parametrize(
    ("project", "arguments", "target"),
    [
        ("", (), "target"),
        ("target-path: built # here", (), "built"),
        ('target-path: "bu ilt"', (), "bu ilt"),
        ("target-path: built", ("--target-path", "mine"), "mine"),
        ("target-path: built", ("--target-path=mine",), "mine"),
    ],
)
def test_the_target_folder_is_found_as_dbt_finds_it(run, project, arguments, target):
    (run.folder / "dbt_project.yml").write_text(f"name: shop\n{project}\n")
    dash, *command = leaves(f"'{target}'", 1)
    _, _, specs = run("--org", "acme_corp", dash, *command, "dbt", *arguments)
    assert kinds(specs) == ALL_FOUR


def test_a_project_elsewhere_and_a_folder_inside_it(run):
    (run.folder / "dbt_project.yml").write_text("name: shop\n")
    inside = run.folder / "models" / "marts"
    inside.mkdir(parents=True)
    _, _, specs = run("--org", "acme_corp", *leaves(run.folder / "target", 1), cwd=inside)
    assert kinds(specs) == ALL_FOUR
    dash, *command = leaves(run.folder / "target", 1, "sources")
    _, _, specs = run("--org", "acme_corp", dash, *command, "dbt", "--project-dir", run.folder, cwd=run.folder.parent)
    assert kinds(specs) == sorted([*ALL_FOUR, "data_quality_failure"])


def test_credentials_in_dbts_words_are_masked(run):
    code, _, (event,) = run(
        "--org", "a", "--", "sh", "-c", "echo could not connect to postgres://u:hunter22@db/x >&2; exit 1"
    )
    assert code == 1
    assert "hunter22" not in json.dumps(event)
    assert "postgres://u:***@db/x" in event["errorMessage"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--", "true"), 2, "which organisation? Give --org SLUG"),
        (("--org", "a"), 2, "give dbt's command, as in `-- dbt build`, or --results FILE"),
        (("--org", "a", "--results", "nothing.json"), 1, "nothing.json cannot be read: No such file or directory"),
        (("--org", "a", "--results", "/dev/null"), 1, "/dev/null is not JSON"),
        (("--org", "a", "--results", HERE / "recorded" / "dbt_manifest.json"), 1, "no results of dbt"),
    ],
)
def test_usage_and_files_that_are_none(run, arguments, code, words):
    found, err, specs = run(*arguments)
    assert (found, specs) == (code, [])
    assert words in err


# The real one.


@pytest.fixture(scope="module")
def real(product, tmp_path_factory):
    environment = product("dbt")
    assert environment.check == ""
    assert environment.upgraded == {}
    project = tmp_path_factory.mktemp("dbt") / "project"
    shutil.copytree(HERE / "dbt_project", project)
    return environment, project


@pytest.fixture
def real_run(real, answering, tmp_path):
    environment, project = real
    (tmp_path / "kubeconfig").write_text(answering.kubeconfig())

    environ = environment.environ(
        KUBECONFIG=str(tmp_path / "kubeconfig"),
        PIPEBELL_SPOOL_DIR=str(tmp_path / "spool"),
        PIPEBELL_ORG="acme_corp",
        DBT_PROFILES_DIR=str(project),
    )

    def run(*command):
        done = subprocess.run(
            [environment.folder / "bin" / "pipebell", "dbt", "--notify-timeout", "60", "--", *command],
            cwd=project, env=environ, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        return done, answering.specs()

    return run


def summary(specs):
    keys = ("test", "model", "column", "owner")
    return [(spec["event"], *(spec.get("details", {}).get(key) for key in keys)) for spec in specs]


def test_the_real_dbt_builds_and_each_bad_result_is_an_event(real_run):
    done, specs = real_run("dbt", "build")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Completed with" in done.stdout
    assert summary(specs) == [
        ("pipeline_failure", None, "broken", None, "Finance Team"),
        ("data_quality_failure", "more_orders", "orders", None, "@sales"),
        ("data_quality_failure", "unique_orders_id", "orders", "id", "@sales"),
        ("data_quality_warning", "not_null_orders_customer", "orders", "customer", "@crm"),
    ]


def test_the_real_dbt_finds_a_stale_source(real_run):
    done, specs = real_run("dbt", "source", "freshness")
    assert done.returncode == 1, done.stdout + done.stderr
    assert summary(specs) == [("data_quality_failure", None, "shop_raw.orders", None, "@ingest")]


def test_the_real_dbt_succeeds_in_silence(real_run):
    done, specs = real_run("dbt", "build", "--select", "good")
    assert (done.returncode, specs) == (0, []), done.stdout + done.stderr


def test_the_real_dbt_cannot_parse_its_project(real_run):
    done, (event,) = real_run("dbt", "build", "--vars", "{not: [yaml")
    assert done.returncode == 2
    assert (event["event"], event["pipelineId"]) == ("pipeline_failure", "shop")
