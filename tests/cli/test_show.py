"""Tables that fit: whole columns are left out, names are never cut."""

import pytest

from pipebell.cli import show

HEADERS = ["AGE", "ORG", "RUN", "PHASE", "WHY", "NAME"]
DROP = ("RUN", "ORG")


def rows(why="Cooldown by the-first"):
    name = "acme-pipeline-failure-7f3a9c"
    return [dict(zip(HEADERS, ["12m", "acme_corp", "scheduled__2026-11-25", "Suppressed", why, name], strict=True))]


@pytest.fixture
def columns(monkeypatch):
    return lambda number: monkeypatch.setenv("COLUMNS", str(number))


@pytest.mark.parametrize(
    ("width", "kept"),
    [
        (200, HEADERS),
        (95, ["AGE", "ORG", "PHASE", "WHY", "NAME"]),
        (70, ["AGE", "PHASE", "WHY", "NAME"]),
        (20, ["AGE", "PHASE", "WHY", "NAME"]),
    ],
)
def test_the_least_missed_columns_go_first_and_the_last_ones_stay(columns, width, kept):
    columns(width)
    found = rows()
    assert show.fitting(HEADERS, found, DROP, cut="WHY") == kept
    assert found == rows()


def test_words_are_shortened_before_a_column_goes(columns, capsys):
    columns(80)
    found = rows("email: RetriesExhausted, on-call: PermanentError, auditors: ConfigNotReady")
    kept = show.fitting(["AGE", "PHASE", "WHY", "NAME"], found, DROP, cut="WHY")
    show.table(kept, [[row[name] for name in kept] for row in found])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) == 80
    assert lines[1].endswith("acme-pipeline-failure-7f3a9c")
    assert "…" in lines[1]


def test_colours_take_no_room(columns):
    columns(60)
    found = [{"PHASE": show.phase("Delivered"), "WHY": "-", "NAME": "x" * 46}]
    assert show.fitting(["PHASE", "WHY", "NAME"], found, (), cut="WHY") == ["PHASE", "WHY", "NAME"]
