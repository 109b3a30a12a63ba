"""`pipebell spool`: events that could not be sent yet, listed, sent and dropped."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipebell.backports import UTC
from pipebell.cli import arguments
from pipebell.cli.client import Client
from pipebell.cli.terminal import clean, say
from pipebell.core.errors import PipebellError
from pipebell.sdk import delivery
from pipebell.sdk.access import place
from pipebell.sdk.spool import Spool, Waiting, default_folder

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_DESCRIPTION = (
    "Events that could not be sent yet: list them (ls), send them (send), drop them (drop). The SDK sends them "
    "by itself, with the next call that gets through."
)


def parser() -> arguments.Parser:
    """What `pipebell spool` understands."""
    parser = arguments.Parser("spool", _DESCRIPTION, "[OPTIONS] ls|send|drop [NAME]...")
    add = parser.add_argument
    add("action", choices=["ls", "send", "drop"], metavar="ls|send|drop", help="what to do")
    add("names", nargs="*", metavar="NAME", help="for drop: which ones")
    add("--all", action="store_true", help="for drop: all of them")
    add("--to-current-cluster", action="store_true",
        help="for send: also those meant for another cluster, or for none that was known")  # fmt: skip
    add("-y", "--yes", action="store_true", help="do not ask")
    add("--spool-dir", type=Path, metavar="DIR", help="the spool's folder [default: PIPEBELL_SPOOL_DIR]")
    add("-o", "--output", choices=["text", "json"], default="text", help="for ls [default: text]")
    arguments.add_access(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """List, send or drop."""
    known = parser()
    options = known.parse(argv)
    if options.action != "drop" and (options.names or options.all):
        known.error(f"{options.action} takes no names")
    if options.action == "drop" and bool(options.names) is bool(options.all):
        known.error("name what to drop, or say --all")
    spool = Spool(options.spool_dir or default_folder(os.environ))
    try:
        {"ls": _ls, "send": _send, "drop": _drop}[options.action](spool, options)
    except OSError as error:
        raise PipebellError(f"the spool {spool.folder} cannot be used: {error.strerror or error}") from None
    return 0


def _ls(spool: Spool, options: argparse.Namespace) -> None:
    waiting = list(spool.waiting())
    if options.output == "json":
        say(json.dumps([_as_json(item) for item in waiting], indent=2))
        return
    if waiting:
        rows = [("AGE", "NAMESPACE", "ORG", "EVENT", "PIPELINE", "CLUSTER", "NAME"), *map(_row, waiting)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            say("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    else:
        say(f"Nothing waits in {spool.folder}.", err=True)
    if rejected := spool.rejected():
        say(
            f"{rejected} set aside in {spool.folder}/rejected: they were refused, or waited for more than a day.",
            err=True,
        )


def _row(item: Waiting) -> tuple[str, ...]:
    record = item.record
    minutes = max(time.time() - record.created, 0) / 60
    age = f"{minutes:.0f}m" if minutes < 120 else f"{minutes / 60:.0f}h"  # noqa: PLR2004  (as kubectl says it)
    cells = (
        age, record.namespace or "-", record.spec.get("orgSlug"), record.spec.get("event"),
        record.spec.get("pipelineId") or "-", item.server or "unknown", record.name,
    )  # fmt: skip
    return tuple(clean(cell)[:60] for cell in cells)


def _as_json(item: Waiting) -> dict[str, Any]:
    created = datetime.fromtimestamp(item.record.created, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "name": item.record.name,
        "namespace": item.record.namespace,
        "server": item.server,
        "created": created,
        "spec": dict(item.record.spec),
        "file": str(item.path),
    }


def _send(spool: Spool, options: argparse.Namespace) -> None:
    where = place(options.kubeconfig, options.context, os.environ).key
    with Client(arguments.access_of(options)) as client:
        if options.to_current_cluster:
            server = client.api.endpoint.server
            others = [item for item in spool.waiting() if delivery.hindrance_of(item, client.api, where)]
            if others:
                meant = sorted({item.server or "a cluster that was not known" for item in others})
                was = "was" if len(others) == 1 else "were"
                _confirm(options, f"Send {counted(len(others))} that {was} meant for {', '.join(meant)} to {server}?")
        empty(spool, client, where, anywhere=options.to_current_cluster)


def empty(spool: Spool, client: Client, where: str, *, anywhere: bool = False) -> None:
    """Send what waits, and say what became of it. Raises PipebellError when something is left."""
    try:
        emptied = delivery.empty(spool, client.api, timeout=15.0, place=where, anywhere=anywhere)
    except OSError as error:
        raise PipebellError(f"the spool {spool.folder} cannot be used: {error}") from None
    parts = [f"{emptied.sent} sent"]
    parts += [f"{emptied.expired} older than a day (see {spool.folder}/rejected)"] if emptied.expired else []
    parts += [f"{emptied.rejected} rejected (see {spool.folder}/rejected)"] if emptied.rejected else []
    parts += [f"{emptied.left} left"] if emptied.left else []
    say(", ".join(parts))
    if emptied.left or emptied.rejected or emptied.expired:
        raise PipebellError(emptied.reason or f"not everything in {spool.folder} could be sent")


def _drop(spool: Spool, options: argparse.Namespace) -> None:
    waiting = {item.record.name: item for item in spool.waiting()}
    names = list(waiting) if options.all else options.names
    if missing := [name for name in names if name not in waiting]:
        raise PipebellError(f"no event {', '.join(missing)} in {spool.folder}; `pipebell spool ls` shows what is there")
    if names:
        _confirm(options, f"Drop {counted(len(names))} that nobody has been told of?")
    for name in names:
        spool.done(waiting[name].path)
    say(f"{len(names)} dropped")


def _confirm(options: argparse.Namespace, question: str) -> None:
    """Raises PipebellError unless a person, or --yes, says yes."""
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise PipebellError(f"{question} Say so with --yes")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise PipebellError("nothing was done")


def note() -> str:
    """A line for people who look for an event that is still here; empty when nothing waits."""
    with suppress(OSError):
        spool = Spool(default_folder(os.environ))
        if count := len(spool):
            waits = "waits" if count == 1 else "wait"
            return f"{counted(count)} {waits} in the spool of this machine ({spool.folder}): pipebell spool ls"
    return ""


def counted(events: int) -> str:
    """How many events, in words."""
    return f"{events} event{'' if events == 1 else 's'}"
