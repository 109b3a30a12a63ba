"""Quiet hours: times of the week at which only what is severe enough goes out; a catch-up reports the rest."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from pipebell.core.fields import AnyCaseSeverity, Spec, TimeZone, each_once, pattern
from pipebell.core.vocabulary import CatchUpMode, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SAME_TIME: Final = "needs two different times: for a whole day, write from: '00:00' and to: '24:00'"
LONGEST: Final = timedelta(days=8)  # quiet hours that never end are caught up with after so long
_MIDNIGHT: Final = "24:00"

_START: Final = pattern(r"^([01][0-9]|2[0-3]):[0-5][0-9]$", "must be a time of day from 00:00 to 23:59, such as 22:00")
_END: Final = pattern(
    r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$", "must be a time of day from 00:00 to 24:00, such as 07:00"
)
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class _Times(NamedTuple):
    """When a rule runs, as something to look up by."""

    days: tuple[str, ...] | None
    start: str
    end: str
    zone: str


class QuietHours(Spec):
    """A time of the week at which only severe events are sent at once."""

    days: Annotated[list[Day], Field(max_length=7), AfterValidator(each_once)] | None = Field(
        None, description="Days on which it begins: mon, tue … sun. Default: every day."
    )
    from_: Annotated[str, StringConstraints(max_length=5, pattern=_START)] = Field(
        alias="from", description="Time of day at which it begins, such as 22:00."
    )
    to: Annotated[str, StringConstraints(max_length=5, pattern=_END)] = Field(
        description="Time of day at which it ends: on the next day unless later than from; 24:00 is midnight."
    )
    timezone: TimeZone | None = Field(None, description="Time zone of both, by its IANA name. Default: UTC.")
    except_severity: AnyCaseSeverity | None = Field(
        None, description="Events of this severity, or of a higher one, go out all the same. Default: critical."
    )
    catch_up: CatchUpMode | None = Field(
        None,
        description=(
            "What is told when it is over: nothing, a summary of what was held back, or what still fails. "
            "Default: Summary."
        ),
    )

    @model_validator(mode="after")
    def _two_times(self) -> Self:
        if self.from_ == self.to:
            raise ValueError(SAME_TIME)
        return self

    @property
    def zone(self) -> str:
        """The time zone's name."""
        return self.timezone or "UTC"

    @property
    def times(self) -> _Times:
        """When it runs."""
        return _Times(tuple(self.days) if self.days is not None else None, self.from_, self.to, self.zone)

    @property
    def mode(self) -> CatchUpMode:
        """What the catch-up says."""
        return self.catch_up or CatchUpMode.SUMMARY

    def holds(self, severity: Severity) -> bool:
        """Whether events of this severity are held back at all."""
        return severity.rank < (self.except_severity or Severity.CRITICAL).rank

    def __str__(self) -> str:
        """In words: `22:00 to 07:00 Europe/Berlin, mon tue`."""
        days = f", {' '.join(self.days)}" if self.days is not None else ""
        return f"{self.from_} to {self.to} {self.zone}{days}"


class Quiet(NamedTuple):
    """Quiet hours that run now. `until` is seconds since the epoch; `rule` is the one whose catch-up follows."""

    until: float
    rule: QuietHours


def quiet_now(hours: Sequence[QuietHours], severity: Severity, now: float) -> Quiet | None:
    """Whether an event of this severity is held back at `now` (seconds since the epoch), and until when.

    Times that touch or overlap are one: where Saturday and Sunday are quiet, the catch-up comes on Monday.
    """
    holding = [rule for rule in hours if rule.holds(severity)]
    found = _quiet(tuple(rule.times for rule in holding), int(now // 60)) if holding else None
    return None if found is None else Quiet(found[1], holding[found[0]])


@lru_cache(maxsize=4096)
def _quiet(rules: tuple[_Times, ...], minute: int) -> tuple[int, float] | None:
    """Which rule runs in this minute since the epoch, and until when; they begin and end with whole minutes."""
    at = datetime.fromtimestamp(minute * 60, UTC)
    first, until = _running(rules, at)
    if first is None:
        return None
    latest = at + LONGEST
    while until < latest:
        following, later = _running(rules, until)
        if following is None or later <= until:
            break
        until = later
    return first, min(until, latest).timestamp()


def _running(rules: Sequence[_Times], at: datetime) -> tuple[int | None, datetime]:
    """The first rule that holds at this moment, and the latest end of all that do."""
    first, end = None, at
    for place, rule in enumerate(rules):
        until = _end_of(rule, at)
        if until is not None:
            first = place if first is None else first
            end = max(end, until)
    return first, end


def _end_of(rule: _Times, at: datetime) -> datetime | None:
    """When the rule's time that contains this moment ends (UTC); None when none does."""
    today = at.astimezone(ZoneInfo(rule.zone)).date()
    for day in (today - timedelta(days=1), today):
        if rule.days is not None and DAYS[day.weekday()] not in rule.days:
            continue
        begins, ends = _span(rule.start, rule.end, rule.zone, day)
        if begins <= at < ends:
            return ends
    return None


@lru_cache(maxsize=1024)
def _span(start: str, end: str, zone: str, day: date) -> tuple[datetime, datetime]:
    """The time that begins on this day, in UTC."""
    over_night = end != _MIDNIGHT and end <= start
    last = day + timedelta(days=1) if over_night or end == _MIDNIGHT else day
    begins = _moment(day, start, zone, later=False)
    return begins, max(begins, _moment(last, "00:00" if end == _MIDNIGHT else end, zone, later=True))


def _moment(day: date, clock: str, zone: str, *, later: bool) -> datetime:
    """A time of day in UTC. One that a change to winter time brings twice is the first, or the `later` one.

    One that a change to summer time leaves out is the moment of that change.
    """
    local = datetime.combine(day, time.fromisoformat(clock), ZoneInfo(zone))
    found = local.replace(fold=1 if later else 0).astimezone(UTC)
    if found.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == local.replace(tzinfo=None):
        return found
    before, after = sorted(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    changed = after.astimezone(ZoneInfo(zone)).utcoffset()
    while after - before > timedelta(seconds=1):  # clocks change somewhere between the two
        middle = before + (after - before) / 2
        if middle.astimezone(ZoneInfo(zone)).utcoffset() == changed:
            after = middle
        else:
            before = middle
    return after.replace(microsecond=0)
