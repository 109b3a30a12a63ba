"""A digest in words for people, from a content that may be anybody's: clean, and bounded.

`View` is what renderers take; those that have no way of their own to group show `View.text`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from pipebell.core.digest import ERROR_LIMIT, parse
from pipebell.core.fields import LINK_URL
from pipebell.core.render.text import address, one_line
from pipebell.core.vocabulary import Severity

if TYPE_CHECKING:
    from pipebell.core.digest import Counts, Digest, Group, Line
    from pipebell.core.message import Message

_NAME: Final = 200
_TITLE: Final = 100
_URL: Final = 2048
_TIME: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}:[0-9]{2})")
_NO_WORD: Final = re.compile("[^A-Za-z0-9 ,-]+")  # titles are our own: no receiver's markup is escaped in them
_LINK: Final = re.compile(LINK_URL)


class Row(NamedTuple):
    """One event, each part of it one clean line. `link` is a title and an address, or ("", "")."""

    when: str
    severity: str
    what: str
    run: str
    error: str
    link: tuple[str, str]

    @property
    def said(self) -> str:
        """What happened, in a line."""
        parts = (self.what, self.run and f"run {self.run}", self.error)
        return " · ".join(part for part in parts if part)


class Section(NamedTuple):
    """The events of one pipeline. `more` is how many of them have no row."""

    title: str
    counts: str
    rows: tuple[Row, ...]
    more: int


@dataclass(frozen=True, slots=True)
class View:
    """A digest as people read it. All strings are clean, and but for `text` one line."""

    title: str
    period: str
    counts: str
    pipelines: str
    first: str
    last: str
    errors: bool  # what the first and the last are
    sections: tuple[Section, ...]
    omitted: str
    notes: tuple[str, ...]

    @property
    def brief(self) -> str:
        """All of it in one line, for receivers that have no more."""
        ends = (self.first and f"first: {self.first}", self.last and f"last: {self.last}")
        return "; ".join(part for part in (self.counts, *ends) if part)

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """Facts of a few words each, with their names."""
        what = " error" if self.errors else ""
        rows = (
            ("Events", self.counts),
            ("Pipelines", self.pipelines),
            (f"First{what}", self.first),
            (f"Last{what}", self.last),
        )
        return tuple(row for row in rows if row[1])

    @property
    def text(self) -> str:
        """The groups as several lines of plain text."""
        lines: list[str] = []
        for section in self.sections:
            lines += ["", f"{section.title} ({section.counts})"]
            for row in section.rows:
                lines.append(f"  {row.when}  {row.severity:<8}  {row.said}")
                if row.link[1]:
                    lines.append(f"      {row.link[0]}: {row.link[1]}")
            if section.more:
                lines.append(f"  … and {section.more:,} more")
        if self.omitted:
            lines += ["", self.omitted]
        return "\n".join(lines).strip("\n")


def view(message: Message) -> View | None:
    """The digest that a message is; None where it tells of one event."""
    notice = message.event.spec.notice
    digest = parse(notice.content) if notice is not None else None
    return None if digest is None else _view(digest)


def _view(digest: Digest) -> View:
    day = digest.since[:10] == digest.until[:10] and digest.since[:10]
    return View(
        title=f"{one_line(_NO_WORD.sub('', digest.title), _TITLE) or 'Digest'}: {_count(digest.total, 'event')}",
        period=_period(digest),
        counts=_counts(digest.severities) or str(digest.total),
        pipelines=f"{digest.pipelines:,}" if digest.pipelines else "",
        first=_alone(digest.first),
        last=_alone(digest.last),
        errors=digest.first is not None and digest.first.severity.rank >= Severity.ERROR.rank,
        sections=tuple(_section(group, day or "") for group in digest.groups),
        omitted=f"{_count(digest.omitted, 'event')} without a line here" if digest.omitted > 0 else "",
        notes=tuple(one_line(note, ERROR_LIMIT) for note in digest.notes),
    )


def _section(group: Group, day: str) -> Section:
    name = one_line(group.pipeline, _NAME) or "(no pipeline)"
    org = one_line(group.org or "", _NAME)
    return Section(
        title=f"{org} · {name}" if org else name,
        counts=_counts(group.severities) or str(group.total),
        rows=tuple(_row(line, day) for line in group.lines),
        more=max(0, group.total - len(group.lines)),
    )


def _row(line: Line, day: str) -> Row:
    link = ("", "")
    if line.link is not None and _LINK.match(line.link.url) and len(line.link.url) <= _URL:
        link = (one_line(line.link.title, _NAME) or "Link", address(line.link.url))
    return Row(
        when=_when(line.time, day),
        severity=line.severity.upper(),
        what=_words(line.event),
        run=one_line(line.run or "", _NAME),
        error=one_line(line.error or "", ERROR_LIMIT),
        link=link,
    )


def _alone(line: Line | None) -> str:
    """The first or the last error: when, where, what."""
    if line is None:
        return ""
    where = " · ".join(one_line(name, _NAME) for name in (line.org, line.pipeline) if name)
    what = one_line(line.error or "", ERROR_LIMIT) or _words(line.event)
    return f"{_when(line.time, '')} {where}: {what}".strip() if where else f"{_when(line.time, '')} {what}".strip()


def _when(time: str, day: str) -> str:
    """A time to the second, in UTC; only that of the day where all is of one day. "" for what is none."""
    found = _TIME.match(time)
    shown = f"{found[1]} {found[2]}" if found else ""
    return shown[11:] if day and shown.startswith(day) else shown


def _period(digest: Digest) -> str:
    since, until = _when(digest.since, ""), _when(digest.until, digest.since[:10])
    if not since:
        return ""
    return f"{since} UTC" if since[11:] == until or since == until else f"{since} to {until} UTC"


def _words(event: str) -> str:
    """A type of event in words: `pipeline failure`."""
    return one_line(event.replace("_", " "), 40)


def _counts(counts: Counts) -> str:
    return ", ".join(f"{counts[severity]:,} {severity}" for severity in reversed(Severity) if counts.get(severity))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
