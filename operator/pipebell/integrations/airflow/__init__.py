"""Airflow 2.10 to 3.x: `PipebellNotifier` for callbacks, and a listener that needs no change to any DAG.

The listener is a plugin that Airflow finds by itself once Pipebell is installed beside it. It speaks up for DAGs
whose organisation is known: by the parameter `org`, a tag `org:SLUG`, or `org` in the configuration's section
`[pipebell]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.integrations._lazy import names

if TYPE_CHECKING:
    from pipebell.integrations.airflow.notifier import PipebellNotifier
    from pipebell.integrations.airflow.plugin import PipebellPlugin

__all__ = ["PipebellNotifier", "PipebellPlugin"]

__getattr__ = names(
    __name__,
    "airflow",
    "apache-airflow>=2.10",
    {
        "PipebellNotifier": "pipebell.integrations.airflow.notifier",
        "PipebellPlugin": "pipebell.integrations.airflow.plugin",
    },
)
