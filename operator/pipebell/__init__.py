"""Pipebell tells people when their data pipelines fail.

For pipelines: `from pipebell import get_notification_service`. Everything here is imported when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipebell.version import __version__

if TYPE_CHECKING:
    from pipebell.sdk.factory import get_notification_service, get_sync_notification_service
    from pipebell.sdk.receipt import Receipt
    from pipebell.sdk.run import DataQualityError, PipelineRun, pipeline_run
    from pipebell.sdk.service import NotificationService
    from pipebell.sdk.sync import SyncNotificationService

__all__ = [
    "DataQualityError",
    "NotificationService",
    "PipelineRun",
    "Receipt",
    "SyncNotificationService",
    "__version__",
    "get_notification_service",
    "get_sync_notification_service",
    "pipeline_run",
]

_HOMES = {
    "DataQualityError": "pipebell.sdk.run",
    "NotificationService": "pipebell.sdk.service",
    "PipelineRun": "pipebell.sdk.run",
    "Receipt": "pipebell.sdk.receipt",
    "SyncNotificationService": "pipebell.sdk.sync",
    "get_notification_service": "pipebell.sdk.factory",
    "get_sync_notification_service": "pipebell.sdk.factory",
    "pipeline_run": "pipebell.sdk.run",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (any of the public names)
    if name not in _HOMES:
        raise AttributeError(f"module 'pipebell' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  (nothing but this function needs it)

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
