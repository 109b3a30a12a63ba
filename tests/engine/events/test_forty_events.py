"""The same forty events under six configurations: what goes where, when and why; docs/forty-events.md shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.engine.forty import load, name_of, page, play

from pipebell.core.vocabulary import EventType

DATA = load()
NAMES = [name_of(number) for number in range(len(DATA["events"]))]


@pytest.mark.parametrize("configuration", DATA["configurations"])
async def test_what_becomes_of_each_and_what_follows(configuration):
    expected = {**DATA["expected"]["seed"], **DATA["expected"][configuration]}
    happened = await play(DATA, configuration)
    assert {name: happened[name] for name in NAMES} == {name: expected[name] for name in NAMES}
    assert happened["notices"] == expected["notices"]


def test_they_are_forty_of_every_type():
    assert len(DATA["events"]) == 40
    assert {given["event"] for given in DATA["events"]} == {item.value for item in EventType}


@pytest.mark.parametrize("configuration", DATA["configurations"])
def test_what_waits_is_told_in_exactly_one_message_for_each_destination(configuration):
    cells = {**DATA["expected"]["seed"], **DATA["expected"][configuration]}
    waiting = {
        (name, where) for name in NAMES for where in re.findall(r"(\w+) in the (?:digest|catch-up)", cells[name] + " ")
    }
    told = [
        (name, where or "")
        for notice in cells["notices"]
        for where, names in re.findall(r"(?:Digest for (\w+)|CatchUp) of ((?:e\d\d ?)+)", notice)
        for name in names.split()
    ]
    held = {(name, "") for name in NAMES if "in the catch-up of" in cells[name]}
    assert sorted(told) == sorted(waiting | held)


def test_the_page_shows_the_same():
    shown = (Path(__file__).parents[3] / "docs" / "forty-events.md").read_text(encoding="utf-8")
    assert shown == page(DATA), "python -m tests.engine.forty writes it"
