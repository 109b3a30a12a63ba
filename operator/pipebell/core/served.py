"""Which of this release's fields the served definitions lack: those of an older release drop them without a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pipebell.core.crds import RESOURCES, definition
from pipebell.core.vocabulary import GROUP, VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

ABSENT: Final = "*"  # instead of fields: the API server does not know the kind at all


def lacking(schemas: Mapping[str, Any]) -> dict[str, list[str]]:
    """Kind → paths of fields that are not served (the uppermost ones only); no kind when all is there.

    `schemas` are `components.schemas` of `/openapi/v3/apis/pipebell.io/v1alpha1`, which every user may read.
    """
    served = {kind: schema for schema in schemas.values() if (kind := _kind(schema))}
    found = {}
    for resource in RESOURCES:
        if resource.kind not in served:
            found[resource.kind] = [ABSENT]
            continue
        version = definition(resource)["spec"]["versions"][0]
        paths = _missing(version["schema"]["openAPIV3Schema"], served[resource.kind], "")
        if paths:
            found[resource.kind] = paths
    return found


def _kind(schema: Mapping[str, Any]) -> str:
    kinds = schema.get("x-kubernetes-group-version-kind") or ()
    return next((item["kind"] for item in kinds if (item["group"], item["version"]) == (GROUP, VERSION)), "")


def _missing(ours: Mapping[str, Any], theirs: Mapping[str, Any], path: str) -> list[str]:
    found = []
    known = theirs.get("properties") or {}
    for name, schema in (ours.get("properties") or {}).items():
        here = f"{path}.{name}" if path else name
        if name not in known:
            found.append(here)
        elif here != "metadata":
            found += _missing(schema, known[name], here)
    if "items" in ours and "items" in theirs:
        found += _missing(ours["items"], theirs["items"], f"{path}[]")
    return found
