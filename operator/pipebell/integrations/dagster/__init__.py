"""Dagster: sensors for runs that failed and for asset checks that failed in runs that succeeded, and a resource.

defs = Definitions(assets=[...], sensors=pipebell_sensors(org="acme_corp"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.integrations._lazy import names

if TYPE_CHECKING:
    from pipebell.integrations.dagster.resource import PipebellResource
    from pipebell.integrations.dagster.sensors import pipebell_sensors

__all__ = ["PipebellResource", "pipebell_sensors"]

__getattr__ = names(
    __name__,
    "dagster",
    "dagster>=1.8",
    {
        "PipebellResource": "pipebell.integrations.dagster.resource",
        "pipebell_sensors": "pipebell.integrations.dagster.sensors",
    },
)
