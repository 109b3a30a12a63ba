"""Who says whether a notice is due: for each kind, the part of the operator that makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pipebell.core.policy.facts import NOBODY_ASKED

if TYPE_CHECKING:
    from pipebell.core.event import Event
    from pipebell.core.policy.facts import Claim
    from pipebell.core.policy.situation import Resolved
    from pipebell.core.vocabulary import NoticeKind


class Judge(Protocol):
    """Knows what is due, from its own state and from the event's namespace only."""

    async def judge(self, event: Event, resolved: Resolved) -> Claim:
        """What there is to say of this notice now. Asked before every round of attempts. Raises ApiErrors."""


class Judges:
    """One judge for each kind of notice. What nobody judges is not due."""

    def __init__(self) -> None:
        self._judges: dict[NoticeKind, Judge] = {}

    def subscribe(self, kind: NoticeKind, judge: Judge) -> None:
        """This one judges notices of this kind from now on."""
        self._judges[kind] = judge

    async def judge(self, event: Event, resolved: Resolved) -> Claim:
        """What its judge says of a notice."""
        notice = event.spec.notice
        judge = self._judges.get(notice.kind) if notice is not None else None
        return NOBODY_ASKED if judge is None else await judge.judge(event, resolved)
