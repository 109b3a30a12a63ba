"""What is in crds/ is what the models say, and the tables of kinds what their pages do."""

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipebell.cli import generate
from pipebell.cli.kind_tables import Unwritten, tables

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("directory", generate.DIRECTORIES, ids=str)
def test_the_repository_holds_what_the_models_say(directory):
    assert generate.drifted(REPOSITORY / directory) == [], "run `make generate`"


def test_it_writes_what_the_check_then_accepts(tmp_path):
    target = tmp_path / "new" / "crds"
    written = CliRunner().invoke(generate.generate, [str(target)])
    assert written.exit_code == 0
    assert {path.name for path in target.iterdir()} == {
        "pipebell.io_notificationconfigs.yaml",
        "pipebell.io_pipelineevents.yaml",
        "pipebell.io_incidents.yaml",
        "pipebell.io_silences.yaml",
    }
    assert CliRunner().invoke(generate.generate, ["--check", str(target)]).exit_code == 0


@pytest.mark.parametrize("change", ["edit", "remove"])
def test_the_check_names_what_drifted_and_the_mend(tmp_path, change):
    CliRunner().invoke(generate.generate, [str(tmp_path)])
    victim = tmp_path / "pipebell.io_pipelineevents.yaml"
    if change == "edit":
        victim.write_text(victim.read_text().replace("32768", "32769"))
    else:
        victim.unlink()
    result = CliRunner().invoke(generate.generate, ["--check", str(tmp_path)])
    assert result.exit_code == 1
    assert "pipebell.io_pipelineevents.yaml" in result.output
    assert "notificationconfigs" not in result.output
    assert "make generate" in result.output
    assert victim.exists() is (change == "edit"), "a check writes nothing"


@pytest.fixture
def docs(tmp_path):
    shutil.copytree(REPOSITORY / "docs", tmp_path / "docs")
    return tmp_path / "docs"


def edited(page, old, new):
    text = page.read_text(encoding="utf-8")
    assert old in text
    page.write_text(text.replace(old, new), encoding="utf-8")


def test_the_tables_of_kinds_are_what_their_pages_say():
    for page, text in tables(REPOSITORY / "docs", strict=True).items():
        assert page.read_text(encoding="utf-8") == text, "run `make generate`"


def test_a_row_that_is_not_there_is_written(docs):
    for name in ("kinds", "rates", "tried"):
        edited(
            docs / "destinations/README.md",
            f"<!-- {name}: by make generate -->\n| Kind",
            f"<!-- {name}: by make generate -->\n| No",
        )
    edited(docs / "templates.md", "| `teams` | `cardTemplate` (JSON) |\n", "")
    for page, text in tables(docs, strict=True).items():
        assert text == (REPOSITORY / page.relative_to(docs.parent)).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "lost", "named"),
    [
        ("teams", "reached by: ", "reached by: …"),
        ("teams", "repeated: ", "repeated: …"),
        ("discord", "counted by: ", "counted by: …"),
        ("alertmanager", "tried: ", "tried: …"),
        ("email", "<!-- kind", "reached by: …` and `repeated: …` and `tried: …"),
    ],
)
def test_what_a_kinds_page_does_not_say_is_named(docs, kind, lost, named):
    edited(docs / f"destinations/{kind}.md", lost, "")
    with pytest.raises(Unwritten, match=rf"{kind}\.md: its head .* has to say `{re.escape(named)}`$"):
        tables(docs, strict=True)


def test_a_page_that_is_not_there_is_asked_for_by_the_check_alone(docs):
    (docs / "destinations/teams.md").unlink()
    with pytest.raises(Unwritten, match=r"write .*destinations/teams\.md"):
        tables(docs, strict=True)
    assert "[`teams`]" not in tables(docs, strict=False)[docs / "destinations/README.md"]


def test_a_page_without_a_place_for_its_table_is_named(docs):
    edited(docs / "templates.md", "<!-- templates: by make generate -->\n", "")
    with pytest.raises(Unwritten, match=r"templates\.md: there has to be one table"):
        tables(docs, strict=True)
