"""The notification block: `prefect block register -m pipebell.integrations.prefect.blocks`, then choose it anywhere.

Automations and flows notify by it: `PipebellNotification.load("acme").notify("the body", "the subject")`.
"""

from __future__ import annotations

from typing import Optional

from prefect.blocks.abstract import NotificationBlock, NotificationError
from pydantic import Field

from pipebell.integrations.events import FAILURE, Event, send_async


class PipebellNotification(NotificationBlock):  # type: ignore[misc]  # (Prefect is not there when types are checked)
    """Tell an organisation by a PipelineEvent: its own configuration decides who hears of it, and how."""

    _block_type_name = "Pipebell"
    _block_type_slug = "pipebell"

    org: str = Field(description="The organisation (orgSlug) that is told.")
    pipeline: str = Field(default="prefect", description="Which pipeline it is about; a notification's subject wins.")
    event: str = Field(default=FAILURE, description="The type of the event.")
    severity: Optional[str] = Field(default=None, description="info, warning, error or critical.")  # noqa: UP045  (read by pydantic on 3.10)
    namespace: Optional[str] = Field(default=None, description="Where the event goes; the pod's own by default.")  # noqa: UP045
    timeout: float = Field(default=10.0, description="How many seconds sending may take.")

    async def notify(self, body: str, subject: str | None = None) -> None:
        """Send it. Raises NotificationError, where the caller wants that, when it could not even be kept on disk."""
        event = Event(self.org, self.event, subject or self.pipeline, None, body, severity=self.severity)
        receipt = await send_async(event, namespace=self.namespace, timeout=self.timeout)
        if not receipt and self._raise_on_failure:
            raise NotificationError(receipt.reason)
