"""dbt's artifacts as events: `run_results.json` says what happened, `manifest.json` to what, and whose it is.

Pure: no files, no network. A result that is `error` (or `partial success`) is a pipeline_failure, `fail` a
data_quality_failure, `warn` a data_quality_warning. `sources.json` of `dbt source freshness` has other words for the
same: there `error` says that the data is stale, and `runtime error` that nobody knows.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from pipebell.integrations.events import FAILURE, QUALITY_FAILURE, QUALITY_WARNING, SUCCESS, Event

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_EVENTS: Final = 50  # of one invocation; each says how many results there are of each status, so none is hidden
_MAX_ALSO: Final = 20  # names of other results in one event
_STATUSES: Final = {
    "error": FAILURE,
    "partial success": FAILURE,
    "fail": QUALITY_FAILURE,
    "warn": QUALITY_WARNING,
}
_FRESHNESS: Final = {"runtime error": FAILURE, "error": QUALITY_FAILURE, "warn": QUALITY_WARNING}
_ORDER: Final = (FAILURE, QUALITY_FAILURE, QUALITY_WARNING)
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


class NotResultsError(ValueError):
    """The document is no run_results.json or sources.json of dbt."""


def events(
    results: Mapping[str, Any],
    manifest: Mapping[str, Any] | None,
    *,
    org: str,
    pipeline: str | None = None,
    run: str | None = None,
) -> list[Event]:
    """One event for each result that is no success, the worst first, MAX_EVENTS at most.

    `pipeline` is the project's name unless given, `run` the invocation's id. Raises NotResultsError.
    """
    metadata, found = _check(results)
    manifest = manifest or {}
    statuses = _FRESHNESS if "/sources/" in str(metadata.get("dbt_schema_version")) else _STATUSES
    bad = [(statuses[status], result) for result in found if (status := _status(result)) in statuses]
    bad.sort(key=lambda pair: _ORDER.index(pair[0]))
    counts = dict(Counter(_status(result) for result in found))
    pipeline = pipeline or project(results, manifest)
    run = run or str(metadata.get("invocation_id") or "") or None
    names = [_name(str(result["unique_id"]), manifest) for _, result in bad]
    made = []
    for index, (event, result) in enumerate(bad[:MAX_EVENTS]):
        about = _about(str(result["unique_id"]), manifest)
        details = about | {
            "status": _status(result),
            "failures": result.get("failures"),
            "seconds": result.get("execution_time"),
            "command": (results.get("args") or {}).get("invocation_command"),
            "results": counts,
            "also": (names[:index] + names[index + 1 :])[:_MAX_ALSO],
        }
        key = ("dbt", metadata.get("invocation_id") or run, result["unique_id"])
        made.append(Event(org, event, pipeline, run, _message(names[index], about, result), details, key=key))
    return made


def success(results: Mapping[str, Any] | None, *, org: str, pipeline: str | None, run: str | None) -> Event:
    """The event of an invocation in which nothing went wrong."""
    metadata = (results or {}).get("metadata") or {}
    invocation = metadata.get("invocation_id")
    found = Counter(_status(result) for result in (results or {}).get("results") or ())
    key = ("dbt", invocation, "success") if invocation else ()
    run = run or invocation
    return Event(org, SUCCESS, pipeline or project(results or {}, {}), run, None, {"results": dict(found)}, key=key)


def project(results: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """The project's name; the manifest says it, else the most frequent package among the results."""
    if name := (manifest.get("metadata") or {}).get("project_name"):
        return str(name)
    packages = Counter(
        parts[1]
        for result in results.get("results") or ()
        if len(parts := str(result.get("unique_id")).split(".")) > 2  # noqa: PLR2004  (type.package.name)
    )
    return packages.most_common(1)[0][0] if packages else "dbt"


def last_words(output: str, limit: int = 2_000) -> str:
    """The end of dbt's output, without colours."""
    return _COLOUR.sub("", output).strip()[-limit:]


def _check(results: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    metadata, found = (results.get("metadata"), results.get("results")) if isinstance(results, dict) else (None, None)
    if not isinstance(metadata, dict) or not isinstance(found, list):
        raise NotResultsError("it has no metadata and results")
    if not all(isinstance(result, dict) and result.get("unique_id") and result.get("status") for result in found):
        raise NotResultsError("a result has no unique_id or status")
    return metadata, found


def _status(result: Mapping[str, Any]) -> str:
    return str(result.get("status")).lower()


def _node(unique_id: str, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    for table in ("nodes", "sources", "unit_tests", "exposures"):
        node = (manifest.get(table) or {}).get(unique_id)
        if isinstance(node, dict):
            return node
    return {}


def _name(unique_id: str, manifest: Mapping[str, Any]) -> str:
    """What people call it: a node's own name, a source's with its table."""
    kind, _, rest = unique_id.partition(".")
    node = _node(unique_id, manifest)
    if kind == "source":
        source, table = node.get("source_name"), node.get("name")
        return f"{source}.{table}" if source and table else rest.partition(".")[2] or unique_id
    if kind == "unit_test" and node.get("name"):
        return str(node["name"])
    parts = rest.split(".")
    return str(node.get("name") or (parts[1] if len(parts) > 1 else unique_id))


def _about(unique_id: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Test, model, column, owner and file of a result."""
    node = _node(unique_id, manifest)
    kind = unique_id.partition(".")[0]
    name = _name(unique_id, manifest)
    is_test = kind in ("test", "unit_test")
    tested = _tested(node, manifest) if is_test else None
    arguments = (node.get("test_metadata") or {}).get("kwargs") or {}
    return {
        "test": name if is_test else None,
        "model": _name(tested, manifest) if tested else None if is_test else name,
        "column": node.get("column_name") or arguments.get("column_name"),
        "owner": _owner(node, manifest) or (_owner(_node(tested, manifest), manifest) if tested else None),
        "resource_type": kind,
        "file": node.get("original_file_path"),
    }


def _tested(node: Mapping[str, Any], manifest: Mapping[str, Any]) -> str | None:
    """What a test tests: what it is attached to, else what it reads (the unit test's own model comes first)."""
    if node.get("attached_node"):
        return str(node["attached_node"])
    read = [str(item) for item in (node.get("depends_on") or {}).get("nodes") or ()]
    if (model := node.get("model")) and node.get("resource_type") == "unit_test":
        read = [item for item in read if item.split(".")[-1] == model] or read
    known = [item for item in read if _node(item, manifest)]
    return next(iter(known or read), None)


def _owner(node: Mapping[str, Any], manifest: Mapping[str, Any]) -> str | None:
    """`meta.owner` of the node's configuration, else of the node, else of its group."""
    for meta in ((node.get("config") or {}).get("meta"), node.get("meta")):
        if isinstance(meta, dict) and (owner := _text(meta.get("owner"))):
            return owner
    group = (node.get("config") or {}).get("group") or node.get("group")
    for known in (manifest.get("groups") or {}).values():
        if group and known.get("name") == group:
            return _text(known.get("owner"))
    return None


def _text(value: object) -> str | None:
    if isinstance(value, dict):
        return _text(value.get("name")) or _text(value.get("email")) or ", ".join(_flat(value)) or None
    if isinstance(value, (list, tuple)):
        return ", ".join(part for item in value if (part := _text(item))) or None
    return str(value).strip() or None if value is not None else None


def _flat(value: Mapping[str, Any]) -> Iterator[str]:
    return (f"{key}: {item}" for key, item in value.items())


def _message(name: str, about: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """What happened to what, in one line, then dbt's own words."""
    said = _COLOUR.sub("", str(result.get("message") or result.get("error") or "")).strip()
    status = _status(result)
    if about["test"]:
        column = f".{about['column']}" if about["column"] else ""
        of = f" on {about['model']}{column}" if about["model"] else ""
        what = {"fail": "failed", "warn": "warned"}.get(status, "could not run")
        line = f"test {name}{of} {what}"
    elif about["resource_type"] == "source":
        what = {"error": "is stale", "warn": "is late"}.get(status, "could not be checked for freshness")
        line = f"source {name} {what}"
        said = said or _age(result)
    else:
        line = f"{about['resource_type']} {name} failed"
    return f"{line}: {said}" if said else line


def _age(result: Mapping[str, Any]) -> str:
    loaded = result.get("max_loaded_at")
    return f"last loaded at {loaded}" if loaded else ""
