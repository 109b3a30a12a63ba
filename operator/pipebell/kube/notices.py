"""Kubernetes Events about our objects: what `kubectl describe` shows (implements `pipebell.engine.ports.Notices`)."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from pipebell.core.errors import ApiError
from pipebell.core.status import clip, rfc3339
from pipebell.core.vocabulary import API_VERSION
from pipebell.kube.paths import PLURALS, core
from pipebell.kube.patience import patiently

if TYPE_CHECKING:
    from pipebell.kube.client import ApiClient
    from pipebell.kube.clock import Clock

_log = structlog.get_logger(__name__)

WINDOW: Final = 600.0  # seconds in which equal notices become one
RATE: Final = 5.0  # Events a second
BURST: Final = 50.0
WAITING: Final = 1_000  # Events that may wait; further ones are dropped
SERIES: Final = 4_096  # different notices remembered
_SWEEP: Final = 60.0  # seconds
_PATIENCE: Final = 30.0  # seconds


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


class KubeNotices:
    """Warnings as core/v1 Events, posted in the background by `run`.

    The first of equal ones is posted at once; those of the next 10 minutes become one more Event with a count. At
    most 5 a second after a burst of 50, by `clock`. A notice is never worth a delay or a failure of what it is about.
    """

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._queue: asyncio.Queue[_Post] = asyncio.Queue(WAITING)
        self._series: OrderedDict[_Notice, _Series] = OrderedDict()
        self._dropped = 0
        self._tokens, self._filled = BURST, clock.now()

    def warn(self, kind: str, namespace: str, name: str, uid: str, reason: str, message: str) -> None:  # noqa: PLR0913  (the Protocol's)
        """Post a Warning in the background. Never blocks, never raises."""
        notice = _Notice(kind, namespace, name, uid, reason, clip(message))
        now = self._clock.now()
        series = self._series.get(notice)
        if series is None:
            self._series[notice] = _Series(until=now + WINDOW)
            while len(self._series) > SERIES:
                self._series.popitem(last=False)
            self._enqueue(_Post(notice, 1, now, now))
            return
        series.held += 1
        series.first = series.first or now
        series.last = now
        if now >= series.until:
            self._release(notice, series, now)

    async def run(self) -> None:
        """Post until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._post_forever())
            tasks.create_task(self._sweep_forever())

    def _release(self, notice: _Notice, series: _Series, now: float) -> None:
        """Post what was held back, and begin the next window."""
        self._enqueue(_Post(notice, series.held, series.first, series.last))
        self._series[notice] = _Series(until=now + WINDOW)
        self._series.move_to_end(notice)

    def _enqueue(self, post: _Post) -> None:
        try:
            self._queue.put_nowait(post)
        except asyncio.QueueFull:
            self._dropped += 1
            if self._dropped % 100 == 1:
                _log.warning("notices_dropped", dropped=self._dropped, why="more Kubernetes Events than may be posted")

    async def _sweep_forever(self) -> None:
        while True:
            await self._clock.sleep(_SWEEP)
            now = self._clock.now()
            for notice, series in [entry for entry in self._series.items() if now >= entry[1].until]:
                if series.held:
                    self._release(notice, series, now)
                else:
                    del self._series[notice]

    async def _post_forever(self) -> None:
        while True:
            post = await self._queue.get()
            await self._turn()
            path = core("events", post.notice.namespace or "default")
            body = _body(post)
            try:
                await patiently(
                    lambda path=path, body=body: self._client.request("POST", path, body=body),  # type: ignore[misc]
                    what="post notice",
                    limit=_PATIENCE,
                    sleep=self._clock.sleep,
                )
            except ApiError as error:
                _log.warning("notice_not_posted", reason=post.notice.reason, error=str(error))
            except Exception:  # noqa: BLE001  (nothing ends the posting of the next one)
                _log.exception("notice_not_posted", reason=post.notice.reason)

    async def _turn(self) -> None:
        """Wait for the next token of a bucket that holds BURST and fills by RATE."""
        now = self._clock.now()
        self._tokens = min(BURST, self._tokens + (now - self._filled) * RATE)
        self._filled = now
        if self._tokens < 1.0:
            await self._clock.sleep((1.0 - self._tokens) / RATE)
            self._tokens += (self._clock.now() - self._filled) * RATE
            self._filled = self._clock.now()
        self._tokens -= 1.0


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
