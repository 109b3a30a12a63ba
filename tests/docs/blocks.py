"""The code blocks of the documents, and whether one says why it is not run: `<!-- not run: … -->` before it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = {
    str(path.relative_to(ROOT)): path
    for path in (
        README,
        *sorted((ROOT / "docs").rglob("*.md")),
        ROOT / "charts" / "pipebell" / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
    )
}
SHELL = ("bash", "sh", "console")
_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^ *```", re.DOTALL | re.MULTILINE)
_REASON = re.compile(r"<!-- not run: (?P<why>\S.*?) -->\s*\Z")


class Block(NamedTuple):
    """`section` is the heading above it; `why_not` is "" for one that is run."""

    section: str
    language: str
    text: str
    why_not: str


def blocks(text, *languages):
    """A page's blocks, of these languages if any are named, in their order."""
    for match in _BLOCK.finditer(text):
        if languages and match["language"] not in languages:
            continue
        before = text[: match.start()]
        section = (re.findall(r"^## (.+)$", before, re.MULTILINE) or [""])[-1]
        lines = [line.removeprefix(match["indent"]) for line in match["text"].splitlines()]
        reason = _REASON.search(before)
        yield Block(section, match["language"], "\n".join(lines), reason["why"] if reason else "")
