"""`pipebell send`: one event by hand or from a script, or what waits in the spool."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipebell.cli import arguments, watching
from pipebell.cli import spool as spooled
from pipebell.cli.client import Client
from pipebell.cli.terminal import say
from pipebell.core.errors import PipebellError
from pipebell.core.vocabulary import EventType, Severity
from pipebell.sdk.access import place
from pipebell.sdk.record import Record, make
from pipebell.sdk.spool import Spool, default_folder

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def parser() -> arguments.Parser:
    """What `pipebell send` understands."""
    parser = arguments.Parser(
        "send", "Send an event (--org and what happened), or what waits in the spool (--spool).", "[OPTIONS]"
    )
    add = parser.add_argument
    add("--org", metavar="SLUG", help="the organisation that the pipeline belongs to [default: PIPEBELL_ORG]")
    add("--event", choices=[event.value for event in EventType], default=EventType.PIPELINE_FAILURE.value,
        metavar="TYPE", help=f"{', '.join(EventType)} [default: %(default)s]")  # fmt: skip
    add("--pipeline", metavar="ID", help="which pipeline")
    add("--run", dest="run_id", metavar="ID", help="which run of it")
    add("--message", metavar="TEXT", help="what went wrong; `-` reads standard input")
    add("--details", type=arguments.details, metavar="JSON", help="a JSON object, or @FILE with one")
    arguments.add_circumstances(parser)
    add("--severity", type=arguments.severity, metavar="LEVEL", help=", ".join(Severity))
    add("--occurred-at", type=arguments.moment, metavar="TIME", help="when it happened [default: now]")
    add("--wait", action="store_true", help="wait until it is delivered; exit code 1 if it is not")
    add("--timeout", type=arguments.not_negative, default=60.0, metavar="SECONDS", help="for --wait [default: 60]")
    add("--spool", action="store_true",
        help="send what waits in the spool; keep the event there if it cannot be sent")  # fmt: skip
    add("--spool-dir", type=Path, metavar="DIR", help="the spool's folder [default: PIPEBELL_SPOOL_DIR]")
    add("-o", "--output", choices=["text", "json"], default="text", help="[default: text]")
    arguments.add_access(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Send an event, or what waits."""
    known = parser()
    options = known.parse(argv)
    if not options.org and not options.spool:
        options.org = os.environ.get("PIPEBELL_ORG")
        if not options.org:
            known.error("give --org and what happened, or --spool")
    waiting = Spool(options.spool_dir or default_folder(os.environ))
    where = place(options.kubeconfig, options.context, os.environ).key
    with Client(arguments.access_of(options)) as client:
        if options.org:
            record = _record(options)
            try:
                event = watching.create(client, record)
            except PipebellError as error:
                if not options.spool:
                    raise
                _keep(waiting, record, client, error, where)
                return 0
            _conclude(client, record, event, options)
        if options.spool:
            spooled.empty(waiting, client, where)
    return 0


def _conclude(client: Client, record: Record, event: dict[str, Any], options: argparse.Namespace) -> None:
    if options.output == "text":
        say(f"pipelineevent/{record.name} created in namespace {event['metadata']['namespace']}")
    if options.wait:
        aside = options.output == "json"
        ended = watching.watch(client, event, options.timeout, lambda line: say(line, err=aside))
        watching.conclude(ended, options.output)
    elif options.output == "json":
        say(json.dumps(event, indent=2))


def _record(options: argparse.Namespace) -> Record:
    message = sys.stdin.read() if options.message == "-" else options.message
    return make(
        EventType(options.event),
        options.org,
        created=time.time(),
        namespace=options.namespace or os.environ.get("PIPEBELL_NAMESPACE_FOR_EVENTS") or None,
        pipeline_id=options.pipeline,
        pipeline_logging_id=options.run_id,
        error_message=message,
        details=options.details,
        severity=options.severity,
        occurred_at=options.occurred_at,
        **arguments.circumstances_of(options),
    )


def _keep(spool: Spool, record: Record, client: Client, error: PipebellError, where: str) -> None:
    endpoint = client.api.known
    try:
        record = record.with_namespace(endpoint.namespace if endpoint else None)
        path, _ = spool.put(record, endpoint.server if endpoint else None, where)
    except OSError as problem:
        raise PipebellError(f"{error}; and it cannot be kept: {problem}") from None
    say(f"kept in {path}: {error}", err=True)
