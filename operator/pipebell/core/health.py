"""Whether a destination works, by what became of messages to it. Pure: what is observed, and what follows from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from pipebell.backports import StrEnum
from pipebell.core.outcome import REACHED, OutcomeKind
from pipebell.core.status import DestinationStatus, clip, epoch, rfc3339
from pipebell.core.vocabulary import EventType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipebell.core.outcome import Outcome

CHANNEL_EVENTS: Final = frozenset({EventType.CHANNEL_FAILING, EventType.CHANNEL_RECOVERED})
NOTIFY_AFTER: Final = 600.0  # seconds that a destination has to fail before others are notified
WORD: Final = 64  # characters of a reason
MESSAGE: Final = 512  # characters that a status keeps of an answer: a list of destinations must stay small


class HealthState(StrEnum):
    """How a destination stands."""

    HEALTHY = "Healthy"
    FAILING = "Failing"
    PAUSED = "Paused"
    UNKNOWN = "Unknown"


class Evidence(NamedTuple):
    """What one attempt says of a destination."""

    state: HealthState
    reason: str = ""
    message: str = ""


# About one message, whatever the destination: too large, or more than the organisation itself allows.
_OF_THE_MESSAGE: Final = frozenset({"Http413", "RateLimited", "Smtp552", "TooLarge"})
# About the endpoint, whatever is sent there: no connection, no trust, no login, a server in trouble.
_OF_THE_ENDPOINT: Final = re.compile(
    r"Http401|Http410|Http5\d\d|SmtpAuth\w*|SmtpProtocolError|Tls\w+|DnsFailed|Timeout|Connection\w+|"
    r"UnexpectedAnswer|RedirectRefused|InvalidUrl|SlackUnavailable"
)
# What a probe that gets through refutes: besides these, that the endpoint does not know the address or the login.
_REFUTABLE: Final = re.compile(rf"{_OF_THE_ENDPOINT.pattern}|Http403|Http404|HostNotAllowed|LoginRefused")
# What is refuted by having reached the host, whatever it answered.
_CONNECTION: Final = re.compile(r"Tls\w+|DnsFailed|Connection\w+|HostNotAllowed")
# A login that was refused is not tried again before somebody has changed it: accounts are locked for less.
_LOGIN: Final = re.compile(r"Http401|Http403|Http404|Http410|SmtpAuth\w*|LoginRefused")


def evidence(outcome: Outcome, *, shared: bool = False) -> Evidence | None:
    """What an attempt's outcome says of the destination; None when it says nothing.

    `shared`: others send there too, and this message's sender has chosen part of where it goes (a recipient, a
    channel). Then only what concerns everybody counts.
    """
    if outcome.kind is OutcomeKind.DELIVERED or outcome.accepted:
        return Evidence(HealthState.HEALTHY, REACHED if outcome.reason == REACHED else "")
    if outcome.kind is OutcomeKind.PAUSE:
        return None if outcome.untried else Evidence(HealthState.PAUSED, outcome.reason, outcome.message)
    if outcome.reason in _OF_THE_MESSAGE:
        return None
    if shared and not _OF_THE_ENDPOINT.fullmatch(outcome.reason):
        return None
    return Evidence(HealthState.FAILING, outcome.reason, outcome.message)


def login_refused(reason: str) -> bool:
    """Whether asking again before anybody has changed the credentials does harm."""
    return _LOGIN.fullmatch(reason) is not None


@dataclass(slots=True)
class Health:
    """One destination's health. Times are seconds since the epoch.

    `since` is when `state` began. `trouble` is when it began to fail, while it is paused in between. `notified` is when
    the organisation's other destinations were notified that it fails; None once they know that it works again.
    """

    state: HealthState = HealthState.UNKNOWN
    since: float = 0.0
    reason: str = ""
    message: str = ""
    last_success: float | None = None
    notified: float | None = None
    trouble: float | None = None

    def observe(self, seen: Evidence, now: float) -> bool:
        """Take in what an attempt says. Whether anything changed but the time of the last success."""
        if seen.state is HealthState.HEALTHY:
            self.last_success = now
            if self.state is HealthState.HEALTHY:
                return False
            self._turn(HealthState.HEALTHY, now)
            self.trouble, self.reason, self.message = None, "", ""
            return True
        before = (self.state, self.reason, self.message)
        if seen.state is not self.state:
            began = now
            if seen.state is HealthState.PAUSED and self.state is HealthState.FAILING:
                self.trouble = self.since
            elif seen.state is HealthState.FAILING and self.trouble is not None:
                began = self.trouble  # a pause in between has fixed nothing
            self._turn(seen.state, min(began, now))
        self.since = min(self.since, now)
        self.reason, self.message = clip(seen.reason, WORD), clip(seen.message, MESSAGE)
        return before != (self.state, self.reason, self.message)

    def probed(self, seen: Evidence, now: float) -> bool:
        """Take in what a probe says, which brings no message anywhere. Whether anything changed."""
        if seen.state is HealthState.HEALTHY:
            if self.state is HealthState.HEALTHY or not self._refuted(seen):
                return False
            success = self.last_success
            changed = self.observe(seen, now)
            self.last_success = success
            return changed
        return self.observe(seen, now)

    def forget(self, now: float) -> bool:
        """Its settings have changed: nothing is known of it any more. Whether anything was."""
        if self.state is HealthState.UNKNOWN:
            return False
        self._turn(HealthState.UNKNOWN, now)
        self.trouble, self.reason, self.message = None, "", ""
        return True

    def _refuted(self, seen: Evidence) -> bool:
        """Whether a probe that gets through says that this trouble is over, or that all is well as far as is known."""
        if seen.reason == REACHED:
            return _CONNECTION.fullmatch(self.reason) is not None
        return self.state is HealthState.UNKNOWN or _REFUTABLE.fullmatch(self.reason) is not None

    def failing(self, now: float) -> float:
        """For how many seconds it has been failing; 0 when it is not."""
        return max(0.0, now - self.since) if self.state is HealthState.FAILING else 0.0

    def due(self) -> float:
        """When the other destinations are to be notified that it fails."""
        return self.since + NOTIFY_AFTER

    def _turn(self, state: HealthState, now: float) -> None:
        self.state, self.since = state, now

    # ------------------------------------------------------------------ on the status

    def record(self, name: str, provider: str | None) -> DestinationStatus:
        """As it stands on a configuration's status."""
        return DestinationStatus(
            name=name,
            provider=provider,
            state=self.state.value,
            since=rfc3339(self.since),
            last_success_time=None if self.last_success is None else rfc3339(self.last_success),
            told_time=None if self.notified is None else rfc3339(self.notified),
            reason=self.reason or None,
            message=self.message or None,
        )

    @classmethod
    def of(cls, record: DestinationStatus, now: float) -> Health:
        """As a status says. Times that have not come yet were written by a clock that was wrong: they count as now."""
        try:
            state = HealthState(record.state)
        except ValueError:  # of another release
            state = HealthState.UNKNOWN
        return cls(
            state,
            _past(record.since, now) or now,
            record.reason or "",
            record.message or "",
            _past(record.last_success_time, now),
            _past(record.told_time, now),
        )


def _past(time: str | None, now: float) -> float | None:
    if not time:
        return None
    try:
        return min(epoch(time), now)
    except (ValueError, OverflowError):  # nothing that we wrote
        return None


class Deliverable(NamedTuple):
    """The condition: whether messages arrive, as far as is known."""

    status: bool
    reason: str
    message: str


def deliverable(destinations: Sequence[tuple[str, Health]]) -> Deliverable | None:
    """What the condition `Deliverable` says of these; None while nothing is known of any."""
    failing = [(name, health) for name, health in destinations if health.state is HealthState.FAILING]
    if failing:
        words = "; ".join(
            f"{name} has failed since {rfc3339(health.since)[:19]}Z: {clip(health.message or health.reason, 300)}"
            for name, health in failing
        )
        return Deliverable(False, "DestinationFailing", clip(words))
    working = [name for name, health in destinations if health.state is HealthState.HEALTHY]
    if working:
        return Deliverable(True, "Delivered", clip("the last message got through to " + ", ".join(working)))
    return None
