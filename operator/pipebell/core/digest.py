"""What a digest says: many events summed up in one message of bounded size.

A `Tally` takes members one by one and keeps counts and the most important lines, so its size does not grow with their
number; in whichever order they come, it says the same. What it says is fixed in the digest event's spec
(`notice.content`) when that is made, so that nothing needs the members any more.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import Field, ValidationError

from pipebell.core.render.text import clean, one_line
from pipebell.core.status import StatusModel, clip, rfc3339
from pipebell.core.vocabulary import EventType, Severity
from pipebell.core.wire import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipebell.core.event import Event

MAX_ITEMS: Final = 100  # lines of a digest unless its settings say otherwise
MOST_ITEMS: Final = 500  # lines that settings may ask for
ERROR_LIMIT: Final = 500  # characters of an error
LARGEST: Final = 256 * 1024  # bytes of a digest's content
MOST_PIPELINES: Final = 5_000  # counted by name; what others bring is counted together
_NAME_LIMIT: Final = 200
_NO_TROUBLE: Final = (EventType.PIPELINE_SUCCESS.value, EventType.PIPELINE_STARTED.value)


# ---------------------------------------------------------------------------- content, as it is stored


class LinkLine(StatusModel):
    """Where to read more."""

    title: str
    url: str


class Line(StatusModel):
    """One event. `time` is RFC 3339; `pipeline` and `org` are set where the line stands by itself."""

    time: str
    event: str
    severity: Severity
    name: str = ""
    pipeline: str | None = None
    org: str | None = None
    run: str | None = None
    error: str | None = None
    link: LinkLine | None = None


Counts = dict[Severity, int]


class Group(StatusModel):
    """The events of one pipeline. `org` is set where a digest holds those of several organisations."""

    pipeline: str = ""
    org: str | None = None
    total: int = 0
    severities: Counts = Field(default_factory=dict)
    lines: Annotated[list[Line], Field(max_length=MOST_ITEMS)] = Field(default_factory=list)


class Digest(StatusModel):
    """All that a digest says.

    `first` and `last` are the first and the last error; without errors, of whatever else is no good news. `pipelines`
    is how many there are, `omitted` how many events have no line of their own.
    """

    title: str
    since: str
    until: str
    total: int
    severities: Counts = Field(default_factory=dict)
    pipelines: int = 0
    first: Line | None = None
    last: Line | None = None
    groups: Annotated[list[Group], Field(max_length=MOST_ITEMS)]
    omitted: int = 0
    notes: Annotated[list[str], Field(max_length=10)] = Field(default_factory=list)


def parse(content: object) -> Digest | None:
    """The digest that a notice's content is; None for anything else. Never raises."""
    if not isinstance(content, dict) or "groups" not in content:
        return None
    try:
        return Digest.model_validate(content)
    except ValidationError:
        return None


# ---------------------------------------------------------------------------- members


@dataclass(frozen=True, slots=True)
class Member:
    """One event as a digest tells of it. `at` is when it happened, in seconds since the epoch."""

    name: str
    org: str
    pipeline: str
    event: str
    severity: Severity
    at: float
    run: str = ""
    error: str = ""
    link: tuple[str, str] | None = None

    @property
    def weight(self) -> tuple[int, float, str]:
        """The greater, the more important: by severity, and of the same one the earlier."""
        return (self.severity.rank, -self.at, self.name)

    def line(self, *, alone: bool = False, org: bool = False) -> Line:
        """Its line; `alone` names the pipeline, and where that is asked for the organisation too."""
        return Line(
            time=_moment(self.at),
            event=self.event,
            severity=self.severity,
            name=self.name,
            pipeline=self.pipeline if alone else None,
            org=self.org if alone and org else None,
            run=self.run or None,
            error=self.error or None,
            link=LinkLine(title=self.link[0], url=self.link[1]) if self.link else None,
        )


def member_of(event: Event, severity: Severity) -> Member:
    """What a digest keeps of an event: its texts are clean and short."""
    spec = event.spec
    link = next(iter(spec.links or ()), None)
    return Member(
        name=event.name,
        org=spec.org_slug,
        pipeline=one_line(spec.pipeline_id or "", _NAME_LIMIT),
        event=spec.event.value,
        severity=severity,
        at=event.occurred,
        run=one_line(spec.pipeline_logging_id or "", _NAME_LIMIT),
        error=clip(clean((spec.error_message or "")[: 8 * ERROR_LIMIT]).strip(), ERROR_LIMIT),
        link=(one_line(link.title, _NAME_LIMIT), link.url) if link is not None else None,
    )


def _moment(seconds: float) -> str:
    try:
        return rfc3339(seconds)
    except (ValueError, OverflowError, OSError):  # the year 0 or 10,000, after a shift of time zone
        return ""


# ---------------------------------------------------------------------------- counting


@dataclass(slots=True)
class _Pipeline:
    counts: Counter[Severity] = field(default_factory=Counter)

    @property
    def weight(self) -> tuple[int, int]:
        worst = max((severity.rank for severity in self.counts), default=0)
        return (worst, self.counts.total())


@dataclass(slots=True)
class _Ends:
    """The first and the last of some members."""

    first: Member | None = None
    last: Member | None = None

    def add(self, member: Member) -> None:
        place = (member.at, member.name)
        if self.first is None or place < (self.first.at, self.first.name):
            self.first = member
        if self.last is None or place > (self.last.at, self.last.name):
            self.last = member


class Tally:
    """Counts members, and keeps the `most` important lines."""

    def __init__(self, most: int = MOST_ITEMS) -> None:
        self.most = most
        self._counts: Counter[Severity] = Counter()
        self._pipelines: dict[tuple[str, str], _Pipeline] = {}
        self._kept: list[tuple[tuple[int, float, str], int, Member]] = []
        self._errors, self._others = _Ends(), _Ends()
        self._since = self._until = 0.0
        self.oldest: Member | None = None
        """Of all members, trouble or not."""
        self.worst: Member | None = None
        """The most severe one, of those the earliest."""

    @property
    def total(self) -> int:
        """How many members there are."""
        return self._counts.total()

    @property
    def orgs(self) -> set[str]:
        """Whose members they are, as far as their pipelines are kept."""
        return {org for org, _ in self._pipelines}

    def add(self, member: Member) -> None:
        """Count one more."""
        if not self.total:
            self._since = self._until = member.at
        self._since, self._until = min(self._since, member.at), max(self._until, member.at)
        self._counts[member.severity] += 1
        key = (member.org, member.pipeline)
        pipeline = self._pipelines.get(key)
        if pipeline is None and len(self._pipelines) < MOST_PIPELINES:
            pipeline = self._pipelines[key] = _Pipeline()
        if pipeline is not None:
            pipeline.counts[member.severity] += 1
        entry = (member.weight, self.total, member)
        if len(self._kept) < self.most:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heappushpop(self._kept, entry)
        if self.worst is None or member.weight > self.worst.weight:
            self.worst = member
        if self.oldest is None or (member.at, member.name) < (self.oldest.at, self.oldest.name):
            self.oldest = member
        if member.severity.rank >= Severity.ERROR.rank:
            self._errors.add(member)
        elif member.event not in _NO_TROUBLE:
            self._others.add(member)

    def content(
        self, *, max_items: int = MAX_ITEMS, title: str = "Digest", notes: Sequence[str] = ()
    ) -> dict[str, Any]:
        """What there is to tell, as JSON: at most `max_items` lines and `LARGEST` bytes."""
        lines = max_items
        while True:
            made = self._digest(lines, title, notes).model_dump(by_alias=True, exclude_none=True, mode="json")
            if lines <= 1 or len(encode(made)) <= LARGEST:
                return made
            lines //= 2

    def _digest(self, lines: int, title: str, notes: Sequence[str]) -> Digest:
        shown = [entry[-1] for entry in sorted(self._kept, key=lambda entry: entry[0], reverse=True)[:lines]]
        several = len({org for org, _ in self._pipelines}) > 1
        ends = self._errors if self._errors.first else self._others
        by_pipeline: dict[tuple[str, str], list[Member]] = {}
        for member in sorted(shown, key=lambda each: (each.at, each.name)):
            by_pipeline.setdefault((member.org, member.pipeline), []).append(member)
        groups = []
        for key in sorted(by_pipeline, key=lambda each: (_negative(self._weight(each)), each)):
            counts = self._counts_of(key, by_pipeline[key])
            groups.append(
                Group(
                    pipeline=key[1],
                    org=key[0] if several else None,
                    total=counts.total(),
                    severities=_by_severity(counts),
                    lines=[member.line() for member in by_pipeline[key]],
                )
            )
        return Digest(
            title=title,
            since=_moment(self._since),
            until=_moment(self._until),
            total=self.total,
            severities=_by_severity(self._counts),
            pipelines=len(self._pipelines),
            first=ends.first.line(alone=True, org=several) if ends.first else None,
            last=ends.last.line(alone=True, org=several) if ends.last else None,
            groups=groups,
            omitted=self.total - len(shown),
            notes=list(notes),
        )

    def _weight(self, key: tuple[str, str]) -> tuple[int, int]:
        pipeline = self._pipelines.get(key)
        return pipeline.weight if pipeline is not None else (0, 0)

    def _counts_of(self, key: tuple[str, str], members: Sequence[Member]) -> Counter[Severity]:
        pipeline = self._pipelines.get(key)
        return pipeline.counts if pipeline is not None else Counter(member.severity for member in members)


def _negative(weight: tuple[int, int]) -> tuple[int, int]:
    return (-weight[0], -weight[1])


def _by_severity(counts: Counter[Severity]) -> Counts:
    return {severity: counts[severity] for severity in reversed(Severity) if counts[severity]}
