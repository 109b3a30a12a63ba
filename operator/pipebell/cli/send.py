"""`pipebell send`: one event by hand or from a script, or what waits in the spool."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from pipebell.cli import watching
from pipebell.cli.client import Client
from pipebell.cli.event_options import Details, Links, Moment, parse_severity
from pipebell.cli.options import Access, cluster_options, output_option
from pipebell.core.errors import PipebellError
from pipebell.core.vocabulary import EventType, Severity
from pipebell.sdk import delivery
from pipebell.sdk.record import Record, make
from pipebell.sdk.spool import Spool, default_folder


@click.command("send")
@click.option("--org", metavar="SLUG", help="The organisation that the pipeline belongs to.")
@click.option(
    "--event",
    type=click.Choice([event.value for event in EventType]),
    default=EventType.PIPELINE_FAILURE.value,
    show_default=True,
)
@click.option("--pipeline", metavar="ID", help="Which pipeline.")
@click.option("--run", "run_id", metavar="ID", help="Which run of it.")
@click.option("--message", metavar="TEXT", help="What went wrong. `-` reads standard input.")
@click.option("--details", type=Details(), metavar="JSON", help="A JSON object, or @FILE with one.")
@click.option(
    "--link", "links", type=Links(), multiple=True, metavar="TITLE=URL", help="Where to read more. Repeatable."
)
@click.option("--severity", callback=parse_severity, metavar="LEVEL", help=", ".join(Severity))
@click.option("--occurred-at", type=Moment(), metavar="TIME", help="When it happened [default: now].")
@click.option("--wait", is_flag=True, help="Wait until it is delivered; exit code 1 if it is not.")
@click.option("--timeout", type=float, default=60.0, show_default=True, metavar="SECONDS", help="For --wait.")
@click.option("--spool", is_flag=True, help="Send what waits in the spool; keep the event there if it cannot be sent.")
@click.option(
    "--spool-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The spool's folder [default: PIPEBELL_SPOOL_DIR].",
)
@output_option
@cluster_options
def command(access: Access, spool: bool, spool_dir: Path | None, wait: bool, output: str, **options: Any) -> None:  # noqa: ANN401
    """Send an event (--org and what happened), or what waits in the spool (--spool)."""
    if not options["org"] and not spool:
        raise click.UsageError("give --org and what happened, or --spool")
    waiting = Spool(spool_dir or default_folder(os.environ))
    with Client(access) as client:
        if options["org"]:
            record = _record(access, options)
            try:
                event = watching.create(client, record)
            except PipebellError as error:
                if not spool:
                    raise
                _keep(waiting, record, client, error)
                return
            if output == "text":
                click.echo(f"pipelineevent/{record.name} created in namespace {event['metadata']['namespace']}")
            if wait:
                watching.conclude(_watch(client, event, options["timeout"], output), output)
            elif output == "json":
                click.echo(json.dumps(event, indent=2))
        if spool:
            _empty(waiting, client)


def _watch(client: Client, event: dict[str, Any], timeout: float, output: str) -> dict[str, Any]:
    return watching.watch(client, event, timeout, lambda line: click.echo(line, err=output == "json"))


def _record(access: Access, options: dict[str, Any]) -> Record:
    message = sys.stdin.read() if options["message"] == "-" else options["message"]
    return make(
        EventType(options["event"]),
        options["org"],
        created=time.time(),
        namespace=access.namespace,
        pipeline_id=options["pipeline"],
        pipeline_logging_id=options["run_id"],
        error_message=message,
        details=options["details"],
        links=options["links"],
        severity=options["severity"],
        occurred_at=options["occurred_at"],
    )


def _keep(spool: Spool, record: Record, client: Client, error: PipebellError) -> None:
    endpoint = client.api.known
    try:
        record = record.at_home(endpoint.namespace if endpoint else None)
        path, _ = spool.put(record, endpoint.server if endpoint else None)
    except OSError as problem:
        raise click.ClickException(f"{error}; and it cannot be kept: {problem}") from None
    click.echo(f"kept in {path}: {error}", err=True)


def _empty(spool: Spool, client: Client) -> None:
    try:
        emptied = delivery.empty(spool, client.api, timeout=15.0, everything=True)
    except OSError as error:
        raise click.ClickException(f"the spool {spool.folder} cannot be used: {error}") from None
    parts = [f"{emptied.sent} sent"]
    parts += [f"{emptied.expired} dropped (older than a day)"] if emptied.expired else []
    parts += [f"{emptied.rejected} rejected (see {spool.folder}/rejected)"] if emptied.rejected else []
    parts += [f"{emptied.left} left"] if emptied.left else []
    click.echo(", ".join(parts))
    if emptied.left or emptied.rejected or emptied.expired:
        raise click.ClickException(emptied.reason or f"not everything in {spool.folder} could be sent")
