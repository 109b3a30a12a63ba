"""What deciding ends with: a value that says which stage decided, why, and what it went by.

Log, metric, status, `preview` and `why` print these very words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from pipebell.core.vocabulary import Reason, StageName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.core.destinations.base import Target
    from pipebell.core.errors import NotReady
    from pipebell.core.layers import Fallback
    from pipebell.core.policy.batches import Waiting
    from pipebell.core.policy.match import Mark, Match
    from pipebell.core.silences.hold import Hold


class WaitsFor(Enum):
    """What an event may have to wait for before it can be decided."""

    CONFIG = auto()  # its configuration, or root's, to become usable
    LEDGER = auto()  # its organisation's past to be known
    TURN = auto()  # the outcome of the event that is being sent for the same cooldown
    OUTCOME = auto()  # the outcome of the event that is being sent for the same incident


@dataclass(frozen=True, slots=True)
class Skip:
    """Nobody is notified: the event ends Skipped."""

    stage: StageName
    reason: Reason
    message: str
    matched: str = ""
    mark: Mark | None = None
    """What it does to its incidents all the same."""


@dataclass(frozen=True, slots=True)
class Wait:
    """It cannot be decided yet. `reason` is None where nothing is written of it. `cause` says what is not ready.

    `batch` is what of it waits for digests, come what may of the rest.
    """

    stage: StageName
    waits_for: WaitsFor
    reason: Reason | None
    message: str
    matched: str = ""
    cause: NotReady | None = None
    match: Match | None = None
    batch: tuple[Waiting, ...] = ()


@dataclass(frozen=True, slots=True)
class Suppress:
    """Something else stands for it: the event ends Suppressed.

    `until` is seconds since the epoch, None where no time ends it. `by` is that other event's name (or what else holds
    it back) as this event's namespace would write it.
    """

    stage: StageName
    reason: Reason
    message: str
    until: float | None
    by: str
    matched: str = ""
    match: Match | None = None
    hold: Hold | None = None
    batch: tuple[Waiting, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """It goes into digests: `batch` says which, for each destination."""

    stage: StageName
    reason: Reason
    message: str
    batch: tuple[Waiting, ...]
    matched: str = ""
    match: Match | None = None


@dataclass(frozen=True, slots=True)
class Deliver:
    """Send it to `targets` now. `blocked` are destinations that cannot be used yet, and why; they wait by themselves.

    `suppressed` is how many earlier events the message speaks for. `fallbacks` says of each destination that others
    may have to stand in for it, who and when. `batch` is what of it waits for digests.
    """

    match: Match
    suppressed: int
    targets: dict[str, Target]
    blocked: dict[str, NotReady] = field(default_factory=dict)
    matched: str = ""
    stage: StageName = StageName.DELIVER
    reason: Reason | None = None
    fallbacks: Mapping[str, Fallback] = field(default_factory=dict)
    batch: tuple[Waiting, ...] = ()

    @property
    def message(self) -> str:
        """The same for people."""
        waiting = "".join(f"; {name} waits: {error.reason}: {error.message}" for name, error in self.blocked.items())
        waiting += "".join(f"; {item}" for item in self.batch)
        standing_in = "".join(
            f"; {name} fails over to {', '.join(fallback.deliveries)} when it fails, or after {fallback.after:.0f} s"
            for name, fallback in self.fallbacks.items()
        )
        return f"goes to {', '.join(self.targets) or 'nobody yet'}{waiting}{standing_in}"


Decision = Skip | Wait | Suppress | Batch | Deliver
