"""`pipebell history`: what happened to an organisation's pipelines, and what became of telling it."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from pipebell.cli import completion, elsewhere, known, replicas, show, spool
from pipebell.cli.client import CONFIGS, EVENTS, Client
from pipebell.cli.options import Access, cluster_options, table_option
from pipebell.cli.standing import channels
from pipebell.cli.terminal import clean
from pipebell.core.errors import NotFound, Rejected
from pipebell.core.vocabulary import FINAL_PHASES, EventType, Phase

if TYPE_CHECKING:
    from collections.abc import Iterable

_NOTED: Final = 5  # failing destinations that are named
# Columns that a narrow terminal does without, the least missed first.
_DROPPED_FIRST: Final = ("RUN", "CONFIG", "INCIDENT", "SEVERITY", "DELIVERIES", "ORG", "PIPELINE", "EVENT")


@click.command("history")
@click.argument("org", required=False, shell_complete=completion.organisations)
@click.option("--pipeline", metavar="ID", help="Only this pipeline's.")
@click.option("--run", "run_id", metavar="ID", help="Only this run's.")
@click.option("--event", type=click.Choice([event.value for event in EventType]), help="Only this type.")
@click.option(
    "--phase",
    type=click.Choice([phase.value for phase in Phase], case_sensitive=False),
    multiple=True,
    help="Only these. Repeatable.",
)
@click.option("--since", type=show.Period(), metavar="PERIOD", help="Only the last 30m, 12h, 7d …")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="The newest ones.")
@click.option("-A", "--all-namespaces", is_flag=True, help="In every namespace.")
@click.option("--absolute", is_flag=True, help="Times instead of ages.")
@table_option
@replicas.operator_option
@cluster_options
def command(
    org: str | None,
    access: Access,
    operator_namespace: str,
    all_namespaces: bool,
    output: str,
    limit: int,
    absolute: bool,
    **filters: Any,  # noqa: ANN401
) -> None:
    """Events of ORG (or of everybody), the newest last, and what became of each.

    What does not fit the terminal's width is left out by whole columns; `-o wide` shows them all.
    """
    fields = {"spec.orgSlug": org, "spec.event": filters["event"]}
    with Client(access) as client:
        found = client.list(
            EVENTS, fields={key: value for key, value in fields.items() if value}, everywhere=all_namespaces
        )
        events = sorted(_chosen(found, filters, time.time()), key=_order)[-limit:]
        notes = [*_unserved(client, operator_namespace, events), *_failing(client, org, events, all_namespaces)]
        place = "any namespace" if all_namespaces else f"namespace {client.namespace}"
        hint = "" if events or all_namespaces else elsewhere.hint(client, **({"spec.orgSlug": org} if org else {}))
        hint = hint or ("" if events else known.meant(client, org, everywhere=all_namespaces))
    if show.for_scripts(output, "pipelineevent", map(_slim, events)):
        pass
    elif events:
        _print(events, everywhere=all_namespaces, wide=output == "wide", absolute=absolute)
    else:
        click.echo(f"No such events of {org or 'anybody'} in {place}{f'; {hint}' if hint else ''}.", err=True)
    for note in notes:
        click.echo(note, err=True)
    if note := spool.note():
        click.echo(note, err=True)


def _unserved(client: Client, operator_namespace: str, events: Iterable[dict[str, Any]]) -> list[str]:
    """Why unfinished events stand still, where nobody serves them. Nobody is asked while all are finished."""
    waiting = {
        event["metadata"]["namespace"]
        for event in events
        if (event.get("status") or {}).get("phase") not in FINAL_PHASES
    }
    if not waiting:
        return []
    operator = replicas.look(client, operator_namespace)
    return list(dict.fromkeys(filter(None, map(operator.trouble, sorted(waiting)))))


def _failing(client: Client, org: str | None, events: list[dict[str, Any]], everywhere: bool) -> list[str]:
    """Which destinations of these organisations fail now; nothing where one may not know."""
    orgs = {org} if org else {event["spec"].get("orgSlug") for event in events}
    fields = {"spec.orgSlug": org} if org else {}
    try:
        configs = list(client.list(CONFIGS, fields=fields, everywhere=everywhere))
    except (Rejected, NotFound):
        return []
    found = [standing for standing in channels(configs, events) if standing.org in orgs]
    more = [f"and {len(found) - _NOTED} more destinations fail: pipebell status"] if len(found) > _NOTED else []
    return [
        clean(f"{each.destination} of {each.org} has failed since {each.time}: {each.message or each.reason}")
        for each in found[:_NOTED]
    ] + more


def _created(event: dict[str, Any]) -> str:
    return str(event["metadata"].get("creationTimestamp"))


def _order(event: dict[str, Any]) -> tuple[str, str]:
    """By creation, which the API tells in whole seconds only, then by when it happened."""
    return _created(event), str(event["spec"].get("occurredAt") or "")


def _chosen(events: Iterable[dict[str, Any]], filters: dict[str, Any], now: float) -> Iterable[dict[str, Any]]:
    phases = {str(phase) for phase in filters["phase"]}
    for event in events:
        spec, phase = event["spec"], (event.get("status") or {}).get("phase") or Phase.PENDING.value
        if filters["pipeline"] and spec.get("pipelineId") != filters["pipeline"]:
            continue
        if filters["run_id"] and spec.get("pipelineLoggingId") != filters["run_id"]:
            continue
        if phases and phase not in phases:
            continue
        if filters["since"] and now - datetime.fromisoformat(_created(event)).timestamp() > filters["since"]:
            continue
        yield event


def _print(events: list[dict[str, Any]], *, everywhere: bool, wide: bool, absolute: bool) -> None:
    rows = [_row(event, absolute=absolute) for event in events]
    dropped = set() if everywhere else {"NAMESPACE"}
    if not any(row["INCIDENT"] for row in rows):
        dropped.add("INCIDENT")  # where incidents are off, nobody has to know of them
    headers = [name for name in rows[0] if name not in dropped]
    kept = headers if wide else show.fitting(headers, rows, _DROPPED_FIRST, cut="WHY")
    show.table(kept, [[row[name] for name in kept] for row in rows])


def _row(event: dict[str, Any], *, absolute: bool) -> dict[str, str]:
    spec, status, metadata = event["spec"], event.get("status") or {}, event["metadata"]
    created = metadata.get("creationTimestamp")
    cells = {
        "NAMESPACE": metadata.get("namespace", ""),
        "TIME" if absolute else "AGE": clean(created or "?") if absolute else show.age(created),
        "ORG": spec.get("orgSlug", ""),
        "EVENT": spec.get("event", "") + (" (test)" if spec.get("test") else ""),
        "SEVERITY": status.get("severity") or spec.get("severity") or "",
        "PIPELINE": spec.get("pipelineId", ""),
        "RUN": spec.get("pipelineLoggingId", ""),
        "PHASE": show.phase(status.get("phase") or Phase.PENDING.value),
        "WHY": _why(status),
        "INCIDENT": _incident(status),
        "DELIVERIES": ", ".join(_delivery(item) for item in status.get("deliveries") or ()) or "-",
        "CONFIG": _config(status),
        "NAME": metadata["name"],
    }
    coloured = ("PHASE", "DELIVERIES")
    return {name: " ".join((cell if name in coloured else clean(cell)).split()) for name, cell in cells.items()}


def _delivery(item: dict[str, Any]) -> str:
    attempts = item.get("attempts") or 0
    tries = f" x{attempts}" if attempts > 1 else ""
    recipients = f" ({clean(item['recipients'])})" if item.get("recipients") else ""
    instead = f" for {clean(item['failoverFor'])}" if item.get("failoverFor") else ""
    return f"{clean(item.get('destination'))}{recipients}{instead}={show.phase(item.get('phase', '?'))}{tries}"


def _why(status: dict[str, Any]) -> str:
    """In a word or two, why it stands where it stands; `pipebell why` says it in full."""
    reason = status.get("reason") or ""
    if status.get("catchUp"):
        return f"{reason} by {status['catchUp'].get('by')}"
    if status.get("suppressedBy"):
        return f"{reason} by {status['suppressedBy']}"
    troubled = [item for item in status.get("deliveries") or () if item.get("reason")]
    if len(status.get("deliveries") or ()) > 1 and troubled:
        return ", ".join(f"{item['destination']}: {item['reason']}" for item in troubled)
    return reason or "-"


def _incident(status: dict[str, Any]) -> str:
    """What the event did to which incident."""
    record = status.get("incident") or {}
    return f"{record.get('action') or 'Waits in'} {record.get('name')}" if record else ""


def _config(status: dict[str, Any]) -> str:
    used = status.get("configRef") or {}
    return f"{used.get('namespace')}/{used.get('name')}" if used else "-"


def _slim(event: dict[str, Any]) -> dict[str, Any]:
    """The event without what only the API server's bookkeeping needs."""
    metadata = {key: value for key, value in event["metadata"].items() if key != "managedFields"}
    return {**event, "metadata": metadata}
