"""The tables of kinds in docs/destinations/README.md and docs/templates.md, by the kinds and the heads of their pages.

A page begins with what the code does not know:

    <!-- kind
    reached by: a channel's webhook
    repeated: shows twice
    -->

`repeated` is what becomes of a message that a crash repeated. A kind with a rate says too what it is `counted by`, and
one whose trial asks more than whether the host is there what is `tried`. For Pipebell's developers (`make generate`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pydantic.alias_generators import to_camel

from pipebell.core.destinations.http import HttpKind
from pipebell.core.fields import templates
from pipebell.core.models import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pipebell.core.destinations.base import Kind

_HEAD: Final = re.compile(r"^<!-- kind\n(.*?)^-->\n", re.DOTALL | re.MULTILINE)
_ONLY_ITS_HOST: Final = "the host alone, by `GET /`: its name, connection and certificate"


class Unwritten(Exception):  # noqa: N818  (it names the page's state)
    """A kind's page is not there, or its head does not say what it has to; the message names both."""


def tables(docs: Path, *, strict: bool) -> dict[Path, str]:
    """The pages that have such tables, as they should be. Not `strict`: a kind without a page has no row yet.

    Raises Unwritten, naming the kind's page and what it lacks.
    """
    heads = dict(_heads(docs / "destinations", strict=strict))
    overview, texts = docs / "destinations" / "README.md", docs / "templates.md"
    return {
        overview: _filled(overview, {"kinds": _kinds(heads), "rates": _rates(heads), "tried": _tried(heads)}),
        texts: _filled(texts, {"templates": _templates(heads)}),
    }


def _heads(pages: Path, *, strict: bool) -> Iterator[tuple[str, dict[str, str]]]:
    for name, kind in KINDS.items():
        page = pages / f"{name}.md"
        if page.is_file():
            yield name, _head(kind, page)
        elif strict:
            raise Unwritten(f"write {page}: set-up, fields, limits, what a duplicate means there")


def _head(kind: Kind, page: Path) -> dict[str, str]:
    found = _HEAD.search(page.read_text(encoding="utf-8"))
    said = dict(re.findall(r"^([a-z ]+): (.+)$", found[1], re.MULTILINE)) if found else {}
    wanted = ["reached by", "repeated"]
    wanted += ["counted by"] if kind.capabilities.per_second else []
    wanted += ["tried"] if not isinstance(kind, HttpKind) or kind.asks_more_than_its_host else []
    missing = [f"`{word}: …`" for word in wanted if word not in said]
    if missing:
        raise Unwritten(f"{page}: its head `<!-- kind … -->` has to say {' and '.join(missing)}")
    return said


def _kinds(heads: Mapping[str, dict[str, str]]) -> Iterator[str]:
    yield from ("| Kind | Reached by | A repeated message |", "|---|---|---|")
    for name, said in heads.items():
        yield f"| [`{name}`]({name}.md) | {said['reached by']} | {said['repeated']} |"


def _rates(heads: Mapping[str, dict[str, str]]) -> Iterator[str]:
    yield from ("| Kind | To one endpoint, at the vendor's own hosts |", "|---|---|")
    for name, said in heads.items():
        own = KINDS[name].capabilities
        if own.per_second:
            yield f"| `{name}` | {own.burst} at once, then {own.per_second * 60:.0f} a minute: {said['counted by']} |"


def _tried(heads: Mapping[str, dict[str, str]]) -> Iterator[str]:
    yield from ("| Kind | What is tried |", "|---|---|")
    ways: dict[str, list[str]] = {}
    for name, said in heads.items():
        ways.setdefault(said.get("tried", _ONLY_ITS_HOST), []).append(f"`{name}`")
    for way in sorted(ways, key=lambda way: way == _ONLY_ITS_HOST):
        yield f"| {', '.join(ways[way])} | {way} |"


def _templates(heads: Mapping[str, dict[str, str]]) -> Iterator[str]:
    yield from ("| Block | Fields |", "|---|---|")
    blocks: dict[str, list[str]] = {}
    for name in heads:
        found = templates(KINDS[name].spec).items()
        shown = (f"`{to_camel(field)}`{' (JSON)' if mark.language.json else ''}" for field, mark in found)
        blocks.setdefault(", ".join(shown), []).append(f"`{name}`")
    for fields, names in blocks.items():
        yield f"| {', '.join(names)} | {fields} |"


def _filled(page: Path, blocks: Mapping[str, Iterator[str]]) -> str:
    """The page with a table between `<!-- NAME: by make generate -->` and `<!-- end -->`."""
    text = page.read_text(encoding="utf-8")
    for name, lines in blocks.items():
        pattern = re.compile(
            rf"(?<=^<!-- {name}: by make generate -->\n).*?(?=^<!-- end -->$)", re.DOTALL | re.MULTILINE
        )
        table = "".join(f"{line}\n" for line in lines)
        text, times = pattern.subn(lambda _, table=table: table, text)  # type: ignore[misc]
        if times != 1:
            raise Unwritten(f"{page}: there has to be one table `<!-- {name}: by make generate -->` … `<!-- end -->`")
    return text
