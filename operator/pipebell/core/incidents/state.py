"""What is known of one incident."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from pipebell.core.incidents.resource import IncidentPhase
from pipebell.core.vocabulary import IncidentAction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.core.incidents.keys import IncidentKey
    from pipebell.core.incidents.order import Order
    from pipebell.core.vocabulary import EventType, Severity


GOES_FIRST: Final = ""  # instead of a destination's name: where an event goes is not decided yet, but it goes first
DIGEST: Final = "digest"  # instead of an endpoint's fingerprint


@dataclass(frozen=True, slots=True)
class Notification:
    """The latest message of an incident to one destination; written to `status.notifications`.

    `endpoint` is a fingerprint of where it went, "" if not known, DIGEST where a digest had it as a line. `handle` is
    that of the message which begins the thread there. `at` is seconds since the epoch.
    """

    destination: str
    provider: str = ""
    endpoint: str = ""
    handle: str | None = None
    action: IncidentAction = IncidentAction.OPENED
    at: float = 0.0

    @property
    def by_digest(self) -> bool:
        """Whether it was a line of a digest: then there is no thread, and there are no reminders."""
        return self.endpoint == DIGEST


@dataclass(frozen=True, slots=True)
class Failure:
    """What a failure says of its incident. `occurred` is None where the event does not say; times are seconds."""

    uid: str
    name: str
    event: EventType
    severity: Severity
    order: Order
    occurred: float | None = None
    run: str = ""
    error: str = ""
    pipeline: str = ""
    owner: str = ""
    retry_expected: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)


class Success(NamedTuple):
    """The last success of a key."""

    order: Order
    occurred: float | None = None
    run: str = ""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Who has taken an incident over."""

    by: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident. Times are seconds since the epoch, None for never.

    `failures` were counted. `notified` are the destinations that have a message of it, `under_way` those for which an
    event (by uid) is still being tried, or its status does not say yet what came of that, `stood_in_for` those whose
    failover has it instead. `due` is when a pending one is opened without another failure. `retries` are runs of which
    another attempt is expected, each with the time at which it counts as failed if none has come. `failed_occurred` is
    when the last failure says that it occurred, `failed_order` when it was created. `changes` are times at which it
    went from succeeding to failing or back, of late; while it is `flapping`, `well` says that it succeeded last.
    `by_hand`: a person ended it, and `resolved_by` is what that person is called. `owner` and `labels` are the last
    failure's, `runs` those that failed last.
    """

    key: IncidentKey
    name: str = ""
    uid: str = ""
    opened_by: str = ""
    pipeline: str = ""
    event: EventType | None = None
    phase: IncidentPhase = IncidentPhase.PENDING
    severity: Severity | None = None
    notified_severity: Severity | None = None
    failures: int = 0
    first_failure: float | None = None
    last_failure: float | None = None
    failed_occurred: float | None = None
    failed_order: Order | None = None
    first_error: str = ""
    last_error: str = ""
    last_event: str = ""
    owner: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    runs: tuple[str, ...] = ()
    opened: float | None = None
    notified: Mapping[str, Notification] = field(default_factory=dict)
    under_way: Mapping[str, str] = field(default_factory=dict)
    stood_in_for: frozenset[str] = frozenset()
    due: float | None = None
    retries: Mapping[str, float] = field(default_factory=dict)
    reminders: int = 0
    next_reminder: float | None = None
    step: int = 0
    next_escalation: float | None = None
    acknowledgement: Acknowledgement | None = None
    acknowledged: float | None = None
    snoozed_until: float | None = None
    resolved: float | None = None
    resolved_by: str = ""
    by_hand: bool = False
    changes: tuple[float, ...] = ()
    flapping: bool = False
    well: bool = False

    @property
    def open(self) -> bool:
        """Whether it is not resolved."""
        return self.phase is not IncidentPhase.RESOLVED

    def muted(self, now: float) -> bool:
        """Whether neither reminders nor escalation are due: somebody has taken it over, or wants to hear later."""
        if self.snoozed_until is not None:
            return now < self.snoozed_until
        return self.acknowledgement is not None


class Past(NamedTuple):
    """What came before, of one key: its last success, when an incident of it was opened last, and its changes.

    `ended` is the name of the incident that the success has ended, "" for none.
    """

    success: Success | None = None
    ended: str = ""
    opening: float | None = None
    changes: tuple[float, ...] = ()
