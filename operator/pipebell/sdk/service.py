"""`NotificationService`: one coroutine per type of event, which tells the cluster and never bothers the pipeline."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.vocabulary import EventType
from pipebell.sdk import log
from pipebell.sdk.delivery import State
from pipebell.sdk.receipt import TIMEOUT, More, Receipt
from pipebell.sdk.record import Draft
from pipebell.sdk.sync import SyncNotificationService

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Mapping
    from typing import Unpack

    from pipebell.sdk.call import Call
    from pipebell.sdk.sender import Sender

_LONGEST: Final = 86_400.0  # seconds
_READ: Final = (
    "links",
    "severity",
    "occurred_at",
    "owner",
    "labels",
    "attempt",
    "max_attempts",
)  # of `More`: what becomes part of the event


class NotificationService:
    """Tells the cluster what happened to a pipeline.

    No method raises or takes longer than its timeout (2 s by default): what the API server does not take in time is
    kept on disk and sent later, under the same name, so that nothing is lost or sent twice. Each returns a `Receipt`,
    which may be ignored. Get one by `get_notification_service()`.
    """

    def __init__(self, sender: Sender, *, namespace: str | None = None, timeout: float = TIMEOUT) -> None:
        self._sender = sender
        self._namespace = namespace
        self._timeout = _seconds(timeout, TIMEOUT)

    @property
    def sync(self) -> SyncNotificationService:
        """The same for code that is not asynchronous."""
        return SyncNotificationService(self)

    def clear_cache(self, org_slug: str | None = None) -> None:
        """Do nothing: configuration is always current. It stays for those who called the file-based system's."""

    def flush(self, timeout: float = TIMEOUT) -> int:
        """Wait for calls under way and try to empty the spool; how many events still wait on disk. Blocks."""
        self._sender.close(_seconds(timeout, TIMEOUT))
        return len(self._sender.spool)

    async def notify_pipeline_failure(
        self,
        org_slug: str | None = None,
        pipeline_id: str | None = None,
        pipeline_logging_id: str | None = None,
        error_message: object = None,
        details: Mapping[str, Any] | None = None,
        **more: Unpack[More],
    ) -> Receipt:
        """A pipeline failed or timed out (severity error)."""
        return await self.notify(
            EventType.PIPELINE_FAILURE, org_slug, pipeline_id, pipeline_logging_id, error_message, details, **more
        )

    async def notify_pipeline_success(
        self,
        org_slug: str | None = None,
        pipeline_id: str | None = None,
        pipeline_logging_id: str | None = None,
        error_message: object = None,
        details: Mapping[str, Any] | None = None,
        **more: Unpack[More],
    ) -> Receipt:
        """A pipeline completed successfully (severity info)."""
        return await self.notify(
            EventType.PIPELINE_SUCCESS, org_slug, pipeline_id, pipeline_logging_id, error_message, details, **more
        )

    async def notify_pipeline_started(
        self,
        org_slug: str | None = None,
        pipeline_id: str | None = None,
        pipeline_logging_id: str | None = None,
        error_message: object = None,
        details: Mapping[str, Any] | None = None,
        **more: Unpack[More],
    ) -> Receipt:
        """A pipeline began (severity info)."""
        return await self.notify(
            EventType.PIPELINE_STARTED, org_slug, pipeline_id, pipeline_logging_id, error_message, details, **more
        )

    async def notify_data_quality_failure(
        self,
        org_slug: str | None = None,
        pipeline_id: str | None = None,
        pipeline_logging_id: str | None = None,
        error_message: object = None,
        details: Mapping[str, Any] | None = None,
        **more: Unpack[More],
    ) -> Receipt:
        """Data quality checks failed (severity warning)."""
        return await self.notify(
            EventType.DATA_QUALITY_FAILURE, org_slug, pipeline_id, pipeline_logging_id, error_message, details, **more
        )

    async def notify_data_quality_warning(
        self,
        org_slug: str | None = None,
        pipeline_id: str | None = None,
        pipeline_logging_id: str | None = None,
        error_message: object = None,
        details: Mapping[str, Any] | None = None,
        **more: Unpack[More],
    ) -> Receipt:
        """Data quality checks were degraded (severity warning)."""
        return await self.notify(
            EventType.DATA_QUALITY_WARNING, org_slug, pipeline_id, pipeline_logging_id, error_message, details, **more
        )

    async def notify_rate_limit_exceeded(
        self,
        org_slug: str | None = None,
        pipeline_id: str | None = None,
        pipeline_logging_id: str | None = None,
        error_message: object = None,
        details: Mapping[str, Any] | None = None,
        **more: Unpack[More],
    ) -> Receipt:
        """A rate limit was exceeded (severity warning)."""
        return await self.notify(
            EventType.RATE_LIMIT_EXCEEDED, org_slug, pipeline_id, pipeline_logging_id, error_message, details, **more
        )

    async def notify_system_error(
        self,
        org_slug: str | None = None,
        pipeline_id: str | None = None,
        pipeline_logging_id: str | None = None,
        error_message: object = None,
        details: Mapping[str, Any] | None = None,
        **more: Unpack[More],
    ) -> Receipt:
        """Something outside the pipeline broke (severity critical)."""
        return await self.notify(
            EventType.SYSTEM_ERROR, org_slug, pipeline_id, pipeline_logging_id, error_message, details, **more
        )

    async def notify(
        self,
        event: str,
        org_slug: str | None = None,
        pipeline_id: str | None = None,
        pipeline_logging_id: str | None = None,
        error_message: object = None,
        details: Mapping[str, Any] | None = None,
        **more: Unpack[More],
    ) -> Receipt:
        """An event of the type that `event` names: what all other methods do. Without `org_slug`: PIPEBELL_ORG's."""
        import asyncio  # noqa: PLC0415  (the caller has it; synchronous programs never need it)

        call = self._begin(event, org_slug, pipeline_id, pipeline_logging_id, error_message, details, more)
        if isinstance(call, Receipt) or _at_once(more):
            return call if isinstance(call, Receipt) else _receipt(call)
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        call.then(lambda: _tell(loop, ended))
        for until, then in self._stages(call):
            if await _within(ended, until - time.monotonic()):
                break
            then(call)
        return _receipt(call)

    def notify_blocking(
        self,
        event: str,
        org_slug: str | None = None,
        pipeline_id: str | None = None,
        pipeline_logging_id: str | None = None,
        error_message: object = None,
        details: Mapping[str, Any] | None = None,
        **more: Unpack[More],
    ) -> Receipt:
        """As `notify`, for code that is not asynchronous."""
        call = self._begin(event, org_slug, pipeline_id, pipeline_logging_id, error_message, details, more)
        if isinstance(call, Receipt) or _at_once(more):
            return call if isinstance(call, Receipt) else _receipt(call)
        for until, then in self._stages(call):
            if call.wait(until):
                break
            then(call)
        return _receipt(call)

    def _stages(self, call: Call) -> Iterator[tuple[float, Callable[[Call], object]]]:
        """Until when a caller waits, and what happens if the call has not ended by then."""
        if not call.ready:
            yield call.ready_by, self._sender.hurry
        yield call.deadline, self._sender.overdue
        yield call.over, lambda _: None

    def _begin(
        self,
        event: str,
        org_slug: object,
        pipeline_id: object,
        pipeline_logging_id: object,
        error_message: object,
        details: object,
        more: More,
    ) -> Call | Receipt:
        try:
            if unknown := sorted(more.keys() - More.__annotations__.keys()):
                log.warning("pipebell: %s left out: there are no such arguments", ", ".join(unknown))
            org = os.environ.get("PIPEBELL_ORG") if org_slug is None or org_slug == "" else org_slug
            draft = Draft(
                event,
                org or "",
                created=time.time(),
                namespace=self._namespace,
                dedup_key=more.get("dedup_key"),
                pipeline_id=pipeline_id,
                pipeline_logging_id=pipeline_logging_id,
                error_message=error_message,
                details=details,
                **{key: more.get(key) for key in _READ},
            )
            if not org:
                return _receipt(self._sender.refuse(draft, "org_slug is missing: give it, or set PIPEBELL_ORG"))
            return self._sender.submit(draft, _seconds(more.get("timeout"), self._timeout))
        except Exception as error:  # noqa: BLE001  (never into the pipeline)
            log.exception("pipebell: an event cannot be sent")
            return Receipt(State.LOST, "", f"unexpected {type(error).__name__}")


def _at_once(more: More) -> bool:
    return more.get("wait", True) is False


def _seconds(value: object, default: float) -> float:
    """A number of seconds, whatever was given."""
    if value is None:
        return default
    try:
        seconds = float(value)  # type: ignore[arg-type]  # (words are caught)
    except Exception:  # noqa: BLE001  (foreign code)
        seconds = -1.0
    if not seconds >= 0:  # NaN is not
        log.warning("pipebell: timeout left out: it is no number of seconds, 0 or more")
        return default
    return min(seconds, _LONGEST)


def _receipt(call: Call) -> Receipt:
    result = call.result
    return Receipt(result.state, call.draft.name, result.reason)


async def _within(ended: asyncio.Event, seconds: float) -> bool:
    """Whether it ended within `seconds`."""
    import asyncio  # noqa: PLC0415

    try:
        await asyncio.wait_for(ended.wait(), max(seconds, 0))
    except (TimeoutError, asyncio.TimeoutError):  # two of them until Python 3.11
        return False
    return True


def _tell(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
        loop.call_soon_threadsafe(ended.set)
