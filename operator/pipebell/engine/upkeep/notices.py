"""Makes events for what the operator itself has to tell. Their names follow from what they tell, so each is made once.

AlreadyExists is harmless only while the first one exists: what is older than an event may get is not made any more,
and retention keeps notices for longer than that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

import structlog

from pipebell.core.errors import Conflict, InvalidEvent, NotFound, Rejected
from pipebell.core.status import clip
from pipebell.core.vocabulary import NoticeKind, Reason
from pipebell.retry import retry_until_available

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.engine.ports import Ports

PATIENCE: Final = 30.0  # seconds for which an API server that is away is asked again
# Made late by design: their members guard them, and go first.
_NEVER_TOO_OLD: Final = frozenset({NoticeKind.DIGEST, NoticeKind.CATCH_UP, NoticeKind.STORM})

log = structlog.get_logger(__name__)


class Made(Enum):
    """What became of making a notice."""

    CREATED = auto()
    EXISTS = auto()  # one of this name is there: this replica or another has made it before
    TOO_OLD = auto()  # the moment that it tells of is longer ago than an event may get old
    REFUSED = auto()  # the API will not have it: a quota, a policy, a namespace that terminates, older definitions


@dataclass(frozen=True, slots=True)
class Making:
    """The same, and why it was refused. A refusal must not be retried at once."""

    made: Made
    message: str = ""

    @property
    def there(self) -> bool:
        """Whether the event is there now."""
        return self.made in (Made.CREATED, Made.EXISTS)


class NoticeMaker:
    """Creates notices. `max_age` is the seconds that an event may get old before it is sent."""

    def __init__(self, ports: Ports, max_age: float) -> None:
        self._events, self._clock, self._max_age = ports.events, ports.clock, max_age

    async def make(self, namespace: str, name: str, spec: Mapping[str, Any], moment: float) -> Making:
        """Create the event unless it exists; `spec` is in the API's spelling and has `notice` in it.

        `moment` is when what it tells of was due (seconds since the epoch). Raises Unavailable when the API must be
        asked later.
        """
        kind = NoticeKind(spec["notice"]["kind"])
        if kind not in _NEVER_TOO_OLD and self._clock.now() - moment > self._max_age:
            return Making(Made.TOO_OLD)
        try:
            try:
                await self._create(namespace, name, spec)
            except Conflict:
                if kind in _NEVER_TOO_OLD or not await self._made_room(namespace, name):
                    raise  # the makers of those see to it themselves
                await self._create(namespace, name, spec)
        except Conflict:
            return Making(Made.EXISTS)
        except (Rejected, NotFound) as error:
            log.warning("notice_refused", namespace=namespace, name=name, kind=kind.value, error=str(error))
            return Making(Made.REFUSED, clip(str(error)))
        log.info("notice_made", namespace=namespace, name=name, kind=kind.value)
        return Making(Made.CREATED)

    async def _create(self, namespace: str, name: str, spec: Mapping[str, Any]) -> None:
        await retry_until_available(
            lambda: self._events.create(namespace, name, spec),
            what=f"create event {namespace}/{name}",
            limit=PATIENCE,
            sleep=self._clock.sleep,
        )

    async def _made_room(self, namespace: str, name: str) -> bool:
        """Whether the event of this name was a claim that came to nothing; then it goes: nothing was sent for it."""
        try:
            found = await self._events.get(namespace, name)
            if found.spec.notice is None or found.status.reason is not Reason.NOT_DUE:
                return False
            log.warning("notice_forged", namespace=namespace, name=name)
            await self._events.delete(namespace, name, found.uid)
        except NotFound:
            return True
        except (InvalidEvent, Conflict, Rejected):
            return False
        return True
