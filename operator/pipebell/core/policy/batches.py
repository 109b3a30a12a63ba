"""Which digest an event waits for: what is known of digests, when the next one is due, and what it is called.

A digest's name follows from what it is for, its settings and its moment, so whoever works it out anew finds the same.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from pipebell.core.digest import MAX_ITEMS, MOST_ITEMS
from pipebell.core.schedule import next_moment
from pipebell.core.status import HOUR, rfc3339

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from pipebell.core.batching import DigestSpec

_NAME: Final = re.compile(r"digest-[0-9]{8}-[0-9]{6}-[0-9a-f]{16}(?:-([0-9]{1,3}))?")


class Waiting(NamedTuple):
    """A destination gets it later, by the event `digest`, which is made at `due` (seconds since the epoch)."""

    destination: str
    digest: str
    due: float

    def __str__(self) -> str:
        """The same for people."""
        return f"{self.destination} is told by {self.digest} at {rfc3339(self.due)}"


class OpenDigest(NamedTuple):
    """A digest that has members and is not made yet.

    `fires` is when it is made: `due`, or earlier where a clock that was wrong wrote that.
    """

    name: str
    due: float
    fires: float


class BatchFacts(NamedTuple):
    """What is known of the digests of an event's namespace and organisation.

    `known`: whether the organisation's past is. `open` has those of each destination. `closed` are names of digests
    that take nothing more.
    """

    known: bool = True
    open: Mapping[str, Sequence[OpenDigest]] = {}
    closed: Container[str] = ()


NOTHING_WAITS: Final = BatchFacts()


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When digests of the same settings go out: `every` seconds after the first member, or by a schedule.

    `owner` is whose members they are: an organisation's, or those of a shard. `hourly`: at the end of the clock hour.
    """

    owner: str
    every: int | None = None
    schedule: str = ""
    zone: str = "UTC"
    max_items: int = MAX_ITEMS
    hourly: str = ""

    def after(self, moment: float) -> float:
        """When a digest is due whose first member was decided then, to the millisecond (seconds since the epoch)."""
        if self.hourly:
            return (math.floor(moment / HOUR) + 1) * HOUR
        if self.every is not None:
            return math.ceil((moment + self.every) * 1000) / 1000
        return next_moment(self.schedule, self.zone, moment)

    @property
    def _settings(self) -> str:
        if self.hourly:
            return f"hourly {self.hourly}"
        return f"every {self.every}" if self.every is not None else f"cron {self.schedule} {self.zone}"

    def name(self, namespace: str, destination: str, due: float) -> str:
        """The event that tells of what was batched for this destination until then."""
        parts = (namespace, self.owner, destination, self._settings, str(self.max_items), str(round(due * 1000)))
        identity = hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:16]
        moment = datetime.fromtimestamp(due, UTC).strftime("%Y%m%d-%H%M%S")
        items = "" if self.max_items == MAX_ITEMS else f"-{self.max_items}"
        return f"digest-{moment}-{identity}{items}"


def rhythm_of(spec: DigestSpec, org: str) -> Rhythm:
    """The rhythm that a trigger or an override asks for."""
    return Rhythm(org, spec.every_seconds, spec.schedule or "", spec.timezone or "UTC", spec.max_items or MAX_ITEMS)


def max_items_of(name: str) -> int:
    """How many lines the digest of this name may have."""
    found = _NAME.fullmatch(name)
    return min(max(int(found[1]), 1), MOST_ITEMS) if found and found[1] else MAX_ITEMS


def place(facts: BatchFacts, rhythm: Rhythm, namespace: str, destination: str, now: float) -> Waiting:
    """The digest that a message to this destination joins now: an open one of the same settings, else a new one."""
    if rhythm.every is not None:  # else its moment follows from the time alone, and its name from that
        for digest in facts.open.get(destination, ()):
            if digest.fires > now and digest.name == rhythm.name(namespace, destination, digest.due):
                return Waiting(destination, digest.name, digest.due)
    due = rhythm.after(now)
    while (name := rhythm.name(namespace, destination, due)) in facts.closed:  # a clock was set back
        due = rhythm.after(due)
    return Waiting(destination, name, due)
