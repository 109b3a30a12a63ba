"""Where the resources live in the API."""

from __future__ import annotations

from typing import Final

from pipebell.core.vocabulary import GROUP, VERSION

_CUSTOM: Final = f"/apis/{GROUP}/{VERSION}"
PLURALS: Final = {
    "PipelineEvent": "pipelineevents",
    "NotificationConfig": "notificationconfigs",
    "Incident": "incidents",
    "Silence": "silences",
}


def custom(kind: str, namespace: str | None, name: str | None = None) -> str:
    """Path of a custom resource's list (in all namespaces when `namespace` is None) or of one object."""
    scope = "" if namespace is None else f"/namespaces/{namespace}"
    path = f"{_CUSTOM}{scope}/{PLURALS[kind]}"
    return path if name is None else f"{path}/{name}"


def core(plural: str, namespace: str, name: str | None = None) -> str:
    """Path of a core/v1 resource's list in a namespace, or of one object."""
    path = f"/api/v1/namespaces/{namespace}/{plural}"
    return path if name is None else f"{path}/{name}"


def selector_value(text: str) -> str:
    """A value within a field selector, whose own signs are escaped."""
    return text.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
