"""One busy endpoint: who waits for it, in which order, and who may go when.

Namespaces take turns, organisations within each, and the message that was refused last goes last.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pipebell.engine.events.pace import Limit, Pace

LONGEST_PAUSE: Final = 300.0  # seconds, where the endpoint asks for none
_SET_BACK: Final = 60.0  # seconds


class Waiter(NamedTuple):
    """Whose message it is, and its event."""

    namespace: str
    org: str
    uid: str


@dataclass(slots=True)
class Lane:
    """One namespace at one endpoint: organisations take turns. `refused` counts since it last took a message of it."""

    not_before: float = 0.0
    refused: int = 0
    orgs: OrderedDict[str, OrderedDict[str, float]] = field(default_factory=OrderedDict)  # uids, and not before when

    def add(self, who: Waiter, not_before: float, *, last: bool = False) -> float:
        """Let it wait, unless it does; `last`: behind all others in any case. Returns not before when."""
        waiting = self.orgs.setdefault(who.org, OrderedDict())
        if last:
            waiting.pop(who.uid, None)
            self.orgs.move_to_end(who.org)
        return waiting.setdefault(who.uid, not_before)

    def remove(self, uid: str) -> bool:
        """It does not wait any more. Whether that leaves nobody in this lane."""
        for org, waiting in self.orgs.items():
            if waiting.pop(uid, None) is not None:
                if waiting:
                    self.orgs.move_to_end(org)
                else:
                    del self.orgs[org]
                break
        return not self.orgs

    def at_once(self) -> None:
        """Nobody waits for a time any more."""
        self.not_before = 0.0
        for waiting in self.orgs.values():
            waiting.update(dict.fromkeys(waiting, 0.0))

    def next(self, now: float, refused_last: str | None) -> tuple[str | None, float]:
        """Whose turn it is here, or nobody's and when that changes. Whoever was refused last goes last."""
        if now < self.not_before:
            return None, self.not_before
        soonest, last = float("inf"), None
        for waiting in self.orgs.values():
            for uid, not_before in waiting.items():
                if now < not_before:
                    soonest = min(soonest, not_before)
                elif uid == refused_last:
                    last = uid
                else:
                    return uid, now
        return last, now if last else soonest


@dataclass(slots=True)
class Message:
    """One message that was refused: how often in a row, and how many others had passed by then."""

    refused: int = 0
    passed: int = -1


@dataclass(slots=True)
class Breaker:
    """A circuit breaker: an endpoint that has refused something, or (`epoch` 0) only must not be asked too fast.

    `epoch` grows each time that it opens, which is until `until`: what was admitted before says nothing new. While it
    is half open (`probing`), one message at a time is admitted, and its answer decides. `admitted` are those that were
    woken to go, `running` those under way, with the epoch of each. `limit` is the vendor's, where that says anything.
    """

    until: float
    pace: Pace
    epoch: int = 1
    probing: bool = True
    probe: str | None = None
    refused_last: str | None = None
    passed: int = 0
    passed_since: bool = False
    used: float = 0.0
    lanes: dict[str, Lane] = field(default_factory=dict)
    rotation: OrderedDict[str, None] = field(default_factory=OrderedDict)  # lanes in which somebody waits
    refused_lanes: set[str] = field(default_factory=set)  # since anybody's message was taken
    messages: dict[str, Message] = field(default_factory=dict)
    admitted: set[str] = field(default_factory=set)
    running: dict[str, int] = field(default_factory=dict)
    limit: Limit | None = None
    restored: bool = False
    """All that is known is what an earlier process wrote down."""
    answer: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def lane(self, namespace: str) -> Lane:
        """That of a namespace; a new one, where there is none yet."""
        return self.lanes.setdefault(namespace, Lane())

    def take(self, namespace: str, uid: str) -> None:
        """This one goes now; the next turn is another namespace's."""
        if self.lanes[namespace].remove(uid):
            self.rotation.pop(namespace, None)
        else:
            self.rotation.move_to_end(namespace)

    def begin(self, now: float) -> float:
        """Not before when anything goes there (seconds since the epoch)."""
        first = self.until if self.probing else max(self.until, self.pace.next_at)
        return first if self.limit is None else max(first, self.limit.next_at(now))

    def step(self, now: float) -> None:
        """One message goes now."""
        if not self.probing:
            self.pace.step(now)
        if self.limit is not None:
            self.limit.take(now)

    def use(self, now: float) -> None:
        """It is `now`. A clock that was set back must not make anybody wait for what it showed before."""
        if now < self.used - _SET_BACK:
            self.until = self.pace.next_at = now
            for lane in self.lanes.values():
                lane.at_once()
        self.used = now

    def next(self, now: float) -> tuple[str | None, float]:
        """Who may go now, taken out of the queue; or nobody, and after how many seconds to look again."""
        begin = self.begin(now)
        if now < begin:
            return None, begin - now
        soonest = now + LONGEST_PAUSE
        last: str | None = None  # the namespace of the message that was refused last: any other one goes before
        for namespace in self.rotation:
            uid, when = self.lanes[namespace].next(now, self.refused_last)
            if uid is None:
                soonest = min(soonest, when)
            elif uid == self.refused_last:
                last = namespace
            else:
                self.take(namespace, uid)
                return uid, 0.0
        if last is not None and self.refused_last is not None:
            self.take(last, self.refused_last)
            return self.refused_last, 0.0
        return None, max(soonest - now, 0.001)

    def end_probe(self, uid: str) -> None:
        """This message is no probe any more: another one may be."""
        if self.probe == uid:
            self.probe = None
            self.answer.set()

    @property
    def idle(self) -> bool:
        """Whether nobody waits, and nothing of it is undecided."""
        return not (self.rotation or self.admitted or self.probing or self.messages)
