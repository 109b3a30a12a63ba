"""Which test files run in one process: parts of about the same length, the longest first."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REPOSITORY = Path(__file__).parents[2]
#: Seconds that each file took when it was last measured (`python -m tests.parts --measure`).
SECONDS = Path(__file__).with_name("seconds.json")
_PIECE = 150.0  # a folder that takes longer is several parts
_CRUMB = 20.0  # folders that take less are one part together
_UNKNOWN = 5.0  # a file that nobody has measured yet


@dataclass(frozen=True)
class Part:
    """What one pytest runs."""

    name: str
    files: tuple[str, ...]
    seconds: float


def files() -> list[str]:
    """All test files, from the repository's root."""
    return sorted(path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.glob("tests/**/test_*.py"))


def measured() -> dict[str, float]:
    """The seconds of each file that were written down."""
    return dict(json.loads(SECONDS.read_text(encoding="utf-8"))) if SECONDS.exists() else {}


def plan(names: Iterable[str], seconds: Mapping[str, float]) -> list[Part]:
    """Every file in exactly one part, the longest part first."""
    folders: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folders[name.split("/")[1] if name.count("/") > 1 else "process"].append(name)

    def cost(group: Iterable[str]) -> float:
        return sum(seconds.get(name, _UNKNOWN) for name in group)

    crumbs = [folder for folder, group in folders.items() if cost(group) < _CRUMB]
    if len(crumbs) > 1:
        folders["others"] = sorted(name for folder in crumbs for name in folders.pop(folder))
    parts = []
    for folder, group in folders.items():
        pieces = [sorted(piece) for piece in _dealt(group, int(cost(group) // _PIECE) + 1, cost) if piece]
        for number, piece in enumerate(pieces, 1):
            name = folder if len(pieces) == 1 else f"{folder}-{number}"
            parts.append(Part(name, tuple(piece), cost(piece)))
    return sorted(parts, key=lambda part: (-part.seconds, part.name))


def _dealt(group, count, cost):
    """Into so many piles: the longest file first, each to the pile that is the smallest."""
    piles = [[] for _ in range(count)]
    for name in sorted(group, key=lambda name: (-cost([name]), name)):
        min(piles, key=cost).append(name)
    return piles


def took(reports: Iterable[Path]) -> dict[str, float]:
    """The seconds of each file by pytest's JUnit reports."""
    found: dict[str, float] = defaultdict(float)
    for report in reports:
        for case in ET.parse(report).iter("testcase"):
            path = case.get("classname", "").replace(".", "/")
            while path and not (REPOSITORY / f"{path}.py").exists():  # a class within the file
                path = path.rpartition("/")[0]
            if path:
                found[f"{path}.py"] += float(case.get("time", "0"))
    return {name: round(value, 1) for name, value in sorted(found.items())}


def counts(reports: Iterable[Path]) -> tuple[int, int, int]:
    """How many tests passed, failed and were skipped by pytest's JUnit reports."""
    passed = failed = skipped = 0
    for report in reports:
        for suite in ET.parse(report).iter("testsuite"):
            bad, out = (
                sum(int(suite.get(name, 0)) for name in names) for names in (("failures", "errors"), ("skipped",))
            )
            passed, failed, skipped = passed + int(suite.get("tests", 0)) - bad - out, failed + bad, skipped + out
    return passed, failed, skipped
