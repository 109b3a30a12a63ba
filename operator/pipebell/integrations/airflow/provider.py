"""What Airflow asks a provider about itself; the entry point `apache_airflow_provider` leads here."""

from __future__ import annotations

from typing import Any

from pipebell.version import __version__


def get_provider_info() -> dict[str, Any]:
    """The description that Airflow's provider manager checks by its schema."""
    return {
        "package-name": "pipebell",
        "name": "Pipebell",
        "description": "Tells people when their DAGs fail, by PipelineEvents in Kubernetes.",
        "versions": [__version__],
        "notifications": ["pipebell.integrations.airflow.PipebellNotifier"],
        "plugins": [{"name": "pipebell", "plugin-class": "pipebell.integrations.airflow.plugin.PipebellPlugin"}],
        "config": {
            "pipebell": {
                "description": "What Pipebell tells, and for whom.",
                "options": {
                    "org": _option("The organisation of DAGs that name none themselves.", "acme_corp"),
                    "namespace": _option("The namespace of the events; the pod's own by default.", "team-a"),
                    "listener": _option("Whether failures are told without any callback.", "True", "True", "boolean"),
                    "on_success": _option("Whether successful runs are told, too.", "False", "False", "boolean"),
                },
            }
        },
    }


def _option(description: str, example: str, default: str = "", kind: str = "string") -> dict[str, Any]:
    return {
        "description": description,
        "version_added": __version__,
        "type": kind,
        "example": example,
        "default": default,
    }
