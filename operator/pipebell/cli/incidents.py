"""`pipebell incidents`: what is wrong now, since when, how often, and whether somebody works on it."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from pipebell.cli import completion, known, show
from pipebell.cli.client import INCIDENTS, Client
from pipebell.cli.options import Access, cluster_options, table_option
from pipebell.cli.terminal import clean, style
from pipebell.core.errors import NotFound, Rejected
from pipebell.core.incidents.resource import IncidentPhase

if TYPE_CHECKING:
    from collections.abc import Iterable

_RESOLVED: Final = {"status.phase": IncidentPhase.RESOLVED.value}
_COLOURS: Final = {"Pending": "cyan", "Open": "red", "Acknowledged": "yellow", "Resolved": "green"}
# Columns that a narrow terminal does without, the least missed first; NAME is what other commands need.
_DROPPED_FIRST: Final = (
    *("CLASS", "RESOLVED BY", "REMINDER", "LAST", "SEVERITY", "ORG", "ACKNOWLEDGED", "ERROR", "AGE", "PIPELINE"),
)
_WIDE_ONLY: Final = ("CLASS", "LAST", "REMINDER", "RESOLVED BY")


@click.command("incidents")
@click.argument("org", required=False, shell_complete=completion.organisations)
@click.option("--all", "everything", is_flag=True, help="Resolved ones as well.")
@click.option("--pipeline", metavar="ID", help="Only this pipeline's.")
@click.option("--since", type=show.Period(), metavar="PERIOD", help="Only what failed in the last 30m, 12h, 7d …")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="The newest ones.")
@click.option("-A", "--all-namespaces", is_flag=True, help="In every namespace.")
@click.option("--absolute", is_flag=True, help="Times instead of ages.")
@table_option
@cluster_options
def command(
    org: str | None,
    access: Access,
    all_namespaces: bool,
    output: str,
    limit: int,
    absolute: bool,
    **chosen: Any,  # noqa: ANN401
) -> None:
    """What is wrong with pipelines of ORG (or of everybody): one line an incident, the newest last.

    What does not fit the terminal's width is left out by whole columns; `-o wide` shows them all.
    """
    with Client(access) as client:
        found = client.list(
            INCIDENTS,
            fields={"spec.orgSlug": org} if org else None,
            unlike=None if chosen["everything"] else _RESOLVED,
            everywhere=all_namespaces,
        )
        incidents = sorted(_chosen(found, chosen, time.time()), key=began)[-limit:]
        place = "any namespace" if all_namespaces else f"namespace {client.namespace}"
        hint = "" if incidents else known.meant(client, org, everywhere=all_namespaces)
    if show.for_scripts(output, "incident", map(slim, incidents)):
        return
    if incidents:
        _print(incidents, everywhere=all_namespaces, wide=output == "wide", absolute=absolute)
    else:
        what = (
            "No such incidents" if chosen["everything"] or chosen["pipeline"] or chosen["since"] else "Nothing is open"
        )
        click.echo(f"{what} of {org or 'anybody'} in {place}{f'; {hint}' if hint else ''}.", err=True)


def began(incident: dict[str, Any]) -> str:
    """When it began, as the API tells times; by this, incidents are in order."""
    first = (incident.get("status") or {}).get("firstFailureTime")
    return str(first or incident["metadata"].get("creationTimestamp") or "")


def phase_of(incident: dict[str, Any]) -> str:
    """Where it stands; one that the operator has not looked at yet is Pending."""
    return str((incident.get("status") or {}).get("phase") or IncidentPhase.PENDING.value)


def slim(incident: dict[str, Any]) -> dict[str, Any]:
    """The incident without what only the API server's bookkeeping needs."""
    metadata = {key: value for key, value in incident["metadata"].items() if key != "managedFields"}
    return {**incident, "metadata": metadata}


def describe(client: Client, record: dict[str, Any], namespace: str) -> str:
    """In a line, the incident that an event's status names (`status.incident`), as it is now."""
    name, action = str(record.get("name")), record.get("action")
    did = f"{action}, failure {record.get('failures') or 0}" if action else "not counted: another attempt is expected"
    place = clean(f"incident/{name} ({did})")
    try:
        incident = client.get(INCIDENTS, name, namespace)
    except NotFound:
        return f"{place}: is gone, so somebody has deleted it, or it ended long ago; it is not made again"
    except Rejected as error:
        return f"{place}: how it stands is not known: {error}"
    status = incident.get("status") or {}
    parts = [phase_of(incident), _failures(status.get("failures") or 0, incident)]
    if by := by_whom(incident):
        parts.append(f"acknowledged by {by}")
    if status.get("resolvedBy"):
        parts.append(f"resolved by {status['resolvedBy']}")
    if status.get("nextReminderTime") and not status.get("resolvedTime"):
        parts.append(f"next reminder at {status['nextReminderTime']}")
    return clean(f"{place}: {', '.join(parts)}")


def _failures(count: int, incident: dict[str, Any]) -> str:
    ago = f"{show.age(began(incident))} ago"
    return f"1 failure, {ago}" if count == 1 else f"{count} failures, the first {ago}"


def _chosen(incidents: Iterable[dict[str, Any]], chosen: dict[str, Any], now: float) -> Iterable[dict[str, Any]]:
    for incident in incidents:
        if chosen["pipeline"] and incident["spec"].get("pipelineId") != chosen["pipeline"]:
            continue
        if chosen["since"] and now - _seen(incident) > chosen["since"]:
            continue
        yield incident


def _seen(incident: dict[str, Any]) -> float:
    """When it failed last, in seconds since the epoch."""
    last = (incident.get("status") or {}).get("lastFailureTime") or began(incident)
    return datetime.fromisoformat(last).timestamp()


def _print(incidents: list[dict[str, Any]], *, everywhere: bool, wide: bool, absolute: bool) -> None:
    rows = [_row(incident, absolute=absolute) for incident in incidents]
    dropped = {*(() if everywhere else ("NAMESPACE",)), *(() if wide else _WIDE_ONLY)}
    headers = [name for name in rows[0] if name not in dropped]
    kept = headers if wide else show.fitting(headers, rows, _DROPPED_FIRST, cut="ERROR")
    show.table(kept, [[row[name] for name in kept] for row in rows])


def _row(incident: dict[str, Any], *, absolute: bool) -> dict[str, str]:
    spec, status, metadata = incident["spec"], incident.get("status") or {}, incident["metadata"]
    phase = phase_of(incident)
    cells = {
        "NAMESPACE": metadata.get("namespace", ""),
        "SINCE" if absolute else "AGE": _time(began(incident), absolute=absolute),
        "ORG": spec.get("orgSlug", ""),
        "PIPELINE": spec.get("pipelineId") or spec.get("key", ""),
        "CLASS": spec.get("class", ""),
        "SEVERITY": status.get("severity") or "-",
        "PHASE": style(clean(phase), _COLOURS.get(phase)),
        "FAILURES": str(status.get("failures") or 0),
        "LAST": _time(status.get("lastFailureTime"), absolute=absolute),
        "ACKNOWLEDGED": by_whom(incident) or "-",
        "REMINDER": clean(status.get("nextReminderTime") or "-"),
        "RESOLVED BY": status.get("resolvedBy") or "-",
        "NAME": metadata["name"],
        "ERROR": status.get("lastError") or "-",
    }
    return {name: " ".join((cell if name == "PHASE" else clean(cell)).split()) for name, cell in cells.items()}


def _time(timestamp: str | None, *, absolute: bool) -> str:
    if not timestamp:
        return "-"
    return timestamp if absolute else show.age(timestamp)


def by_whom(incident: dict[str, Any]) -> str:
    """Who works on it, and until when it is snoozed; "" while nobody does."""
    spec, status = incident["spec"], incident.get("status") or {}
    seen = (status.get("observedGeneration") or 0) >= incident["metadata"].get("generation", 1)
    if seen and phase_of(incident) == IncidentPhase.OPEN:  # it got worse, or the snooze is over
        return ""
    acknowledged = (spec.get("acknowledgement") or {}).get("by") or ""
    until = spec.get("snoozedUntil")
    return f"{acknowledged} until {until}".lstrip() if until else acknowledged
