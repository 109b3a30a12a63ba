"""Everything that deciding goes by: what was observed of an event, its configuration and its like."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from pipebell.core.incidents.state import Past
from pipebell.core.policy.batches import NOTHING_WAITS, BatchFacts, Waiting
from pipebell.core.vocabulary import EventType

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pipebell.core.config import ConfigObject
    from pipebell.core.errors import NotReady
    from pipebell.core.event import Event
    from pipebell.core.incidents.book import Known
    from pipebell.core.incidents.keys import IncidentKey
    from pipebell.core.incidents.rules import IncidentRules
    from pipebell.core.incidents.state import Incident
    from pipebell.core.layers import Layers
    from pipebell.core.policy.decision import Decision, Skip
    from pipebell.core.policy.facts import BudgetFacts, Claim, Override
    from pipebell.core.policy.match import Match
    from pipebell.core.policy.sent import Sent
    from pipebell.core.silences.resource import Silence
    from pipebell.core.status import ConfigReference
    from pipebell.core.vocabulary import Reason, StageName

_NO_PAST: Final = Past()


@dataclass(frozen=True, slots=True)
class Resolved:
    """The configuration that serves an event. `config` is None for root's."""

    layers: Layers
    reference: ConfigReference
    config: ConfigObject | None


class CooldownFacts(NamedTuple):
    """What is known of an event's cooldown key.

    `known`: whether the organisation's past is. `sender` is the uid of the event that is being sent, `sender_name` its
    name where this event's namespace may know it. `suppressed` counts events since the last notification.
    """

    known: bool = True
    last: Sent | None = None
    sender: str | None = None
    sender_name: str = ""
    suppressed: int = 0


class Progress(NamedTuple):
    """How far an event has come before.

    `tried`: something was sent, a refusal that counted as no attempt included. `attempted`: an attempt was counted.
    `open` are the destinations that are not final, `stand_ins` those of them that stand in for others. `suppressed` is
    how many events its message speaks for already. `batch` is what is recorded as waiting for digests.
    """

    tried: bool = False
    attempted: bool = False
    open: Collection[str] = ()
    suppressed: int = 0
    stand_ins: Collection[str] = ()
    batch: tuple[Waiting, ...] = ()

    @property
    def under_way(self) -> bool:
        """Whether people are told of it already: a message was sent, or a digest will speak of it."""
        return self.tried or bool(self.batch)


class Original(NamedTuple):
    """What is there of the event that a replay names.

    `handles` are what its messages left, by destination, each with the kind whose it is; `incident` is the name of the
    one that it belongs to, "" for none.
    """

    exists: bool = False
    finished: bool = False
    same_org: bool = False
    handles: Mapping[str, tuple[str, str]] = MappingProxyType({})
    incident: str = ""

    @classmethod
    def of(cls, found: Event, org_slug: str) -> Original:
        """As an organisation's event sees it that repeats it."""
        status = found.status
        left = {
            item.destination: (item.provider, item.leads_on)
            for item in status.deliveries or ()
            if item.provider is not None and item.leads_on is not None
        }
        incident = status.incident.name if status.incident is not None else ""
        return cls(True, status.finished, found.spec.org_slug == org_slug, left, incident)


class IncidentFacts(NamedTuple):
    """What is known of the incidents that an event may concern, where they are switched on.

    `known`: whether the organisation's past is. `incident` is that of a failure's key; `counted`: it was counted there
    before. `recoverable` are those that a success may end. `sender` is the uid of the event that is being sent for one
    of them, of which nothing has arrived anywhere yet. `storm`: the openings of the organisation exceed its limit,
    so that further ones go into a digest. `early`: others that were created before it are not decided yet.
    """

    rules: IncidentRules
    known: bool = True
    key: IncidentKey | None = None
    incident: Incident | None = None
    counted: bool = False
    past: Past = _NO_PAST
    recoverable: tuple[Incident, ...] = ()
    sender: str | None = None
    sender_name: str = ""
    storm: bool = False
    early: bool = False

    @classmethod
    def of(cls, rules: IncidentRules, known: Known, *, storm: bool = False) -> IncidentFacts:
        """What a book knows."""
        return cls(
            rules,
            key=known.key,
            incident=known.entry.incident if known.entry is not None else None,
            counted=known.counted,
            past=known.past,
            recoverable=known.recoverable,
            sender=known.sender,
            sender_name=known.sender_name,
            storm=storm,
        )


class Situation(NamedTuple):
    """One event at one moment. `now` and `max_age` are seconds; `configuration` is None where it was not asked for.

    `original` is None for what is no replay, or was tried before; `claim` for what is no notice; `budget` where nobody
    set a limit. `match`, `suppressed`, `override` and `batch` are what earlier stages found. `silences` are those that
    may concern it; None where nothing can be held back. `incident` is None where incidents are off; `skip` is what an
    earlier stage said of a success that may end some all the same; `ongoing` is the incident after this failure.
    """

    event: Event
    now: float
    max_age: float
    configuration: Resolved | Skip | NotReady | None
    cooldown: CooldownFacts
    progress: Progress
    original: Original | None = None
    match: Match | None = None
    suppressed: int = 0
    claim: Claim | None = None
    override: Override | None = None
    silences: Sequence[Silence] | None = ()
    batches: BatchFacts = NOTHING_WAITS
    budget: BudgetFacts | None = None
    batch: tuple[Waiting, ...] = ()
    incident: IncidentFacts | None = None
    skip: Skip | None = None
    ongoing: Incident | None = None

    @property
    def may_recover(self) -> bool:
        """Whether it is a success that may end an incident, whatever triggers say."""
        return self.incident is not None and self.event.spec.event is EventType.PIPELINE_SUCCESS

    @property
    def skip_reason(self) -> Reason | None:
        """What an earlier stage said of a success that may end an incident all the same."""
        return self.skip.reason if self.skip is not None else None

    @property
    def resolved(self) -> Resolved:
        """The configuration, after the stage `configured` has passed the event on."""
        assert isinstance(self.configuration, Resolved)  # noqa: S101  (tells mypy; stages run in order)
        return self.configuration

    @property
    def matched(self) -> Match:
        """The trigger's match, after the stage `trigger` has passed the event on."""
        assert self.match is not None  # noqa: S101  (tells mypy; stages run in order)
        return self.match


class Stage(NamedTuple):
    """One question: `answer` either decides, or passes the event on, with what it found."""

    name: StageName
    answer: Callable[[Situation], Decision | Situation]
