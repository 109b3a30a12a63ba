"""Endpoints that are busy: left alone, probed fairly, and asked no faster than they have shown to accept.

Those whose vendor says how fast they may be asked are not asked faster in the first place, which is as fair.

What counts is the namespace first, then the message: an endpoint that refuses one namespace's messages, or one message,
and takes others is left alone by that namespace, or that message, and not by everybody.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

from pipebell.core.outcome import OutcomeKind
from pipebell.core.policy.settle import Refusal
from pipebell.engine.events.breaker import LONGEST_PAUSE, Breaker, Message
from pipebell.engine.events.pace import TOP, Flow, Limit, Pace
from pipebell.engine.timers import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from pipebell.core.destinations.base import Rate
    from pipebell.core.outcome import Outcome
    from pipebell.core.ports import Clock
    from pipebell.engine.events.breaker import Waiter

FIRST_PAUSE: Final = 5.0  # seconds, doubling
MAX_PAUSE: Final = 3600.0  # whatever the endpoint asks for, or a status says
LEAST_PAUSE: Final = 1.0
PROBE_PATIENCE: Final = 90.0  # seconds for a probe's answer; then another message may probe
OWN_TROUBLE: Final = 5  # refusals of one message while others pass; from this one on they count as attempts
JITTER: Final = 0.1  # the part of a pause that is added at random at most, so that replicas do not come back together
LONGEST_JITTER: Final = 2.0
_FORGOTTEN_AFTER: Final = 600.0
_LOOK: Final = 60.0  # seconds; a clock that was set forward must not make anybody wait either
_MANY: Final = 4096


class Endpoints:
    """Says who may go to a busy endpoint, and wakes those who wait, by uid.

    `jitter` gives numbers from 0 to 1.
    """

    def __init__(self, clock: Clock, wake: Callable[[str], None], jitter: Callable[[], float] = random.random) -> None:
        self._clock, self._wake, self._jitter = clock, wake, jitter
        self._busy: dict[Hashable, Breaker] = {}
        self._flows: dict[Hashable, Flow] = {}
        self._limits: dict[Hashable, Limit] = {}
        self._places: dict[str, set[Hashable]] = {}  # by uid: where it waits, or was refused
        self._closed = False
        self._pruned = 0.0

    def __len__(self) -> int:
        """Endpoints that were busy and are left alone, probed, or have messages waiting."""
        now = self._clock.now()
        return sum(busy.epoch > 0 and (bool(busy.rotation) or now < busy.until) for busy in self._busy.values())

    def admit(self, endpoint: Hashable, who: Waiter, rate: Rate | None = None) -> float | None:
        """None: go. A time (seconds since the epoch): wait, you will be woken; not before that time.

        `rate` is how fast the endpoint's vendor lets it be asked.
        """
        busy = self._busy.get(endpoint)
        if busy is None and rate is None:
            return None
        now = self._clock.now()
        if busy is None or busy.limit is None:
            limit = None if rate is None else self._limit(endpoint, rate, now)
            if busy is None:
                if limit is None or now >= limit.next_at(now):
                    if limit is not None:
                        limit.take(now)
                    return None
                busy = self._busy[endpoint] = Breaker(now, Pace(TOP), epoch=0, probing=False, used=now)
            busy.limit = limit
        busy.use(now)
        lane = busy.lane(who.namespace)
        free = not (busy.rotation or busy.probing) and now >= max(busy.begin(now), lane.not_before)
        if who.uid in busy.admitted or free:
            if who.uid in busy.admitted:
                busy.admitted.discard(who.uid)
            else:
                busy.step(now)
            busy.running[who.uid] = busy.epoch
            self._places.setdefault(who.uid, set()).add(endpoint)
            return None
        own = lane.add(who, 0.0)
        self._wait(endpoint, busy, who)
        return max(busy.until if busy.epoch else busy.begin(now), lane.not_before, own, now)

    def only_paced(self, endpoint: Hashable) -> bool:
        """Whether nothing is the matter with an endpoint but that it is asked as fast as it may be."""
        busy = self._busy.get(endpoint)
        return busy is not None and busy.epoch == 0

    def busy(self, endpoint: Hashable, who: Waiter, outcome: Outcome, refusals: int = 0) -> Refusal:
        """The endpoint refused this message; `refusals` is what an earlier `Refusal` said of it."""
        now = self._clock.now()
        if outcome.accepted:  # for some of its recipients
            self._flow(endpoint, now).count(now)
        busy = self._busy.get(endpoint)
        fresh = busy is None or busy.running.pop(who.uid, 0) == busy.epoch
        if busy is None:
            busy = self._first_refusal(endpoint, now)
        elif busy.epoch == 0:
            busy.pace, busy.passed_since = Pace(), False
            busy.pace.first_refusal(self._flow(endpoint, now).rate(now), now)
        busy.use(now)
        busy.restored = False
        self._places.setdefault(who.uid, set()).add(endpoint)
        message = Message() if outcome.untried else busy.messages.setdefault(who.uid, Message())
        if not (outcome.untried or outcome.accepted) and busy.passed > message.passed:
            refusals += 1
            message.passed = busy.passed
            if refusals >= OWN_TROUBLE:
                busy.end_probe(who.uid)
                return Refusal(now, refusals, counts=True)
        own = now
        if fresh:
            busy.refused_last = who.uid
            own = self._pause(endpoint, busy, who.namespace, message, outcome, now)
        elif outcome.retry_after is not None:
            busy.until = max(busy.until, now + _asked(outcome.retry_after))
        lane = busy.lane(who.namespace)
        lane.add(who, own, last=True)
        self._wait(endpoint, busy, who, last=True)
        busy.end_probe(who.uid)
        return Refusal(max(busy.until, lane.not_before, own), refusals)

    def restore(self, endpoint: Hashable, who: Waiter, until: float, refusals: int = 0) -> None:
        """This message was refused before our restart, and is not to be sent before `until` (at most an hour away).

        So far as nothing else is known, that is so of the endpoint: it is left alone until the first such time.
        """
        now = self._clock.now()
        until = min(until, now + MAX_PAUSE)
        busy = self._busy.get(endpoint)
        if busy is None:
            busy = self._busy[endpoint] = Breaker(now if refusals else until, Pace(), used=now, restored=not refusals)
        elif busy.restored and not refusals:
            busy.until = min(busy.until, until)
        busy.lane(who.namespace).add(who, until, last=True)
        self._wait(endpoint, busy, who)

    def answered(self, endpoint: Hashable, who: Waiter, outcome: Outcome) -> None:
        """The endpoint answered an attempt, or broke it off, with anything but a refusal for being busy."""
        passed = outcome.accepted or outcome.kind in (OutcomeKind.DELIVERED, OutcomeKind.PERMANENT)
        now = self._clock.now()
        if passed:
            self._flow(endpoint, now).count(now)
        busy = self._busy.get(endpoint)
        if busy is None:
            return
        busy.use(now)
        fresh = busy.running.pop(who.uid, None) == busy.epoch
        if passed:
            busy.passed += 1
            busy.passed_since |= fresh
            busy.refused_lanes.clear()
            lane = busy.lane(who.namespace)
            lane.refused, lane.not_before = 0, 0.0
            busy.messages.pop(who.uid, None)
        if fresh and busy.probing:
            busy.probing = False
            busy.pace.start(now)
        busy.end_probe(who.uid)
        busy.changed.set()
        self._forget_recovered(endpoint, busy, now)

    def not_attempted(self, endpoint: Hashable, uid: str) -> None:
        """An attempt that was to go there was not made: if it was the probe, another one is."""
        busy = self._busy.get(endpoint)
        if busy is not None:
            busy.running.pop(uid, None)
            busy.end_probe(uid)

    def forget(self, uid: str) -> None:
        """This event does not wait any more."""
        for endpoint in self._places.pop(uid, ()):
            busy = self._busy.get(endpoint)
            if busy is None:
                continue
            for namespace in tuple(busy.rotation):
                if busy.lanes[namespace].remove(uid):
                    del busy.rotation[namespace]
            busy.messages.pop(uid, None)
            busy.admitted.discard(uid)
            busy.running.pop(uid, None)
            busy.end_probe(uid)

    def close(self) -> None:
        """Stop waking anybody."""
        self._closed = True
        for busy in self._busy.values():
            if busy.task is not None:
                busy.task.cancel()
        self._busy.clear()

    # ------------------------------------------------------------------ pausing

    def _first_refusal(self, endpoint: Hashable, now: float) -> Breaker:
        if now - self._pruned >= _LOOK or now < self._pruned:
            self._pruned = now
            for other, busy in list(self._busy.items()):
                if not busy.rotation and now - busy.used > _FORGOTTEN_AFTER:
                    del self._busy[other]
        made = self._busy[endpoint] = Breaker(now, Pace())
        made.pace.first_refusal(self._flow(endpoint, now).rate(now), now)
        return made

    def _pause(
        self, endpoint: Hashable, busy: Breaker, namespace: str, message: Message, outcome: Outcome, now: float
    ) -> float:
        """Leave the endpoint alone for a while. Returns from when on this message may be sent again."""
        if busy.passed_since:
            busy.pace.refused(self._flow(endpoint, now).rate(now), now)
        busy.epoch += 1
        busy.probing, busy.passed_since = True, False
        lane = busy.lane(namespace)
        busy.refused_lanes.add(namespace)
        lane.refused += 1
        message.refused += 1
        if outcome.retry_after is not None:
            busy.until = max(busy.until, now + self._jittered(_asked(outcome.retry_after)))
            return busy.until
        first = FIRST_PAUSE if outcome.first_pause is None else outcome.first_pause
        longest = LONGEST_PAUSE if outcome.longest_pause is None else outcome.longest_pause
        busy.until = max(busy.until, now + self._jittered(_doubling(len(busy.refused_lanes), first, longest)))
        lane.not_before = now + self._jittered(_doubling(lane.refused, first, longest))
        return now + self._jittered(_doubling(message.refused, first, longest))

    def _jittered(self, seconds: float) -> float:
        return seconds + min(seconds * JITTER, LONGEST_JITTER) * self._jitter()

    # ------------------------------------------------------------------ waiting

    def _wait(self, endpoint: Hashable, busy: Breaker, who: Waiter, *, last: bool = False) -> None:
        self._places.setdefault(who.uid, set()).add(endpoint)
        busy.rotation[who.namespace] = None
        if last:
            busy.rotation.move_to_end(who.namespace)
        busy.changed.set()
        if busy.task is None and not self._closed:
            busy.task = asyncio.create_task(self._release(endpoint, busy))

    async def _release(self, endpoint: Hashable, busy: Breaker) -> None:
        """Wake those who wait, each when it may go."""
        try:
            while busy.rotation:
                now = self._clock.now()
                busy.use(now)
                uid, delay = busy.next(now)
                if uid is None:
                    busy.changed.clear()
                    await wait_for(busy.changed, self._clock, min(delay, _LOOK))
                    continue
                busy.admitted.add(uid)
                busy.step(now)
                if not busy.probing:
                    self._wake(uid)
                    continue
                busy.probe = uid
                busy.answer.clear()
                self._wake(uid)
                await wait_for(busy.answer, self._clock, PROBE_PATIENCE)
                busy.probe = None
        finally:
            busy.task = None
        self._forget_recovered(endpoint, busy, self._clock.now())

    # ------------------------------------------------------------------ remembering

    def _flow(self, endpoint: Hashable, now: float) -> Flow:
        flow = self._flows.get(endpoint)
        if flow is None:
            if len(self._flows) >= _MANY:
                self._flows = {place: kept for place, kept in self._flows.items() if kept.recent(now)}
            flow = self._flows[endpoint] = Flow()
        return flow

    def _limit(self, endpoint: Hashable, rate: Rate, now: float) -> Limit:
        limit = self._limits.get(endpoint)
        if limit is None or limit.rate != rate:
            if len(self._limits) >= _MANY:
                self._limits = {place: kept for place, kept in self._limits.items() if now < kept.full_until}
            limit = self._limits[endpoint] = Limit(rate)
        return limit

    def _forget_recovered(self, endpoint: Hashable, busy: Breaker, now: float) -> None:
        if not (busy.idle and busy.pace.recovered(now)):
            return
        if self._busy.get(endpoint) is busy and busy.task is None:
            del self._busy[endpoint]


def _doubling(times: int, first: float, longest: float) -> float:
    return min(first * 2.0 ** min(times - 1, 32), longest)


def _asked(seconds: float) -> float:
    """What the endpoint asked for, within reason (a NaN is no reason)."""
    return min(max(seconds, LEAST_PAUSE), MAX_PAUSE) if seconds == seconds else FIRST_PAUSE  # noqa: PLR0124  (NaN)
