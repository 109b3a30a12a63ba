"""Who says whether a notice is due: for each kind, the part of the operator that makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pipebell.core.errors import InvalidEvent, NotFound
from pipebell.core.policy.facts import NOBODY_ASKED
from pipebell.core.policy.names import tried_before

if TYPE_CHECKING:
    from pipebell.core.event import Event
    from pipebell.core.policy.facts import Claim
    from pipebell.core.policy.situation import Resolved
    from pipebell.core.vocabulary import NoticeKind
    from pipebell.engine.ports import Events


class Judge(Protocol):
    """Knows what is due, from its own state and from the event's namespace only."""

    async def judge(self, event: Event, resolved: Resolved) -> Claim:
        """What there is to say of this notice now. Asked before every round of attempts. Raises ApiErrors."""


class Judges:
    """One judge for each kind of notice. What nobody judges is not due."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._judges: dict[NoticeKind, Judge] = {}

    def subscribe(self, kind: NoticeKind, judge: Judge) -> None:
        """This one judges notices of this kind from now on."""
        self._judges[kind] = judge

    async def judge(self, event: Event, resolved: Resolved) -> Claim:
        """What its judge says of a notice."""
        notice = event.spec.notice
        judge = self._judges.get(notice.kind) if notice is not None else None
        if judge is None or not await self._may_be_called_so(event):
            return NOBODY_ASKED
        return await judge.judge(event, resolved)

    async def _may_be_called_so(self, event: Event) -> bool:
        """Whether a name that is not its first one is right: only where somebody else's events have those before."""
        if event.status.deliveries:
            return True
        for name in tried_before(event.name):
            try:
                found = await self._events.get(event.namespace, name)
            except (NotFound, InvalidEvent):
                continue
            if found.spec.notice is not None and found.spec.replay_of is None:
                return False
        return True
