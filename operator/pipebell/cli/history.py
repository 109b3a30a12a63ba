"""`pipebell history`: what happened to an organisation's pipelines, and what became of telling it."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from pipebell.cli import show, spool
from pipebell.cli.client import EVENTS, Client
from pipebell.cli.options import Access, cluster_options, output_option
from pipebell.cli.terminal import clean
from pipebell.core.vocabulary import EventType, Phase

if TYPE_CHECKING:
    from collections.abc import Iterable

_PENDING: Final = ("", Phase.PENDING.value)


@click.command("history")
@click.argument("org", required=False)
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
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many, the newest.")
@click.option("-A", "--all-namespaces", is_flag=True, help="In every namespace.")
@output_option
@cluster_options
def command(org: str | None, access: Access, all_namespaces: bool, output: str, limit: int, **filters: Any) -> None:  # noqa: ANN401
    """Events of ORG (or of everybody), the newest last, with their deliveries."""
    fields = {"spec.orgSlug": org, "spec.event": filters["event"]}
    with Client(access) as client:
        found = client.list(
            EVENTS, fields={key: value for key, value in fields.items() if value}, everywhere=all_namespaces
        )
        events = sorted(_chosen(found, filters, time.time()), key=_order)[-limit:]
        place = "any namespace" if all_namespaces else f"namespace {client.namespace}"
    if output == "json":
        click.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": events}, indent=2))
    elif events:
        _print(events, everywhere=all_namespaces)
    else:
        click.echo(f"No such events of {org or 'anybody'} in {place}.", err=True)
    if note := spool.note():
        click.echo(note, err=True)


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


def _print(events: list[dict[str, Any]], *, everywhere: bool) -> None:
    headers = ["AGE", "ORG", "EVENT", "SEVERITY", "PIPELINE", "RUN", "PHASE", "REASON", "DELIVERIES", "NAME"]
    if everywhere:
        headers.insert(0, "NAMESPACE")
    rows = []
    for event in events:
        spec, status = event["spec"], event.get("status") or {}
        row = [
            show.age(event["metadata"].get("creationTimestamp")),
            clean(spec.get("orgSlug", "")),
            clean(spec.get("event", "")) + (" (test)" if spec.get("test") else ""),
            clean(status.get("severity") or spec.get("severity") or ""),
            clean(spec.get("pipelineId", "")),
            clean(spec.get("pipelineLoggingId", "")),
            show.phase(status.get("phase") or Phase.PENDING.value),
            clean(status.get("reason") or ""),
            ", ".join(_delivery(item) for item in status.get("deliveries") or ()) or _why(status),
            event["metadata"]["name"],
        ]
        rows.append([event["metadata"]["namespace"], *row] if everywhere else row)
    show.table(headers, [[" ".join(cell.split()) for cell in row] for row in rows])


def _delivery(item: dict[str, Any]) -> str:
    attempts = item.get("attempts") or 0
    tries = f" x{attempts}" if attempts > 1 else ""
    return f"{clean(item.get('destination'))}={show.phase(item.get('phase', '?'))}{tries}"


def _why(status: dict[str, Any]) -> str:
    if status.get("suppressedBy"):
        return f"by {clean(status['suppressedBy'])}"
    return "-"
