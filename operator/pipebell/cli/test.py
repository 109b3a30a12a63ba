"""`pipebell test`: a real event marked as a test, and what becomes of it, live."""

from __future__ import annotations

import getpass
import socket
import time

import click

from pipebell.cli import completion, effective, known, watching
from pipebell.cli.client import Client
from pipebell.cli.options import Access, cluster_options, output_option
from pipebell.core.vocabulary import EventType
from pipebell.sdk.record import make


@click.command("test")
@click.argument("org", shell_complete=completion.organisations)
@click.option(
    "--event",
    type=click.Choice([event.value for event in EventType]),
    default=EventType.PIPELINE_FAILURE.value,
    show_default=True,
)
@click.option(
    "--timeout", type=float, default=60.0, show_default=True, metavar="SECONDS", help="Give up after so long."
)
@known.allow_root_option
@effective.where_options
@output_option
@cluster_options
def command(
    org: str, event: str, timeout: float, output: str, access: Access, *, allow_root: bool, **options: str
) -> None:
    """Send ORG a test event, wait, and show its deliveries.

    It takes the way that a real one takes: configuration, trigger, providers. It neither obeys nor starts a cooldown,
    and the message says that it is a test. An organisation that no configuration names is refused: root's recipients
    would be told instead.
    """
    record = make(
        EventType(event),
        org,
        created=time.time(),
        pipeline_id="pipebell-test",
        error_message="This is a test of Pipebell. Nothing is wrong.",
        details={"sent_by": _who()},
        test=True,
    )
    where = effective.place(options["operator_namespace"], options["root_configmap"], options["shared_namespaces"])
    with Client(access) as client:
        finder = effective.Finder(client, where, None)
        note = "" if allow_root else known.check(client, finder, org, client.namespace)
        created = watching.create(client, record)
        click.echo(f"pipelineevent/{record.name} created in namespace {client.namespace}", err=output == "json")
        if note:
            click.echo(note, err=True)
        finished = watching.watch(client, created, timeout, lambda line: click.echo(line, err=output == "json"))
        watching.conclude(finished, output)


def _who() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):  # a container's user need not have a name
        return socket.gethostname()
