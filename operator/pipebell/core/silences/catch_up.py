"""Catch-ups, which report what was held back: which events belong together, and what each is called and says."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pipebell.core.silences.hold import QUIET_HOURS
from pipebell.core.status import clip, epoch, rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipebell.core.event import Event
    from pipebell.core.silences.resource import Silence

_BY, _DUES, _TO = "by", "dues", "destinations"
_MOST_DUES: Final = 1_000


class Group(NamedTuple):
    """What one silence holds back of one organisation in one namespace: one catch-up reports it."""

    namespace: str
    org: str
    by: str

    @property
    def silenced(self) -> bool:
        """Whether a silence holds it back; else quiet hours do."""
        return self.by != QUIET_HOURS


def group_of(event: Event) -> tuple[Group, float] | None:
    """To what a held event belongs, and when it is due (seconds since the epoch); None where nothing holds it."""
    record = event.status.catch_up
    if record is None or not event.status.finished:
        return None
    try:
        due = epoch(record.due)
    except ValueError:  # not written by us
        due = event.created
    return Group(event.namespace, event.spec.org_slug, record.by), due


def name_of(group: Group, due: float) -> str:
    """The name of the catch-up of what is due then; the same for everybody who makes it."""
    said = "\n".join((*group, rfc3339(due), "0"))
    return f"catch-up-{hashlib.sha256(said.encode()).hexdigest()[:20]}"


class Content(NamedTuple):
    """What a catch-up's content says besides its lines: of what it is, and to whom it goes."""

    by: str
    dues: tuple[float, ...]
    destinations: tuple[str, ...]

    def added_to(self, digest: Mapping[str, Any]) -> dict[str, Any]:
        """The digest of the events, with this."""
        dues = [rfc3339(due) for due in self.dues]
        return {**digest, _BY: self.by, _DUES: dues, _TO: list(self.destinations)}


def content_of(content: Mapping[str, Any] | None) -> Content | None:
    """What a notice's content says, if it can be one of ours. Never raises."""
    found = content or {}
    by, dues, to = found.get(_BY), found.get(_DUES), found.get(_TO)
    if not isinstance(by, str) or not isinstance(dues, list) or not dues or len(dues) > _MOST_DUES:
        return None
    try:
        times = tuple(epoch(due) for due in dues)
    except (TypeError, ValueError):
        return None
    names = tuple(name for name in to if isinstance(name, str)) if isinstance(to, list) else ()
    return Content(by, times, names)


def words(group: Group, silence: Silence | None, due: float) -> tuple[str, list[str]]:
    """A catch-up's title, and what it says first."""
    if not group.silenced:
        return "Held back during quiet hours", [f"Quiet hours ended at {rfc3339(due)}; this was held back."]
    kind, _, name = group.by.partition("/")
    title = f"Held back by the platform's silence {name}" if kind == "platform" else f"Held back by silence {name}"
    if silence is None:
        return title, ["The silence was ended by hand; this was held back."]
    ticket = f" ({silence.spec.ticket})" if silence.spec.ticket else ""
    return title, [
        f"The silence ended at {rfc3339(silence.ends)}; this was held back.",
        clip(f"It was silenced because: {silence.spec.reason}{ticket}"),
    ]


def merged(dues: Sequence[float]) -> tuple[float, ...]:
    """Dues that one catch-up reports, the first one first: it names the catch-up."""
    return tuple(sorted(dues)[:_MOST_DUES])
