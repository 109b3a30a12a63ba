"""The resource: events of an asset's own making."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import dagster

from pipebell.integrations.events import FAILURE, Event, send

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.sdk.receipt import Receipt


class PipebellResource(dagster.ConfigurableResource):  # type: ignore[misc]  # (Dagster is not there when types are checked)
    """Sends events for `org`: `pipebell.notify("data_quality_warning", pipeline="orders", message="few rows")`."""

    org: str
    namespace: Optional[str] = None  # noqa: UP045  (read by pydantic on 3.10)
    timeout: float = 2.0

    def notify(
        self,
        event: str = FAILURE,
        *,
        pipeline: str,
        run: str | None = None,
        message: object = None,
        details: Mapping[str, Any] | None = None,
        severity: str | None = None,
    ) -> Receipt:
        """Send an event; never raises and takes `timeout` seconds at most."""
        found = Event(self.org, event, pipeline, run, message, details or {}, severity=severity)
        return send(found, namespace=self.namespace, timeout=self.timeout)
