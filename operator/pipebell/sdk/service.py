"""`NotificationService`: one coroutine per type of event, which tells the cluster and never bothers the pipeline."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.vocabulary import EventType
from pipebell.sdk.delivery import State
from pipebell.sdk.receipt import Receipt
from pipebell.sdk.record import make

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping
    from typing import Unpack

    from pipebell.sdk.call import Call
    from pipebell.sdk.receipt import More
    from pipebell.sdk.sender import Sender
    from pipebell.sdk.sync import SyncNotificationService

log = logging.getLogger("pipebell")

TIMEOUT: Final = 2.0  # seconds


class NotificationService:
    """Tells the cluster what happened to a pipeline.

    No method raises or takes longer than its timeout (2 s by default): what the API server does not take in time is
    kept on disk and sent later, under the same name, so that nothing is lost or told twice. Each returns a `Receipt`,
    which may be ignored. Get one by `get_notification_service()`.
    """

    def __init__(self, sender: Sender, *, namespace: str | None = None, timeout: float = TIMEOUT) -> None:
        self._sender = sender
        self._namespace = namespace
        self._timeout = timeout

    @property
    def sync(self) -> SyncNotificationService:
        """The same for code that is not asynchronous."""
        from pipebell.sdk.sync import SyncNotificationService  # noqa: PLC0415  (it imports this module)

        return SyncNotificationService(self)

    def clear_cache(self, org_slug: str | None = None) -> None:
        """Do nothing: configuration is always current. It stays for those who called the file-based system's."""

    def flush(self, timeout: float = TIMEOUT) -> int:
        """Wait for calls under way and try to empty the spool; how many events still wait on disk. Blocks."""
        self._sender.close(timeout)
        return len(self._sender.spool)

    async def notify_pipeline_failure(
        self,
        org_slug: str,
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
        org_slug: str,
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
        org_slug: str,
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
        org_slug: str,
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
        org_slug: str,
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
        org_slug: str,
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
        org_slug: str,
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
        org_slug: str,
        pipeline_id: str | None = None,
        pipeline_logging_id: str | None = None,
        error_message: object = None,
        details: Mapping[str, Any] | None = None,
        **more: Unpack[More],
    ) -> Receipt:
        """An event of the type that `event` names: what all other methods do."""
        import asyncio  # noqa: PLC0415  (the caller has it; synchronous programs never need it)

        call = self._begin(event, org_slug, pipeline_id, pipeline_logging_id, error_message, details, more)
        if isinstance(call, Receipt):
            return call
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        call.then(lambda: _tell(loop, ended))
        began = time.monotonic()
        if not await _within(ended, call.deadline - began):
            self._sender.overdue(call)
            await _within(ended, began + call.timeout - time.monotonic())
        return _receipt(call)

    def notify_blocking(
        self,
        event: str,
        org_slug: str,
        pipeline_id: str | None = None,
        pipeline_logging_id: str | None = None,
        error_message: object = None,
        details: Mapping[str, Any] | None = None,
        **more: Unpack[More],
    ) -> Receipt:
        """As `notify`, for code that is not asynchronous."""
        began = time.monotonic()
        call = self._begin(event, org_slug, pipeline_id, pipeline_logging_id, error_message, details, more)
        if isinstance(call, Receipt):
            return call
        if not call.wait(call.deadline - time.monotonic()):
            self._sender.overdue(call)
            call.wait(began + call.timeout - time.monotonic())
        return _receipt(call)

    def _begin(
        self,
        event: str,
        org_slug: str,
        pipeline_id: object,
        pipeline_logging_id: object,
        error_message: object,
        details: object,
        more: More,
    ) -> Call | Receipt:
        try:
            timeout = more.get("timeout")
            record = make(
                EventType(event),
                org_slug,
                created=time.time(),
                namespace=self._namespace,
                pipeline_id=pipeline_id,
                pipeline_logging_id=pipeline_logging_id,
                error_message=error_message,
                details=details,
                links=more.get("links"),
                severity=more.get("severity"),
                occurred_at=more.get("occurred_at"),
            )
            return self._sender.submit(record, self._timeout if timeout is None else max(float(timeout), 0.0))
        except Exception as error:
            log.exception("pipebell: %s of %s cannot be told", event, org_slug)
            return Receipt(State.LOST, "", f"{type(error).__name__}: {error}")


def _receipt(call: Call) -> Receipt:
    verdict = call.verdict
    return Receipt(verdict.state, call.record.name, verdict.reason)


async def _within(ended: asyncio.Event, seconds: float) -> bool:
    """Whether it ended within so many seconds."""
    import asyncio  # noqa: PLC0415

    try:
        await asyncio.wait_for(ended.wait(), max(seconds, 0))
    except (TimeoutError, asyncio.TimeoutError):  # two of them until Python 3.11
        return False
    return True


def _tell(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
        loop.call_soon_threadsafe(ended.set)
