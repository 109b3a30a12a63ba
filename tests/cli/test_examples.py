"""Every command says below its help what to type, and what it says is right."""

import click
import pytest
from tests.cli.test_docs import unknown_options

from pipebell.cli import examples
from pipebell.cli.commands import COMMANDS
from pipebell.cli.group import Table


def names():
    table = Table("pipebell")
    for name in COMMANDS:
        inner = getattr(table.get_command(click.Context(table), name), "commands", {})
        yield from (f"{name} {word}" for word in inner) if inner else [name]


NAMES = list(names())


def test_each_command_has_examples_and_nothing_else_has():
    assert set(NAMES) == set(examples.EXAMPLES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_of_the_command_and_its_options_exist(name):
    for line in examples.below(name).splitlines()[1:]:
        assert line.strip().startswith(f"pipebell {name}")
        assert not unknown_options(line.strip()), line
        assert len(line) <= 120


@pytest.mark.parametrize("name", ["send", "ack", "secret from-env"], ids=["plain", "click's", "in a group"])
def test_they_are_shown_unwrapped(cli, name):
    shown = cli(*name.split(), "--help", env={"COLUMNS": "60"}).out
    assert all(line.strip() in shown for line in examples.below(name).splitlines())
