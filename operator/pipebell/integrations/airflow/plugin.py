"""The plugin that Airflow loads by the entry point `airflow.plugins`."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from pipebell.integrations.airflow import listener


class PipebellPlugin(AirflowPlugin):  # type: ignore[misc]  # (Airflow is not there when types are checked)
    """Registers the listener."""

    name = "pipebell"
    listeners = (listener,)
