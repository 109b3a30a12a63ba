"""What the documents tell people to type exists, and what they tell them to write is valid."""

import json
import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from pipebell.cli.commands import COMMANDS
from pipebell.cli.group import Table
from pipebell.core.event import PipelineEventSpec
from pipebell.core.models import NotificationConfigSpec, NotificationSpec
from pipebell.core.root import parse_notification_json

ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path
    for path in (
        *sorted((ROOT / "docs").rglob("*.md")),
        ROOT / "README.md",
        ROOT / "SECURITY.md",
        ROOT / "CONTRIBUTING.md",
    )
}
SPECS = {"NotificationConfig": NotificationConfigSpec, "PipelineEvent": PipelineEventSpec}
ROOTS_OWN = {"restrict", "allow"}


def blocks(text, language):
    return re.findall(rf"^[ ]*```{language}\n(.*?)^[ ]*```", text, re.DOTALL | re.MULTILINE)


def commands(text):
    """Command lines that begin with `pipebell`, from code blocks and from code in sentences."""
    lines = [line.split("  #")[0].strip() for block in blocks(text, "bash") for line in block.splitlines()]
    inline = [line for line in re.findall(r"`(pipebell [^`\n]+)`", text) if line.split()[1].islower()]
    return [line for line in lines + inline if line.startswith("pipebell ") and not line.endswith("\\")]


@pytest.mark.parametrize("name", PAGES)
def test_commands_and_their_options_exist(name):
    table = Table("pipebell")
    for line in commands(PAGES[name].read_text(encoding="utf-8")):
        _, command, *rest = shlex.split(re.split(r" [|>] ", line)[0], comments=True)
        if command.startswith("-"):
            continue
        assert command in COMMANDS, line
        found = table.get_command(click.Context(table), command)
        if isinstance(found, click.Group) and rest and rest[0] in found.commands:
            found, rest = found.commands[rest[0]], rest[1:]
        known = {option for param in found.params for option in (*param.opts, *param.secondary_opts)} | {"--help"}
        used = {
            part.split("=")[0]
            for part in (rest[: rest.index("--")] if "--" in rest else rest)
            if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", part)
        }
        assert used <= known, line


@pytest.mark.parametrize("name", PAGES)
def test_resources_and_configurations_are_valid(name):
    text = PAGES[name].read_text(encoding="utf-8")
    for block in blocks(text, "yaml"):
        for document in yaml.safe_load_all(block):
            if isinstance(document, dict) and document.get("kind") in SPECS:
                SPECS[document["kind"]].model_validate(document["spec"])
            elif isinstance(document, dict) and {"email", "slack", "eventTriggers"} & set(document):
                NotificationSpec.model_validate(document)
    for block in blocks(text, "json"):
        document = json.loads(block)
        if isinstance(document, dict) and set(document) & (ROOTS_OWN | {"destinations", "email", "event_triggers"}):
            parse_notification_json(document, root=True)


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    page = PAGES[name]
    for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith(("https://", "http://", "mailto:")) or (page.parent / target).exists(), target
