"""What an orchestrator tells, before it becomes a PipelineEvent, and the ways to send it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pipebell.sdk import mask
from pipebell.sdk.factory import get_notification_service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.sdk.receipt import Receipt

_LATER: Final = 10.0  # seconds that sending may take where nobody waits for it

FAILURE = "pipeline_failure"
SUCCESS = "pipeline_success"
QUALITY_FAILURE = "data_quality_failure"
QUALITY_WARNING = "data_quality_warning"


@dataclass(frozen=True)
class Event:
    """One event. `key` says what happened: everybody who tells the same thing gives the same key and makes one event.

    `pipeline` and `run` are the orchestrator's own names. `message` may be an exception. `links` maps titles to URLs.
    """

    org: str
    event: str
    pipeline: str
    run: str | None = None
    message: object = None
    details: Mapping[str, Any] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    key: tuple[object, ...] = ()
    severity: str | None = None

    @property
    def dedup_key(self) -> str | None:
        """The key as the SDK wants it; another organisation's event, or one of another type, is another one."""
        if not self.key:
            return None
        return "\x1f".join(str(part) for part in (self.org, self.event, *self.key))

    @property
    def more(self) -> dict[str, Any]:
        """The SDK's keyword arguments."""
        return {"links": dict(self.links) or None, "severity": self.severity, "dedup_key": self.dedup_key}


def send(
    event: Event,
    *,
    namespace: str | None = None,
    kubeconfig: str | None = None,
    context: str | None = None,
    timeout: float = 2.0,
) -> Receipt:
    """Send an event; takes `timeout` seconds at most and never raises. What cannot be sent is kept in the spool."""
    service = get_notification_service(namespace=namespace, kubeconfig=kubeconfig, context=context)
    return service.notify_blocking(*_arguments(event), timeout=timeout, **event.more)


async def send_async(event: Event, *, namespace: str | None = None, timeout: float = 2.0) -> Receipt:
    """As `send`, on an event loop."""
    service = get_notification_service(namespace=namespace)
    return await service.notify(*_arguments(event), timeout=timeout, **event.more)


def send_later(event: Event, *, namespace: str | None = None) -> None:
    """As `send`, without waiting at all: for schedulers, which must not stand still."""
    service = get_notification_service(namespace=namespace)
    service.notify_blocking(*_arguments(event), timeout=_LATER, wait=False, **event.more)


def words(error: object) -> str | None:
    """An error as text: an exception with its type's name, anything else as it says."""
    if error is None:
        return None
    try:
        text = str(error).strip()
    except Exception:  # noqa: BLE001  (foreign code)
        text = ""
    if isinstance(error, BaseException):
        return f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text or None


def _arguments(event: Event) -> tuple[str, str, str, str | None, str | None, dict[str, Any]]:
    """The SDK's positional arguments, without credentials: errors of databases and services like to quote them."""
    values = mask.values_in(os.environ)
    details = {name: value for name, value in event.details.items() if value not in (None, "", [], {})}
    message = words(event.message)
    return (
        event.event,
        event.org,
        event.pipeline,
        event.run,
        message and mask.mask(message, values),
        _masked(details, values),
    )


def _masked(value: Any, values: list[str]) -> Any:  # noqa: ANN401  (JSON)
    if isinstance(value, str):
        return mask.mask(value, values)
    if isinstance(value, dict):
        return {key: _masked(item, values) for key, item in value.items()}
    return [_masked(item, values) for item in value] if isinstance(value, (list, tuple)) else value
