"""Kubernetes Events about our objects: what `kubectl describe` shows (implements `pipebell.engine.ports.Notices`)."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from pipebell.core.errors import ApiError
from pipebell.core.status import clip, rfc3339
from pipebell.core.vocabulary import API_VERSION
from pipebell.kube.paths import PLURALS, core
from pipebell.retry import retry_until_available

if TYPE_CHECKING:
    from pipebell.core.ports import Clock
    from pipebell.kube.client import ApiClient

_log = structlog.get_logger(__name__)

WINDOW: Final = 600.0  # seconds in which equal notices become one
RATE: Final = 5.0  # Events a second
BURST: Final = 50.0
WAITING: Final = 1_000  # Events that may wait; further ones are dropped
SERIES: Final = 4_096  # different notices remembered
# The same for one namespace: what it causes must not use up what the others' Events need.
NAMESPACE_RATE: Final = 1.0
NAMESPACE_BURST: Final = 10.0
NAMESPACE_WAITING: Final = 100
NAMESPACE_SERIES: Final = 256
AT_ONCE: Final = 8  # Events posted at the same time, one of each namespace: a slow webhook is its namespace's trouble
_SWEEP: Final = 60.0  # seconds
_PATIENCE: Final = 30.0  # seconds
_ROUNDING: Final = 1e-6  # tokens: the clock's fractions must not ask for a wait of no time


class _Notice(NamedTuple):
    kind: str
    namespace: str
    name: str
    uid: str
    reason: str
    message: str


@dataclass(slots=True)
class _Series:
    """Equal notices: one was posted, later ones are held until the window ends."""

    until: float
    held: int = 0
    first: float = 0.0
    last: float = 0.0


class _Post(NamedTuple):
    notice: _Notice
    times: int
    first: float
    last: float


class _Bucket:
    """Tokens: `burst` at first, and `rate` more a second."""

    __slots__ = ("_burst", "_filled", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._tokens, self._filled = burst, now

    def wait(self, now: float) -> float:
        """Seconds until there is a token; 0 when there is one."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._filled) * self._rate)
        self._filled = now
        missing = 1.0 - self._tokens
        return missing / self._rate if missing > _ROUNDING else 0.0

    def take(self) -> None:
        """Use one; `wait` has said that there is one."""
        self._tokens -= 1.0

    def full(self, now: float) -> bool:
        """Whether it is as it was at first."""
        self.wait(now)
        return self._tokens >= self._burst


class _Desk:
    """One namespace's notices."""

    __slots__ = ("bucket", "posting", "series", "waiting")

    def __init__(self, now: float) -> None:
        self.series: OrderedDict[_Notice, _Series] = OrderedDict()
        self.waiting: deque[_Post] = deque()
        self.bucket = _Bucket(NAMESPACE_RATE, NAMESPACE_BURST, now)
        self.posting = False

    def idle(self, now: float) -> bool:
        """Whether nothing would be lost if it were forgotten."""
        return not (self.series or self.waiting or self.posting) and self.bucket.full(now)


class KubeNotices:
    """Warnings as core/v1 Events, posted in the background by `run`.

    The first of equal ones is posted at once; those of the next 10 minutes become one more Event with a count. At
    most 5 a second after a burst of 50, of one namespace 1 a second after 10; namespaces take turns. Times are by
    `clock`. A notice is never worth a delay or a failure of what it is about.
    """

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._desks: dict[str, _Desk] = {}
        self._turns: deque[str] = deque()  # namespaces with something to post
        self._bucket = _Bucket(RATE, BURST, clock.now())
        self._waiting = self._remembered = self._posting = self._dropped = 0
        self._changed = asyncio.Event()

    def warn(self, kind: str, namespace: str, name: str, uid: str, reason: str, message: str) -> None:
        """Post a Warning in the background. Never blocks, never raises."""
        notice = _Notice(kind, namespace, name, uid, reason, clip(message))
        now = self._clock.now()
        desk = self._desks.get(namespace)
        if desk is None:
            desk = self._desks[namespace] = _Desk(now)
        series = desk.series.get(notice)
        if series is None:
            desk.series[notice] = _Series(until=now + WINDOW)
            self._remembered += 1
            self._forget_oldest(desk)
            self._enqueue(_Post(notice, 1, now, now), desk)
            return
        series.held += 1
        series.first = series.first or now
        series.last = now
        if now >= series.until:
            self._release(notice, series, desk, now)

    async def run(self) -> None:
        """Post until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._post_forever(tasks))
            tasks.create_task(self._sweep_forever())

    def _forget_oldest(self, desk: _Desk) -> None:
        """Keep what is remembered within bounds: of this namespace, and at the cost of whoever has most."""
        if len(desk.series) <= NAMESPACE_SERIES:
            if self._remembered <= SERIES:
                return
            desk = max(self._desks.values(), key=lambda other: len(other.series))
        desk.series.popitem(last=False)
        self._remembered -= 1

    def _release(self, notice: _Notice, series: _Series, desk: _Desk, now: float) -> None:
        """Post what was held back, and begin the next window."""
        self._enqueue(_Post(notice, series.held, series.first, series.last), desk)
        desk.series[notice] = _Series(until=now + WINDOW)
        desk.series.move_to_end(notice)

    def _enqueue(self, post: _Post, desk: _Desk) -> None:
        if len(desk.waiting) >= NAMESPACE_WAITING:
            self._drop()
            return
        if self._waiting >= WAITING:  # whoever has most waiting loses the newest of it
            fullest = max(self._desks.values(), key=lambda other: len(other.waiting))
            self._drop()
            if len(fullest.waiting) <= len(desk.waiting) + 1:
                return
            fullest.waiting.pop()
            self._waiting -= 1
        desk.waiting.append(post)
        self._waiting += 1
        if len(desk.waiting) == 1:
            self._turns.append(post.notice.namespace)
        self._changed.set()

    def _drop(self) -> None:
        self._dropped += 1
        if self._dropped % 100 == 1:
            _log.warning("notices_dropped", dropped=self._dropped, reason="more Kubernetes Events than may be posted")

    async def _sweep_forever(self) -> None:
        while True:
            await self._clock.sleep(_SWEEP)
            now = self._clock.now()
            for namespace, desk in list(self._desks.items()):
                for notice, series in [entry for entry in desk.series.items() if now >= entry[1].until]:
                    if series.held:
                        self._release(notice, series, desk, now)
                    else:
                        del desk.series[notice]
                        self._remembered -= 1
                if desk.idle(now):
                    del self._desks[namespace]

    async def _post_forever(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            self._changed.clear()
            wait = self._start_due(tasks)
            if wait is None:
                await self._changed.wait()
                continue
            ways = {asyncio.ensure_future(self._clock.sleep(wait)), asyncio.ensure_future(self._changed.wait())}
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()

    def _start_due(self, tasks: asyncio.TaskGroup) -> float | None:
        """Start posting whatever may be posted now. Seconds until more may be; None when a change decides that."""
        now = self._clock.now()
        soonest: float | None = None
        for _ in range(len(self._turns)):
            if self._posting >= AT_ONCE:
                return None
            if (wait := self._bucket.wait(now)) > 0:
                return wait
            namespace = self._turns.popleft()
            desk = self._desks[namespace]
            self._turns.append(namespace)
            if desk.posting:
                continue
            if (wait := desk.bucket.wait(now)) > 0:
                soonest = wait if soonest is None else min(soonest, wait)
                continue
            self._bucket.take()
            desk.bucket.take()
            post = desk.waiting.popleft()
            if not desk.waiting:
                self._turns.remove(namespace)
            self._waiting -= 1
            self._posting += 1
            desk.posting = True
            tasks.create_task(self._post(post, desk))
        return soonest

    async def _post(self, post: _Post, desk: _Desk) -> None:
        path = core("events", post.notice.namespace or "default")
        body = _body(post)
        try:
            await retry_until_available(
                lambda: self._client.request("POST", path, body=body),
                what="post notice",
                limit=_PATIENCE,
                sleep=self._clock.sleep,
            )
        except ApiError as error:
            _log.warning("notice_not_posted", reason=post.notice.reason, error=str(error))
        except Exception:  # noqa: BLE001  (a surprise must not end the posting of the next one)
            _log.exception("notice_not_posted", reason=post.notice.reason)
        finally:
            desk.posting = False
            self._posting -= 1
            self._changed.set()


def _body(post: _Post) -> dict[str, Any]:
    notice = post.notice
    namespace = notice.namespace or "default"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        # The same shape as client-go's names: the object's and something unique.
        "metadata": {"namespace": namespace, "name": f"{notice.name[:230].rstrip('.-')}.{secrets.token_hex(8)}"},
        "involvedObject": {
            "apiVersion": API_VERSION if notice.kind in PLURALS else "v1",
            "kind": notice.kind,
            "namespace": notice.namespace,
            "name": notice.name,
            "uid": notice.uid,
        },
        "type": "Warning",
        "reason": notice.reason,
        "message": notice.message,
        "count": post.times,
        "firstTimestamp": _whole_seconds(post.first),
        "lastTimestamp": _whole_seconds(post.last),
        "source": {"component": "pipebell"},
        "reportingComponent": "pipebell",
        "reportingInstance": "",
    }


def _whole_seconds(moment: float) -> str:
    """These two fields are metav1.Time, which has no fractions."""
    return rfc3339(float(int(moment))).replace(".000Z", "Z")
