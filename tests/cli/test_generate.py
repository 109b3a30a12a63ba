"""What is in crds/ is what the models say."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipebell.cli import generate

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
