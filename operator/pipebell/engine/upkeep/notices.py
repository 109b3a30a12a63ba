"""Makes events for what the operator itself has to tell. Their names follow from what they tell, so each is made once.

AlreadyExists is harmless only while the first one exists: what is older than an event may get is not made any more,
and retention keeps notices for longer than that.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

import structlog

from pipebell.core.errors import Conflict, InvalidEvent, NotFound, Rejected
from pipebell.core.event import PipelineEventSpec
from pipebell.core.policy.names import names
from pipebell.core.status import clip
from pipebell.core.vocabulary import NoticeKind, Reason
from pipebell.retry import retry_until_available

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.core.event import Event, Notice
    from pipebell.engine.ports import Ports

PATIENCE: Final = 30.0  # seconds for which an API server that is away is asked again
# Made late by design: their members guard them, and go first.
_NEVER_TOO_OLD: Final = frozenset({NoticeKind.DIGEST, NoticeKind.CATCH_UP, NoticeKind.STORM})
_TAKEN: Final = "its names are taken by other events"

log = structlog.get_logger(__name__)


class Made(Enum):
    """What became of making a notice."""

    CREATED = auto()
    EXISTS = auto()  # one of this name is there: this replica or another has made it before
    TOO_OLD = auto()  # the moment that it tells of is longer ago than an event may get old
    REFUSED = auto()  # the API will not have it: a quota, a policy, a namespace that terminates, older definitions


@dataclass(frozen=True, slots=True)
class Making:
    """The same, why it was refused, and the name that it got. A refusal must not be retried at once."""

    made: Made
    message: str = ""
    name: str = ""

    @property
    def there(self) -> bool:
        """Whether the event is there now."""
        return self.made in (Made.CREATED, Made.EXISTS)


class NoticeMaker:
    """Creates notices. `max_age` is the seconds that an event may get old before it is sent."""

    def __init__(self, ports: Ports, max_age: float) -> None:
        self._events, self._clock, self._max_age = ports.events, ports.clock, max_age

    async def make(
        self, namespace: str, name: str, spec: Mapping[str, Any], moment: float, *, alone: bool = True
    ) -> Making:
        """Create the event unless it exists; `spec` is in the API's spelling and has `notice` in it.

        Where somebody else's event has its name, it gets the next one (`core.policy.names`). `moment` is when what it
        tells of was due (seconds since the epoch). `alone`: no other replica makes it too, so what is there and says
        something else is a forgery unless it was attempted. Raises Unavailable when the API must be asked later.
        """
        kind = NoticeKind(spec["notice"]["kind"])
        if kind not in _NEVER_TOO_OLD and self._clock.now() - moment > self._max_age:
            return Making(Made.TOO_OLD)
        try:
            for each in names(name):
                made = await self._make_as(namespace, each, spec, alone=alone)
                if made is Made.CREATED:
                    log.info("notice_made", namespace=namespace, name=each, kind=kind.value)
                if made is not None:
                    return Making(made, name=each)
        except (Rejected, NotFound) as error:
            log.warning("notice_refused", namespace=namespace, name=name, kind=kind.value, error=str(error))
            return Making(Made.REFUSED, clip(str(error)))
        log.warning("notice_refused", namespace=namespace, name=name, kind=kind.value, error=_TAKEN)
        return Making(Made.REFUSED, _TAKEN)

    async def _make_as(self, namespace: str, name: str, spec: Mapping[str, Any], *, alone: bool) -> Made | None:
        """Make it by this name; None where somebody else's event has that."""
        for _ in range(2):
            try:
                await self._create(namespace, name, spec)
            except Conflict:
                pass
            else:
                return Made.CREATED
            try:
                found = await self._events.get(namespace, name)
            except NotFound:
                continue
            except InvalidEvent:
                return None
            whose = _whose(found, spec, alone=alone)
            if whose is not _Whose.FORGED:
                return Made.EXISTS if whose is _Whose.OURS else None
            log.warning("notice_forged", namespace=namespace, name=name)
            with suppress(NotFound, Conflict):
                await self._events.delete(namespace, name, found.uid)  # nothing was sent for it
        return None

    async def _create(self, namespace: str, name: str, spec: Mapping[str, Any]) -> None:
        await retry_until_available(
            lambda: self._events.create(namespace, name, spec),
            what=f"create event {namespace}/{name}",
            limit=PATIENCE,
            sleep=self._clock.sleep,
        )


class _Whose(Enum):
    """Whose event it is that has a notice's name."""

    OURS = auto()
    FORGED = auto()  # somebody's claim that came to nothing, or will
    THEIRS = auto()  # an event of somebody's own


def _whose(found: Event, spec: Mapping[str, Any], *, alone: bool) -> _Whose:
    """What was sent, or waits for a digest, is the operator's; of the rest, what says the same and has not ended."""
    theirs, ours = found.spec.notice, PipelineEventSpec.model_validate(dict(spec))
    mine, status = ours.notice, found.status
    if theirs is None or mine is None or found.spec.replay_of is not None:
        return _Whose.THEIRS
    if status.reason is Reason.NOT_DUE:
        return _Whose.FORGED
    subject = (found.spec.org_slug, theirs.kind, theirs.destination, theirs.incident, theirs.step)
    alike = subject == (ours.org_slug, mine.kind, mine.destination, mine.incident, mine.step)
    if not alone or status.deliveries or status.batch:
        return _Whose.OURS if alike else _Whose.THEIRS
    same = alike and not status.finished and theirs.content == mine.content and _one_moment(theirs, mine)
    return _Whose.OURS if same else _Whose.FORGED


def _one_moment(theirs: Notice, mine: Notice) -> bool:
    """Whether both tell of one trouble of a channel; what tells of incidents and digests is told apart by its name."""
    if mine.kind is not NoticeKind.CHANNEL or mine.due is None:
        return True
    return theirs.due is not None and abs((theirs.due - mine.due).total_seconds()) < 1.0
