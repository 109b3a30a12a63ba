"""`pipebell silences`: what is silenced, by whom, why, until when, and how much it has held back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import click

from pipebell.cli import completion, known, replicas, show
from pipebell.cli.client import SILENCES, Client
from pipebell.cli.options import Access, cluster_options, table_option
from pipebell.cli.terminal import clean, style
from pipebell.core.crds import SILENCED_BY
from pipebell.core.errors import NotFound, Rejected
from pipebell.core.status import epoch, rfc3339
from pipebell.core.vocabulary import SilencePhase

if TYPE_CHECKING:
    from collections.abc import Iterable

_COLOURS: Final = {"Pending": "cyan", "Active": "yellow", "Expired": "green"}
# Columns that a narrow terminal does without, the least missed first; NAME is what other commands need.
_DROPPED_FIRST: Final = ("TICKET", "CATCH UP", "LAST", "EVENTS", "LABELS", "UP TO", "BY", "ORG", "PIPELINES", "HELD")
_WIDE_ONLY: Final = ("TICKET", "CATCH UP", "LAST", "EVENTS", "LABELS", "UP TO")


@click.command("silences")
@click.argument("org", required=False, shell_complete=completion.organisations)
@click.option("--all", "everything", is_flag=True, help="Those that are over as well.")
@click.option("-A", "--all-namespaces", is_flag=True, help="In every namespace.")
@table_option
@replicas.operator_option
@cluster_options
def command(
    org: str | None,
    access: Access,
    operator_namespace: str,
    output: str,
    *,
    everything: bool,
    all_namespaces: bool,
) -> None:
    """What is silenced of ORG (or of anybody), the first to end first; the platform team's silences included.

    What does not fit the terminal's width is left out by whole columns; `-o wide` shows them all.
    """
    now = time.time()
    with Client(access) as client:
        found = read(client, operator_namespace, everywhere=all_namespaces)
        chosen = [
            item
            for item in found
            if org in (None, item["spec"].get("orgSlug") or org)
            and (everything or phase_of(item, now) is not SilencePhase.EXPIRED)
        ]
        place = "any namespace" if all_namespaces else f"namespace {client.namespace}"
        hint = "" if chosen else known.meant(client, org, everywhere=all_namespaces)
    if show.for_scripts(output, "silence", map(slim, chosen)):
        return
    if chosen:
        _print(chosen, now, everywhere=all_namespaces, wide=output == "wide", own=client.namespace)
    else:
        click.echo(f"Nothing is silenced of {org or 'anybody'} in {place}{f'; {hint}' if hint else ''}.", err=True)


def read(client: Client, operator_namespace: str, *, everywhere: bool = False) -> list[dict[str, Any]]:
    """The silences that concern the namespace's events (or all that there are), the first to end first."""
    items = list(client.list(SILENCES, everywhere=everywhere))
    if not everywhere and operator_namespace != client.namespace:
        items += platforms(client, operator_namespace)
    return sorted(items, key=lambda item: (item["spec"]["endsAt"], item["metadata"]["name"]))


def platforms(client: Client, operator_namespace: str) -> list[dict[str, Any]]:
    """The platform team's silences, where they may be read."""
    try:
        return list(client.list(SILENCES, operator_namespace))
    except (Rejected, NotFound):
        return []


def phase_of(silence: dict[str, Any], now: float) -> SilencePhase:
    """Where it stands, by its times alone: an operator need not have seen it."""
    spec = silence["spec"]
    if epoch(spec["endsAt"]) <= now:
        return SilencePhase.EXPIRED
    starts = spec.get("startsAt")
    return SilencePhase.PENDING if starts and epoch(starts) > now else SilencePhase.ACTIVE


def describe(silence: dict[str, Any]) -> str:
    """In words, what it means and until when."""
    spec = silence["spec"]
    whose = f"of {spec['orgSlug']}" if spec.get("orgSlug") else "of every organisation"
    what = [f"pipelines {', '.join(spec['pipelines'])}" if spec.get("pipelines") else "all pipelines", whose]
    if spec.get("events"):
        what.append(f"({', '.join(spec['events'])})")
    if spec.get("labels"):
        what.append(f"with {', '.join(f'{key}={value}' for key, value in spec['labels'].items())}")
    if spec.get("maxSeverity"):
        what.append(f"up to {spec['maxSeverity']}")
    starts = f"from {spec['startsAt']} " if spec.get("startsAt") else ""
    return clean(f"{' '.join(what)}, {starts}until {spec['endsAt']}")


def slim(silence: dict[str, Any]) -> dict[str, Any]:
    """The silence without what only the API server's bookkeeping needs."""
    metadata = {key: value for key, value in silence["metadata"].items() if key != "managedFields"}
    return {**silence, "metadata": metadata}


def _print(silences: Iterable[dict[str, Any]], now: float, *, everywhere: bool, wide: bool, own: str) -> None:
    rows = [_row(silence, now) for silence in silences]
    several = everywhere or any(row["NAMESPACE"] != own for row in rows)
    dropped = {*(() if several else ("NAMESPACE",)), *(() if wide else _WIDE_ONLY)}
    headers = [name for name in rows[0] if name not in dropped]
    kept = headers if wide else show.fitting(headers, rows, _DROPPED_FIRST, cut="REASON")
    show.table(kept, [[row[name] for name in kept] for row in rows])


def _row(silence: dict[str, Any], now: float) -> dict[str, str]:
    spec, status, metadata = silence["spec"], silence.get("status") or {}, silence["metadata"]
    phase = phase_of(silence, now)
    cells = {
        "NAMESPACE": metadata.get("namespace", ""),
        "NAME": metadata["name"],
        "ORG": spec.get("orgSlug") or "(all)",
        "PIPELINES": ",".join(spec.get("pipelines") or ()) or "(all)",
        "EVENTS": ",".join(spec.get("events") or ()) or "(all)",
        "LABELS": ",".join(f"{key}={value}" for key, value in (spec.get("labels") or {}).items()) or "-",
        "UP TO": spec.get("maxSeverity") or "-",
        "PHASE": style(phase.value, _COLOURS[phase.value]),
        "UNTIL": rfc3339(epoch(spec["endsAt"]))[:19] + "Z",
        "HELD": str(status.get("matched") or 0),
        "LAST": show.age(status["lastMatch"]) if status.get("lastMatch") else "-",
        "CATCH UP": spec.get("catchUp") or "StillFailing",
        "BY": (metadata.get("annotations") or {}).get(SILENCED_BY) or "-",
        "TICKET": spec.get("ticket") or "-",
        "REASON": spec.get("reason", ""),
    }
    return {name: cell if name == "PHASE" else " ".join(clean(str(cell)).split()) for name, cell in cells.items()}
