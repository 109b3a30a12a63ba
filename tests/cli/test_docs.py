"""What the documents tell people to type exists, and what they tell them to write is valid."""

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from pipebell.cli import main
from pipebell.core.models import NotificationSpec

DOCS = Path(__file__).parents[2] / "docs"
NAMES = ["sdk.md", "migration.md", "quickstart-data-engineer.md", "quickstart-org-admin.md", "troubleshooting.md"]
LINKED = [*NAMES, "multi-tenancy.md"]


def commands(text):
    """Command lines that begin with `pipebell`, from code blocks and from code in sentences."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines + re.findall(r"`(pipebell [^`]+)`", text) if line.startswith("pipebell ")]


@pytest.mark.parametrize("name", NAMES)
def test_commands_and_their_options_exist(name):
    for line in commands((DOCS / name).read_text()):
        _, command, *rest = shlex.split(line)
        assert command in main.COMMANDS, line
        found = main.pipebell.get_command(click.Context(main.pipebell), command)
        known = {option for param in found.params for option in param.opts}
        used = {
            part
            for part in (rest[: rest.index("--")] if "--" in rest else rest)
            if part.startswith("-") and part != "-"
        }
        assert used <= known, line


@pytest.mark.parametrize("name", NAMES)
def test_configurations_are_valid(name):
    for block in re.findall(r"```yaml\n(.*?)```", (DOCS / name).read_text(), re.DOTALL):
        document = yaml.safe_load(block)
        NotificationSpec.model_validate(document.get("spec", document))


@pytest.mark.parametrize("name", LINKED)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#]+)\)", (DOCS / name).read_text()):
        assert target.startswith("https://") or (DOCS / target).exists(), target
