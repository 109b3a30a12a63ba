"""What the documents tell people to type exists, and what they tell them to write is valid."""

import json
import re
import shlex
from dataclasses import fields
from pathlib import Path

import click
import pytest
import yaml

from pipebell.cli.commands import COMMANDS
from pipebell.cli.group import Table
from pipebell.core.event import PipelineEventSpec
from pipebell.core.models import KINDS, NotificationConfigSpec, NotificationSpec
from pipebell.core.root import parse_notification_json
from pipebell.core.vocabulary import NotReadyReason, Phase, Reason, StageName
from pipebell.settings import Settings

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


def unknown_options(line):
    """Options of a command line that its command does not have."""
    table = Table("pipebell")
    _, command, *rest = shlex.split(re.split(r" [|><] ", line)[0], comments=True)
    if command.startswith("-"):
        return set()
    assert command in COMMANDS, line
    found = table.get_command(click.Context(table), command)
    if isinstance(found, click.Group) and rest and rest[0] in found.commands:
        found, rest = found.commands[rest[0]], rest[1:]
    known = {option for param in found.params for option in (*param.opts, *param.secondary_opts)} | {"--help"}
    used = {
        part.split("=")[0]
        for part in (rest[: rest.index("--")] if "--" in rest else rest)
        if re.fullmatch(r"--?[a-zA-Z][a-z-]*(=.*)?", part)
    }
    return used - known


@pytest.mark.parametrize("name", PAGES)
def test_commands_and_their_options_exist(name):
    for line in commands(PAGES[name].read_text(encoding="utf-8")):
        assert not unknown_options(line), line


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


def test_the_table_of_contents_has_every_page():
    docs = ROOT / "docs"
    listed = set(re.findall(r"\]\(([^)#\s]+)\)", (docs / "README.md").read_text(encoding="utf-8")))
    elsewhere = {"runbooks", *(f"destinations/{kind}.md" for kind in KINDS)}  # destinations/README.md lists the kinds
    pages = {str(path.relative_to(docs)) for path in docs.rglob("*.md") if path.parent.name not in elsewhere}
    assert pages - listed - elsewhere == {"README.md"}


@pytest.mark.parametrize("words", [Phase, Reason, NotReadyReason, StageName], ids=lambda words: words.__name__)
def test_what_a_status_may_say_is_explained(words):
    text = (ROOT / "docs" / "status.md").read_text(encoding="utf-8")
    assert [word for word in words if not re.search(rf"[| `]{word}[| `]", text)] == []


def test_every_setting_is_explained():
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    named = {f"PIPEBELL_{field.name.upper()}" for field in fields(Settings)}
    assert {name for name in named if f"`{name}`" not in text} == set()


def test_where_contributing_says_that_a_behaviours_tests_are_there_are_some():
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Where a behaviour's test is")[2]
    rows = [
        line.split("|")[2] for line in table.partition("\n## ")[0].splitlines() if "`tests/" in line and "|" in line
    ]
    assert len(rows) > 5
    for row in rows:
        folder = ROOT
        for name in re.findall(r"`((?:tests/|test_)[\w/]+(?:\.py)?)`", row):
            path = ROOT / name if name.startswith("tests/") else folder / name
            assert path.exists(), path
            folder = path.parent
