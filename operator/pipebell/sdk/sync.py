"""The synchronous twin of `NotificationService`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pipebell.core.vocabulary import EventType
from pipebell.sdk.receipt import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from pipebell.sdk.receipt import More, Receipt


class Blocking(Protocol):
    """What the twin stands on."""

    def flush(self, timeout: float) -> int:
        """See `NotificationService.flush`."""

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
        """See `NotificationService.notify_blocking`."""


class SyncNotificationService:
    """As `NotificationService`, with methods that block; each no longer than its timeout (2 s by default)."""

    def __init__(self, service: Blocking) -> None:
        self._service = service

    def clear_cache(self, org_slug: str | None = None) -> None:
        """Do nothing: configuration is always current."""

    def flush(self, timeout: float = TIMEOUT) -> int:
        """See `NotificationService.flush`."""
        return self._service.flush(timeout)

    def notify(
        self,
        event: str,
        org_slug: str | None = None,
        pipeline_id: str | None = None,
        pipeline_logging_id: str | None = None,
        error_message: object = None,
        details: Mapping[str, Any] | None = None,
        **more: Unpack[More],
    ) -> Receipt:
        """An event of the type that `event` names: what all other methods do."""
        return self._service.notify_blocking(
            event, org_slug, pipeline_id, pipeline_logging_id, error_message, details, **more
        )

    def notify_pipeline_failure(
        self,
        org_slug: str | None = None,
        pipeline_id: str | None = None,
        pipeline_logging_id: str | None = None,
        error_message: object = None,
        details: Mapping[str, Any] | None = None,
        **more: Unpack[More],
    ) -> Receipt:
        """A pipeline failed or timed out (severity error)."""
        return self.notify(
            EventType.PIPELINE_FAILURE, org_slug, pipeline_id, pipeline_logging_id, error_message, details, **more
        )

    def notify_pipeline_success(
        self,
        org_slug: str | None = None,
        pipeline_id: str | None = None,
        pipeline_logging_id: str | None = None,
        error_message: object = None,
        details: Mapping[str, Any] | None = None,
        **more: Unpack[More],
    ) -> Receipt:
        """A pipeline completed successfully (severity info)."""
        return self.notify(
            EventType.PIPELINE_SUCCESS, org_slug, pipeline_id, pipeline_logging_id, error_message, details, **more
        )

    def notify_pipeline_started(
        self,
        org_slug: str | None = None,
        pipeline_id: str | None = None,
        pipeline_logging_id: str | None = None,
        error_message: object = None,
        details: Mapping[str, Any] | None = None,
        **more: Unpack[More],
    ) -> Receipt:
        """A pipeline began (severity info)."""
        return self.notify(
            EventType.PIPELINE_STARTED, org_slug, pipeline_id, pipeline_logging_id, error_message, details, **more
        )

    def notify_data_quality_failure(
        self,
        org_slug: str | None = None,
        pipeline_id: str | None = None,
        pipeline_logging_id: str | None = None,
        error_message: object = None,
        details: Mapping[str, Any] | None = None,
        **more: Unpack[More],
    ) -> Receipt:
        """Data quality checks failed (severity warning)."""
        return self.notify(
            EventType.DATA_QUALITY_FAILURE, org_slug, pipeline_id, pipeline_logging_id, error_message, details, **more
        )

    def notify_data_quality_warning(
        self,
        org_slug: str | None = None,
        pipeline_id: str | None = None,
        pipeline_logging_id: str | None = None,
        error_message: object = None,
        details: Mapping[str, Any] | None = None,
        **more: Unpack[More],
    ) -> Receipt:
        """Data quality checks were degraded (severity warning)."""
        return self.notify(
            EventType.DATA_QUALITY_WARNING, org_slug, pipeline_id, pipeline_logging_id, error_message, details, **more
        )

    def notify_rate_limit_exceeded(
        self,
        org_slug: str | None = None,
        pipeline_id: str | None = None,
        pipeline_logging_id: str | None = None,
        error_message: object = None,
        details: Mapping[str, Any] | None = None,
        **more: Unpack[More],
    ) -> Receipt:
        """A rate limit was exceeded (severity warning)."""
        return self.notify(
            EventType.RATE_LIMIT_EXCEEDED, org_slug, pipeline_id, pipeline_logging_id, error_message, details, **more
        )

    def notify_system_error(
        self,
        org_slug: str | None = None,
        pipeline_id: str | None = None,
        pipeline_logging_id: str | None = None,
        error_message: object = None,
        details: Mapping[str, Any] | None = None,
        **more: Unpack[More],
    ) -> Receipt:
        """Something outside the pipeline broke (severity critical)."""
        return self.notify(
            EventType.SYSTEM_ERROR, org_slug, pipeline_id, pipeline_logging_id, error_message, details, **more
        )
