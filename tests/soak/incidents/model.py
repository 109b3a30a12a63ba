"""What has to have come of it: computed from the events as they were created, and from nothing that Pipebell says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

RUN, SYSTEM = "Run", "System"


class Rules(NamedTuple):
    """How the organisations of one kind are configured."""

    destinations: tuple[str, ...]
    threshold: int = 1  # notifyAfterFailures
    by_owner: bool = False  # groupBy: [owner]
    cooldown: int = 0  # seconds; whether an opening is held then depends on when the one before was told


class Said(NamedTuple):
    """One event as its pipeline has created it. `number` is its place in the order of creation of its key."""

    number: int
    namespace: str
    name: str
    org: str
    event: str
    pipeline: str
    owner: str
    error: str


class Key(NamedTuple):
    """Which incident an event belongs to."""

    namespace: str
    org: str
    kind: str
    value: str


class End(NamedTuple):
    """How an event has to end: phase and reason, what it did to its incident, and as which failure of it.

    A failure that nobody is told of, and whose end is not recorded before a success has ended the incident, is
    Superseded: which of the two it is depends on time.
    """

    phase: str
    reason: str | None = None
    action: str | None = None
    failures: int | None = None


@dataclass
class Episode:
    """One incident: its failures in order, and the success that ended it."""

    key: Key
    failures: list[Said] = field(default_factory=list)
    ended_by: str | None = None

    def told(self, rules: Rules) -> bool:
        """Whether anybody is told of it, as far as that does not depend on time."""
        return len(self.failures) >= rules.threshold

    def phase(self, rules: Rules) -> str:
        """What its resource has to say."""
        if self.ended_by is not None:
            return "Resolved"
        return "Open" if self.told(rules) else "Pending"


@dataclass
class Expected:
    """What the model expects: the incidents of each key in order, and the end of each event by (namespace, name)."""

    episodes: dict[Key, list[Episode]] = field(default_factory=dict)
    ends: dict[tuple[str, str], End] = field(default_factory=dict)


def expected(events: Iterable[Said], rules: dict[str, Rules]) -> Expected:
    """What these events come to; `rules` are by kind, which an organisation's name begins with."""
    found = Expected()
    for said in sorted(events, key=lambda each: each.number):
        its = rules[kind_of(said.org)]
        if said.event == "pipeline_success":
            _succeed(found, said, its)
        else:
            _fail(found, said, its)
    return found


def kind_of(org: str) -> str:
    """The kind of an organisation."""
    return org.partition("-")[0]


def key_of(said: Said, rules: Rules) -> Key:
    """The incident's key of an event; a success has that of runs, the only ones that it ends here."""
    kind = SYSTEM if said.event == "system_error" else RUN
    return Key(said.namespace, said.org, kind, said.owner if rules.by_owner else said.pipeline)


def _fail(found: Expected, said: Said, rules: Rules) -> None:
    key = key_of(said, rules)
    episodes = found.episodes.setdefault(key, [])
    if not episodes or episodes[-1].ended_by is not None:
        episodes.append(Episode(key))
    episode = episodes[-1]
    episode.failures.append(said)
    count = len(episode.failures)
    if count < rules.threshold:
        end = End("Suppressed", "BelowThreshold", "Counted", count)
    elif count == rules.threshold:
        end = End("Delivered", None, "Opened", count)
    else:
        end = End("Suppressed", "Repeated", "Counted", count)
    found.ends[said.namespace, said.name] = end


def _succeed(found: Expected, said: Said, rules: Rules) -> None:
    episode = next(iter(found.episodes.get(key_of(said, rules), [])[-1:]), None)
    if episode is None or episode.ended_by is not None:
        found.ends[said.namespace, said.name] = End("Skipped", "NoTrigger")
        return
    episode.ended_by = said.name
    told = episode.told(rules)
    end = End("Delivered", None, "Recovered") if told else End("Skipped", "NoTrigger", "Recovered")
    found.ends[said.namespace, said.name] = end
