"""When a schedule is due: cron's five fields in a time zone.

By `cronsim`, whose rules around clock changes are Debian's cron's: what the change skips comes at its end, and what
would come twice comes once. Only five fields are taken; it reads six as well, with seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

FIELDS: Final = 5
_SUCH_AS: Final = "such as 0 8 * * 1-5"
_NEVER: Final = "never comes: no such month has such a day"
_A_DAY: Final = datetime(2026, 1, 1, tzinfo=UTC)
_ENOUGH: Final = 4096  # pairs of a schedule and a minute that are remembered


def check(schedule: str) -> None:
    """Raises ValueError, saying what is wrong, for what is no schedule or never comes."""
    fields = schedule.split()
    if len(fields) != FIELDS:
        raise ValueError(f"must have five fields (minute, hour, day, month, day of the week), {_SUCH_AS}")
    try:
        next(CronSim(schedule, _A_DAY))
    except StopIteration:
        raise ValueError(_NEVER) from None
    except CronSimError as error:
        if _reads(" ".join([*fields[:3], "*", fields[4]])) and _reads(" ".join([*fields[:2], "*", *fields[3:]])):
            raise ValueError(_NEVER) from None
        words = str(error)
        raise ValueError(f"is no schedule: {words[:1].lower()}{words[1:]}; {_SUCH_AS}") from None


def _reads(schedule: str) -> bool:
    try:
        CronSim(schedule, _A_DAY)
    except CronSimError:
        return False
    return True


def next_moment(schedule: str, zone: str, after: float) -> float:
    """The first moment after this one, in seconds since the epoch, of a schedule that `check` takes."""
    return _next(schedule, zone, int(after // 60))


@lru_cache(maxsize=_ENOUGH)
def _next(schedule: str, zone: str, minute: int) -> float:
    """The first moment after the beginning of a minute, counted from the epoch: schedules know no seconds."""
    start = datetime.fromtimestamp(60 * minute, ZoneInfo(zone))
    return next(CronSim(schedule, start)).timestamp()


def words(schedule: str, zone: str) -> str:
    """The same for people."""
    said = CronSim(schedule, _A_DAY).explain()
    return f"{said[:1].lower()}{said[1:]} ({zone})"
